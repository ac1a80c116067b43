"""Methods built from their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from quantart_cli.checkpoints.loading import load_network
from quantart_cli.engine.device import Machine
from quantart_cli.methods.adain import AdaIN
from quantart_cli.methods.gatys import Gatys
from quantart_cli.methods.quantart import QuantArt
from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19

METHODS: dict[str, tuple[type[Any], dict[str, str]]] = {
    "quantart": (QuantArt, {"vgg": "vgg19-normalised", "codebook": "quantart-vgg19", "decoder": "adain-decoder"}),
    "adain": (AdaIN, {"vgg": "vgg19-normalised", "decoder": "adain-decoder"}),
    "gatys": (Gatys, {"vgg": "vgg19-normalised"}),
}
"""Method name -> its class, and the weights its networks take, by parameter name."""

_NETWORKS: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "vgg": lambda _: VGG19(),
    "decoder": lambda _: Decoder(),
    "codebook": Codebook.like,
}


def build(method: str, machine: Machine) -> Any:
    """A method with its networks on the machine's device and in its precision.

    Raises:
        QuantArtError: weights that are missing, damaged or of another network.
    """
    kind, parts = METHODS[method]
    return kind(**{part: build_network(part, weights, machine) for part, weights in parts.items()})


def build_network(part: str, weights: str, machine: Machine) -> nn.Module:
    """One network: ``part`` is "vgg", "decoder" or "codebook", ``weights`` a name of the manifest."""
    network = load_network(weights, _NETWORKS[part])
    # Nearest entries are compared by differences of large numbers: a codebook stays in float32.
    dtype = torch.float32 if part == "codebook" else machine.dtype
    network.to(machine.device, dtype)
    return network.to(memory_format=torch.channels_last)
