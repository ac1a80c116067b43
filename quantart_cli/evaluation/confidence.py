"""Confidence of a score: its spread over random halves of the pictures.

Means, FID and KID are computed from random halves of the outputs and of the artworks, drawn without replacement. For n
values, the standard deviation over random halves is that of the bootstrap (σ²/(n/2) · (1 - 1/2) = σ²/n). The bootstrap
itself draws with replacement: FID and KID would take the repeated pictures for similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_Z = 1.96  # half the width of a 95 % interval in standard deviations
DRAWS = 200


@dataclass(frozen=True)
class Estimate:
    """A score with its confidence.

    Attributes:
        value: of all pictures.
        error: half the width of its 95 % interval.
        draws: the score of each random half; nan where it does not exist.
    """

    value: float
    error: float
    draws: tuple[float, ...] = ()

    @staticmethod
    def of(value: float, draws: Sequence[float]) -> Estimate:
        return Estimate(value, _Z * float(np.nanstd(draws)), tuple(draws))

    def over(self, other: Estimate) -> Estimate | None:
        """The ratio to another score of the same halves, so that common variation cancels; None when other is 0."""
        if other.value == 0 or len(self.draws) != len(other.draws) or 0 in other.draws:
            return None
        return Estimate.of(self.value / other.value, [a / b for a, b in zip(self.draws, other.draws, strict=True)])


def halves(count: int, seed: int, draws: int = DRAWS) -> list[np.ndarray]:
    """Indices of random halves (rounded up, at least 2) of ``count`` items; the same seed gives the same halves."""
    random = np.random.default_rng([seed, count])
    return [np.sort(random.permutation(count)[: max(2, (count + 1) // 2)]) for _ in range(draws)]
