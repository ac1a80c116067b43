"""From a Picture to the bytes of a file: tagged sRGB, metadata kept, the same picture always the same bytes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images import bands
from quantart_cli.images.formats import WITHOUT_ALPHA, format_name
from quantart_cli.images.metadata import exif_of, save_options, xmp_of
from quantart_cli.images.names import printable
from quantart_cli.images.picture import Metadata, Picture
from quantart_cli.images.png import write_png
from quantart_cli.images.profiles import srgb_profile
from quantart_cli.images.tiff import write_tiff
from quantart_cli.pages import apart, let_go

_LONGEST_SIDE = {"jpeg": 65500, "webp": 16383, "gif": 65535, "avif": 65535}
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
    """Write a picture file. Embeds an sRGB profile wherever the format holds one (not in BMP and GIF).

    * jpeg: 4:4:4 at ``quality``, Huffman tables optimised where Pillow can; those of large pictures are not, as that
      takes the whole of it in memory.
    * png, tiff (deflate), bmp: lossless.
    * webp: lossy at ``quality``, lossless at 100; method 4. Alpha is lossless.
    * gif: at most 256 colours, dithered; alpha below 128 becomes transparent, the rest opaque.
    * avif: 4:4:4 at ``quality``, when Pillow has it.

    Large pictures (see bands.py) are written some rows at a time, as png, tiff and jpeg; in other formats they are
    held whole.

    Args:
        file: takes the bytes, from its beginning; it can seek.
        picture: what to write.
        format: a name or suffix: "jpeg", "jpg", ".png", ...
        background: a colour ("white", "#rrggbb", as PIL.ImageColor understands): a picture with transparency is laid
            upon it, whatever the format; needed when the format holds no alpha (jpeg, bmp).
        quality: 1 to 100, of jpeg, webp and avif.
        strip_metadata: leave EXIF, XMP, resolution, comments and text out; the sRGB profile stays.

    Raises:
        QuantArtError: unknown format, quality or colour, transparency without background, too long a side.
    """
    format = format_name(format)
    if not 1 <= quality <= 100:
        raise QuantArtError(f"quality {quality} is out of range: give 1 to 100")
    colour = parse_background(background)
    check_transparency(picture.name, format, picture.alpha is not None, background)
    longest = _LONGEST_SIDE.get(format)
    if longest and max(picture.size) > longest:
        size = "{} x {}".format(*picture.size)
        raise QuantArtError(f"{format} holds at most {longest} pixels a side, not {size}: write a .png or .tif")
    if colour is not None and picture.alpha is not None:
        picture = _flattened(picture, colour)
    if strip_metadata:
        picture = replace(picture, metadata=Metadata())
    if format == "tiff":
        write_tiff(file, picture, exif_of(picture), xmp_of(picture), srgb_profile())
        return
    options = _encoder_options(format, quality) | save_options(picture, format)
    if bands.is_large(*picture.size) and format in _IN_BANDS:
        _IN_BANDS[format](file, picture, options)
        return
    image = _quantised(picture) if format == "gif" else picture.to_pil()
    data = _saved(image, format, options)
    # Pillow gives libjpeg this much room for optimising Huffman tables, and noise needs more: then it would fail
    room = picture.width * picture.height * (2 if quality >= 95 else 1)
    if format == "jpeg" and len(data) < max(room, 1 << 16):
        data = _saved(image, format, options | {"optimize": True})
    file.write(data)


def _png_in_bands(file: IO[bytes], picture: Picture, options: dict[str, Any]) -> None:
    def pixels(rows: slice) -> np.ndarray:
        parts = [picture.rgb[rows]] if picture.alpha is None else [picture.rgb[rows], picture.alpha[rows, :, None]]
        return np.concatenate(parts, axis=2)

    write_png(file, picture.size, map(pixels, bands.slices(picture)), options)


def _jpeg_in_bands(file: IO[bytes], picture: Picture, options: dict[str, Any]) -> None:
    """Pillow writes a picture that it has whole: it is given one that lies in pages apart."""
    pixels = apart((picture.height, picture.width, 4), np.uint8)
    for rows in bands.slices(picture):
        pixels[rows, :, :3] = picture.rgb[rows]
    image = Image.frombuffer("RGBX", picture.size, pixels, "raw", "RGBX", 0, 1)  # not a copy
    image.save(_LettingGo(file), "jpeg", **options)


class _LettingGo:
    """A file to write into, for a writer that between two parts is done with the pixels of the first."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        let_go()
        return self._file.write(data)


_IN_BANDS = {"png": _png_in_bands, "jpeg": _jpeg_in_bands}


def parse_background(background: str | None) -> tuple[int, int, int] | None:
    """(r, g, b) in 0..255 of a colour as a person writes it; None for None.

    Raises QuantArtError when it is no colour or not opaque.
    """
    if background is None:
        return None
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(background)
    except ValueError:
        red = green = blue = alpha = None
    if alpha is None or (alpha and alpha[0] < 255):
        shown = printable(background)
        raise QuantArtError(f"background {shown!r} is not an opaque colour: use a name (white) or #rrggbb")
    return red, green, blue


def check_transparency(name: str, format: str, has_alpha: bool, background: str | None) -> None:
    """Raise QuantArtError when a picture with alpha goes into a format without, and no background is given."""
    if has_alpha and format in WITHOUT_ALPHA and background is None:
        raise QuantArtError(
            f"{printable(name)} has transparent parts, which {format} cannot hold: "
            "give --background white or write a .png"
        )


def _flattened(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """Laid upon ``colour``, mixed in sRGB as browsers do."""
    assert picture.alpha is not None
    rgb = apart(picture.rgb.shape, np.uint8)
    for rows in bands.slices(picture):
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
    chosen += chosen[:3] * (256 - len(chosen) // 3)  # the unused repeat the first: nothing is mapped to them
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
    return {
        "jpeg": {"quality": quality, "subsampling": "4:4:4", **profile},
        "png": profile,
        "webp": {"quality": quality, "lossless": quality == 100, "method": 4, **profile},
        "avif": {"quality": quality, "subsampling": "4:4:4", **profile},
        "bmp": {},
        "gif": {},
    }[format]


def _saved(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
