"""Pictures too large for memory: decoded some rows at a time by libvips (extra ``large``) into mapped arrays.

libvips only decodes: Pillow reads the header and the metadata, and the rows go through the same conversions as small
pictures, so that the result is the same. Without pyvips Pillow decodes the whole picture first.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
from PIL import Image

from quantart_cli.images.metadata import Header, collect
from quantart_cli.images.modes import to_rgb_alpha
from quantart_cli.images.picture import Picture, Pixels
from quantart_cli.scratch import alloc_scratch, release

LARGE = 1 << 24
"""Pixels from which on a picture is read and written in bands."""
BAND = 1 << 21
"""Pixels of a band, about."""

HAS_VIPS = importlib.util.find_spec("pyvips") is not None
"""Whether pyvips is installed; whether it finds libvips shows when it is imported."""
_LOADERS = {"PNG": "pngload_source", "JPEG": "jpegload_source", "MPO": "jpegload_source", "TIFF": "tiffload_source"}
_BANDS = {"1": 1, "L": 1, "I;16": 1, "LA": 2, "RGB": 3, "P": 3, "RGBA": 4, "CMYK": 4}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
logging.getLogger("pyvips").addHandler(logging.NullHandler())  # else Python prints its warnings to stderr


def is_large(width: int, height: int) -> bool:
    """Whether a picture is read and written in bands."""
    return width * height >= LARGE


def row_slices(picture: Picture) -> Iterator[slice]:
    """The rows of a picture, band by band; after each its pages are released."""
    step = max(1, BAND // picture.width)
    for top in range(0, picture.height, step):
        yield slice(top, top + step)
        release()


def assemble(
    bands: Iterator[Image.Image], size: tuple[int, int], header: Header, name: str, depth: int, white_is_zero: bool
) -> Picture:
    """A picture from its rows as they are stored.

    Args:
        bands: from top to bottom.
        size: (width, height) as stored.
        header: what else the file says.
        depth, white_is_zero: as of :func:`quantart_cli.images.modes.to_rgb_alpha`.
    """
    orientation, notes, top = header.orientation, list(header.notes), 0
    shape = size if orientation in (5, 6, 7, 8) else size[::-1]
    rgb, alpha = alloc_scratch((*shape, 3), np.uint8), None
    stored_rgb, stored_alpha = _as_stored(rgb, orientation), None
    for band in bands:
        rows = slice(top, top + band.height)
        stored_rgb[rows], opacity, remarks = to_rgb_alpha(band, header.profile, depth, white_is_zero)
        if opacity is not None:
            if stored_alpha is None:
                alpha = alloc_scratch(shape, np.uint8)
                alpha[...] = 255
                stored_alpha = _as_stored(alpha, orientation)
            stored_alpha[rows] = opacity
        notes += remarks
        top += band.height
        release()
    return Picture(rgb, alpha, header.metadata, name, tuple(dict.fromkeys(notes)))


def _as_stored(pixels: Pixels, orientation: int) -> Pixels:
    """A view of an upright picture, (H, W, ...), in the order in which a file of that EXIF orientation stores it."""
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels


def crops(image: Image.Image) -> Iterator[Image.Image]:
    """The rows of a loaded picture from top to bottom."""
    width, height = image.size
    step = max(1, BAND // width)
    for top in range(0, height, step):
        yield image.crop((0, top, width, min(top + step, height)))


def _import_vips() -> Any:
    """pyvips, or None where it or libvips is missing."""
    if not HAS_VIPS:
        return None
    try:
        import pyvips
    except (ImportError, OSError):  # it is there without libvips
        return None
    return pyvips


def read_with_vips(image: Image.Image, stream: IO[bytes], name: str, depth: int) -> Picture | None:
    """Read a large picture through libvips.

    Args:
        image: as Pillow opens it, not loaded.
        depth: bits a sample of a PNG.

    Returns:
        None when pyvips is not installed, and for kinds that it decodes otherwise than Pillow or cannot decode.
    """
    loader = _LOADERS.get(image.format or "")
    pyvips = _import_vips()
    if pyvips is None or loader is None or not _is_plain(image, depth):
        return None
    try:
        header = collect(png_header(stream) if image.format == "PNG" else image)
    except MemoryError:
        raise
    except Exception:  # damaged: decoding it whole says how
        return None
    try:
        stream.seek(0)
        try:
            source = pyvips.Source.new_from_descriptor(stream.fileno())
        except OSError:  # in memory
            source = pyvips.Source.new_from_memory(stream.read())
        decoded = getattr(pyvips.Image, loader)(source, access="sequential", fail_on="error")
        size = decoded.width, decoded.height
        if sorted(size) != sorted(image.size) or decoded.bands - _BANDS[image.mode] not in (0, 1):
            return None
        return assemble(_fetched(decoded, image.mode), size, header, name, 8, False)
    except pyvips.Error:
        return None


def _is_plain(image: Image.Image, depth: int) -> bool:
    """Whether libvips gives the samples that Pillow gives."""
    if image.mode not in _BANDS:
        return False
    if image.format == "PNG":  # Pillow shortens samples to 8 bits before it looks for the transparent colour
        return depth == 8 or (depth == 16 and "transparency" not in image.info)
    if image.format != "TIFF":
        return True
    tags = image.tag_v2  # type: ignore[attr-defined]
    plain_alpha = tags.get(338, (2,)) in (2, (2,))
    return set(tags.get(258, (1,))) in ({1}, {8}, {16}) and plain_alpha and tags.get(262) in (0, 1, 2, 3, 5)


def _fetched(decoded: Any, mode: str) -> Iterator[Image.Image]:
    """The rows from top to bottom, in the modes that Pillow would give."""
    region, bands = _import_vips().Region.new(decoded), decoded.bands
    step = max(1, BAND // decoded.width)
    for top in range(0, decoded.height, step):
        rows = min(step, decoded.height - top)
        data = region.fetch(0, top, decoded.width, rows)
        pixels: np.ndarray[Any, Any] = np.frombuffer(data, np.uint16 if decoded.format == "ushort" else np.uint8)
        if mode == "I;16":
            yield Image.fromarray(pixels.reshape(rows, -1))
            continue
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)  # as Pillow does
        found = "CMYK" if mode == "CMYK" else ("L", "LA", "RGB", "RGBA")[bands - 1]
        yield Image.frombytes(found, (decoded.width, rows), pixels.tobytes())


def png_header(stream: IO[bytes]) -> Image.Image:
    """A loaded picture of one pixel with all other chunks of a PNG file, those behind its pixels included."""
    parts = [_PNG_SIGNATURE]
    for chunk_type, data in _png_chunks(stream):
        if chunk_type == b"IHDR":
            data = struct.pack(">II", 1, 1) + data[8:12] + b"\0"  # not interlaced
            parts.append(_png_chunk(chunk_type, data))
            row = bytes(1 + data[8] * _PNG_CHANNELS.get(data[9], 4) // 8 + 1)
            pixels = _png_chunk(b"IDAT", zlib.compress(row))
        elif chunk_type == b"IDAT":
            parts.append(pixels)
            pixels = b""
        else:
            parts.append(_png_chunk(chunk_type, data))
    image = Image.open(io.BytesIO(b"".join([*parts, _png_chunk(b"IEND", b"")])), formats=("PNG",))
    image.load()
    return image


def _png_chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of a file's chunks up to IEND; the data of IDAT are left out."""
    at = len(_PNG_SIGNATURE)
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length, name = struct.unpack(">I4s", head)
        yield name, b"" if name == b"IDAT" else stream.read(length)
        at += 12 + length


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


