"""The statistics of styles in the cache on the disk, so that a style is encoded only once. Does not import torch.

An entry is mean and standard deviation as float32. A cache that cannot be read or written is no error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from quantart_cli.checkpoints import cache
from quantart_cli.images import Picture
from quantart_cli.stages import Moments

_FORMAT = "2"


def key_of(picture: Picture, *made_with: str) -> str:
    """Name of a style's file.

    Args:
        picture: as it is encoded, at its final size.
        made_with: everything else the statistics depend on: method, sha256 of the weights, precision, backend.
    """
    digest = hashlib.sha256(" ".join((_FORMAT, *map(str, picture.size), *made_with)).encode())
    digest.update(picture.rgb.data)
    if picture.alpha is not None:
        digest.update(picture.alpha.data)
    return digest.hexdigest()


def get_or_compute(key: str, compute: Callable[[], Moments]) -> Moments:
    """The stored moments, or those computed now, which are then stored."""
    known = get(key)
    if known is None:
        known = compute()
        put(key, known)
    return known


def get(key: str) -> Moments | None:
    """The moments stored under a key; None if there are none."""
    data = cache.get(f"styles/{key}")
    if not data or len(data) % 8:
        return None
    mean, std = np.frombuffer(data, "<f4").reshape(2, -1).astype(np.float32)
    return Moments(mean, std)


def put(key: str, moments: Moments) -> None:
    """Store moments."""
    cache.put(f"styles/{key}", np.stack([moments.mean, moments.std]).astype("<f4").tobytes())
