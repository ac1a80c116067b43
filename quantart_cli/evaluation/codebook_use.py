"""Which entries of a learned codebook a method looks up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


class CodebookUse:
    """Counts look-ups, picture by picture.

    Args:
        codebook: has ``indices(*features)``, which returns int64 numbers of entries, and ``size``.
    """

    def __init__(self, codebook: Any) -> None:
        self.entries = int(codebook.size)
        self._codebook = codebook
        self._counts: dict[str, np.ndarray] = {}

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count while the body runs; a picture of the same name replaces its counts."""
        counts = np.zeros(self.entries, np.int64)
        look_up = self._codebook.indices

        def indices(*features: Tensor) -> Tensor:
            found: Tensor = look_up(*features)
            np.add(counts, torch.bincount(found.flatten().cpu(), minlength=self.entries).numpy(), out=counts)
            return found

        self._codebook.indices = indices  # an attribute of the instance is found before the method of its class
        try:
            yield
        finally:
            del self._codebook.indices
        self._counts[name] = counts

    @property
    def counts(self) -> np.ndarray:
        """(entries,) int64, of all pictures."""
        return sum(self._counts.values(), np.zeros(self.entries, np.int64))

    @property
    def used(self) -> int:
        """Entries that were looked up at all."""
        return int((self.counts > 0).sum())

    @property
    def perplexity(self) -> float:
        """exp of the entropy: the number of entries that, used equally often, have this entropy. nan without any."""
        counts = self.counts[self.counts > 0]
        shares = counts / max(1, counts.sum())
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else float("nan")
