"""The nearest entry of a codebook, as float32 finds it, at the speed of bf16 where the CPU computes in that.

argmin |p - e|² = argmax s with s = p·e - |e|²/2, one matrix product of all rows with all entries. In bf16 it takes a
tenth of the time and is off by at most

    |ŝ - s| ≤ |p - p̂| |e| + |p| |e - ê| + what its own result is rounded by        (Cauchy and Schwarz)

so that every entry with ŝ below the best ŝ by twice that is out. What is left, 1.2 entries a row of a photograph's
features, is compared in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quantart_cli.nets.cpu import bf16_hardware

# Rows compared with the codebook at a time: their similarities to 4096 entries are 16 MB, near the size of a cache.
_ROWS = 1024
_GROUP = 64  # entries of which only the best is looked at first
_WORTH = 2**20  # comparisons, below which it is not worth the steps
_MANY = 8  # candidates a row on average, above which float32 compares all


@torch.no_grad()
def nearest(rows: Tensor, entries: Tensor, project: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Index of the nearest entry by Euclidean distance, computed a thousand rows at a time.

    Args:
        rows: (n, C).
        entries: (K, D).
        project: from C to D channels, where these differ.

    Returns:
        (n,) int64 in [0, K); of entries equally near any.
    """
    found = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    reduced = rows.device.type == "cpu" and bf16_hardware() is not None and len(rows) * len(entries) >= _WORTH
    search = (_Reduced if reduced else _Float32)(entries, min(len(rows), _ROWS))
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        found[start : start + _ROWS] = search(part if project is None else project(part))
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
        return torch.argmax(torch.addmm(self.bias, p, self.entries.T, out=self.scores[: len(p)]), 1)


class _Reduced:
    """Most entries ruled out in bf16, the rest compared in float32; arguments as of :class:`_Float32`."""

    def __init__(self, entries: Tensor, rows: int) -> None:
        self.entries, self.rows = entries, rows
        self.bias = entries.square().sum(1) / -2
        high = entries.bfloat16()
        # The bias goes into the product, as the two numbers of bf16 next to it; what fills the last group never wins.
        bias_high = self.bias.bfloat16()
        bias_low = (self.bias - bias_high.float()).bfloat16()
        width = -(-(entries.shape[1] + 2) // 32) * 32
        count = -(-len(entries) // _GROUP) * _GROUP
        self.table = high.new_zeros(count, width)
        self.table[:, -1] = -1e30
        self.table[: len(entries)] = torch.cat(
            [high, high.new_zeros(len(entries), width - 2 - high.shape[1]), bias_low[:, None], bias_high[:, None]], 1
        )
        self.p = high.new_zeros(rows, width)
        self.p[:, -2:] = 1
        self.scores = high.new_empty(rows, count)
        self.norm = entries.norm(dim=1).max()
        self.lost = (entries - high.float()).norm(dim=1).max()
        self.lost_bias = (self.bias - bias_high.float() - bias_low.float()).abs().max()

    def __call__(self, p: Tensor) -> Tensor:
        """(n, D) -> (n,)."""
        table = self.p[: len(p)]
        table[:, : p.shape[1]] = p
        scores = torch.mm(table, self.table.T, out=self.scores[: len(p)]).view(len(p), -1, _GROUP)
        groups = scores.amax(2).float()  # (n, K / 64)
        best = groups.amax(1)
        # 2⁻¹⁴: float32 adds up some hundreds of products, in whatever order. 2⁻⁷: both results are rounded to 8 bits.
        error = (p - table[:, : p.shape[1]].float()).norm(dim=1) * self.norm + p.norm(dim=1) * (
            self.lost + 2**-14 * self.norm
        )
        least = (best - 2 * (error + self.lost_bias) - 2**-7 * (best.abs() + error))[:, None]
        row, group = (groups >= least).nonzero(as_tuple=True)
        pair, within = (scores[row, group].float() >= least[row]).nonzero(as_tuple=True)
        row, entry = row[pair], group[pair] * _GROUP + within
        real = entry < len(self.entries)  # a row that is not finite comes as far as the filling
        row, entry = row[real], entry[real]
        if len(row) > _MANY * len(p):
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
