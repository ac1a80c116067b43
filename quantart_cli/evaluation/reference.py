"""Inception features of the reference artworks, in a cache: they are the same for every system."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from quantart_cli.checkpoints.cache import cache_folder
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.inception import FEATURES
from quantart_cli.evaluation.pictures import square
from quantart_cli.images.output import write_atomically

_FILES = 20  # of 8 kB for each picture; the oldest are removed
_FORMAT = 1  # raised when pictures are prepared in another way


def features_of(
    paths: Sequence[Path],
    size: int,
    network: Callable[[np.ndarray], np.ndarray],
    checksum: str,
    progress: Callable[[int, int], None],
    warn: Callable[[str], None],
) -> np.ndarray:
    """Features of artworks as squares, (n, 2048) float32, from the cache when nothing has changed.

    Args:
        paths: files; those that cannot be read are left out with a warning.
        size: side of the squares.
        network: (size, size, 3) uint8 sRGB -> (2048,) float32.
        checksum: sha256 of the network.
        progress: called with (pictures done, pictures in all).
        warn: called with one line for each picture left out.

    Raises:
        QuantArtError: fewer than two of them can be read.
    """
    file = cache_folder() / "evaluation" / f"{_key(paths, size, checksum)}.npy"
    cached = _get(file, len(paths))
    if cached is not None:
        return cached
    rows = []
    for number, path in enumerate(paths, 1):
        try:
            rows.append(network(square(path, size)))
        except QuantArtError as error:
            warn(f"{error}: left out")
        progress(number, len(paths))
    if len(rows) < 2:
        raise QuantArtError(f"{len(rows)} of the {len(paths)} artworks can be read: at least 2 are needed")
    features = np.stack(rows)
    if len(rows) == len(paths):
        _put(file, features)
    return features


def _key(paths: Sequence[Path], size: int, checksum: str) -> str:
    files = []
    for path in paths:
        with contextlib.suppress(OSError):  # reading it will say so
            status = path.stat()
            files.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps([_FORMAT, size, checksum, files]).encode()).hexdigest()[:32]


def _get(file: Path, count: int) -> np.ndarray | None:
    """The cached features, unless the file is missing or damaged."""
    try:
        features = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(features, np.ndarray) and features.shape == (count, FEATURES) and features.dtype == np.float32
    return features if fits and np.isfinite(features).all() else None


def _put(file: Path, features: np.ndarray) -> None:
    """A cache that cannot be written is no error."""
    data = io.BytesIO()
    np.save(data, features)
    with contextlib.suppress(OSError, QuantArtError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(str(file), data.getvalue())
        files = sorted(file.parent.glob("*.npy"), key=lambda path: path.stat().st_mtime)
        for old in files[:-_FILES]:
            os.unlink(old)
