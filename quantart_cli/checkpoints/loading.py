"""Reading weights: bytes verified against the manifest, tensors strictly against the network."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.kinds import parse_header, read_header
from quantart_cli.checkpoints.manifest import Artefact
from quantart_cli.checkpoints.streams import sha256_of as sha256_of
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

Module = TypeVar("Module", bound=nn.Module)


def read_verified(item: Artefact) -> bytes:
    """The bytes of an artefact, once their sha256 is the manifest's, or for a downloaded one its record's in the cache.

    Raises:
        QuantArtError: the file is missing, cannot be read, or holds other bytes.
    """
    if item.embedded is not None:
        path, expected, cure = item.path, item.sha256, "install quantart-cli again"
    else:
        cure = f"run quantart download-weights {item.name}"
        entry = cache.find(item.key)
        if entry is None:
            from quantart_cli.checkpoints.download import missing

            raise missing(item)
        path, expected = entry.path, entry.sha256
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise QuantArtError(f"weights {item.name} are missing ({path}): {cure}") from None
    except OSError as error:
        raise QuantArtError(f"weights {item.name} cannot be read ({path}): {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise QuantArtError(
            f"weights {item.name} are damaged ({path} has sha256 {found[:12]}…, not {str(expected)[:12]}…): {cure}"
        )
    return data


def load_tensors(data: bytes, source: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file held in memory; no code of the file is ever run.

    Raises:
        QuantArtError: the bytes are no safetensors file; ``source`` names it in the message.
    """
    parse_header(data, len(data), source)
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise QuantArtError(f"{source} is not a valid safetensors file: {printable(error)}") from None


def open_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file given by a person, memory-mapped: what is never looked at is never read.

    Raises:
        QuantArtError: the file cannot be read, is no regular file, or is malformed, in one sentence.
    """
    read_header(path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, RuntimeError, OSError) as error:
        raise QuantArtError(f"{printable(path)} is not a valid safetensors file: {printable(error)}") from None


def fill_strictly(
    build: Callable[[Mapping[str, Tensor]], Module], tensors: Mapping[str, Tensor], source: str
) -> Module:
    """Build a network and give it these tensors: every key, shape, floating dtype, all finite.

    Raises:
        QuantArtError: naming the first tensor that does not fit.
    """
    try:
        # On the meta device: random initialisation would be overwritten, and costs as much as reading.
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # torch's, about sizes of 0: a shape that does not fit is told below
            module = build(tensors)
    except RuntimeError:  # a shape such as (2⁶², 0) is no more bytes than a file has, but no size of a network
        raise QuantArtError(f"{source} has impossible sizes: it is not a checkpoint of this network") from None
    expected = module.state_dict()
    for key, wanted in expected.items():
        if key not in tensors:
            raise QuantArtError(f"{source} lacks the tensor {key}: it is not a checkpoint of this network")
        found = tensors[key]
        if found.shape != wanted.shape:
            raise QuantArtError(f"{source}: {key} has shape {list(found.shape)}, not {list(wanted.shape)}")
        if not found.is_floating_point():
            raise QuantArtError(f"{source}: {key} holds {str(found.dtype).removeprefix('torch.')}, not floats")
        if not all_finite(found):
            raise QuantArtError(f"{source}: {key} holds numbers that are not finite")
    for key in tensors:
        if key not in expected:
            raise QuantArtError(
                f"{source} has a tensor too many, {printable(key)}: it is not a checkpoint of this network"
            )
    module.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    return module.eval().requires_grad_(False)


def all_finite(value: Tensor) -> bool:
    """Whether floats are all finite; ten times faster than asking each one, and without a tensor of answers."""
    if value.itemsize == 1:  # 8-bit floats know no order
        value = value.float()
    return value.numel() == 0 or all(bool(end.isfinite()) for end in value.aminmax())
