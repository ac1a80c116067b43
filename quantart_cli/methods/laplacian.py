"""Laplacian pyramids (Burt and Adelson 1983) with bilinear levels, as Kolkin et al. 2022 use them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def decompose(image: Tensor, depth: int) -> list[Tensor]:
    """The bands of a picture, finest first; the last is what remains, a small picture.

    Args:
        image: (B, C, H, W).
        depth: how often the sides are halved at most; fewer where a side would become less than 1.

    Returns:
        up to ``depth`` + 1 tensors (B, C, ceil(H / 2^i), ceil(W / 2^i)).
    """
    bands = []
    for _ in range(depth):
        height, width = image.shape[2:]
        if min(height, width) < 2:
            break
        smaller = halve(image)
        bands.append(image - enlarge(smaller, (height, width)))
        image = smaller
    return [*bands, image]


def collapse(bands: Sequence[Tensor]) -> Tensor:
    """The picture of which these are the bands, finest first; of the size of the first."""
    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + enlarge(image, (band.shape[2], band.shape[3]))
    return image


def halve(image: Tensor) -> Tensor:
    """A picture of half the sides, rounded up: for even sides each pixel is the mean of 2 × 2."""
    height, width = image.shape[2:]
    return F.interpolate(image, ((height + 1) // 2, (width + 1) // 2), mode="bilinear")


def enlarge(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture at (height, width)."""
    return F.interpolate(image, size, mode="bilinear")
