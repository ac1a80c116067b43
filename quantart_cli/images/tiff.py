"""A TIFF written around an EXIF block. Our own, because Pillow and libvips rewrite EXIF and break maker notes.

An EXIF block is itself a small TIFF file. At the start of the file every offset in it stays valid; the strips, the
profile and a new first directory follow.
"""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images.exif import EXIF_IFD, GPS_IFD, Block
from quantart_cli.images.metadata import DESCRIPTIVE_TAGS, exif_of, xmp_of
from quantart_cli.images.picture import Picture
from quantart_cli.scratch import release

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_CODES = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _UNDEFINED: "B", _BYTE: "B"}
_THREADS = 4
_STRIP_BYTES = 1 << 20

Entry = bytes | tuple[int, Any]
"""A directory entry: twelve bytes as they are, or a type and its values."""


def write_tiff(file: IO[bytes], picture: Picture, profile: bytes) -> None:
    """Write a TIFF 6.0 file: RGB or RGB with unassociated alpha, 8 bits, deflate with the horizontal predictor.

    Args:
        file: takes the bytes, from its beginning; it can seek.
        profile: an ICC profile.

    Raises:
        QuantArtError: the file would be larger than 4 GB, which TIFF cannot hold.
    """
    block = Block(exif_of(picture) or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    file.write(block.data)
    samples = 3 if picture.alpha is None else 4
    rows = max(1, _STRIP_BYTES // (picture.width * samples))
    try:
        offsets, lengths = _write_strips(file, picture, rows)
        entries = _inherited(block) | {
            256: (_LONG, [picture.width]),
            257: (_LONG, [picture.height]),
            258: (_SHORT, [8] * samples),
            259: (_SHORT, [8]),  # deflate
            262: (_SHORT, [2]),  # RGB
            273: (_LONG, offsets),
            277: (_SHORT, [samples]),
            278: (_LONG, [rows]),
            279: (_LONG, lengths),
            284: (_SHORT, [1]),
            317: (_SHORT, [2]),  # horizontal predictor
            34675: (_UNDEFINED, profile),
        }
        if samples == 4:
            entries[338] = (_SHORT, [2])  # unassociated alpha
        if xmp := xmp_of(picture):
            entries[700] = (_BYTE, xmp)
        if picture.metadata.dpi:
            across, down = ([round(value * 1000), 1000] for value in picture.metadata.dpi)
            entries |= {282: (_RATIONAL, across), 283: (_RATIONAL, down), 296: (_SHORT, [2])}
        _write_directory(file, block.order, entries)
    except OverflowError:
        named = printable(picture.name)
        raise QuantArtError(f"{named} is too large for a TIFF file (4 GB): write a .png") from None


def _write_strips(file: IO[bytes], picture: Picture, rows: int) -> tuple[list[int], list[int]]:
    """Write the pixels, ``rows`` rows a strip; where each strip begins, and its length in bytes."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    def compressed(top: int) -> bytes:
        strip = picture.rgb[top : top + rows]
        if picture.alpha is not None:
            strip = np.concatenate([strip, picture.alpha[top : top + rows, :, None]], axis=2)
        return zlib.compress(np.diff(strip, axis=1, prepend=np.uint8(0)).tobytes(), 6)

    tops = range(0, picture.height, rows)
    offsets, lengths = [], []
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(tops), 2 * _THREADS):  # groups, so that few strips wait to be written
            for strip in pool.map(compressed, tops[first : first + 2 * _THREADS]):
                offsets.append(_append(file, strip))
                lengths.append(len(strip))
            release()
    return offsets, lengths


def _append(file: IO[bytes], data: bytes) -> int:
    """Add ``data`` at an even offset and return that. Raises OverflowError beyond what TIFF can address."""
    offset = file.tell()
    if offset % 2:
        offset += file.write(b"\0")
    if offset + len(data) > 0xFFFFFFFF:
        raise OverflowError
    file.write(data)
    return offset


def _inherited(block: Block) -> dict[int, Entry]:
    """The entries of the EXIF block's first directory that describe the picture, verbatim: their offsets are valid."""
    wanted = (*DESCRIPTIVE_TAGS, EXIF_IFD, GPS_IFD)
    found = {block.number(at, "H"): bytes(block.data[at : at + 12]) for at in block.entries(block.number(4, "I"))}
    return {tag: entry for tag, entry in found.items() if tag in wanted}


def _write_directory(file: IO[bytes], order: str, entries: dict[int, Entry]) -> None:
    """Add the directory of ``entries`` and make the file's header point to it."""
    packed = []
    for tag, entry in sorted(entries.items()):
        if isinstance(entry, tuple):
            field_type, values = entry
            data = struct.pack(f"{order}{len(values)}{_CODES[field_type]}", *values)
            count = len(values) // (2 if field_type == _RATIONAL else 1)
            inline = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", _append(file, data))
            entry = struct.pack(f"{order}HHI", tag, field_type, count) + inline
        packed.append(entry)
    offset = _append(file, struct.pack(f"{order}H", len(packed)) + b"".join(packed) + bytes(4))
    file.seek(4)
    file.write(struct.pack(f"{order}I", offset))
