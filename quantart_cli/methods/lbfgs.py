"""L-BFGS with backtracking (Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.1 and 7.4).

Of our own because torch's, on losses like these, takes a first step too short to measure curvature by and then one of
a million times that length, to nan; and without a line search it never comes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[float, Tensor]]

_HISTORY = 20
# Mean absolute change of an element: of the first step, which knows no curvature, and of any step at most.
_FIRST, _LONGEST = 0.01, 0.1
_SUFFICIENT = 1e-4  # share of the promised decrease that a step must keep (Armijo)
_BACKTRACKS = 12


class LBFGS:
    """Minimises a function of one tensor, an accepted step at a time; the value never rises.

    Attributes:
        x: where it stands.
        value: the function there.

    Args:
        x: where to start, any shape, float32; of the order of 1.
        evaluate: x -> its value and gradient.
    """

    def __init__(self, x: Tensor, evaluate: Evaluate) -> None:
        self.x = x
        self.evaluate = evaluate
        self.value, self.gradient = evaluate(x)
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_HISTORY)  # s, y, 1 / s·y

    def step(self) -> bool:
        """Take one step; False when none can be found that lowers the value: this is a minimum, up to rounding."""
        if self._search(self._direction()):
            return True
        if not self.pairs:
            return False
        self.pairs.clear()  # what it knew of the curvature was wrong: once more, straight downhill
        return self._search(self._direction())

    def _direction(self) -> Tensor:
        """-H g by the two-loop recursion, no longer than a step may be."""
        d = -self.gradient
        weights = []
        for s, y, rho in reversed(self.pairs):
            weights.append(rho * (s * d).sum())
            d = d - weights[-1] * y
        if self.pairs:
            _, y, rho = self.pairs[-1]
            d = d / (rho * y.square().sum())
        for (s, y, rho), weight in zip(self.pairs, reversed(weights), strict=True):
            d = d + (weight - rho * (y * d).sum()) * s
        length = d.abs().mean().clamp(min=1e-30)
        return d * (_FIRST / length if not self.pairs else (_LONGEST / length).clamp(max=1))

    def _search(self, d: Tensor) -> bool:
        """Halve the step until it lowers the value by enough; move there."""
        slope = (self.gradient * d).sum().item()
        if not slope < 0:
            return False
        size = 1.0
        for _ in range(_BACKTRACKS):
            x = self.x + size * d
            value, gradient = self.evaluate(x)
            if value <= self.value + _SUFFICIENT * size * slope:  # false for nan
                self._remember(x - self.x, gradient - self.gradient)
                self.x, self.value, self.gradient = x, value, gradient
                return True
            size /= 2
        return False

    def _remember(self, s: Tensor, y: Tensor) -> None:
        curvature = (s * y).sum()
        if curvature > 1e-8 * torch.sqrt(s.square().sum() * y.square().sum()):
            self.pairs.append((s, y, 1 / curvature))
