"""Which entries of a codebook bf16 rules out.

argmin |p - e|² = argmax s with s = p·e - |e|²/2. Computed from p̂ and ê, rounded to bf16, s is off by at most

    |ŝ - s| ≤ |p - p̂| |e| + |p| |e - ê| + what sums and the result are rounded by        (Cauchy and Schwarz)

so an entry whose ŝ lies further than twice that below the best ŝ is not the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GROUPS = 128
"""Groups of entries of which only the best is looked at first. An entry's place counts through them, so that a row's
maxima are those of whole vectors: five times as fast as of what is no multiple of 64."""
MANY = 8
"""Candidates a row on average, above which all entries had better be compared in float32."""
_SUMS = 2**-14  # of |p| |e|, when float32 adds up some hundreds of products in whatever order
_RESULT = 2**-8  # of ŝ, for 8 bits


@dataclass(frozen=True)
class Bound:
    """What is lost of the entries, each the largest over all of them.

    Attributes:
        norm: |e|.
        lost: |e - ê|.
        lost_bias: of |e|²/2.
    """

    norm: Any
    lost: Any
    lost_bias: Any

    def least(self, best: Any, norm: Any, lost: Any) -> Any:
        """The ŝ below which entries are out, (n,).

        Args:
            best: (n,) the best ŝ of each row.
            norm: (n,) |p|.
            lost: (n,) |p - p̂|.
        """
        error = lost * self.norm + norm * (self.lost + _SUMS * self.norm) + self.lost_bias
        return best - 2 * (error + _RESULT * (abs(best) + error))
