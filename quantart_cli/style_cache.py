"""The statistics of styles on the disk: a folder of small files, so that a style is encoded only once.

``<cache>/styles/<key>`` holds mean and standard deviation as float32, and the sha256 of these bytes. A file that cannot
be read, or has another length or checksum, counts as missing. A cache that cannot be written is no error. Does not
import torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from quantart_cli.checkpoints.cache import cache_folder
from quantart_cli.images import Picture
from quantart_cli.stages import Moments

_MOST = 1000  # files of 4 kB; the oldest are removed
_DIGEST = 32
_FORMAT = "2"


def key_of(picture: Picture, *made_with: str) -> str:
    """Name of a style's file.

    Args:
        picture: as it is encoded, at its final size.
        made_with: everything else the statistics depend on: method, sha256 of the weights, precision, backend.
    """
    digest = hashlib.sha256(" ".join((_FORMAT, *map(str, picture.size), *made_with)).encode())
    digest.update(picture.rgb)
    if picture.alpha is not None:
        digest.update(picture.alpha)
    return digest.hexdigest()


def get_or_compute(key: str, compute: Callable[[], Moments]) -> Moments:
    """The stored moments, or those computed now, which are then stored."""
    known = get(key)
    if known is None:
        known = compute()
        if isinstance(known, Moments):
            put(key, known)
    return known


def get(key: str) -> Moments | None:
    """The moments stored under a key; None if there are none."""
    try:
        data = _folder().joinpath(key).read_bytes()
    except (OSError, TypeError):
        return None
    numbers, digest = data[:-_DIGEST], data[-_DIGEST:]
    if len(numbers) % 8 or not numbers or hashlib.sha256(numbers).digest() != digest:
        return None
    mean, std = np.frombuffer(numbers, "<f4").reshape(2, -1).astype(np.float32)
    return Moments(mean, std)


def put(key: str, moments: Moments) -> None:
    """Store moments; a failure to write is ignored."""
    numbers = np.stack([moments.mean, moments.std]).astype("<f4").tobytes()
    with contextlib.suppress(OSError, TypeError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{key}.{os.urandom(4).hex()}"
        try:
            temporary.write_bytes(numbers + hashlib.sha256(numbers).digest())
            os.replace(temporary, folder / key)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        _remove_oldest(folder)


def _folder() -> Path:
    return cache_folder() / "styles"


def _remove_oldest(folder: Path) -> None:
    with os.scandir(folder) as found:
        files = [(entry.stat().st_mtime, entry.path) for entry in found]
    for _, path in sorted(files)[: max(0, len(files) - _MOST)]:
        with contextlib.suppress(OSError):
            os.unlink(path)
