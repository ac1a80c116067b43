"""PNG files by their chunks (PNG specification, section 5), and large ones written some rows at a time.

Pillow filters the rows of a band, as it does those of a picture, and zlib compresses them: the pixels of the file are
the same bytes that Pillow would have written.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli.images.ahead import ahead

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the type of colour."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of a chunk lie."""

    kind: bytes
    start: int
    length: int


def chunks(stream: IO[bytes]) -> Iterator[Place]:
    """Those of a file, as far as they can be read; the last one, IEND, is left out."""
    at = len(SIGNATURE)
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length, kind = struct.unpack(">I4s", head)
        yield Place(kind, at + 8, length)
        at += 12 + length


def data_of(stream: IO[bytes], place: Place) -> bytes:
    """The data of a chunk."""
    stream.seek(place.start)
    return stream.read(place.length)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def write_png(file: IO[bytes], size: tuple[int, int], bands: Iterator[np.ndarray], options: dict[str, Any]) -> None:
    """Write a picture band by band.

    Args:
        file: takes the bytes.
        size: (width, height).
        bands: rows from top to bottom, (n, W, 3 or 4) uint8.
        options: of Pillow's writer.
    """
    first = next(bands)
    before, after = _around(_saved(first[:1, :1], options), size)
    file.write(before)
    deflate = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)  # as Pillow has it
    for data in ahead(deflate.compress, _filtered(chain([first], bands)), threads=1):
        _write(file, data)
    _write(file, deflate.flush())
    file.write(after)


def _write(file: IO[bytes], data: bytes) -> None:
    if data:
        file.write(chunk(b"IDAT", data))


def _saved(rows: np.ndarray, options: dict[str, Any]) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "png", **options)
    return file


def _around(sample: io.BytesIO, size: tuple[int, int]) -> tuple[bytes, bytes]:
    """What stands before the pixels and behind them, of a file with all that the picture's own is to say."""
    parts: tuple[list[bytes], list[bytes]] = [SIGNATURE], []
    behind = False
    for place in chunks(sample):
        data = data_of(sample, place)
        if place.kind == b"IDAT":
            behind = True
            continue
        if place.kind == b"IHDR":
            data = struct.pack(">II", *size) + data[8:]
        parts[behind].append(chunk(place.kind, data))
    return b"".join(parts[0]), b"".join([*parts[1], chunk(b"IEND", b"")])


def _filtered(bands: Iterable[np.ndarray]) -> Iterator[bytes]:
    """Rows as they are compressed, each with the filter that Pillow chooses, the first ones with the row above them."""
    above: np.ndarray | None = None
    for rows in bands:
        width, channels = rows.shape[1:]
        file = _saved(rows if above is None else np.concatenate([above, rows]), {"compress_level": 0})
        pixels = b"".join(data_of(file, place) for place in chunks(file) if place.kind == b"IDAT")
        yield zlib.decompress(pixels)[0 if above is None else 1 + channels * width :]
        above = rows[-1:].copy()
