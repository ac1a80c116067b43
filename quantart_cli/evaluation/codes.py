"""Which entries of a codebook are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Use:
    """Use of a codebook.

    Attributes:
        counts: (K,) int64, how often each entry was asked for.
    """

    counts: np.ndarray

    @property
    def used(self) -> int:
        """Entries asked for at all."""
        return int((self.counts > 0).sum())

    @property
    def perplexity(self) -> float:
        """exp of the entropy: as many entries, asked for evenly, would be as hard to guess. nan if none was."""
        shares = self.counts[self.counts > 0] / max(1, self.counts.sum())
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else float("nan")


@contextmanager
def counting(codebook: nn.Module | None) -> Iterator[list[Tensor]]:
    """Collects what a codebook's ``indices`` gives while the body runs: int64 tensors, on their device."""
    found: list[Tensor] = []
    if codebook is None:
        yield found
        return
    asked = codebook.indices

    def indices(*features: Tensor) -> Tensor:
        found.append(asked(*features))
        return found[-1]

    codebook.indices = indices  # an instance's own, found before that of its class
    try:
        yield found
    finally:
        del codebook.indices


def counted(found: list[Tensor], entries: int) -> np.ndarray:
    """How often each of K entries is in them, (K,) int64."""
    counts = np.zeros(entries, np.int64)
    for indices in found:
        counts += torch.bincount(indices.flatten().cpu(), minlength=entries).numpy()
    return counts
