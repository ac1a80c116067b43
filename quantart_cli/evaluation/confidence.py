"""How far a number may be trusted: the spread of what half of the pictures say.

Means, FID and KID are computed again and again from random halves of the outputs and of the artworks, drawn without
replacement. For n values the standard deviation over random halves is that of the whole, as the bootstrap finds it
(σ²/(n/2) · (1 - 1/2) = σ²/n); but drawing with replacement, as the bootstrap does, would show FID and KID pictures
twice, which both take for likeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Half the width of an interval that holds the truth 95 times of 100, in standard deviations.
_WIDE = 1.96
DRAWS = 200


@dataclass(frozen=True)
class Estimate:
    """A number and how far the truth may be from it.

    Attributes:
        value: from all pictures.
        error: half the width of its 95 % interval.
        draws: the number from each random half, for comparisons.
    """

    value: float
    error: float
    draws: tuple[float, ...] = ()

    @staticmethod
    def of(value: float, draws: Sequence[float]) -> Estimate:
        return Estimate(value, _WIDE * float(np.nanstd(draws)), tuple(draws))

    def over(self, other: Estimate) -> Estimate | None:
        """The ratio to another, drawn with the same halves, so that what both share cancels; None where other is 0."""
        if other.value == 0 or len(self.draws) != len(other.draws) or 0 in other.draws:
            return None
        return Estimate.of(self.value / other.value, [a / b for a, b in zip(self.draws, other.draws, strict=True)])


def halves(count: int, seed: int, draws: int = DRAWS) -> list[np.ndarray]:
    """Numbers of a random half (rounded up, at least 2) of ``count`` things, drawn again and again: the same every
    time."""
    random = np.random.default_rng([seed, count])
    return [np.sort(random.permutation(count)[: max(2, (count + 1) // 2)]) for _ in range(draws)]
