"""A TIFF written around an EXIF block, so that camera tags, GPS and maker notes stay as they are.

An EXIF block is itself a small TIFF file. Laid at the start of the file it keeps every offset in it valid; the
strips, the profile and a new first directory follow. (Pillow writes these directories anew, and only some of them
when it compresses.)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import IO

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.images.ahead import ahead
from quantart_cli.images.exif import EXIF_IFD, GPS_IFD, Block
from quantart_cli.images.metadata import DESCRIPTIVE_TAGS
from quantart_cli.images.names import printable
from quantart_cli.images.picture import Picture
from quantart_cli.pages import let_go

BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 1, 3, 4, 5, 7
_CODES = {SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B", BYTE: "B"}
_MOST = 0xFFFFFFFF
_THREADS = 4
_STRIP_BYTES = 1 << 20


def write_tiff(file: IO[bytes], picture: Picture, exif: bytes | None, xmp: bytes | None, profile: bytes) -> None:
    """A TIFF 6.0 file: RGB or RGB with unassociated alpha, 8 bits, deflate with the horizontal predictor.

    Args:
        file: takes the bytes, from its beginning; it can seek.
        picture: any size.
        exif: a TIFF block whose directories can be read (``exif.cleaned``), or None.
        xmp: an XMP packet, or None.
        profile: an ICC profile.

    Raises:
        QuantArtError: the file would be larger than 4 GB, which TIFF cannot hold.
    """
    block = Block(exif or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    file.write(block.data)
    samples = 3 if picture.alpha is None else 4
    rows = max(1, _STRIP_BYTES // (picture.width * samples))
    try:
        offsets, lengths = _strips(file, picture, rows)
        entries = _inherited(block)
        entries |= {
            256: (LONG, [picture.width]),
            257: (LONG, [picture.height]),
            258: (SHORT, [8] * samples),
            259: (SHORT, [8]),  # deflate
            262: (SHORT, [2]),  # RGB
            273: (LONG, offsets),
            277: (SHORT, [samples]),
            278: (LONG, [rows]),
            279: (LONG, lengths),
            284: (SHORT, [1]),
            317: (SHORT, [2]),  # horizontal predictor
            34675: (UNDEFINED, profile),
        }
        if samples == 4:
            entries[338] = (SHORT, [2])  # unassociated alpha
        if xmp:
            entries[700] = (BYTE, xmp)
        if picture.metadata.dpi:
            across, down = ([round(value * 1000), 1000] for value in picture.metadata.dpi)
            entries |= {282: (RATIONAL, across), 283: (RATIONAL, down), 296: (SHORT, [2])}
        directory(file, block.order, entries)
    except OverflowError:
        named = printable(picture.name)
        raise QuantArtError(f"{named} is too large for a TIFF file (4 GB): write a .png") from None


def _strips(file: IO[bytes], picture: Picture, rows: int) -> tuple[list[int], list[int]]:
    """Write the pixels, so many rows a strip; where each strip begins, and its length."""

    def compressed(top: int) -> bytes:
        return zlib.compress(_predicted(picture, top, top + rows), 6)

    tops = range(0, picture.height, rows)
    offsets, lengths = [], []
    for strip in ahead(compressed, tops, _THREADS) if len(tops) > _THREADS else map(compressed, tops):
        offsets.append(append(file, strip))
        lengths.append(len(strip))
        let_go()
    return offsets, lengths


def _predicted(picture: Picture, top: int, bottom: int) -> bytes:
    """Rows ``top`` to ``bottom``, each sample less the one to its left."""
    strip = picture.rgb[top:bottom]
    if picture.alpha is not None:
        strip = np.concatenate([strip, picture.alpha[top:bottom, :, None]], axis=2)
    return np.diff(strip, axis=1, prepend=np.uint8(0)).tobytes()


def append(file: IO[bytes], data: bytes) -> int:
    """Add ``data`` at an even offset and return that. Raises OverflowError beyond what TIFF counts to."""
    offset = file.tell()
    if offset % 2:
        offset += file.write(b"\0")
    if offset + len(data) > _MOST:
        raise OverflowError
    file.write(data)
    return offset


def _inherited(block: Block) -> dict[int, bytes | tuple]:
    """The entries of the EXIF block's first directory that describe the picture, verbatim: offsets stay valid."""
    wanted = (*DESCRIPTIVE_TAGS, EXIF_IFD, GPS_IFD)
    found = {block.number(at, "H"): bytes(block.data[at : at + 12]) for at in block.entries(block.number(4, "I"))}
    return {tag: entry for tag, entry in found.items() if tag in wanted}


def directory(file: IO[bytes], order: str, entries: Mapping[int, bytes | tuple]) -> None:
    """Add the directory of ``entries`` (verbatim, or type and values) and let the header point at it."""
    packed = []
    for tag, entry in sorted(entries.items()):
        if isinstance(entry, bytes):
            packed.append(entry)
            continue
        kind, values = entry
        data = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
        count = len(values) // (2 if kind == RATIONAL else 1)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", append(file, data))
        packed.append(struct.pack(f"{order}HHI", tag, kind, count) + place)
    offset = append(file, struct.pack(f"{order}H", len(packed)) + b"".join(packed) + bytes(4))
    file.seek(4)
    file.write(struct.pack(f"{order}I", offset))
