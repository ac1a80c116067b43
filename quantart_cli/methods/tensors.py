"""Small functions on pictures and features as tensors, shared by methods that use torch directly."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.scratch import release

_POSITIONS = 4096  # in one band of rows


def floats(image: Tensor, device: torch.device | str) -> Tensor:
    """A picture as networks take it: float32 in [0, 1] on their device; uint8 is a quarter of the bytes to move."""
    image = image.to(device)
    return image.float().div_(255) if image.dtype == torch.uint8 else image


def bands(z: Tensor, positions: int = _POSITIONS) -> Iterator[slice]:
    """Slices of rows of (1, C, h, w), some thousands of positions each."""
    step = max(1, positions // z.shape[3])
    for top in range(0, z.shape[2], step):
        yield slice(top, top + step)
        release()


def coverage_of(opacity: Tensor | None, z: Tensor, least: int) -> Tensor | None:
    """Opacity of a picture (1, 1, H, W) at the positions of its features (1, C, h, w): (1, 1, h, w).

    None where all is opaque. A picture without any visible pixel counts as opaque.
    """
    if opacity is None or not opacity.any():
        return None
    return F.interpolate(extend(opacity, least), size=z.shape[2:], mode="area")


def extend(image: Tensor, least: int, multiple: int = 1) -> Tensor:
    """Mirror a picture, (1, C, H, W), to the right and below until both sides have ``least`` pixels or more.

    Args:
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
