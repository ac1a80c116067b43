"""Statistics of styles, remembered: a small folder of files by content, so that a style is encoded once and for all.

``<cache>/styles/<key>`` holds mean and standard deviation as float32 and the sha256 of these bytes. What cannot be
read, is of another length or has another checksum counts as not there; a cache that cannot be written is nobody's
error. No torch in here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable

import numpy as np

from quantart_cli.checkpoints.cache import cache_folder
from quantart_cli.images import Picture

_MOST = 1000  # files of 4 kB; the oldest go
_DIGEST = 32
_FORMAT = "1"


def key_of(picture: Picture, *made_with: str) -> str:
    """Name of a style's file.

    Args:
        picture: as it is encoded, at its final size.
        made_with: whatever else the statistics depend on: sha256 of the encoder, precision, runtime.
    """
    digest = hashlib.sha256(" ".join((_FORMAT, *map(str, picture.size), *made_with)).encode())
    digest.update(picture.rgb)
    if picture.alpha is not None:
        digest.update(picture.alpha)
    return digest.hexdigest()


def through(
    key: str, measure: Callable[[], tuple[np.ndarray, np.ndarray]], channels: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """What is remembered, or else measured now and remembered; arguments and result as in :func:`recall`."""
    known = recall(key, channels)
    if known is None:
        known = measure()
        remember(key, *known)
    return known


def recall(key: str, channels: int = 512) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and standard deviation, (1, C, 1, 1) float32 each; None when they are not known."""
    root = cache_folder()
    if root is None:
        return None
    try:
        data = (root / "styles" / key).read_bytes()
    except OSError:
        return None
    numbers, digest = data[:-_DIGEST], data[-_DIGEST:]
    if len(numbers) != 2 * channels * 4 or hashlib.sha256(numbers).digest() != digest:
        return None
    mean, std = np.frombuffer(numbers, "<f4").reshape(2, 1, channels, 1, 1).astype(np.float32)
    return mean, std


def remember(key: str, mean: np.ndarray, std: np.ndarray) -> None:
    """Keep a style's statistics; arguments as :func:`recall` gives them. Failure to write is silent."""
    numbers = np.stack([mean, std]).astype("<f4").tobytes()
    root = cache_folder()
    if root is None:
        return
    folder = root / "styles"
    temporary = folder / f"{key}.{os.urandom(4).hex()}"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(numbers + hashlib.sha256(numbers).digest())
            os.replace(temporary, folder / key)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        _forget_oldest(folder)


def _forget_oldest(folder: os.PathLike[str]) -> None:
    with os.scandir(folder) as found:
        files = [(entry.stat().st_mtime, entry.path) for entry in found]
    for _, path in sorted(files)[: max(0, len(files) - _MOST)]:
        with contextlib.suppress(OSError):
            os.unlink(path)
