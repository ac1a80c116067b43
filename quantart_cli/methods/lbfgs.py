"""L-BFGS with backtracking (Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.1 and 7.4).

Of our own because torch's, on losses like these, takes a first step too short to measure curvature by and then one of
a million times that length, to nan; without a line search it never comes back; and it knows no bounds. Ours keeps
within a box as projected quasi-Newton methods do (Bertsekas 1982; Schmidt et al. 2009, section 2): what would leave it
is held there, and the curvature is of the others alone.
"""

from __future__ import annotations

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
class _Place:
    """Where it stands: never changed, only replaced, so that an interrupt finds it whole."""

    x: Tensor
    value: float
    gradient: Tensor
    pairs: tuple[tuple[Tensor, Tensor, float], ...] = ()  # s, y, 1 / s·y


class LBFGS:
    """Minimises a function of one tensor, an accepted step at a time; the value never rises.

    Args:
        x: where to start, any shape, float32; of the order of 1.
        evaluate: the function.
        low: least value of an element; None: no bounds.
        high: greatest.
    """

    name = "lbfgs"

    def __init__(self, x: Tensor, evaluate: Evaluate, low: float | None = None, high: float | None = None) -> None:
        self.evaluate, self.low, self.high = evaluate, low, high
        x = self._within(x)
        self._place = _Place(x, *evaluate(x, 0))
        self._history = stored_steps(-(-x.numel() // 3))

    @property
    def x(self) -> Tensor:
        """Where it stands."""
        return self._place.x

    @property
    def value(self) -> float:
        """The function there."""
        return self._place.value

    def step(self) -> bool:
        """Take one step; False when none can be found that lowers the value: this is a minimum, up to rounding."""
        place = self._place
        if self._search(place):
            return True
        if not place.pairs:
            return False
        # What it knew of the curvature was wrong: once more, straight downhill.
        return self._search(replace(place, pairs=()))

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """All that it goes on from: tensors and numbers by name."""
        place = self._place
        tensors = {"x": place.x, "gradient": place.gradient}
        numbers = {"value": place.value}
        for i, (s, y, rho) in enumerate(place.pairs):
            tensors[f"s{i}"], tensors[f"y{i}"], numbers[f"rho{i}"] = s, y, rho
        return tensors, numbers

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from a state."""
        count = sum(name.startswith("rho") for name in numbers)
        pairs = tuple((tensors[f"s{i}"], tensors[f"y{i}"], numbers[f"rho{i}"]) for i in range(count))
        self._place = _Place(tensors["x"], numbers["value"], tensors["gradient"], pairs)

    def _direction(self, place: _Place) -> Tensor:
        """-H g by the two-loop recursion, no longer than a step may be, not out of the bounds."""
        free = self._free(place.x, -place.gradient)
        d = -place.gradient if free is None else torch.where(free, -place.gradient, 0)
        weights = []
        for s, y, rho in reversed(place.pairs):
            weights.append(rho * _dot(s, d))
            d.add_(y, alpha=-weights[-1])
        if place.pairs:
            _, y, rho = place.pairs[-1]
            d.div_(rho * _dot(y, y))
        for (s, y, rho), weight in zip(place.pairs, reversed(weights), strict=True):
            d.add_(s, alpha=weight - rho * _dot(y, d))
        if free is not None:
            d.mul_(free)
        length = max(d.abs().mean().item(), 1e-30)
        return d.mul_(_FIRST / length if not place.pairs else min(_LONGEST / length, 1.0))

    def _search(self, place: _Place) -> bool:
        """Halve the step until it lowers the value by enough; move there."""
        size = 1.0
        for _ in range(_BACKTRACKS):
            d = self._direction(place)
            if not _dot(place.gradient, d) < 0:
                return False
            x = self._within(torch.add(place.x, d, alpha=size))
            slope = _dot(place.gradient, x - place.x)
            del d  # what is evaluated may take all memory there is; this is soon computed again
            value, gradient = self.evaluate(x, 0)
            if value <= place.value + _SUFFICIENT * slope and slope < 0:  # false for nan
                pairs = self._with(place.pairs, x - place.x, gradient - place.gradient)
                self._place = _Place(x, value, gradient, pairs)
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

    def _free(self, x: Tensor, d: Tensor) -> Tensor | None:
        """Where a move along d stays within the bounds."""
        if self.low is None or self.high is None:
            return None
        return ((x > self.low) | (d > 0)) & ((x < self.high) | (d < 0))

    def _within(self, x: Tensor) -> Tensor:
        return x if self.low is None and self.high is None else x.clamp(self.low, self.high)


def _dot(a: Tensor, b: Tensor) -> float:
    return torch.dot(a.reshape(-1), b.reshape(-1)).item()
