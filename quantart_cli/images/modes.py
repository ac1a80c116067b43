"""Every pixel mode of Pillow to 8-bit sRGB and alpha. Alpha is split off first, then colours go through the profile."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from quantart_cli.images.picture import Pixels
from quantart_cli.images.profiles import to_srgb

AnyArray = np.ndarray[Any, np.dtype[Any]]


def to_rgb_alpha(
    image: Image.Image, profile: bytes | None = None, depth: int = 8, white_is_zero: bool = False
) -> tuple[Pixels, Pixels | None, list[str]]:
    """The colours and the alpha of a loaded PIL image of any mode.

    16-bit grey (I;16 and its kin, and I up to 65535) is divided by 257; I that stays within 255 is taken as it is (it
    holds 8-bit data); I beyond 65535 is taken as 31 bits. F is taken as [0, 1] when nothing in it exceeds 1, as
    [0, 255] otherwise, clipped; NaN is black.

    Args:
        profile: its embedded ICC profile, or None.
        depth: bits a sample had in the file: only a PNG's transparent colour is given in these.
        white_is_zero: whether 16-bit grey runs from white to black, which Pillow inverts in 8 bits alone.

    Returns:
        rgb (H, W, 3) uint8; alpha (H, W) uint8 or None when opaque everywhere; notes for the person.
    """
    notes: list[str] = []
    colour, alpha = _split(image, depth, white_is_zero, notes)
    rgb, note = to_srgb(colour, profile)
    if note:
        notes.append(note)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return np.array(rgb), alpha, notes


def _split(image: Image.Image, depth: int, white_is_zero: bool, notes: list[str]) -> tuple[Image.Image, Pixels | None]:
    """(colours in mode L, RGB, CMYK or LAB; alpha (H, W) uint8 or None)."""
    mode = image.mode
    if (mode in ("P", "PA") and image.has_transparency_data) or mode == "RGBa":
        image = image.convert("RGBA")
    elif mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), np.array(image.getchannel("A"))
    if mode in ("1", "L", "RGB"):
        colour = image.convert("L") if mode == "1" else image
        return colour, _keyed(np.asarray(colour), image.info.get("transparency"), depth, mode)
    if mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16, copy=False)
        values = 65535 - values if white_is_zero else values
        return _grey(values, 257), _keyed(values, image.info.get("transparency"), 16, mode)
    if mode == "I":
        return _integers(image, notes)
    if mode == "F":
        return _floats(np.asarray(image), notes), None
    if mode in ("CMYK", "LAB"):
        return image, None
    return image.convert("RGB"), None  # P, RGBX, YCbCr, HSV


def _keyed(pixels: AnyArray, key: object, depth: int, mode: str) -> Pixels | None:
    """Alpha of a picture one of whose colours is transparent (PNG tRNS): 0 where a pixel has it, 255 elsewhere.

    ``key`` is in the file's samples of ``depth`` bits, whereas Pillow has brought ``pixels`` to 8 bits (but for I;16).
    """
    parts = key if isinstance(key, (tuple, list)) else (key,)
    if len(parts) != (3 if mode == "RGB" else 1) or not all(isinstance(part, int) for part in parts):
        return None
    if depth == 16 and pixels.dtype == np.uint8:
        parts = [part >> 8 for part in parts]  # as Pillow shortens 16-bit RGB
    elif mode == "1":
        parts = [255 if part else 0 for part in parts]
    elif depth < 8:
        parts = [part * 255 // (2**depth - 1) for part in parts]
    same = pixels == (np.array(parts) if mode == "RGB" else parts[0])
    hidden = same.all(axis=-1) if mode == "RGB" else same
    return np.where(hidden, np.uint8(0), np.uint8(255))


def _grey(values: AnyArray, divisor: int) -> Image.Image:
    """Unsigned integers divided by ``divisor`` and rounded, as mode L."""
    return Image.fromarray(((values.astype(np.uint32) + divisor // 2) // divisor).astype(np.uint8))


def _integers(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Pixels | None]:
    values = np.asarray(image)
    highest = int(values.max())
    # Pillow before 11 opens a 16-bit PNG in this mode: however dark, its white is 65535
    sixteen = image.format == "PNG" or 255 < highest <= 65535
    values = values.clip(0, None)
    if sixteen:
        key = _keyed(values, image.info.get("transparency"), 16, "I")
        return _grey(values.clip(0, 65535), 257), key
    if highest <= 255:
        return _grey(values, 1), None
    notes.append("32-bit integers: 2147483647 is taken as white")
    return _grey(values, (2**31 - 1) // 255), None


def _floats(values: AnyArray, notes: list[str]) -> Image.Image:
    missing = np.isnan(values)
    if missing.any():
        notes.append("values that are not numbers are read as black")
        values = np.where(missing, np.float32(0), values)
    scale = 255 if values.max() <= 1 else 1
    return Image.fromarray((values.clip(0, 255) * scale + 0.5).clip(0, 255).astype(np.uint8))
