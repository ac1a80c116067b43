"""Bytes on their way: checksums, bounded copies, and telling how far they are. No torch here."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

Progress = Callable[[int, "int | None", str], None]
"""Told bytes done, bytes in all (None: not known) and what is being done."""

_PIECE = 1 << 20
_LOOK_EVERY = 0.2


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """sha256 of a file, read in pieces of 1 MB. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    _feed(path, digest, progress)
    return digest.hexdigest()


def other_bytes(found: str, wanted: str) -> str:
    """What to say of two checksums that differ: as many digits of each as show it."""
    alike = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), 0)
    shown = max(12, alike + 4)
    return f"sha256 {found[:shown]}…, not {wanted[:shown]}…"


def git_sha1_of(path: Path) -> str:
    """Git's name of a file's bytes, by which the Hub knows files that are not in large file storage."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    _feed(path, digest, None)
    return digest.hexdigest()


def copy_hashed(source: IO[bytes], target: IO[bytes], limit: int) -> tuple[int, str]:
    """Copy a stream, at most ``limit`` bytes and one more if there are more; returns how many came and their sha256."""
    digest = hashlib.sha256()
    copied = 0
    while copied <= limit and (piece := source.read(min(_PIECE, limit + 1 - copied))):
        digest.update(piece)
        target.write(piece)
        copied += len(piece)
    return copied, digest.hexdigest()


@contextmanager
def watching(size: Callable[[], int], total: int | None, words: str, progress: Progress | None) -> Iterator[None]:
    """Tell the growth of what somebody else writes while the body runs, by looking at it."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY):
            with suppress(OSError):
                progress(size(), total, words)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _feed(path: Path, digest: hashlib._Hash, progress: Progress | None) -> None:
    with path.open("rb") as file:
        total = path.stat().st_size
        while piece := file.read(_PIECE):
            digest.update(piece)
            if progress is not None:
                progress(file.tell(), total, "verifying")
