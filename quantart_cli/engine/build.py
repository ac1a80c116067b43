"""Methods built from their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from quantart_cli.checkpoints.layouts import ENDS
from quantart_cli.checkpoints.loading import fill_strictly, load_tensors, open_tensors, read_verified, sha256_of
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import ModelFile, embedded_model, weights_of
from quantart_cli.engine.choices import PARTS, VQGAN_MODEL
from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaIN
from quantart_cli.methods.gatys import Gatys
from quantart_cli.methods.quantart import QuantArt
from quantart_cli.methods.quantart_vqgan import QuantArtVQGAN
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19
from quantart_cli.nets.vqgan import StyleVQGAN

METHODS: dict[str, tuple[type[Any], dict[str, str]]] = {
    "quantart": (QuantArt, PARTS["quantart"]),
    "adain": (AdaIN, PARTS["adain"]),
    "gatys": (Gatys, PARTS["gatys"]),
}
"""Method name -> its class, and the weights its networks take, by parameter name."""

_NETWORKS: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "vgg": lambda _: VGG19(),
    "decoder": lambda _: Decoder(),
    "codebook": ArtCodebook.like,
}


def build(method: str, machine: Machine, model: ModelFile | None = None) -> Any:
    """A method with its networks on the machine's device and in its precision.

    Raises:
        QuantArtError: weights that are missing, damaged or of another network.
    """
    if model is not None and model.kind == VQGAN_MODEL:
        return _build_vqgan(model, machine)
    return METHODS[method][0](
        **{part: build_network(part, file, machine) for part, file in weights_of(method, model).items()}
    )


def build_network(part: str, weights: str | ModelFile, machine: Machine) -> nn.Module:
    """One network: ``part`` is "vgg", "decoder" or "codebook", ``weights`` a file, or the name of an embedded one."""
    file = embedded_model(weights) if isinstance(weights, str) else weights
    network = fill_strictly(_NETWORKS[part], _tensors(file), _told(file))
    # Nearest entries are compared by differences of large numbers: a codebook stays in float32, but not what it brings.
    network.to(machine.device, torch.float32 if part == "codebook" else machine.dtype)
    if isinstance(network, ArtCodebook):
        for brought in filter(None, (network.decoder, network.transfer)):
            brought.to(machine.dtype)
    return network.to(memory_format=torch.channels_last)


def _build_vqgan(model: ModelFile, machine: Machine) -> QuantArtVQGAN:
    """The two ends of the authors' model, or the one that the file has."""
    tensors = _tensors(model)
    ends: dict[str, StyleVQGAN | None] = {}
    for end in ENDS:
        own = {key.removeprefix(f"{end}."): tensors.pop(key) for key in list(tensors) if key.startswith(f"{end}.")}
        network = fill_strictly(StyleVQGAN.like, own, f"{model.name} ({end})") if own else None
        if network is not None:
            if network.quantized != (end == "quantized"):
                raise QuantArtError(f"{model.name}: its {end} end is not one, by its codebooks: convert it again")
            network.to_machine(machine.device, machine.dtype)
        ends[end] = network
    if tensors:
        raise QuantArtError(f"{model.name} has a tensor too many, {next(iter(tensors))}: convert it again")
    both = [network.config for network in ends.values() if network is not None]
    if not both or len({(config.stride, config.embed_dim) for config in both}) > 1:
        raise QuantArtError(f"{model.name}: its two ends do not fit each other: convert it again")
    return QuantArtVQGAN(**ends)


def _tensors(file: ModelFile) -> dict[str, Tensor]:
    """The tensors of a file once its bytes are the right ones; those of a person's own are whatever they are."""
    if file.embedded:
        return load_tensors(read_verified(artefact(file.name)), _told(file))
    if file.sha256 is not None and sha256_of(file.path) != file.sha256:
        again = f"quantart download-weights {file.name} gets it again"
        raise QuantArtError(f"{file.name} is damaged ({file.path} has other bytes than were downloaded): {again}")
    return open_tensors(file.path)


def _told(file: ModelFile) -> str:
    """What messages call it."""
    return f"weights {file.name}" if file.embedded else file.name
