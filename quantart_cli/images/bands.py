"""Large pictures read some rows at a time, by Pillow: each band is brought into a small file of its own.

A TIFF is made of strips or tiles that are compressed each by itself: a band is a TIFF of some of them. The rows of a
PNG are one stream of bytes, each filtered with the row above: a band is a PNG of some rows below the last one of the
band before. So nobody but Pillow decodes, and no more is held than a band.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli.images.metadata import collect
from quantart_cli.images.modes import to_rgb_alpha
from quantart_cli.images.picture import Picture
from quantart_cli.images.png import CHANNELS, SIGNATURE, Place, chunk, chunks, data_of
from quantart_cli.images.tiff import LONG, SHORT, UNDEFINED, append, directory
from quantart_cli.pages import apart, let_go

LARGE = 1 << 24
"""Pixels from which on a picture is read and written in bands."""
BAND = 1 << 21
"""Pixels of a band, about."""

_READ = 1 << 20
# Of a TIFF's tags those that say how its pixels lie: bits, compression, colours, fill order, samples, planes, options
# of fax, predictor, colour map, tiles, more samples, their format, tables of JPEG, subsampling.
_LAYOUT = (258, 259, 262, 266, 277, 284, 292, 293, 317, 320, 322, 323, 338, 339, 347, 530)
_PHOTOMETRIC = (0, 1, 2, 3, 5, 8)  # of the others more tags would matter
_YCBCR, _JPEG, _OLD_JPEG = 6, 7, 6


def is_large(width: int, height: int) -> bool:
    """Whether a picture is read and written in bands."""
    return width * height >= LARGE


def rows_of(width: int) -> int:
    """Rows of a band."""
    return max(1, BAND // width)


def slices(picture: Picture) -> Iterator[slice]:
    """The rows of a picture, band by band; what was looked at is let go of."""
    step = rows_of(picture.width)
    for top in range(0, picture.height, step):
        yield slice(top, top + step)
        let_go()


def cut(image: Image.Image) -> Iterator[Image.Image] | None:
    """The rows of a large picture, as they are stored, in bands from top to bottom.

    What a PNG says beside its pixels each band says too; those of a TIFF say nothing. A file whose rows cannot be had
    one after the other, such as a JPEG, is decoded whole first.

    Args:
        image: as Pillow opens it, not loaded.

    Returns:
        None for a picture that is not large, or whose pixels mean what the largest of them says.
    """
    if not is_large(*image.size) or image.mode in ("I", "F"):
        return None
    stream, found = getattr(image, "fp", None), None
    if stream is not None and image.format == "PNG":
        found = _of_png(stream)
    elif stream is not None and image.format == "TIFF":
        found = _of_tiff(stream, image.tag_v2)  # type: ignore[attr-defined]
    return _crops(image) if found is None else found


def assemble(image: Image.Image, bands: Iterator[Image.Image], name: str, depth: int) -> Picture:
    """A picture of its bands.

    Args:
        image: as Pillow opens it.
        bands: from :func:`cut`.
        name: of the picture.
        depth: as of :func:`quantart_cli.images.modes.to_rgb_alpha`.
    """
    profile, notes, top = image.info.get("icc_profile"), [], 0
    alpha = stored_alpha = None
    for band in bands:
        if top == 0:
            metadata, orientation, remarks = collect(band if image.format == "PNG" else image)
            notes += remarks
            # A TIFF's size may be stated upright already.
            size = image.width * image.height // band.width, band.width
            turned = size[::-1] if orientation in (5, 6, 7, 8) else size
            rgb = apart((*turned, 3), np.uint8)
            stored = _as_stored(rgb, orientation)
        rows = slice(top, top + band.height)
        stored[rows], opacity, remarks = to_rgb_alpha(band, profile, depth)
        if opacity is not None:
            if stored_alpha is None:
                alpha = apart(turned, np.uint8)
                alpha[...] = 255
                stored_alpha = _as_stored(alpha, orientation)
            stored_alpha[rows] = opacity
        notes += remarks
        top += band.height
        let_go()
    return Picture(rgb, alpha, metadata, name, tuple(dict.fromkeys(notes)))


def _as_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An upright picture, (H, W, ...), seen as a file of that EXIF orientation stores it: what is written into the one
    is in the other."""
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels


def _crops(image: Image.Image) -> Iterator[Image.Image]:
    image.load()
    width, height = image.size
    if image.im.size != image.size:  # a TIFF whose two statements of its orientation disagree
        raise ValueError("two sizes stated")
    for top in range(0, height, rows_of(width)):
        yield image.crop((0, top, width, min(top + rows_of(width), height)))


def _opened(file: IO[bytes], format: str) -> Image.Image:
    file.seek(0)
    image = Image.open(file, formats=(format,))
    image.load()
    return image


