"""Stages: the parts of a feed-forward method. This module does not import torch.

A stage is a network that runs over the tiles of a picture. It returns feature maps, pixels or moments for each tile.
The runner joins the maps and the pixels of all tiles, and merges their moments. A method runs its stages one after the
other. Outputs of a stage are inputs of later stages. AdaIN has two stages: "encode" returns the features z and their
moments; "decode" takes z, and a slope and a shift that are calculated from the moments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

EPSILON = 1e-5
"""Added to the variance, as in the AdaIN reference."""


@dataclass(frozen=True)
class Map:
    """Output of a stage: a map of features, stored for the whole picture.

    Attributes:
        stride: height and width of one position in pixels.
        multiple: the map covers the height and width of the picture, rounded up to a multiple of this many pixels.
    """

    stride: int
    multiple: int = 1


@dataclass(frozen=True)
class Pixels:
    """Output of a stage: pixels of the result, (1, 3, h, w) in about [0, 1]. They are clipped and stored as uint8."""

    stride: ClassVar[int] = 1


@dataclass(frozen=True)
class Summed:
    """Output of a stage: moments of a tile. Those of all tiles are merged into :class:`Moments` or :class:`Covariance`.

    The network returns (3, C) float32: the total weight, the mean, and the sum of squared deviations from the mean (see
    nets/statistics.py).

    Attributes:
        products: the network returns (2 + C, C) instead: the sums of products of the deviations of each two channels.
        unbiased: whether variances are divided by the weight minus 1, as in AdaIN, or by the weight, as in instance
            norm.
    """

    products: bool = False
    unbiased: bool = True


Output = Map | Pixels | Summed


@dataclass(frozen=True)
class Stage:
    """A network that runs over the tiles of a picture.

    Attributes:
        name: unique name, used in messages and for cached networks.
        net: class of the network, ``"module:Class"``. Its class attribute ``parts`` maps each part to the class of the
            network with the weights of that part. Its ``forward`` takes the inputs in the order ``maps``, ``whole``,
            ``scalars``, and returns the outputs as a tuple.
        parts: the parts whose weights it needs, keys of ``Method.weights``.
        maps: inputs that are cut into tiles. Name -> (stride, channels). Two names are special. ``image``: the picture,
            (1, 3, h, w) float32 in [0, 1]. ``weight``: (1, 1, h, w), the opacity inside the tile and 0 in its halo, so
            that each position of the picture counts once in moments.
        whole: inputs that are the same for all tiles. Name -> shape; -1 is any length. Inputs with four dimensions are
            maps, the others float32 arrays.
        integers: names of inputs of dtype int32.
        outputs: name -> type, in the order in which the network returns them.
        halo: number of pixels on each side of a tile that the result of the tile depends on; rounded up to the grain.
        exact: whether it is computed in float32 whatever the precision of the model. For searches, where rounding would
            change what is found.
        tiled: False if the network must get the whole picture at once.
        of_style: whether it runs for styles only. What it takes is freed before a content is painted.
        scalars: names of float inputs.
        usual: values of the scalars that most pictures have. OpenVINO compiles a network of its own for them: weights
            that follow from a scalar are constants in it, which convolves faster.
    """

    name: str
    net: str
    parts: tuple[str, ...]
    maps: Mapping[str, tuple[int, int]]
    outputs: Mapping[str, Output]
    whole: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    integers: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    usual: tuple[float, ...] = ()
    halo: int = 0
    exact: bool = False
    tiled: bool = True
    of_style: bool = False

    def __hash__(self) -> int:
        return hash((self.name, self.net))

    @property
    def with_usual_scalars(self) -> Stage:
        """The same stage without the inputs :attr:`scalars`, computed for their usual values."""
        return replace(self, name=f"{self.name}-usual", scalars=())

    @property
    def grain(self) -> int:
        """Tiles start at multiples of this many pixels: at a whole position of each map."""
        inputs = [stride for stride, _ in self.maps.values()]
        outputs = [output.stride for output in self.outputs.values() if not isinstance(output, Summed)]
        outputs += [output.multiple for output in self.outputs.values() if isinstance(output, Map)]
        return math.lcm(8, *inputs, *outputs)


@dataclass(frozen=True)
class Moments:
    """Channel-wise mean and standard deviation over positions, each (C,) float32.

    ``std`` is the square root of the unbiased variance plus 1e-5.
    """

    mean: np.ndarray
    std: np.ndarray

    @staticmethod
    def of(mean: np.ndarray, variance: np.ndarray) -> Moments:
        """Moments from means and variances, (C,) each. Variances that are negative by rounding count as 0."""
        std = np.sqrt(variance.clip(min=0) + EPSILON)
        return Moments(mean.astype(np.float32), std.astype(np.float32))

    @staticmethod
    def lerp(parts: list[Moments], shares: list[float]) -> Moments:
        """Weighted mean of moments. AdaIN is linear in the style's mean and std: this interpolates its results."""
        pairs = list(zip(np.array(shares, np.float32), parts, strict=True))
        mean, std = sum(w * part.mean for w, part in pairs), sum(w * part.std for w, part in pairs)
        return Moments(np.asarray(mean), np.asarray(std))


@dataclass(frozen=True)
class Covariance:
    """Mean (C,) and unbiased covariance (C, C) of channels over positions, float64."""

    mean: np.ndarray
    matrix: np.ndarray


class Sums:
    """Merges the moments of tiles into those of the picture, in float64 (Chan, Golub and LeVeque 1979)."""

    def __init__(self, unbiased: bool = True) -> None:
        self.unbiased = unbiased
        self.weight = 0.0
        self.mean = np.zeros(1)  # becomes (C,)
        self.squares = np.zeros((1, 1))  # becomes (1, C), or (C, C) with products

    def add(self, part: np.ndarray) -> None:
        """Add the moments of a tile, (3, C) or (2 + C, C) as described in :class:`Summed`."""
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
        """The moments of all tiles added."""
        variance = self.squares / max(self.weight - self.unbiased, 0.5)
        if len(variance) == 1:
            return Moments.of(self.mean, variance[0])
        return Covariance(self.mean, variance)
