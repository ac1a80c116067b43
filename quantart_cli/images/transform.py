"""Resizing, and colours for transparent pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images.picture import Metadata, Picture

_GREY = 128
_SMOOTHING, _SMOOTHED_PIXELS = 4, 1 << 20


def resize(picture: Picture, long_side: int, *, enlarge: bool) -> Picture:
    """Bring the longer side to ``long_side`` pixels, the other in proportion (rounded, at least 1), with Lanczos.

    Colours are weighted by alpha, so that colour hidden under transparent pixels does not bleed into visible ones. The
    resolution, in pixels an inch, changes with the size: a print stays as large as it was.

    Args:
        long_side: pixels, at least 1.
        enlarge: whether a picture that is smaller may grow.

    Returns:
        A new picture, or ``picture`` itself when it has that size or would have to grow and may not.

    Raises:
        QuantArtError: ``long_side`` is below 1.
    """
    if long_side < 1:
        raise QuantArtError(f"a picture cannot be {long_side} pixels long: give a size of at least 1")
    longest = max(picture.size)
    if long_side == longest or (long_side > longest and not enlarge):
        return picture
    width, height = (max(1, (2 * side * long_side + longest) // (2 * longest)) for side in picture.size)
    if picture.alpha is None:
        image = Image.fromarray(picture.rgb).resize((width, height), Image.Resampling.LANCZOS)
        return replace(picture, rgb=np.array(image), metadata=_same_print(picture, width, height))
    rgb, alpha = _resize_weighted(picture.rgb, picture.alpha, (width, height))
    return replace(picture, rgb=rgb, alpha=alpha, metadata=_same_print(picture, width, height))


def _same_print(picture: Picture, width: int, height: int) -> Metadata:
    """The metadata with a resolution at which a print of the new size is as large as one of the old."""
    if picture.metadata.dpi is None:
        return picture.metadata
    across, down = picture.metadata.dpi
    return replace(picture.metadata, dpi=(across * width / picture.width, down * height / picture.height))


def to_size(picture: Picture, long_side: int | None, max_pixels: int) -> Picture:
    """A picture with ``long_side`` pixels on its longer side, larger or smaller than before; None: as it is.

    Raises:
        QuantArtError: the size makes more than ``max_pixels``.
    """
    if long_side is None:
        return picture
    pixels = long_side * (min(picture.size) * long_side // max(picture.size))
    if pixels > max_pixels:
        raise QuantArtError(f"size={long_side} makes {pixels / 1e6:.0f} megapixels: raise max_pixels")
    return resize(picture, long_side, enlarge=True)


def _resize_weighted(rgb: np.ndarray, alpha: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos of colour times alpha, divided by Lanczos of alpha; in float, as 8 bits would band faint pixels."""

    def lanczos(plane: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))

    weight = alpha.astype(np.float32)
    total = lanczos(weight)
    smaller_alpha = (total + 0.5).clip(0, 255).astype(np.uint8)
    divisor = np.where(smaller_alpha > 0, total, np.inf)  # colour of pixels that are not seen: black
    smaller = np.empty((*total.shape, 3), np.uint8)
    for channel in range(3):
        smaller[..., channel] = (lanczos(rgb[..., channel] * weight) / divisor + 0.5).clip(0, 255)
    return smaller, smaller_alpha


def fill_transparent(picture: Picture) -> np.ndarray:
    """The picture's colours with those of fully transparent pixels replaced by what surrounds them.

    Push-pull (Gortler et al., "The Lumigraph", 1996, section 3.5): visible colours, weighted by alpha, are gathered
    into coarser and coarser pictures, and flow back from them, smoothly, to where nothing is visible. The colour
    stored under transparent pixels has no influence.

    Returns:
        (H, W, 3) uint8 sRGB. Pixels with alpha above 0 are exactly those of ``picture.rgb``; when every pixel is
        transparent all are mid grey (128); without alpha this is ``picture.rgb`` itself, not a copy.
    """
    if picture.alpha is None:
        return picture.rgb
    hidden = picture.alpha == 0
    if not hidden.any():
        return picture.rgb
    if hidden.all():
        return np.full_like(picture.rgb, _GREY)
    colour, weight = _pushed(picture.rgb, picture.alpha)
    around = (_pulled(colour, weight) + 0.5).clip(0, 255).astype(np.uint8)
    doubled = Image.fromarray(around).resize((2 * around.shape[1], 2 * around.shape[0]), Image.Resampling.BILINEAR)
    filled = picture.rgb.copy()
    height, width = hidden.shape
    np.copyto(filled, np.asarray(doubled)[:height, :width], where=hidden[..., None])
    return filled


def _pushed(colour: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve: (H, W, 3) and (H, W) uint8 or float32 to the weighted mean colour and the weight of 2 x 2 blocks.

    A block with as much weight as one opaque pixel counts as opaque: so colour reaches the fill undiluted at edges.
    """
    height, width = weight.shape
    shape = (height + 1) // 2, (width + 1) // 2
    total = np.zeros((*shape, 3), np.float32)
    mass = np.zeros(shape, np.float32)
    scale = np.float32(1 / 255 if weight.dtype == np.uint8 else 1)
    for down in (0, 1):
        for right in (0, 1):
            part = weight[down::2, right::2] * scale
            rows, columns = part.shape
            total[:rows, :columns] += colour[down::2, right::2] * part[..., None]
            mass[:rows, :columns] += part
    total /= np.maximum(mass, np.float32(1e-12))[..., None]
    return total, np.minimum(mass, 1)


def _pulled(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fill what has too little weight, (H, W, 3) float32, from the halved picture, recursively."""
    if weight.min() >= 1:
        return colour
    if weight.size == 1:
        return colour  # the mean of all visible pixels
    coarse = _pulled(*_pushed(colour, weight))
    around = _doubled(_doubled(coarse, 0), 1)[: weight.shape[0], : weight.shape[1]]
    filled: np.ndarray = around + weight[..., None] * (colour - around)
    # Without this a border at a power of two shows as a step: no block at any level reaches across it.
    for _ in range(_SMOOTHING if weight.size <= _SMOOTHED_PIXELS else 0):
        padded = np.pad(filled, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        filled = mean + weight[..., None] * (colour - mean)
    return filled


def _doubled(values: np.ndarray, axis: int) -> np.ndarray:
    """Twice as long along ``axis``, linearly interpolated between the centres of the pixels."""
    values = np.moveaxis(values, axis, 0)
    padded = np.concatenate([values[:1], values, values[-1:]])
    longer = np.empty((2 * len(values), *values.shape[1:]), np.float32)
    longer[0::2] = 0.75 * values + 0.25 * padded[:-2]
    longer[1::2] = 0.75 * values + 0.25 * padded[2:]
    return np.moveaxis(longer, 0, axis)