def _of_png(stream: IO[bytes]) -> Iterator[Image.Image] | None:
    """None where rows do not follow each other, and where a sample is no byte: Pillow does not give these back."""
    places = list(chunks(stream))
    header = data_of(stream, places[0]) if places else b""
    animated = any(place.kind == b"acTL" for place in places)
    if len(header) != 13 or header[8] != 8 or header[9] not in CHANNELS or header[12] != 0 or animated:
        return None
    return _png_bands(stream, places, header)


def _png_bands(stream: IO[bytes], places: list[Place], header: bytes) -> Iterator[Image.Image]:
    width, height = struct.unpack(">II", header[:8])
    row = 1 + CHANNELS[header[9]] * width
    kinds = [place.kind for place in places]
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else len(places)
    before, after = (
        b"".join(chunk(place.kind, data_of(stream, place)) for place in some if place.kind != b"IDAT")
        for some in (places[1:first], places[first:])
    )
    inflated, above = _Inflated(stream, [place for place in places if place.kind == b"IDAT"]), b""
    for top in range(0, height, rows_of(width)):
        count = min(rows_of(width), height - top)
        pixels = chunk(b"IDAT", zlib.compress(above + inflated.read(count * row), 0))
        count += bool(above)
        size = chunk(b"IHDR", struct.pack(">II", width, count) + header[8:])
        image = _opened(io.BytesIO(b"".join((SIGNATURE, size, before, pixels, after))), "PNG")
        yield image.crop((0, 1, width, count)) if above else image
        above = b"\0" + image.crop((0, count - 1, width, count)).tobytes()  # as it is: filter 0


class _Inflated:
    """A PNG's rows, still filtered, some bytes at a time."""

    def __init__(self, stream: IO[bytes], places: list[Place]) -> None:
        self._inflate = zlib.decompressobj()
        self._parts = self._read(stream, places)

    @staticmethod
    def _read(stream: IO[bytes], places: list[Place]) -> Iterator[bytes]:
        for place in places:
            for at in range(0, place.length, _READ):
                stream.seek(place.start + at)
                yield stream.read(min(_READ, place.length - at))

    def read(self, size: int) -> bytes:
        """So many bytes. Raises OSError when there are fewer, zlib.error when they are damaged."""
        found = bytearray()
        while len(found) < size:
            data = self._inflate.unconsumed_tail or next(self._parts, b"")
            if not data:
                raise OSError("image file is truncated")
            found += self._inflate.decompress(data, size - len(found))
        return bytes(found)


def _of_tiff(stream: IO[bytes], tags: Any) -> Iterator[Image.Image] | None:
    """None where strips or tiles are too large to be bands, or hold one colour each, or of a rare kind."""
    tiled = 322 in tags
    width, height, rows = tags.get(256), tags.get(257), tags.get(323 if tiled else 278, 0)
    across = -(-width // tags[322]) if tiled else 1
    offsets, lengths = (tags.get(tag, ()) for tag in ((324, 325) if tiled else (273, 279)))
    compression, colours = tags.get(259, 1), tags.get(262)
    known = colours in _PHOTOMETRIC or (colours == _YCBCR and compression == _JPEG)
    if not known or compression == _OLD_JPEG or tags.get(284, 1) != 1 or not 0 < min(rows, height) * width <= LARGE:
        return None
    if not len(offsets) == len(lengths) == across * -(-height // rows):
        return None
    return _tiff_bands(stream, tags, list(zip(offsets, lengths, strict=True)), across)


def _tiff_bands(stream: IO[bytes], tags: Any, parts: list[tuple[int, int]], across: int) -> Iterator[Image.Image]:
    """Bands of whole rows of strips or tiles, ``across`` of them side by side."""
    tiled = 322 in tags
    rows = tags[323 if tiled else 278]
    step = max(1, rows_of(tags[256]) // rows)  # rows of tiles
    order = "<" if tags.prefix == b"II" else ">"
    layout = {tag: _entry(tags, tag) for tag in _LAYOUT if tag in tags} | {256: (LONG, [tags[256]])}
    places = (324, 325) if tiled else (273, 279)
    for first in range(0, len(parts) // across, step):
        file = io.BytesIO()
        file.write(tags.prefix + struct.pack(order + "HI", 42, 0))
        some = parts[first * across : (first + step) * across]
        offsets = []
        for offset, length in some:
            stream.seek(offset)
            offsets.append(append(file, stream.read(length)))
        entries = layout | {257: (LONG, [min(step * rows, tags[257] - first * rows)])}
        entries |= {places[0]: (LONG, offsets), places[1]: (LONG, [length for _, length in some])}
        if not tiled:
            entries[278] = (LONG, [rows])
        directory(file, order, entries)
        yield _opened(file, "TIFF")


def _entry(tags: Any, tag: int) -> tuple[int, Any]:
    """Type and values of a tag."""
    kind = tags.tagtype[tag]
    value = tags[tag]
    several = value if isinstance(value, (bytes, tuple)) else (value,)
    return (kind if kind in (SHORT, LONG) else UNDEFINED), several
