"""The zip archive of a ``.pth``, checked before torch opens it.

torch writes its archives one way: every record stored as it is, one after the other, in one folder, the directory at
the very end. What is written otherwise is not torch's, and is refused: then nothing can be unpacked to a thousand
times its size, no name leads out of a folder, and Python and torch, who read archives each in their own way, can only
see the same records.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

_END = b"PK\x05\x06"
_END_SIZE = 22
_LOCAL = b"PK\x03\x04"
_LOCAL_SIZE = 30
_MOST_RECORDS = 50_000
_LARGEST_DIRECTORY = 16 << 20
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Record:
    name: str
    first: int
    size: int
    checksum: int


def check_archive(file: BinaryIO, size: int, source: str) -> BinaryIO:
    """Check the archive of a ``.pth`` and every checksum in it; returns its pickle.

    Args:
        file: opened for reading, anywhere.
        size: of the file in bytes.
        source: names it in messages.

    Raises:
        QuantArtError: it is damaged, a TorchScript programme, or not as torch writes archives.
    """
    records = _records(file, size, source)
    folders = {name.split("/")[0] for name in records}
    if len(folders) != 1 or any("/" not in name for name in records):
        raise QuantArtError(f"{source} is an archive, but no checkpoint of torch: unpack it and give the file inside")
    folder = folders.pop()
    inside = {name[len(folder) + 1 :].casefold() for name in records}
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        raise QuantArtError(f"{source} is refused: it is a TorchScript programme, which would be run; get its weights")
    if f"{folder}/data.pkl" not in records:
        raise QuantArtError(f"{source} is an archive, but no checkpoint of torch: it has no data.pkl")
    for record in records.values():
        _check_sum(file, record, source)
    pickled = records[f"{folder}/data.pkl"]
    file.seek(pickled.first)
    return io.BytesIO(file.read(pickled.size))


def _records(file: BinaryIO, size: int, source: str) -> dict[str, _Record]:
    """The records by name, each checked against the file; none compressed, none overlapping another."""
    _check_end(file, size, source)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception:  # besides BadZipFile whatever random bytes make of struct, decode and seek
        raise _damaged(source) from None
    records: dict[str, _Record] = {}
    seen: set[str] = set()
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        shown = printable(entry.filename, 100)
        parts = entry.orig_filename.replace("\\", "/").split("/")
        if ".." in parts or "" in parts or ":" in entry.orig_filename or not entry.orig_filename.isprintable():
            raise QuantArtError(f"{source} is refused: it has a record named {shown}, which leads out of the archive")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
            raise QuantArtError(
                f"{source} is refused: {shown} in it is compressed or encrypted, to {entry.file_size} bytes, "
                "which torch never does"
            )
        if entry.filename.casefold() in seen:
            raise QuantArtError(f"{source} is refused: {shown} is in it twice")
        seen.add(entry.filename.casefold())
        if not 0 <= entry.header_offset < size:
            raise _damaged(source)
        first = _first_byte(file, entry, source)
        if entry.header_offset < end or first + entry.file_size > size:
            raise QuantArtError(f"{source} is refused: {shown} in it shares bytes with another, or goes beyond the end")
        end = first + entry.file_size
        records[entry.filename] = _Record(entry.filename, first, entry.file_size, entry.CRC)
    return records


def _check_end(file: BinaryIO, size: int, source: str) -> None:
    """The directory ends where the file does, lies where it says, and is of a size that can be read into memory.

    An archive has an end of 22 bytes; a large one, and every one of newer torch, has another end of 56 bytes with wider
    numbers and a signpost of 20 bytes to it before that. Both must say the same.
    """
    start = max(size - 56 - 20 - _END_SIZE, 0)
    file.seek(start)
    wide, signpost, end = _split(file.read(size - start))
    if len(end) < _END_SIZE or not end.startswith(_END) or end[20:] != b"\0\0":
        raise _damaged(source)
    count, length, offset = struct.unpack("<HII", end[10:20])
    stop = size - _END_SIZE
    if signpost.startswith(b"PK\x06\x07"):
        stop -= 20 + 56
        if len(wide) < 56 or not wide.startswith(b"PK\x06\x06"):
            raise _damaged(source)
        narrow, (count, length, offset) = (count, length, offset), struct.unpack("<QQQ", wide[32:56])
        for short, long, full in zip(narrow, (count, length, offset), (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True):
            if short not in (long, full):
                raise _damaged(source)
    if offset + length != stop:
        raise _damaged(source)
    if count > _MOST_RECORDS or length > _LARGEST_DIRECTORY:
        raise QuantArtError(f"{source} is refused: an archive of {count} records is no checkpoint")


def _split(tail: bytes) -> tuple[bytes, bytes, bytes]:
    """The last 98 bytes of a file: wide end, signpost, end; what is missing is missing from the front."""
    return tail[: -20 - _END_SIZE], tail[-20 - _END_SIZE : -_END_SIZE], tail[-_END_SIZE:]


def _first_byte(file: BinaryIO, entry: zipfile.ZipInfo, source: str) -> int:
    """Where a record's bytes begin, behind its own header, which must bear the same name."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_SIZE)
    if len(header) < _LOCAL_SIZE or not header.startswith(_LOCAL):
        raise _damaged(source)
    name, extra = struct.unpack("<HH", header[26:30])
    if file.read(name) != entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437"):
        raise _damaged(source)
    return entry.header_offset + _LOCAL_SIZE + name + extra


def _check_sum(file: BinaryIO, record: _Record, source: str) -> None:
    if record.checksum == 0:  # torch can be told to compute none
        return
    file.seek(record.first)
    found, left = 0, record.size
    while left and (piece := file.read(min(left, _PIECE))):
        found = zlib.crc32(piece, found)
        left -= len(piece)
    if left or found != record.checksum:
        name = printable(record.name, 100)
        raise QuantArtError(f"{source} is damaged: {name} in it is not what was written; download it again")


def _damaged(source: str) -> QuantArtError:
    return QuantArtError(f"{source} is a damaged archive, cut short perhaps: download it again")
