"""Stages: what a feed-forward method is made of. Does not import torch.

A stage is a network that maps tiles to tiles. It may also return sums over the tile, which the runner adds up over all
tiles: moments, for example. A method runs one stage after the other; what is summed in one stage is an input of the
next. AdaIN is encode, then decode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

EPSILON = 1e-5
"""Added to the variance, as in the AdaIN reference."""


@dataclass(frozen=True)
class Map:
    """Output of a stage: a map of features, stored for the whole picture.

    Attributes:
        stride: pixels a side of one position.
        multiple: the network rounds the picture's height and width up to a multiple of so many pixels.
    """

    stride: int
    multiple: int = 1


@dataclass(frozen=True)
class Pixels:
    """Output of a stage: the painted picture, (1, 3, h, w) about [0, 1], stored as uint8."""

    stride: ClassVar[int] = 1


@dataclass(frozen=True)
class Summed:
    """Output of a stage: moments of a tile, merged over tiles into :class:`Moments` or :class:`Covariance`.

    The network returns (3, C) float32: the weight, the mean, and the sum of squared deviations (nets/statistics.py).

    Attributes:
        products: it returns (2 + C, C) instead, with the sums of products of the deviations of each two channels.
    """

    products: bool = False


Output = Map | Pixels | Summed


@dataclass(frozen=True)
class Stage:
    """A network that runs over the tiles of a picture.

    Attributes:
        name: in messages and in the cache.
        net: ``"module:Class"`` of the network. Its class attribute ``parts`` has the classes of the networks it is
            built from, by part; its ``forward`` takes the inputs in the order of ``maps``, ``whole`` and ``scalars``,
            and returns the outputs as a tuple.
        parts: names of those networks.
        maps: inputs that are cut into tiles, with their stride and their channels. ``image`` is (1, 3, h, w) float32 in
            [0, 1]; ``weight`` is (1, 1, h, w), the opacity inside the tile and 0 in its halo.
        whole: inputs that every tile gets as a whole, with their shapes: -1 is any length. Those with four dimensions
            are maps, the others float32 arrays.
        integers: inputs whose numbers are int32.
        outputs: in the order in which the network returns them.
        halo: pixels around a tile that its result depends on; the runner rounds them up to the grain.
        exact: computed in float32 whatever the precision of the model.
        tiled: False where the network must see the whole map at once.
        scalars: float inputs, behind the others.
    """

    name: str
    net: str
    parts: tuple[str, ...]
    maps: Mapping[str, tuple[int, int]]
    outputs: Mapping[str, Output]
    whole: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    integers: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    halo: int = 0
    exact: bool = False
    tiled: bool = True

    def __hash__(self) -> int:
        return hash((self.name, self.net))

    @property
    def grain(self) -> int:
        """Tiles begin at multiples of it."""
        inputs = [stride for stride, _ in self.maps.values()]
        outputs = [output.stride for output in self.outputs.values() if not isinstance(output, Summed)]
        outputs += [output.multiple for output in self.outputs.values() if isinstance(output, Map)]
        return math.lcm(8, *inputs, *outputs)


@dataclass(frozen=True)
class Moments:
    """Channel-wise mean and standard deviation over positions, each (C,) float32.

    The variance is unbiased, and 1e-5 is added to it.
    """

    mean: np.ndarray
    std: np.ndarray

    @staticmethod
    def of(mean: np.ndarray, variance: np.ndarray) -> Moments:
        """From means and variances, (C,) each; rounding may have made a variance negative."""
        std = np.sqrt(variance.clip(min=0) + EPSILON)
        return Moments(mean.astype(np.float32), std.astype(np.float32))

    @staticmethod
    def lerp(parts: list[Moments], weights: list[float]) -> Moments:
        """The weighted mean of several: AdaIN is linear in mean and std, so this interpolates its results exactly."""
        pairs = list(zip(np.array(weights, np.float32), parts, strict=True))
        mean, std = sum(w * part.mean for w, part in pairs), sum(w * part.std for w, part in pairs)
        return Moments(np.asarray(mean), np.asarray(std))


@dataclass(frozen=True)
class Covariance:
    """Mean (C,) and unbiased covariance (C, C) of channels over positions, float64."""

    mean: np.ndarray
    matrix: np.ndarray


class Sums:
    """Moments of tiles merged into those of the picture, in float64 (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.mean = np.zeros(1)  # becomes (C,)
        self.squares = np.zeros((1, 1))  # becomes (1, C), or (C, C) with products

    def add(self, part: np.ndarray) -> None:
        """What a network returned, (3, C) or (2 + C, C): see :class:`Summed`."""
        part = part.astype(np.float64)
        weight = part[0, 0]
        if weight <= 0:
            return
        total = self.weight + weight
        delta = part[1] - self.mean
        between = delta[None] ** 2 if len(part) == 3 else np.outer(delta, delta)
        self.mean = self.mean + delta * (weight / total)
        self.squares = self.squares + part[2:] + between * (self.weight * weight / total)
        self.weight = total

    def result(self) -> Moments | Covariance:
        """Of all that was added."""
        variance = self.squares / max(self.weight - 1, 0.5)
        if len(variance) == 1:
            return Moments.of(self.mean, variance[0])
        return Covariance(self.mean, variance)
