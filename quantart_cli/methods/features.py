"""What the feed-forward methods share: features with a coverage, their statistics, and pictures of any size.

A picture is encoded and decoded window by window (see engine/tiling.py), and what lies between is a function of one
position and of statistics of all, so that the result does not depend on the windows: each is computed with a border as
wide as the network looks, which is then thrown away, and reflection happens at true borders alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.engine.tiling import Tiles, Window
from quantart_cli.methods.arithmetic import EPSILON
from quantart_cli.nets.decoder import REACH as DECODER_REACH
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import REACH, STRIDE, VGG19
from quantart_cli.pages import apart, let_go

# relu4_1 has stride 8 and its reflection padding needs two positions a side.
SMALLEST = 16
# Positions whose statistics are summed at a time: in double precision, which would double the memory of all.
_POSITIONS = 4096

Put = Callable[[Window, Tensor], None]
"""Takes the pixels of a window, (1, 3, h, w) float32, about [0, 1]."""


@dataclass(frozen=True)
class Statistics:
    """Channel-wise mean and standard deviation over positions, each (1, C, 1, 1) float32."""

    mean: Tensor
    std: Tensor

    @staticmethod
    def of(z: Tensor, coverage: Tensor | None = None, seen: Callable[[slice], Tensor] | None = None) -> Statistics:
        """Statistics of (1, C, h, w) features; unbiased variance plus 1e-5, as in the AdaIN reference.

        Args:
            z: features of any precision; summed in float64.
            coverage: (1, 1, h, w) in [0, 1], how much of each position counts; None counts all alike.
            seen: what is made of rows of z, (1, C, n, w), where that is to be counted in its place.
        """
        exact = exact_on(z.device)
        total = torch.zeros((), dtype=exact, device=z.device)
        sums = torch.zeros(2, z.shape[1], dtype=exact, device=z.device)
        for rows in bands(z):
            part = (z[:, :, rows] if seen is None else seen(rows))[0].flatten(1).to(exact, copy=True)  # (C, n)
            weights = part.new_ones(part.shape[1]) if coverage is None else coverage[0, 0, rows].flatten().to(exact)
            total += weights.sum()
            sums[0] += part @ weights
            sums[1] += part.square_() @ weights
        mean = sums[0] / total
        return Statistics.from_moments(mean, (sums[1] - total * mean.square()) / (total - 1).clamp(min=0.5))

    @staticmethod
    def from_moments(mean: Tensor, variance: Tensor) -> Statistics:
        """Of means and variances, (C,) each; rounding may have left some of these below 0."""
        std = (variance.clamp(min=0) + EPSILON).sqrt()
        return Statistics(mean.float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1))

    @staticmethod
    def blend(parts: Sequence[Statistics], weights: Sequence[float]) -> Statistics:
        """Weighted mean of statistics: AdaIN is linear in them, so this interpolates its outputs exactly."""
        mean = sum(w * part.mean for w, part in zip(weights, parts, strict=True))
        std = sum(w * part.std for w, part in zip(weights, parts, strict=True))
        return Statistics(mean, std)


@dataclass(frozen=True)
class Features:
    """relu4_1 of a picture: ``z`` (1, 512, h, w) in the network's precision, ``coverage`` (1, 1, h, w) or None where
    all is opaque."""

    z: Tensor
    coverage: Tensor | None = None

    @cached_property
    def statistics(self) -> Statistics:
        return Statistics.of(self.z, self.coverage)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)."""
        return self.z.shape[2], self.z.shape[3]

    def rows(self, rows: slice) -> Tensor:
        """Those of some rows of positions, (1, 512, n, w) float32."""
        return self.z[:, :, rows].float()

    def at(self, window: Window) -> Tensor:
        """Those of a window of positions, (1, 512, h', w') float32."""
        rows, columns = window.slices
        return self.z[:, :, rows, columns].float()


