"""Reading weights: bytes verified against the manifest, tensors strictly against the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from quantart_cli.checkpoints.manifest import Artefact, artefact
from quantart_cli.errors import QuantArtError

Module = TypeVar("Module", bound=nn.Module)


def read_verified(item: Artefact) -> bytes:
    """The bytes of an artefact, once their sha256 is the manifest's.

    Raises:
        QuantArtError: the file is missing, cannot be read, or holds other bytes.
    """
    try:
        data = item.path.read_bytes()
    except FileNotFoundError:
        raise QuantArtError(f"weights {item.name} are missing ({item.path}): install quantart-cli again") from None
    except OSError as error:
        raise QuantArtError(f"weights {item.name} cannot be read ({item.path}): {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        raise QuantArtError(
            f"weights {item.name} are damaged ({item.path} has sha256 {found[:12]}…, not {item.sha256[:12]}…): "
            "install quantart-cli again"
        )
    return data


def load_tensors(data: bytes, source: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file held in memory; no code of the file is ever run.

    Raises:
        QuantArtError: the bytes are no safetensors file; ``source`` names it in the message.
    """
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise QuantArtError(f"{source} is not a valid safetensors file: {error}") from None


def load_network(name: str, build: Callable[[Mapping[str, Tensor]], Module]) -> Module:
    """The network of a manifest name, verified and strictly loaded, in float32 and without gradients.

    Args:
        name: of the artefact.
        build: makes the empty network; it is given the tensors so that it can read sizes off their shapes.
    """
    tensors = load_tensors(read_verified(artefact(name)), f"weights {name}")
    return fill_strictly(build, tensors, f"weights {name}")


def fill_strictly(
    build: Callable[[Mapping[str, Tensor]], Module], tensors: Mapping[str, Tensor], source: str
) -> Module:
    """Build a network and give it these tensors: every key, shape, floating dtype, all finite.

    Raises:
        QuantArtError: naming the first tensor that does not fit.
    """
    with torch.device("meta"):  # random initialisation would be overwritten, and costs as much as reading
        module = build(tensors)
    expected = module.state_dict()
    for key, wanted in expected.items():
        if key not in tensors:
            raise QuantArtError(f"{source} lacks the tensor {key}: it is not a checkpoint of this network")
        found = tensors[key]
        if found.shape != wanted.shape:
            raise QuantArtError(f"{source}: {key} has shape {list(found.shape)}, not {list(wanted.shape)}")
        if not found.is_floating_point():
            raise QuantArtError(f"{source}: {key} holds {str(found.dtype).removeprefix('torch.')}, not floats")
        if not found.isfinite().all():
            raise QuantArtError(f"{source}: {key} holds numbers that are not finite")
    for key in tensors:
        if key not in expected:
            raise QuantArtError(f"{source} has a tensor too many, {key}: it is not a checkpoint of this network")
    module.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    return module.eval().requires_grad_(False)


def sha256_of(path: Path) -> str:
    """sha256 of a file, read in pieces of 1 MB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
