"""Reading weights: bytes verified against the manifest, tensors loaded strictly into a network."""

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
from quantart_cli.checkpoints.formats import Shape, check_safetensors, invalid
from quantart_cli.checkpoints.hashing import sha256_of as sha256_of
from quantart_cli.checkpoints.manifest import Artefact
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable

Module = TypeVar("Module", bound=nn.Module)


def read_verified(item: Artefact) -> bytes:
    """The bytes of an artefact, after its sha256 was checked: the manifest's, or for a download that of the cache.

    Raises:
        QuantArtError: the file is missing, cannot be read, or has another sha256.
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
    """Tensors of a safetensors file in memory.

    Raises:
        QuantArtError: the bytes are not a safetensors file; ``source`` names it in the message.
    """
    if not data:
        raise QuantArtError(f"{source} is empty: download it again")
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, RuntimeError, KeyError) as error:
        raise invalid(source, error) from None
    return tensors


def open_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, memory-mapped: what is not used is not read.

    Raises:
        QuantArtError: the file cannot be read, is not a regular file, or is malformed.
    """
    check_safetensors(path)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, RuntimeError, KeyError, OSError) as error:
        raise invalid(printable(path), error) from None
    return tensors


def fill_strictly(
    build: Callable[[Mapping[str, Tensor]], Module], tensors: Mapping[str, Tensor], source: str
) -> Module:
    """Build a network and load these tensors into it: every name, shape and floating dtype, all finite.

    Raises:
        QuantArtError: naming the first tensor that does not fit.
    """
    try:
        # On the meta device: random initialisation would be overwritten, and takes as long as reading.
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # about tensors without elements: check_shapes names them
            module = build(tensors)
    except RuntimeError:  # a shape such as (2⁶², 0) has as many bytes as an empty file, but is no size of a network
        raise QuantArtError(f"{source} has impossible sizes: it is not a checkpoint of this network") from None
    check_shapes(tensors, {name: tuple(value.shape) for name, value in module.state_dict().items()}, source)
    for name, value in tensors.items():
        if not all_finite(value):
            raise QuantArtError(f"{source}: {name} holds numbers that are not finite")
    module.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    return module.eval().requires_grad_(False)


def check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Shape], source: str) -> None:
    """Check that these are exactly the tensors of these names and shapes, all floats.

    Raises:
        QuantArtError: naming the first one that is not.
    """
    for name, shape in expected.items():
        if name not in tensors:
            raise QuantArtError(f"{source} lacks the tensor {name}: it is not a checkpoint of this network")
        found = tensors[name]
        if tuple(found.shape) != tuple(shape):
            raise QuantArtError(f"{source}: {name} has shape {list(found.shape)}, not {list(shape)}")
        if not found.is_floating_point():
            raise QuantArtError(f"{source}: {name} holds {str(found.dtype).removeprefix('torch.')}, not floats")
    for name in tensors:
        if name not in expected:
            shown = printable(name)
            raise QuantArtError(f"{source} has a tensor too many, {shown}: it is not a checkpoint of this network")


def all_finite(value: Tensor) -> bool:
    """Whether floats are all finite; ten times faster than ``isfinite().all()``, and without a tensor of answers."""
    if value.itemsize == 1:  # aminmax does not support 8-bit floats
        value = value.float()
    return value.numel() == 0 or all(bool(end.isfinite()) for end in value.aminmax())
