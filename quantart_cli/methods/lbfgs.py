"""L-BFGS with backtracking (Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.1 and 7.4).

Of our own because torch's, on losses like these, takes a first step too short to measure curvature by and then one of
a million times that length, to nan; without a line search it never comes back; and it knows no bounds. Ours keeps
within a box as projected quasi-Newton methods do (Bertsekas 1982; Schmidt et al. 2009, section 2): what would leave it
is held there, and the curvature is of the others alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quantart_cli.memory import stored_steps

Evaluate = Callable[[Tensor, int], tuple[float, Tensor]]
"""x and the number of the step -> the value and its gradient."""

# Mean absolute change of an element: of the first step, which knows no curvature, and of any step at most.
_FIRST, _LONGEST = 0.01, 0.1
_SUFFICIENT = 1e-4  # share of the promised decrease that a step must keep (Armijo)
_BACKTRACKS = 12


@dataclass(frozen=True, eq=False)
class _Point:
    """Where it stands: never changed, only replaced, so that an interrupt finds it whole."""

    x: Tensor
    value: float
    gradient: Tensor
    pairs: tuple[tuple[Tensor, Tensor, float], ...] = ()  # s, y, 1 / s·y


class Minimizer:
    """Minimises a function of one tensor.

    Args:
        x: where to start, any shape, float32; of the order of 1.
        low, high: least and greatest value of an element.
    """

    name: str

    def __init__(self, x: Tensor, evaluate: Evaluate, low: float = -math.inf, high: float = math.inf) -> None:
        self.evaluate, self.low, self.high = evaluate, low, high
        self._begin(self._within(x))

    def _begin(self, x: Tensor) -> None:
        raise NotImplementedError

    def _within(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)


class LBFGS(Minimizer):
    """Takes an accepted step at a time; the value never rises. Arguments as of :class:`Minimizer`."""

    name = "lbfgs"

    def _begin(self, x: Tensor) -> None:
        self._point = _Point(x, *self.evaluate(x, 0))
        self._history = stored_steps(-(-x.numel() // 3))

    @property
    def x(self) -> Tensor:
        """Where it stands."""
        return self._point.x

    @property
    def value(self) -> float:
        """The function there."""
        return self._point.value

    def step(self) -> bool:
        """Take one step; False when none can be found that lowers the value: this is a minimum, up to rounding."""
        point = self._point
        if self._search(point):
            return True
        if not point.pairs:
            return False
        # What it knew of the curvature was wrong: once more, straight downhill.
        return self._search(replace(point, pairs=()))

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """All that it goes on from: tensors and numbers by name."""
        point = self._point
        tensors = {"x": point.x, "gradient": point.gradient}
        numbers = {"value": point.value}
        for i, (s, y, rho) in enumerate(point.pairs):
            tensors[f"s{i}"], tensors[f"y{i}"], numbers[f"rho{i}"] = s, y, rho
        return tensors, numbers

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from a state."""
        count = sum(name.startswith("rho") for name in numbers)
        pairs = tuple((tensors[f"s{i}"], tensors[f"y{i}"], numbers[f"rho{i}"]) for i in range(count))
        self._point = _Point(tensors["x"], numbers["value"], tensors["gradient"], pairs)

    def _direction(self, point: _Point) -> Tensor:
        """-H g by the two-loop recursion, no longer than a step may be, not out of the bounds."""
        d = -point.gradient
        # An element at a bound that would leave it stays there.
        free = ((point.x > self.low) | (d > 0)) & ((point.x < self.high) | (d < 0))
        d = torch.where(free, d, 0)
        weights = []
        for s, y, rho in reversed(point.pairs):
            weights.append(rho * _dot(s, d))
            d.add_(y, alpha=-weights[-1])
        if point.pairs:
            _, y, rho = point.pairs[-1]
            d.div_(rho * _dot(y, y))
        for (s, y, rho), weight in zip(point.pairs, reversed(weights), strict=True):
            d.add_(s, alpha=weight - rho * _dot(y, d))
        d.mul_(free)
        length = max(d.abs().mean().item(), 1e-30)
        return d.mul_(_FIRST / length if not point.pairs else min(_LONGEST / length, 1.0))

    def _search(self, point: _Point) -> bool:
        """Halve the step until it lowers the value by enough; move there."""
        size = 1.0
        for _ in range(_BACKTRACKS):
            d = self._direction(point)
            if not _dot(point.gradient, d) < 0:
                return False
            x = self._within(torch.add(point.x, d, alpha=size))
            slope = _dot(point.gradient, x - point.x)
            del d  # what is evaluated may take all memory there is; this is soon computed again
            value, gradient = self.evaluate(x, 0)
            if value <= point.value + _SUFFICIENT * slope and slope < 0:  # false for nan
                pairs = self._with(point.pairs, x - point.x, gradient - point.gradient)
                self._point = _Point(x, value, gradient, pairs)
                return True
            size /= 2
        return False

    def _with(
        self, pairs: tuple[tuple[Tensor, Tensor, float], ...], s: Tensor, y: Tensor
    ) -> tuple[tuple[Tensor, Tensor, float], ...]:
        """The pairs with one more, if it tells of a curvature."""
        curvature = _dot(s, y)
        if curvature <= 1e-8 * (_dot(s, s) * _dot(y, y)) ** 0.5:
            return pairs
        return (*pairs, (s, y, 1 / curvature))[-self._history :]


def _dot(a: Tensor, b: Tensor) -> float:
    return torch.dot(a.reshape(-1), b.reshape(-1)).item()
