"""nets/nearest.py for arrays of numpy; what entries are ruled out by is told in nets/screening.py."""

from __future__ import annotations

import numpy as np

from quantart_cli.fast.networks import Network
from quantart_cli.fast.widths import rounded
from quantart_cli.nets.screening import MANY, Bound


class Search:
    """The nearest entry of one part of a codebook by Euclidean distance, as float32 finds it.

    Args:
        scores: the network of that name.
        entries: (K, D) float32.
        part: which those are.
    """

    def __init__(self, scores: Network, entries: np.ndarray, part: int = 0) -> None:
        self.scores, self.entries, self.part = scores, entries, np.array([part])
        self.width = int(scores.compiled.input(0).get_partial_shape()[1].get_length())
        self.bias = np.einsum("kd,kd->k", entries, entries) / -2
        high = rounded(self.bias.copy())
        low = rounded(self.bias - high)
        lost = _norms(entries - rounded(entries.copy())).max()
        self.bound = Bound(_norms(entries).max(), lost, np.abs(self.bias - high - low).max())

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, D) float32 -> (n,) in [0, K); of entries equally near any."""
        reduced = np.ones((len(points), self.width), np.float32)
        reduced[:, : points.shape[1]] = near = rounded(points.copy())
        scores, groups = self.scores.all(reduced, self.part)
        least = self.bound.least(groups.max(1), _norms(points), _norms(points - near))
        row, group = np.nonzero(groups >= least[:, None])
        pair, within = np.nonzero(scores[row, :, group] >= least[row, None])
        row, entry = row[pair], within * groups.shape[1] + group[pair]
        real = entry < len(self.entries)  # a row that is not finite comes as far as the filling
        row, entry = row[real], entry[real]
        if len(row) > MANY * len(points) or len(row) == 0:
            return self._all(points)
        return self._best(points, row, entry)

    def _best(self, points: np.ndarray, row: np.ndarray, entry: np.ndarray) -> np.ndarray:
        """The best of the candidates, pairs of a row and an entry, rows in order; one without any is not finite."""
        found = np.full(len(points), -1)
        found[row] = entry
        several = np.bincount(row, minlength=len(points))[row] > 1
        row, entry = row[several], entry[several]
        if len(row):
            exact = np.einsum("nd,nd->n", points[row], self.entries[entry]) + self.bias[entry]
            best = np.full(len(points), -np.inf, np.float32)
            first = np.flatnonzero(np.diff(row, prepend=-1))
            best[row[first]] = np.maximum.reduceat(exact, first)
            wins = exact == best[row]
            found[row[wins]] = entry[wins]
        left = found < 0
        if left.any():
            found[left] = self._all(points[left])
        return found

    def _all(self, points: np.ndarray) -> np.ndarray:
        """All entries compared in float32."""
        return (points @ self.entries.T + self.bias).argmax(1)


def _norms(rows: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", rows, rows))
