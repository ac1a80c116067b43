"""Adam with mixed precision and a moving average of the weights."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

State = Mapping[str, Tensor]


class MixedPrecisionOptimizer:
    """A network with float32 weights, computed in another precision, and its Adam (Kingma and Ba 2015).

    Args:
        network: float32; trained in place.
        rate: learning rate, or one for each of the groups.
        float32: prefixes of parameters that are computed in float32.
        groups: parameters with a learning rate of their own; by default all have the same.
        average: decay of the moving average of the weights; None: no average.
        largest_gradient: longer gradients are scaled down to this norm.
    """

    def __init__(
        self,
        network: nn.Module,
        dtype: torch.dtype,
        rate: float | Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        float32: tuple[str, ...] = (),
        groups: Sequence[Sequence[nn.Parameter]] | None = None,
        average: float | None = None,
        largest_gradient: float = 1e5,
    ) -> None:
        self.network = network.requires_grad_()
        self.averaged = copy.deepcopy(network).requires_grad_(False) if average is not None else network
        rates = [rate] if isinstance(rate, (int, float)) else rate
        own = groups or [[*network.parameters()]]
        self.optimizer = torch.optim.Adam(
            [{"params": p, "lr": r} for p, r in zip(own, rates, strict=True)], betas=betas
        )
        self._dtype, self._float32, self._average, self._largest = dtype, float32, average, largest_gradient

    def __call__(
        self, *inputs: Any, averaged: bool = False, blend: tuple[Mapping[str, Tensor], float | Tensor] | None = None
    ) -> Any:
        """The network's output. Gradients reach the float32 weights.

        Args:
            *inputs: of the network.
            averaged: whether to use the averaged weights instead of the trained ones.
            blend: other weights and a share: the network's weights get this share of the mix.
        """
        network = self.averaged if averaged else self.network
        if self._dtype == torch.float32 and blend is None:
            return network(*inputs)
        weights: dict[str, Tensor] = dict(network.named_parameters())
        if blend is not None:
            others, share = blend
            weights = {name: torch.lerp(others[name], value, share) for name, value in weights.items()}
        weights = {
            name: value if name.startswith(self._float32) else value.to(self._dtype) for name, value in weights.items()
        }
        return functional_call(network, weights, inputs)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def clip_gradient(self) -> float:
        """Clip the gradient. Returns its norm before that."""
        return nn.utils.clip_grad_norm_(self.network.parameters(), self._largest).item()

    @torch.no_grad()
    def step(self, number: int, *rates: float) -> None:
        """Update the weights and their average.

        Args:
            number: of the update, from 0.
            rates: new learning rates, one for each group; by default they stay.
        """
        for group, rate in zip(self.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate
        self.optimizer.step()
        if self._average is not None:
            share = max(1 - self._average, 1 / (number + 2))  # at first the plain mean
            for average, value in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                average.lerp_(value, share)

    def state(self) -> dict[str, Tensor]:
        """Weights, their average and Adam's moments by name."""
        state = prefixed("weights", self.network.state_dict())
        if self.averaged is not self.network:
            state |= prefixed("average", self.averaged.state_dict())
        for number, values in self.optimizer.state_dict()["state"].items():
            state |= prefixed(f"adam.{number}", values)
        return state

    def load_state(self, state: State) -> None:
        """Continue from what :meth:`state` returned."""
        self.network.load_state_dict(below("weights", state))
        if self.averaged is not self.network:
            self.averaged.load_state_dict(below("average", state))
        whole = self.optimizer.state_dict()
        for key, value in below("adam", state).items():
            number, field = key.split(".")
            whole["state"].setdefault(int(number), {})[field] = value
        self.optimizer.load_state_dict(whole)


def prefixed(prefix: str, state: State) -> dict[str, Tensor]:
    """The same tensors with names that start with ``prefix.``."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def below(prefix: str, state: State) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix.``, without it."""
    return {name.removeprefix(f"{prefix}."): value for name, value in state.items() if name.startswith(f"{prefix}.")}


def device_and_dtype(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Those of the first parameter."""
    first = next(network.parameters())
    return first.device, first.dtype


def identity(dtype: torch.dtype, *networks: nn.Module) -> dict[str, str]:
    """What must be equal to resume a training: the precision, and the SHA-256 of the weights of networks."""
    digest = hashlib.sha256()
    for network in networks:
        for value in network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return {"precision": str(dtype).removeprefix("torch."), "start": digest.hexdigest()}
