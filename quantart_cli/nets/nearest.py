"""The nearest entry of a codebook, as float32 finds it, at the speed of bf16 where the CPU computes in that.

In bf16 a matrix product of all rows with all entries takes a tenth of the time, and leaves 1.2 entries a row of a
photograph's features (see screening.py), which are compared in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quantart_cli.nets.cpu import bf16_hardware
from quantart_cli.nets.screening import GROUPS, MANY, Bound

_SCORES = 2**24  # bytes of the scores of rows that are compared with the codebook at a time
_WORTH, _WIDE = 2**20, 128  # comparisons and channels, below which it is not worth the steps


@torch.no_grad()
def nearest(rows: Tensor, entries: Tensor) -> Tensor:
    """Index of the nearest entry by Euclidean distance, computed some thousand rows at a time.

    Args:
        rows: (n, D).
        entries: (K, D).

    Returns:
        (n,) int64 in [0, K); of entries equally near any.
    """
    found = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    wide = entries.shape[1] >= _WIDE and len(rows) * len(entries) >= _WORTH
    reduced = wide and rows.device.type == "cpu" and bf16_hardware() is not None
    many = min(len(rows), max(1, _SCORES // len(entries) // (2 if reduced else 4)))
    search = (_Reduced if reduced else _Float32)(entries, many)
    for start in range(0, len(rows), max(many, 1)):
        found[start : start + many] = search(rows[start : start + many])
    return found


class _Float32:
    """All entries compared in the precision they have.

    Args:
        entries: (K, D).
        rows: that are asked for at a time, at most.
    """

    def __init__(self, entries: Tensor, rows: int) -> None:
        self.entries = entries
        self.bias = entries.square().sum(1) / -2  # (K,)
        # One block for the scores of every part: what stays between blocks that go keeps the next from fitting where
        # the last one was.
        self.scores = entries.new_empty(rows, len(entries))

    def __call__(self, p: Tensor) -> Tensor:
        """(n, D) -> (n,)."""
        scores = torch.addmm(self.bias, p, self.entries.T, out=self.scores[: len(p)])
        return scores.max(1).indices  # in less than half the time of argmax


class _Reduced:
    """Most entries ruled out in bf16, the rest compared in float32; arguments as of :class:`_Float32`."""

    def __init__(self, entries: Tensor, rows: int) -> None:
        self.entries = entries
        self.bias, self.table, self.bound = _prepared(entries)
        self.p = self.table.new_ones(rows, len(self.table))
        self.scores = self.table.new_empty(rows, self.table.shape[1])

    def __call__(self, p: Tensor) -> Tensor:
        """(n, D) -> (n,)."""
        reduced = self.p[: len(p)]
        reduced[:, : p.shape[1]] = p
        scores = torch.mm(reduced, self.table, out=self.scores[: len(p)]).view(len(p), -1, GROUPS)
        groups = scores.amax(1).float()  # (n, 128)
        lost = (p - reduced[:, : p.shape[1]].float()).norm(dim=1)
        least = self.bound.least(groups.amax(1), p.norm(dim=1), lost)
        row, group = (groups >= least[:, None]).nonzero(as_tuple=True)
        pair, within = (scores[row, :, group].float() >= least[row, None]).nonzero(as_tuple=True)
        row, entry = row[pair], within * groups.shape[1] + group[pair]
        real = entry < len(self.entries)  # a row that is not finite comes as far as the filling
        row, entry = row[real], entry[real]
        if len(row) > MANY * len(p):
            return _Float32(self.entries, len(p))(p)
        return self._best(p, row, entry)

    def _best(self, p: Tensor, row: Tensor, entry: Tensor) -> Tensor:
        """The best of the candidates, pairs of a row and an entry; a row without any is not finite."""
        found = torch.full((len(p),), -1)
        found[row] = entry
        several = (torch.bincount(row, minlength=len(p)) > 1)[row]
        row, entry = row[several], entry[several]
        exact = (p[row] * self.entries[entry]).sum(1) + self.bias[entry]
        best = exact.new_full((len(p),), -torch.inf).scatter_reduce_(0, row, exact, "amax")
        wins = exact == best[row]
        found[row[wins]] = entry[wins]
        left = (found < 0).nonzero()[:, 0]
        if len(left):
            found[left] = _Float32(self.entries, len(left))(p[left])
        return found


_KEPT = 4  # tables: of the widest codebook as many parts as are searched here
_last: list[tuple[Tensor, tuple[Tensor, Tensor, Bound]]] = []


def _prepared(entries: Tensor) -> tuple[Tensor, Tensor, Bound]:
    """-|e|²/2, and what :func:`screen` makes, its table transposed; kept for some."""
    for copy, made in _last:
        if copy.shape == entries.shape and torch.equal(copy, entries):
            return made
    table, bound = screen(entries)
    made = entries.square().sum(1) / -2, table.T.contiguous(), bound
    _last[:] = [*_last[1 - _KEPT :], (entries.detach().clone(), made)]
    return made


def screen(entries: Tensor) -> tuple[Tensor, Bound]:
    """What rows rounded to bf16, with ones behind, are multiplied with to have their scores.

    Args:
        entries: (K, D) float32.

    Returns:
        (K', D') bf16, multiples of 128 and of 32: ê, and behind it |e|²/2 as the two numbers of bf16 next
        to it; what fills the last group never wins. And what was lost.
    """
    high, bias = entries.bfloat16(), entries.square().sum(1) / -2
    bias_high = bias.bfloat16()
    bias_low = (bias - bias_high.float()).bfloat16()
    count, width = -(-len(entries) // GROUPS) * GROUPS, -(-(entries.shape[1] + 2) // 32) * 32
    table = high.new_zeros(count, width)
    table[:, -1] = -1e30
    table[: len(entries), : entries.shape[1]] = high
    table[: len(entries), -2:] = torch.stack([bias_low, bias_high], 1)
    left = bias - bias_high.float() - bias_low.float()
    lost = (entries - high.float()).norm(dim=1).max()
    return table, Bound(entries.norm(dim=1).max(), lost, left.abs().max())
