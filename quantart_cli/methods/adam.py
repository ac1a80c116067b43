"""Adam (Kingma and Ba 2015) with averaged iterates, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantart_cli.methods.lbfgs import Minimizer

_RATE = 0.02
_FIRST_DECAY, _SECOND_DECAY, _EPSILON = 0.9, 0.99, 1e-8
_AVERAGE = 0.95  # decay of the moving average of the iterates, its first values corrected as Adam's are
_WINDOW = 20


@dataclass(frozen=True, eq=False)
class _Point:
    """Where it stands: never changed, only replaced, so that an interrupt finds it whole."""

    x: Tensor
    first: Tensor
    second: Tensor
    average: Tensor
    value: float
    steps: int


class Adam(Minimizer):
    """Takes steps of a length of its own, for functions that are noisy. Arguments as of :class:`Minimizer`.

    Adam's steps go to and fro across a valley; the mean of where they have been lies at its bottom (Polyak and Juditsky
    1992), which leaves less noise in a picture. ``x`` is that mean, a moving one.
    """

    name = "adam"

    def _begin(self, x: Tensor) -> None:
        zeros = torch.zeros_like(x)
        # The value of the start is computed with the first step; here it only tells whether it is finite.
        self._point = _Point(x, zeros, zeros, zeros, self.evaluate(x, 0)[0], 0)

    @property
    def x(self) -> Tensor:
        """The mean of where it has been."""
        point = self._point
        return point.x if point.steps == 0 else point.average / (1 - _AVERAGE**point.steps)

    @property
    def value(self) -> float:
        """The function where the last step began."""
        return self._point.value

    def step(self) -> bool:
        """Take one step; False where the gradient is not finite."""
        old, steps = self._point, self._point.steps + 1
        value, gradient = self.evaluate(old.x, steps)
        first = old.first.lerp(gradient, 1 - _FIRST_DECAY)
        second = (old.second * _SECOND_DECAY).addcmul_(gradient, gradient, value=1 - _SECOND_DECAY)
        size = _RATE / (1 - _FIRST_DECAY**steps)
        scale = (second / (1 - _SECOND_DECAY**steps)).sqrt_().add_(_EPSILON * gradient.abs().mean())
        x = self._within(old.x.addcdiv(first, scale.clamp_(min=1e-30), value=-size))
        if not x.isfinite().all():
            return False
        self._point = _Point(x, first, second, old.average.lerp(x, 1 - _AVERAGE), value, steps)
        return True

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """All that it goes on from: tensors and numbers by name."""
        point = self._point
        tensors = {"x": point.x, "first": point.first, "second": point.second, "average": point.average}
        return tensors, {"value": point.value, "steps": point.steps}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from a state."""
        self._point = _Point(
            tensors["x"],
            tensors["first"],
            tensors["second"],
            tensors["average"],
            numbers["value"],
            int(numbers["steps"]),
        )


class Plateau:
    """Tells when the loss has stopped falling: twenty steps brought less than a share of it.

    Args:
        tolerance: that share; 0: never.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.values: list[float] = []

    def note(self, value: float) -> None:
        """The loss after one more step."""
        self.values = [*self.values, value][-2 * _WINDOW :]

    @property
    def reached(self) -> bool:
        """Whether it has; means over twenty steps are compared, for noise."""
        if self.tolerance == 0 or len(self.values) < 2 * _WINDOW:
            return False
        before, now = (sum(self.values[i:j]) for i, j in pairwise((0, _WINDOW, 2 * _WINDOW)))
        return before - now < self.tolerance * before