def encode(vgg: VGG19, image: Tensor, coverage: Tensor | None = None, tiles: Tiles | None = None) -> Features:
    """E(image): relu4_1 of a picture of any size from 1×1 up.

    Args:
        vgg: the encoder.
        image: (1, 3, H, W), sRGB, float32 in [0, 1] or uint8, on any device.
        coverage: (1, 1, H, W) in [0, 1], the picture's opacity, or None.
        tiles: the windows it is computed in; None: one.
    """
    weight = vgg.conv1_1.weight
    image = extend(image, SMALLEST)
    height, width = image.shape[2:]
    z: Tensor | None = None

    def work(window: Window) -> None:
        nonlocal z
        outer = window.grown(REACH, height, width, STRIDE)
        rows, columns = outer.slices
        part = vgg(floats(image[:, :, rows, columns], weight.device))["relu4_1"]
        if (window.height, window.width) == (height, width):
            z = part
            return
        if z is None:
            z = _store((-(-height // STRIDE), -(-width // STRIDE), part.shape[1]), part)
        rows, columns = window.shrunk(STRIDE).slices
        inner_rows, inner_columns = window.within(outer).shrunk(STRIDE).slices
        z[:, :, rows, columns] = part[:, :, inner_rows, inner_columns]

    (tiles or Tiles()).run(height, width, work)
    assert z is not None
    return Features(z, coverage_of(coverage, z, SMALLEST))


def _store(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Room for the features of all windows, (1, C, h, w) channels last, of the type and device of one window's."""
    if like.device.type != "cpu":
        return like.new_empty((1, *shape)).permute(0, 3, 1, 2)
    pages = torch.from_numpy(apart((*shape, like.itemsize), np.uint8))
    return pages.view(like.dtype)[None, :, :, :, 0].permute(0, 3, 1, 2)


def decode(
    decoder: Decoder,
    latent: Callable[[Window], Tensor],
    grid: tuple[int, int],
    size: tuple[int, int],
    tiles: Tiles | None = None,
    put: Put | None = None,
) -> Tensor | None:
    """D(z): a picture from its latents.

    Args:
        decoder: the decoder.
        latent: gives z at a window of positions, (1, 512, h', w') float32.
        grid: (h, w) of all positions.
        size: (H, W) of the picture, at most 8 times the grid.
        tiles: the windows it is computed in; None: one.
        put: takes each window of the picture; None: the picture is returned as one tensor.

    Returns:
        (1, 3, H, W) float32, about [0, 1], not clamped; None when ``put`` has it.
    """
    image: Tensor | None = None

    def assemble(window: Window, part: Tensor) -> None:
        nonlocal image
        if (window.height, window.width) == size:
            image = part
            return
        image = part.new_empty((1, 3, *size)) if image is None else image
        rows, columns = window.slices
        image[:, :, rows, columns] = part

    def work(window: Window) -> None:
        positions = window.shrunk(STRIDE)
        outer = positions.grown(DECODER_REACH, *grid)
        part = decoder(latent(outer))
        top, left = window.top - outer.top * STRIDE, window.left - outer.left * STRIDE
        (put or assemble)(window, part[:, :, top : top + window.height, left : left + window.width])

    (tiles or Tiles()).run(*size, work)
    return image


def style_statistics(
    vgg: VGG19, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float], tiles: Tiles | None = None
) -> Statistics:
    """μ and σ of the blended styles' relu4_1.

    Args:
        vgg: the encoder.
        styles: pictures as :func:`encode` takes them, each with its opacity (1, 1, H, W) or None.
        weights: one a style, summing to 1.
        tiles: the windows they are computed in; None: one each.
    """
    return Statistics.blend([encode(vgg, *style, tiles).statistics for style in styles], weights)


def floats(image: Tensor, device: torch.device | str) -> Tensor:
    """A picture as networks take it: float32 in [0, 1] on their device; uint8 travels there as it is."""
    image = image.to(device)
    return image.float().div_(255) if image.dtype == torch.uint8 else image


def exact_on(device: torch.device) -> torch.dtype:
    """The precision sums are taken in: float64, but float32 on Apple's GPUs, which have no other."""
    return torch.float32 if device.type == "mps" else torch.float64


def bands(z: Tensor, positions: int = _POSITIONS) -> Iterator[slice]:
    """Rows of (1, C, h, w), some thousands of positions at a time; the same whatever windows z was computed in."""
    step = max(1, positions // z.shape[3])
    for top in range(0, z.shape[2], step):
        yield slice(top, top + step)
        let_go()


def coverage_of(coverage: Tensor | None, z: Tensor, least: int) -> Tensor | None:
    """Opacity of a picture (1, 1, H, W) at the positions of its features (1, C, h, w): (1, 1, h, w).

    None where all is opaque, and where nothing is: a picture with nothing visible counts as a whole.
    """
    if coverage is None or not coverage.any():
        return None
    return F.interpolate(extend(coverage, least), size=z.shape[2:], mode="area")


def extend(image: Tensor, least: int, multiple: int = 1) -> Tensor:
    """Mirror a picture, (1, C, H, W), to the right and below until both sides have ``least`` pixels or more.

    Args:
        image: the picture.
        least: fewest pixels a side.
        multiple: the sides become multiples of it as well.
    """
    for axis in (2, 3):
        size = image.shape[axis]
        wanted = -(-max(size, least) // multiple) * multiple
        if size < wanted:
            wave = torch.arange(wanted, device=image.device) % (2 * size)
            image = image.index_select(axis, torch.minimum(wave, 2 * size - 1 - wave))
    return image
