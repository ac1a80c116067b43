"""Painting coarse to fine: strokes keep their size relative to the picture. This module does not import torch.

A picture is painted small first, where strokes of the style cover much of it. The painting is enlarged and painted
again, which sharpens the strokes. As in NNST (Kolkin et al. 2022) and LapStyle (Lin et al. 2021).

A picture that is smaller than the first level is enlarged, painted and reduced: faces keep their eyes, and the fine
grain of the decoder is averaged away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image as PILImage

from quantart_cli.errors import QuantArtError
from quantart_cli.runner import Image
from quantart_cli.scratch import alloc_scratch, release

_STROKES = 768  # long side in pixels of the first level for "auto": broader strokes dissolve faces
_ENLARGED, _MOST = 1.25, 2.0  # by which a small picture is enlarged at most: for "auto", and for a given brush
_LEAST_STEP, _STEP = 1.25, 3.0  # smallest and largest ratio of the sizes of two levels
_BAND = 1 << 20  # pixels of the rows that are resized at a time, about
_LANCZOS = 3  # pixels that Lanczos reaches to each side, of the coarser grid


def parse_brush(given: str) -> int | str:
    """ "auto", "none", or a long side in pixels.

    Raises:
        QuantArtError: anything else.
    """
    if given in ("auto", "none"):
        return given
    if not (given.isascii() and given.isdigit() and 64 <= int(given) < 10**6):
        raise QuantArtError(f"brush must be auto, none or 64 to 999999 pixels, such as 384, not {given!r}")
    return int(given)


def brush_sides(size: tuple[int, int], brush: str) -> list[int]:
    """Long side in pixels of each level, ascending. The last is that of the picture, or the only one is larger.

    Args:
        size: (height, width) of the picture.
        brush: as :func:`parse_brush` reads it.
    """
    side, chosen = max(size), parse_brush(brush)
    if chosen == "none":
        return [side]
    wanted, most = (_STROKES, _ENLARGED) if isinstance(chosen, str) else (chosen, _MOST)
    first = min(wanted, round(most * side))
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
    opacity = None if content.opacity is None else resized(content.opacity[:height, :width], size)
    level = resized(content.pixels[:height, :width], size)
    if painted is None:
        return Image.of(level, opacity)
    small = resized(level, (painted.shape[0], painted.shape[1]))
    found = alloc_scratch(level.shape, np.uint8)
    for rows in _bands(size):
        band = _bytes(level[rows]).astype(np.float32)
        band -= _resized_rows(small, size, rows)
        band += _resized_rows(painted, size, rows)
        found[rows] = _round(band)
        release()
    return Image.of(found, opacity)


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w[, 3]) uint8, or float32 in about [0, 1], at another (height, width), by Lanczos: uint8."""
    if pixels.shape[:2] == size:
        return pixels
    found = alloc_scratch((*size, *pixels.shape[2:]), np.uint8)
    for rows in _bands(size):
        found[rows] = _resized_rows(pixels, size, rows)
        release()
    return found


def _bands(size: tuple[int, int]) -> Iterator[slice]:
    """The rows of a picture of (height, width), some at a time: Pillow and float32 take several times its bytes."""
    step = max(1, _BAND // size[1])
    for top in range(0, size[0], step):
        yield slice(top, min(top + step, size[0]))


def _resized_rows(pixels: np.ndarray, size: tuple[int, int], rows: slice) -> np.ndarray:
    """Rows of what :func:`resized` returns, from the rows of the picture that they depend on."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return _bytes(pixels[rows])
    scale = height / size[0]
    first, last = rows.start * scale, min(rows.stop * scale, height)
    support = math.ceil(_LANCZOS * max(scale, 1)) + 1
    top, bottom = max(0, math.floor(first) - support), min(height, math.ceil(last) + support)
    image = PILImage.fromarray(np.ascontiguousarray(_bytes(pixels[top:bottom])))
    box = 0, first - top, width, last - top
    return np.asarray(image.resize((size[1], rows.stop - rows.start), PILImage.Resampling.LANCZOS, box))


def _bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8; float32 in about [0, 1] is rounded."""
    return pixels if pixels.dtype == np.uint8 else _round(pixels * np.float32(255))


def _round(values: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded
