"""A discriminator that trains against a generator, and the weight of its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from quantart_cli.training.losses import hinge_discriminator, hinge_generator
from quantart_cli.training.optimizer import MixedPrecisionOptimizer

Scores = Sequence[Tensor]
"""Of the heads of a discriminator."""
HEAD_START = 100
"""Updates of the discriminator before the generator sees its gradient."""
_LEAD_SHARE = 0.05  # of one update in the moving average of the lead
_LEAST, _MOST = 1e-12, 1e4  # of gradient norms and their ratio


class Adversary:
    """A discriminator with its optimizer.

    From update ``after`` on it learns. After a head start its gradient is added to the generator's, scaled to
    ``weight * lead`` times the norm of the other losses' gradient (after Esser et al. 2021, equation 7). The lead is
    1 - loss / 2: 0 when it cannot tell real from fake, where its gradient would be noise, and 1 when it can.

    Args:
        weight: of its loss; 0: it never learns.
        after: updates before it begins to learn.
        largest_gradient: longer gradients are scaled down to this norm.
    """

    def __init__(
        self,
        network: nn.Module,
        dtype: torch.dtype,
        rate: float,
        betas: tuple[float, float],
        weight: float,
        after: int,
        largest_gradient: float = 100.0,
    ) -> None:
        self.optimizer = MixedPrecisionOptimizer(network, dtype, rate, betas, largest_gradient=largest_gradient)
        self.weight, self.after = weight, after
        self.lead = torch.zeros((), dtype=torch.float64)
        self._next_lead = self.lead

    def learns(self, number: int) -> bool:
        """Whether the discriminator learns in this update."""
        return self.weight > 0 and number >= self.after

    def contributes(self, number: int) -> bool:
        """Whether the generator sees its gradient in this update."""
        return self.learns(number) and number >= self.after + HEAD_START

    def loss(self, real: Scores, fake: Scores, scale: float = 1.0) -> Tensor:
        """Backpropagate and return the discriminator's hinge loss, times a scale, from its scores."""
        loss = hinge_discriminator(real, fake)
        (scale * loss).backward()
        lead = (1 - loss.detach().double().cpu() / 2).clamp(0, 1)
        self._next_lead = torch.lerp(self.lead, lead, _LEAD_SHARE)
        return scale * loss.detach()

    def backward(
        self, number: int, at: Tensor, others: Tensor, both: Callable[[], Scores], fake: Callable[[], Scores]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Backpropagate the discriminator's loss, and add the generator's gradient to that of its other losses.

        Args:
            at: where the generator's gradients are added.
            others: gradient of all other losses at ``at``.
            both: scores of a batch of real samples and as many fakes, in this order, without a graph to the generator.
            fake: scores of the fakes, with a graph to ``at``.

        Returns:
            the sum at ``at``, and values for the log.
        """
        if not self.learns(number):
            return others, {}
        real, made = zip(*(scores.chunk(2) for scores in both()), strict=True)
        values = {"discriminator": self.loss(real, made)}
        if not self.contributes(number):
            return others, values
        loss = hinge_generator(fake())
        (own,) = torch.autograd.grad(loss, at)
        ratio = (others.norm() / own.norm().clamp(min=_LEAST)).clamp(max=_MOST)
        values |= {"adversary": loss.detach(), "balance": ratio, "lead": self._next_lead}
        return others + self.weight * self._next_lead.item() * ratio * own, values

    def clip_gradient(self, number: int) -> dict[str, float]:
        """Clip the discriminator's gradient if it learns. Returns the norm before that, for the log."""
        return {"gradient discriminator": self.optimizer.clip_gradient()} if self.learns(number) else {}

    def step(self, number: int) -> None:
        """Update the discriminator if it learns."""
        if self.learns(number):
            self.optimizer.step(number)
            self.lead = self._next_lead

    def state(self) -> dict[str, Tensor]:
        return {**self.optimizer.state(), "lead": self.lead}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.optimizer.load_state(state)
        self.lead = self._next_lead = state["lead"]
