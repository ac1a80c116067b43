"""What the feed-forward methods share: features with a coverage, their statistics, and pictures of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.nets.vgg import VGG19

# relu4_1 has stride 8 and its reflection padding needs two positions a side.
SMALLEST = 16
_EPSILON = 1e-5  # of the AdaIN reference, added to the variance


@dataclass(frozen=True)
class Statistics:
    """Channel-wise mean and standard deviation over positions, each (1, C, 1, 1) float32."""

    mean: Tensor
    std: Tensor

    @staticmethod
    def of(z: Tensor, coverage: Tensor | None = None) -> Statistics:
        """Statistics of (1, C, h, w) features; unbiased variance plus 1e-5, as in the AdaIN reference.

        Args:
            z: features, float32.
            coverage: (1, 1, h, w) in [0, 1], how much of each position counts; None counts all alike.
        """
        if coverage is None:
            variance, mean = torch.var_mean(z, dim=(2, 3), keepdim=True)
        else:
            total = coverage.sum()
            mean = (z * coverage).sum((2, 3), keepdim=True) / total
            squares = ((z - mean).square() * coverage).sum((2, 3), keepdim=True)
            variance = squares / (total - 1).clamp(min=0.5)
        return Statistics(mean, (variance + _EPSILON).sqrt())

    @staticmethod
    def blend(parts: Sequence[Statistics], weights: Sequence[float]) -> Statistics:
        """Weighted mean of statistics: AdaIN is linear in them, so this interpolates its outputs exactly."""
        mean = sum(w * part.mean for w, part in zip(weights, parts, strict=True))
        std = sum(w * part.std for w, part in zip(weights, parts, strict=True))
        return Statistics(mean, std)


def adaptive_instance_norm(z: Tensor, own: Statistics, other: Statistics) -> Tensor:
    """AdaIN(x, y) = σ(y) (x - μ(x)) / σ(x) + μ(y)  (Huang and Belongie 2017, equation 8)."""
    return (z - own.mean) * (other.std / own.std) + other.mean


@dataclass(frozen=True)
class Features:
    """relu4_1 of a picture: ``z`` (1, 512, h, w) float32, ``coverage`` (1, 1, h, w) or None where all is opaque."""

    z: Tensor
    coverage: Tensor | None = None

    @cached_property
    def statistics(self) -> Statistics:
        return Statistics.of(self.z, self.coverage)


def encode(vgg: VGG19, image: Tensor, coverage: Tensor | None = None) -> Features:
    """E(image): relu4_1 of a picture of any size from 1×1 up.

    Args:
        vgg: the encoder.
        image: (1, 3, H, W) float32, sRGB in [0, 1].
        coverage: (1, 1, H, W) in [0, 1], the picture's opacity, or None.
    """
    z = vgg(extend(image, SMALLEST), ["relu4_1"])["relu4_1"].float()
    return Features(z, coverage_of(coverage, z, SMALLEST))


def style_statistics(
    vgg: VGG19, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float]
) -> Statistics:
    """μ and σ of the blended styles' relu4_1.

    Args:
        vgg: the encoder.
        styles: pictures (1, 3, H, W) float32 in [0, 1], each with its opacity (1, 1, H, W) or None.
        weights: one a style, summing to 1.
    """
    return Statistics.blend([encode(vgg, *style).statistics for style in styles], weights)


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
