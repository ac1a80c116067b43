"""Features of the reference artworks, remembered: they are the same for whatever is measured against them."""

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

_MOST = 20  # files of 8 kB a picture; the oldest go
_FORMAT = 1  # of the features: raised whenever pictures are prepared in another way

Network = Callable[[np.ndarray], np.ndarray]


def features_of(
    paths: Sequence[Path],
    size: int,
    network: Network,
    checksum: str,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> np.ndarray:
    """Features of artworks as squares, (n, 2048) float32, from the cache when nothing has changed.

    Args:
        paths: files; those that cannot be read are left out, and told.
        size: side of the squares.
        network: computes them.
        checksum: sha256 of the network.
        progress: called with (pictures done, pictures in all).
        tell: told one line for each picture left out.

    Raises:
        QuantArtError: fewer than two of them can be read.
    """
    kept = (cache_folder() or Path(os.devnull)) / "evaluation" / f"{_key(paths, size, checksum)}.npy"
    known = _recall(kept, len(paths))
    if known is not None:
        return known
    rows = []
    for number, path in enumerate(paths, 1):
        try:
            rows.append(network(square(path, size)))
        except QuantArtError as error:
            tell(f"{error}: left out")
        progress(number, len(paths))
    if len(rows) < 2:
        raise QuantArtError(f"{len(rows)} of the {len(paths)} artworks can be read: at least 2 are needed")
    features = np.stack(rows)
    if len(rows) == len(paths):
        _remember(kept, features)
    return features


def _key(paths: Sequence[Path], size: int, checksum: str) -> str:
    files = []
    for path in paths:
        with contextlib.suppress(OSError):  # told when it is read
            status = path.stat()
            files.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps([_FORMAT, size, checksum, files]).encode()).hexdigest()[:32]


def _recall(kept: Path, count: int) -> np.ndarray | None:
    """What is remembered, when it is what it should be."""
    try:
        features = np.load(io.BytesIO(kept.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(features, np.ndarray) and features.shape == (count, FEATURES) and features.dtype == np.float32
    return features if fits and np.isfinite(features).all() else None


def _remember(kept: Path, features: np.ndarray) -> None:
    """A cache that cannot be written is nobody's error."""
    data = io.BytesIO()
    np.save(data, features)
    with contextlib.suppress(OSError, QuantArtError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(str(kept), data.getvalue())
        with os.scandir(kept.parent) as found:
            files = sorted((entry.stat().st_mtime, entry.path) for entry in found if entry.name.endswith(".npy"))
        for _, path in files[: max(0, len(files) - _MOST)]:
            os.unlink(path)
