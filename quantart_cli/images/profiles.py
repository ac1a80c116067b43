"""Colour profiles: any embedded ICC profile to sRGB, and the sRGB profile that is written, byte for byte the same."""

from __future__ import annotations

import functools
import io
import struct
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
    """An ICC version 2 profile for sRGB (IEC 61966-2-1), the same bytes on every machine and every day.

    Written here rather than taken from LittleCMS, whose profiles carry the time of day and its own version.
    """
    tags = [
        (b"desc", _description(b"sRGB")),
        (b"cprt", b"text\0\0\0\0" + b"No copyright, use freely\0"),
        (b"wtpt", _xyz(0.9642, 1.0, 0.8249)),
        (b"rXYZ", _xyz(0.4360747, 0.2225045, 0.0139322)),  # sRGB primaries, Bradford-adapted to D50
        (b"gXYZ", _xyz(0.3850649, 0.7168786, 0.0971045)),
        (b"bXYZ", _xyz(0.1430804, 0.0606169, 0.7141733)),
        (b"rTRC", _curve()),
    ]
    offset = 128 + 4 + 12 * (len(tags) + 2)
    table, body = [], b""
    for signature, data in tags:
        place = struct.pack(">4sII", signature, offset + len(body), len(data))
        table.append(place)
        if signature == b"rTRC":  # the three channels share one curve
            table += [b"gTRC" + place[4:], b"bTRC" + place[4:]]
        body += data + bytes(-len(data) % 4)
    count = struct.pack(">I", len(table))
    header = struct.pack(
        ">I4xI4s4s4s6H4s24xI3i48x",
        offset + len(body),
        0x02100000,
        *(b"mntr", b"RGB ", b"XYZ "),
        *(2000, 1, 1, 0, 0, 0),
        b"acsp",
        0,
        *(round(x * 65536) for x in (0.9642, 1.0, 0.8249)),
    )
    return header + count + b"".join(table) + body


def _description(text: bytes) -> bytes:
    """A textDescriptionType with its empty Unicode and Macintosh parts."""
    return struct.pack(">4s4xI", b"desc", len(text) + 1) + text + b"\0" + bytes(8 + 3 + 67)


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(points: int = 1024) -> bytes:
    """The sRGB transfer function, device value to linear light, as a table of 16-bit values."""
    device = [index / (points - 1) for index in range(points)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in device]
    return struct.pack(f">4s4xI{points}H", b"curv", points, *(round(v * 65535) for v in linear))
