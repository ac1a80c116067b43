"""nets/nearest.py for arrays of numpy."""

from __future__ import annotations

import numpy as np


class Search:
    """The nearest entry of one part of a codebook by Euclidean distance.

    argmin |p - e|² = argmax p·e - |e|²/2: one product, of points with a one behind them.

    Args:
        entries: (K, D) float32.
        rows: that are asked for at a time, at most.
    """

    def __init__(self, entries: np.ndarray, rows: int) -> None:
        self.entries = entries
        bias = np.einsum("kd,kd->k", entries, entries) / -2
        self._table = np.ascontiguousarray(np.concatenate([entries, bias[:, None]], 1).T)  # (D + 1, K)
        self._points = np.ones((rows, len(self._table)), np.float32)
        self._scores = np.empty((rows, len(entries)), np.float32)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, D) float32 -> (n,) in [0, K); of entries equally near any."""
        count = len(points)
        self._points[:count, :-1] = points
        return np.matmul(self._points[:count], self._table, out=self._scores[:count]).argmax(1)