class _Releasing:
    """A binary file for a writer that reads its pixels in order: what it has read is released."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        release()
        return self._file.write(data)


def write_large(file: IO[bytes], picture: Picture, format: str, options: dict[str, Any]) -> bool:
    """Write a large picture from its mapped arrays; False when that cannot be done in this format.

    Pillow encodes pixels of four bytes where they are. A PNG without alpha has three: libvips encodes these, and
    Pillow the chunks around them.

    Args:
        file: takes the bytes, from its beginning; it can seek.
    """
    if format == "png" and picture.alpha is None:
        return _import_vips() is not None and _write_png(file, picture, options)
    if format not in ("png", "jpeg"):
        return False
    pixels = alloc_scratch((picture.height, picture.width, 4), np.uint8)
    for rows in row_slices(picture):
        pixels[rows, :, :3] = picture.rgb[rows]
        if picture.alpha is not None:
            pixels[rows, :, 3] = picture.alpha[rows]
    mode = "RGBA" if format == "png" else "RGBX"
    image = Image.frombuffer(mode, picture.size, pixels, "raw", mode, 0, 1)  # not a copy
    image.save(cast(IO[bytes], _Releasing(file)), format, **options)
    return True


def _write_png(file: IO[bytes], picture: Picture, options: dict[str, Any]) -> bool:
    """Write the pixels as libvips compresses them between the chunks that Pillow makes."""
    pyvips: Any = _import_vips()
    sample = io.BytesIO()
    Image.new("RGB", (1, 1)).save(sample, "png", **options)
    before, after = [_PNG_SIGNATURE], [_png_chunk(b"IEND", b"")]
    for chunk_type, data in _png_chunks(sample):
        if chunk_type == b"IHDR":
            before.append(_png_chunk(chunk_type, struct.pack(">II", *picture.size) + data[8:]))
        elif chunk_type == b"eXIf":  # Pillow writes it behind the pixels
            after.insert(0, _png_chunk(chunk_type, data))
        elif chunk_type != b"IDAT":
            before.append(_png_chunk(chunk_type, data))
    file.write(b"".join(before))
    pending, started = bytearray(), False
    failures: list[BaseException] = []

    def write(data: Any) -> int:
        """Pass on what libvips writes from its first IDAT on; an exception cannot pass through C."""
        nonlocal started
        try:
            release()
            pending.extend(data)
            start = pending.find(b"IDAT") - 4 if not started else 0
            if start >= 0:
                started = True
                file.write(pending[start:])
                pending.clear()
            return len(data)
        except BaseException as error:
            failures.append(error)
            return -1

    target = pyvips.TargetCustom()
    target.on_write(write)
    pixels = pyvips.Image.new_from_memory(picture.rgb.data, picture.width, picture.height, 3, "uchar")
    try:
        pixels.pngsave_target(target, compression=6, filter="all", keep="none")
    except pyvips.Error as error:
        raise (failures[0] if failures else OSError(str(error))) from None
    file.seek(-12, io.SEEK_END)  # over its IEND
    file.write(b"".join(after))
    return True
