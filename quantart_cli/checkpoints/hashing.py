"""Checksums of files, and copying with a checksum. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

Progress = Callable[[int, "int | None", str], None]
"""Called with bytes done, bytes in total (None: unknown) and a word for the current step."""

_CHUNK = 1 << 20


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """The sha256 of a file as hexadecimal digits. Raises OSError when the file cannot be read."""
    return _digest(path, hashlib.sha256(), progress)


def git_sha1_of(path: Path) -> str:
    """The git object id of a file: the Hub's checksum of a file that is not in large file storage."""
    header = b"blob %d\0" % path.stat().st_size
    return _digest(path, hashlib.sha1(header, usedforsecurity=False), None)


def copy_hashed(
    source: IO[bytes], target: IO[bytes], limit: int, progress: Callable[[int], None] = lambda _: None
) -> tuple[int, str]:
    """Copy at most ``limit`` bytes, plus one if there are more; returns the number of bytes and their sha256."""
    digest, copied = hashlib.sha256(), 0
    while copied <= limit and (chunk := source.read(min(_CHUNK, limit + 1 - copied))):
        digest.update(chunk)
        target.write(chunk)
        copied += len(chunk)
        progress(copied)
    return copied, digest.hexdigest()


def difference(found: str, wanted: str) -> str:
    """Two different checksums for a message, shortened to where they differ."""
    equal = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), 0)
    digits = max(12, equal + 4)
    return f"sha256 {found[:digits]}…, not {wanted[:digits]}…"


def _digest(path: Path, digest: hashlib._Hash, progress: Progress | None) -> str:
    with path.open("rb") as file:
        total = path.stat().st_size
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress is not None:
                progress(file.tell(), total, "verifying")
    return digest.hexdigest()
