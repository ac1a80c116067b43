"""Colour profiles: any embedded ICC profile to sRGB, and the sRGB profile that is written, byte for byte the same."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
DAMAGED = "damaged colour profile ignored"


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """Convert to sRGB, relative colorimetric with black point compensation.

    Args:
        image: mode L, RGB, CMYK or LAB, without alpha.
        profile: the embedded ICC profile, or None: then L and RGB are taken to be sRGB, CMYK is converted without
            colour management and LAB is CIE L*a*b* with D50 white.

    Returns:
        The image in mode RGB, and a note when the profile could not be used.
    """
    if image.mode == "LAB":  # its numbers mean the same whatever the profile says
        return _transformed(image, None), None
    if not profile or profile == srgb_profile():
        return image.convert("RGB"), None
    from PIL import features

    if not features.check("littlecms2"):
        return image.convert("RGB"), "colour profile ignored: this Pillow was built without LittleCMS"
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if image.mode == "L" and space == "RGB":  # what every browser does with a grey JPEG tagged sRGB
            image = image.convert("RGB")
        if space != _SPACES[image.mode]:
            return image.convert("RGB"), f"colour profile ignored: it is for {space} and the picture is {image.mode}"
        if image.mode == "RGB" and _is_srgb(source):
            return image, None
        return _transformed(image, source), None
    except MemoryError:
        raise
    except Exception:  # a foreign profile can fail anywhere in Pillow and LittleCMS
        return image.convert("RGB"), DAMAGED


def _transformed(image: Image.Image, source: Any) -> Image.Image:
    """``image`` from the colours of ``source`` (an ImageCmsProfile; None: CIE L*a*b*) to sRGB, mode RGB."""
    from PIL import ImageCms

    grey, flags = image.mode == "L", ImageCms.Flags
    transform = ImageCms.buildTransform(
        source or ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=flags.BLACKPOINTCOMPENSATION | (flags.NOOPTIMIZE if grey else flags.HIGHRESPRECALC),
    )
    # LittleCMS would sample a grey curve too coarsely in the shadows: all 256 values once, without its shortcuts
    values = Image.fromarray(np.arange(256, dtype=np.uint8)[None]) if grey else image
    converted = ImageCms.applyTransform(values, transform)
    assert converted is not None  # only inPlace=True returns None
    return Image.fromarray(np.asarray(converted)[0][np.asarray(image)]) if grey else converted


def _is_srgb(source: object) -> bool:
    """Whether an RGB profile changes nothing: judged by what it does to a lattice of colours, not by its name."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(27, 27, 3)
    converted = np.asarray(_transformed(Image.fromarray(lattice), source))
    return int(np.abs(converted.astype(np.int16) - lattice).max()) <= 1


@functools.cache
def srgb_profile() -> bytes:
    """An ICC version 2 profile for sRGB (IEC 61966-2-1): D50-adapted primaries and a curve of 1024 points.

    A file, because the profiles that LittleCMS makes contain the time of day and its own version.
    """
    return Path(__file__).with_name("srgb.icc").read_bytes()
