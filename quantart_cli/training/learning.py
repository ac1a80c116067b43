"""Networks whose weights learn: float32 to be moved, in another precision to be computed with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

# A gradient longer than this is cut to it: an accident, those of AdaIN are a few thousand long.
_LARGEST_GRADIENT = 1e5


class Learner:
    """A network and its Adam (Kingma and Ba 2015).

    Args:
        network: float32; learns in place.
        dtype: to compute in.
        rate: of learning.
        betas: of Adam.
        exact: first letters of the parameters that are computed with in float32.
    """

    def __init__(
        self,
        network: nn.Module,
        dtype: torch.dtype,
        rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        exact: tuple[str, ...] = (),
    ) -> None:
        self.network = network.requires_grad_()
        self.optimizer = torch.optim.Adam(network.parameters(), rate, betas)
        self._dtype, self._exact = dtype, exact

    def __call__(self, *inputs: Tensor) -> Any:
        """The network's answer; gradients go to its float32 weights."""
        weights = {
            name: value if name.startswith(self._exact) else value.to(self._dtype)
            for name, value in self.network.named_parameters()
        }
        return functional_call(self.network, weights, inputs)

    def forget(self) -> None:
        """Forget the gradients of the last update."""
        self.optimizer.zero_grad(set_to_none=True)

    def clip(self) -> float:
        """Norm of the gradient, before it is cut to what is allowed."""
        return nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT).item()

    def step(self, rate: float | None = None) -> None:
        """Move the weights, at another rate if given."""
        if rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        self.optimizer.step()

    def state(self, name: str) -> dict[str, Tensor]:
        """Weights and Adam's averages, below a name."""
        state = {f"{name}.weights.{key}": value for key, value in self.network.named_parameters()}
        for number, values in self.optimizer.state_dict()["state"].items():
            state |= {f"{name}.adam.{number}.{key}": value for key, value in values.items()}
        return state

    @torch.no_grad()
    def restore(self, name: str, state: Mapping[str, Tensor]) -> None:
        """From :meth:`state`."""
        for key, value in self.network.named_parameters():
            value.copy_(state[f"{name}.weights.{key}"])
        whole = self.optimizer.state_dict()
        for key, value in state.items():
            if key.startswith(f"{name}.adam."):
                number, field = key.removeprefix(f"{name}.adam.").split(".")
                whole["state"].setdefault(int(number), {})[field] = value
        self.optimizer.load_state_dict(whole)


def digest(network: nn.Module) -> str:
    """The sha256 of a network's weights."""
    found = hashlib.sha256()
    for value in network.state_dict().values():
        found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
