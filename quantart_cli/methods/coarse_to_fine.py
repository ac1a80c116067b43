"""Painting coarse to fine: strokes keep their size relative to the picture. This module does not import torch.

A picture is painted small first, where strokes of the style cover much of it. The painting is enlarged and painted
again, which sharpens the strokes. As in NNST (Kolkin et al. 2022) and LapStyle (Lin et al. 2021).

A picture that is smaller than that is enlarged, painted and reduced: faces keep their eyes, and the fine grain of the
decoder is averaged away.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image as PILImage

from quantart_cli.errors import QuantArtError
from quantart_cli.runner import Image

_STROKES = 768  # long side in pixels of the first level for "auto": broader strokes dissolve faces
_ENLARGED = 1.5  # by which a small picture is enlarged at most
_LEAST_STEP, _STEP = 1.25, 3.0  # smallest and largest ratio of the sizes of two levels


def parse_brush(given: str) -> int | str:
    """ "auto", "none", or a long side in pixels.

    Raises:
        QuantArtError: anything else.
    """
    if given in ("auto", "none"):
        return given
    if not (given.isascii() and given.isdigit() and 64 <= int(given) < 10**6):
        raise QuantArtError(f"brush must be auto, none or at least 64 pixels, such as 384, not {given!r}")
    return int(given)


def brush_sides(size: tuple[int, int], brush: str) -> list[int]:
    """Long side in pixels of each level, ascending. The last is that of the picture; the only one may be larger.

    Args:
        size: (height, width) of the picture.
        brush: as :func:`parse_brush` reads it.
    """
    side, chosen = max(size), parse_brush(brush)
    if chosen == "none":
        return [side]
    first = min(_STROKES if isinstance(chosen, str) else chosen, round(_ENLARGED * side))
    if first > side:
        return [first]
    if side < _LEAST_STEP * first:
        return [side]
    steps = math.ceil(math.log(side / first) / math.log(_STEP) - 1e-9)
    return [round(first * (side / first) ** (i / steps)) for i in range(steps)] + [side]


def content_of_level(content: Image, side: int, painted: np.ndarray | None) -> Image:
    """The content of one level: the picture itself at first, then the enlarged painting plus detail of the picture.

    The detail is the difference between the picture at this level and at the level before. Without it, eyes and letters
    are lost.

    Args:
        side: long side of the level.
        painted: (h, w, 3) uint8, the painting of the level before, or None.
    """
    height, width = content.size
    scale = side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = content.pixels[:height, :width]
    opacity = None if content.opacity is None else resized(content.opacity[:height, :width], size)
    level = pixels if size == (height, width) else resized(_bytes(pixels), size)
    if painted is None:
        return Image.of(level, opacity)
    coarse = resized(resized(_bytes(level), (painted.shape[0], painted.shape[1])), size)
    found = _bytes(level).astype(np.float32)
    found -= coarse
    found += resized(painted, size)
    return Image.of(_round(found), opacity)


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w[, 3]) uint8 at another (height, width), by Lanczos."""
    if pixels.shape[:2] == size:
        return pixels
    image = PILImage.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size[1], size[0]), PILImage.Resampling.LANCZOS))


def _bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8; float32 in about [0, 1] is rounded."""
    return pixels if pixels.dtype == np.uint8 else _round(pixels * np.float32(255))


def _round(values: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded
