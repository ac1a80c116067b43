"""From a Picture to the bytes of a file: tagged sRGB, metadata kept, the same picture always the same bytes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images import large
from quantart_cli.images.formats import WITHOUT_ALPHA, format_name
from quantart_cli.images.metadata import save_options
from quantart_cli.images.picture import Metadata, Picture
from quantart_cli.images.profiles import srgb_profile
from quantart_cli.images.tiff import write_tiff
from quantart_cli.scratch import alloc_scratch

_LONGEST_SIDE = {"jpeg": 65500, "webp": 16383, "gif": 65535, "avif": 65535}
_FOUR_GIGABYTES = ("tiff", "bmp")  # formats whose offsets have 32 bits
_GIF_OPAQUE_FROM = 128


def encode_picture(picture: Picture, format: str, **options: Any) -> bytes:
    """The bytes of a picture file; arguments and errors as of :func:`write_picture`."""
    file = io.BytesIO()
    write_picture(file, picture, format, **options)
    return file.getvalue()


def write_picture(
    file: IO[bytes],
    picture: Picture,
    format: str,
    *,
    background: str | None = None,
    quality: int = 95,
    strip_metadata: bool = False,
) -> None:
    """Write a picture file. Embeds an sRGB profile in every format that holds one (not BMP and GIF).

    * jpeg: 4:4:4 at ``quality``, Huffman tables optimised where Pillow can; those of large pictures are not, as that
      takes the whole file in memory.
    * png, tiff (deflate), bmp: lossless.
    * webp: lossy at ``quality``, lossless at 100; method 4. Alpha is lossless.
    * gif: at most 256 colours, dithered; alpha below 128 becomes transparent, the rest opaque.
    * avif: 4:4:4 at ``quality``, when Pillow has it.

    Args:
        file: takes the bytes, from its beginning; it can seek.
        format: a name or suffix: "jpeg", "jpg", ".png", ...
        background: a colour ("white", "#rrggbb", as PIL.ImageColor understands): transparent parts are laid over it,
            whatever the format; needed when the format holds no alpha (jpeg, bmp).
        quality: 1 to 100, of jpeg, webp and avif.
        strip_metadata: leave EXIF, XMP, resolution, comments and text out; the sRGB profile stays.

    Raises:
        QuantArtError: unknown format, quality or colour, transparency without background, too large for the format.
    """
    format = format_name(format)
    if not 1 <= quality <= 100:
        raise QuantArtError(f"quality {quality} is out of range: give 1 to 100")
    colour = parse_background(background)
    check_transparency(picture.name, format, picture.alpha is not None, background)
    check_size(format, picture.size)
    if colour is not None and picture.alpha is not None:
        picture = flattened(picture, colour)
    if strip_metadata:
        picture = replace(picture, metadata=Metadata())
    if format == "tiff":
        write_tiff(file, picture, srgb_profile())
        return
    options = _encoder_options(format, quality) | save_options(picture, format)
    if large.is_large(*picture.size) and large.write_large(file, picture, format, options):
        return
    image = _quantised(picture) if format == "gif" else picture.to_pil()
    data = _saved(image, format, options)
    # Pillow gives libjpeg this much room for optimising Huffman tables; noise needs more, and it would fail.
    room = picture.width * picture.height * (2 if quality >= 95 else 1)
    if format == "jpeg" and len(data) < max(room, 1 << 16):
        data = _saved(image, format, options | {"optimize": True})
    file.write(data)


def check_size(format: str, size: tuple[int, int]) -> None:
    """Raise QuantArtError when a picture of ``size`` (width, height) is too large for a format."""
    shown = "{} x {} pixels".format(*size)
    longest = _LONGEST_SIDE.get(format)
    if longest and max(size) > longest:
        raise QuantArtError(f"{format} holds at most {longest} pixels a side, not {shown}: write a .png or .tif")
    if format in _FOUR_GIGABYTES and size[0] * size[1] * 4 >= 1 << 32:
        raise QuantArtError(f"{format} holds at most 4 GB, too little for {shown}: write a .png")


def parse_background(background: str | None) -> tuple[int, int, int] | None:
    """(r, g, b) in 0..255 of a colour as a person writes it; None for None.

    Raises QuantArtError when it is no colour or not opaque.
    """
    if background is None:
        return None
    from PIL import ImageColor

    try:
        red, green, blue, alpha = (*ImageColor.getrgb(background), 255)[:4]
    except ValueError:
        alpha = 0
    if alpha < 255:
        shown = printable(background)
        raise QuantArtError(f"background {shown!r} is not an opaque colour: use a name (white) or #rrggbb")
    return red, green, blue


def check_transparency(name: str, format: str, has_alpha: bool, background: str | None) -> None:
    """Raise QuantArtError when a picture with alpha is to be written in a format without, and no background is set."""
    if has_alpha and format in WITHOUT_ALPHA and background is None:
        raise QuantArtError(
            f"{printable(name)} has transparent parts, which {format} cannot hold: set background=white or write a .png"
        )


def flattened(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """Without alpha, over ``colour``, mixed in sRGB as browsers do."""
    assert picture.alpha is not None
    rgb = alloc_scratch(picture.rgb.shape, np.uint8)
    for rows in large.row_slices(picture):
        part = Image.fromarray(picture.rgb[rows])
        base = Image.new("RGB", part.size, colour)
        base.paste(part, mask=Image.fromarray(picture.alpha[rows]))
        rgb[rows] = np.asarray(base)
    return replace(picture, rgb=rgb, alpha=None)


def _quantised(picture: Picture) -> Image.Image:
    """Mode P, at most 256 colours, dithered; with alpha the last index is the transparent one."""
    image = Image.fromarray(picture.rgb)
    count = 256 if picture.alpha is None else 255
    sample = image.copy()
    sample.thumbnail((512, 512), Image.Resampling.NEAREST)  # the palette of 12 megapixels takes 13 seconds
    chosen = (sample.quantize(count).getpalette() or [])[: 3 * count]
    chosen += chosen[:3] * (256 - len(chosen) // 3)  # unused entries repeat the first: no pixel is mapped to them
    palette = Image.new("P", (1, 1))
    palette.putpalette(chosen)
    dithered = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    if picture.alpha is None:
        return dithered
    made = Image.fromarray(np.where(picture.alpha < _GIF_OPAQUE_FROM, np.uint8(255), np.asarray(dithered)))
    made.putpalette(chosen)
    made.info["transparency"] = 255
    return made


def _encoder_options(format: str, quality: int) -> dict[str, Any]:
    profile = {"icc_profile": srgb_profile()}
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": quality, "subsampling": "4:4:4", **profile},
        "png": profile,
        "webp": {"quality": quality, "lossless": quality == 100, "method": 4, **profile},
        "avif": {"quality": quality, "subsampling": "4:4:4", **profile},
    }
    return options.get(format, {})


def _saved(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
