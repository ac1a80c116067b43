"""Stage 2 of QuantArt (Huang et al., CVPR 2023), whatever the autoencoder: two ends that learn in latent
space, each with a discriminator of its own and an average of its weights, which is what is kept.

Losses are of u, a batch of transferred latents; the adversary weighs a given share of them, by the ratio of their
gradients there, as in VQGAN (Esser et al. 2021, equation 7).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quantart_cli.training.latent_judge import LatentJudge
from quantart_cli.training.learning import Learner
from quantart_cli.training.loop import NotFinite, numbers_of
from quantart_cli.training.losses import hinge_discriminator, hinge_generator, moments
from quantart_cli.training.options_more import TransferOptions
from quantart_cli.training.pictures import Pictures, pairs

_BETAS = {"guide": (0.9, 0.99), "judge": (0.5, 0.99)}
_HEAD_START = 100  # updates that a discriminator learns before it is listened to
_LEAST, _MOST = 1e-12, 1e4  # of gradients and their ratio


@dataclass(frozen=True)
class Transferred:
    """What one end made of a batch.

    Attributes:
        u: (B, C, h, w) float32, with its way back to the weights.
        losses: of u, weighted, by name.
        direct: losses of what lies on the way to u, weighted, by name.
        real: (B, C, h, w), what u is to be taken for.
    """

    u: Tensor
    losses: Callable[[Tensor], dict[str, Tensor]]
    direct: Mapping[str, Tensor]
    real: Tensor


class LatentTraining:
    """Two ends, and one update of both; see :class:`quantart_cli.training.loop.Trainee`.

    Args:
        networks: what is learned, float32, by the end's name.
        channels: of the latents.
        pictures: with the entries "photographs" and "paintings".
        options: see there.
        device, dtype: to compute on and in.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        channels: int,
        pictures: Mapping[str, Pictures],
        options: TransferOptions,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.pictures, self.options, self.device, self.dtype = pictures, options, device, dtype
        self.ends = {name: End(network.to(device), channels, options, dtype) for name, network in networks.items()}

    def see(self, photographs: Tensor, paintings: Tensor, luck: float) -> Any:
        """Latents of a batch of pictures, (B, 3, H, W) in [0, 1], without gradients; ``luck`` is random in [0, 1)."""
        raise NotImplementedError

    def transfer(self, name: str, seen: Any) -> Transferred:
        """What the end of that name makes of them."""
        raise NotImplementedError

    def update(self, number: int) -> dict[str, float]:
        """One update of both ends, and of their discriminators where these have begun."""
        o = self.options
        with numbers_of(o.seed, number + 1):
            luck = torch.rand(()).item()
            both = pairs(self.pictures["photographs"], self.pictures["paintings"], o.batch, o.smallest_crop, o.crop)
        with torch.no_grad():
            seen = self.see(*(each.to(self.device) for each in both), luck)
        told: dict[str, float] = {}
        for name, end in self.ends.items():
            end.forget()
            told |= {
                f"{name} {what}": value for what, value in self._learn(end, self.transfer(name, seen), number).items()
            }
        if not all(math.isfinite(value) for value in told.values()):
            raise NotFinite(", ".join(f"{name} {value:g}" for name, value in told.items()))
        for end in self.ends.values():
            end.step(number)
        return told

    def _learn(self, end: End, made: Transferred, number: int) -> dict[str, float]:
        """Gradients of one end; nothing is moved yet. Its losses, by name."""
        leaf = made.u.detach().requires_grad_()
        losses = made.losses(leaf)
        (gradient,) = torch.autograd.grad(sum(losses.values()), leaf)
        judged, gradient = self._judge(end, leaf, made.real, gradient, number)
        torch.autograd.backward([made.u, *made.direct.values()], [gradient, *(None for _ in made.direct)])
        told = {what: value.item() for what, value in {**made.direct, **losses, **judged}.items()}
        told["gradient"] = end.guide.clip()
        if judged:
            told["gradient discriminator"] = end.judge.clip()
        return told

    def _judge(
        self, end: End, leaf: Tensor, real: Tensor, gradient: Tensor, number: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What the discriminator says, its own gradients taken, and the gradient at u with its share added."""
        o = self.options
        end.judging = o.adversary_weight > 0 and number >= o.adversary_after
        if not end.judging:
            return {}, gradient
        of_real, of_fake = end.judge(torch.cat([real, leaf.detach()])).chunk(2)
        told = {"discriminator": hinge_discriminator([of_real], [of_fake])}
        told["discriminator"].backward()
        if number < o.adversary_after + _HEAD_START:
            return told, gradient
        loss = hinge_generator([end.judge(leaf)])
        (its,) = torch.autograd.grad(loss, leaf)
        balance = (gradient.norm() / its.norm().clamp(min=_LEAST)).clamp(max=_MOST)
        told |= {"adversary": loss.detach(), "balance": balance}
        return told, gradient + o.adversary_weight * balance * its

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value
            for name, end in self.ends.items()
            for key, value in {
                **end.guide.state("guide"),
                **end.judge.state("judge"),
                **{f"averaged.{key}": value for key, value in end.averaged.state_dict().items()},
            }.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, end in self.ends.items():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            end.guide.restore("guide", own)
            end.judge.restore("judge", own)
            start = "averaged."
            end.averaged.load_state_dict(
                {key.removeprefix(start): value for key, value in own.items() if key.startswith(start)}
            )


class End:
    """What one end learns, the average of its weights, and its discriminator."""

    def __init__(self, network: nn.Module, channels: int, options: TransferOptions, dtype: torch.dtype) -> None:
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.guide = Learner(network, dtype, options.rate, _BETAS["guide"])
        judge = LatentJudge(channels).to(next(network.parameters()).device)
        # In float32: gradients of small convolutions take five times as long in bf16 on a CPU.
        self.judge = Learner(judge, torch.float32, options.adversary_rate, _BETAS["judge"])
        self.judging = False  # whether the discriminator has gradients to learn from
        self._decay = options.average

    def forget(self) -> None:
        """Forget the gradients of the last update."""
        self.guide.forget()
        self.judge.forget()

    @torch.no_grad()
    def step(self, number: int) -> None:
        """Move all weights, those of the average too."""
        self.guide.step()
        if self.judging:
            self.judge.step()
        decay = min(self._decay, (1 + number) / (10 + number))
        for average, value in zip(self.averaged.parameters(), self.guide.network.parameters(), strict=True):
            average.lerp_(value, 1 - decay)


def standardised(z: Tensor) -> Tensor:
    """(B, C, h, w) by the statistics of each sample and channel."""
    mean, std = moments(z)
    return (z - mean) / std
