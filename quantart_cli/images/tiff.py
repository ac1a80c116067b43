"""A TIFF written around an EXIF block, so that camera tags, GPS and maker notes stay as they are.

An EXIF block is itself a small TIFF file. Laid at the start of the file it keeps every offset in it valid; the
strips, the profile and a new first directory follow. (Pillow writes these directories anew, and only some of them
when it compresses.)
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.images.exif import EXIF_IFD, GPS_IFD, Block
from quantart_cli.images.metadata import DESCRIPTIVE_TAGS
from quantart_cli.images.names import printable
from quantart_cli.images.picture import Picture

_SHORT, _LONG, _RATIONAL, _UNDEFINED, _BYTE = 3, 4, 5, 7, 1
_CODES = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _UNDEFINED: "B", _BYTE: "B"}
_STRIP_BYTES = 1 << 20


def encode_tiff(picture: Picture, exif: bytes | None, xmp: bytes | None, profile: bytes) -> bytes:
    """A TIFF 6.0 file: RGB or RGB with unassociated alpha, 8 bits, deflate with the horizontal predictor.

    Args:
        picture: any size.
        exif: a TIFF block whose directories can be read (``exif.cleaned``), or None.
        xmp: an XMP packet, or None.
        profile: an ICC profile.

    Raises:
        QuantArtError: the file would be larger than 4 GB, which TIFF cannot hold.
    """
    block = Block(exif or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    file = bytearray(block.data)
    order = block.order
    samples = 3 if picture.alpha is None else 4
    rows = max(1, _STRIP_BYTES // (picture.width * samples))
    offsets, lengths = [], []
    for top in range(0, picture.height, rows):
        strip = zlib.compress(_predicted(picture, top, top + rows), 6)
        offsets.append(_append(file, strip))
        lengths.append(len(strip))
    entries = _inherited(block)
    entries |= {
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
    if xmp:
        entries[700] = (_BYTE, xmp)
    if picture.metadata.dpi:
        across, down = ([round(value * 1000), 1000] for value in picture.metadata.dpi)
        entries |= {282: (_RATIONAL, across), 283: (_RATIONAL, down), 296: (_SHORT, [2])}
    _directory(file, order, entries)
    if len(file) > 0xFFFFFFFF:
        raise QuantArtError(f"{printable(picture.name)} is too large for a TIFF file (4 GB): write a .png")
    return bytes(file)


def _predicted(picture: Picture, top: int, bottom: int) -> bytes:
    """Rows ``top`` to ``bottom``, each sample less the one to its left."""
    strip = picture.rgb[top:bottom]
    if picture.alpha is not None:
        strip = np.concatenate([strip, picture.alpha[top:bottom, :, None]], axis=2)
    return np.diff(strip, axis=1, prepend=np.uint8(0)).tobytes()


def _append(file: bytearray, data: bytes) -> int:
    """Add ``data`` at an even offset and return that."""
    if len(file) % 2:
        file.append(0)
    offset = len(file)
    file += data
    return offset


def _inherited(block: Block) -> dict[int, bytes | tuple]:
    """The entries of the EXIF block's first directory that describe the picture, verbatim: offsets stay valid."""
    wanted = (*DESCRIPTIVE_TAGS, EXIF_IFD, GPS_IFD)
    found = {block.number(at, "H"): bytes(block.data[at : at + 12]) for at in block.entries(block.number(4, "I"))}
    return {tag: entry for tag, entry in found.items() if tag in wanted}


def _directory(file: bytearray, order: str, entries: dict[int, bytes | tuple]) -> None:
    """Add the directory of ``entries`` (verbatim, or type and values) and let the header point at it."""
    packed = []
    for tag, entry in sorted(entries.items()):
        if isinstance(entry, bytes):
            packed.append(entry)
            continue
        kind, values = entry
        data = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
        count = len(values) // (2 if kind == _RATIONAL else 1)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", _append(file, data))
        packed.append(struct.pack(f"{order}HHI", tag, kind, count) + place)
    body = struct.pack(f"{order}H", len(packed)) + b"".join(packed) + bytes(4)
    struct.pack_into(f"{order}I", file, 4, _append(file, body))
