"""Writing a safetensors file: whole or not at all, and the same bytes for the same tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from quantart_cli import files
from quantart_cli.checkpoints.loading import all_finite
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable


def check_target(target: Path, inputs: Iterable[Path]) -> None:
    """Check before any reading that ``target`` can be a model file: its suffix, its folder, and that it is no input."""
    shown = printable(target)
    if target.suffix != ".safetensors":
        raise QuantArtError(f"{shown} must end in .safetensors, the only format written")
    files.check_target(str(target), inputs)
    if target.is_dir():
        raise QuantArtError(f"{shown} is a folder: give a file name, for instance {shown}/model.safetensors")
    if target.exists() and not target.is_file():
        raise QuantArtError(f"{shown} is not a regular file: choose another output")


def write_tensors(
    target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, half: bool, source: str
) -> tuple[int, str]:
    """Write a safetensors file atomically.

    Args:
        target: the file; an existing one is replaced in one step and keeps its permissions.
        tensors: by name. Floats are stored as float32, integers and booleans as they are.
        half: store floats as float16.
        source: names the tensors' origin in messages.

    Returns:
        The file's size in bytes and its sha256.

    Raises:
        QuantArtError: a value is not finite or out of range for its dtype, or the file cannot be written. Nothing is
            left behind then.
    """
    stored: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, value in tensors.items():
        ready = _stored(value, half, f"{source}: {printable(name)}")
        if ready.untyped_storage().data_ptr() in storages:  # safetensors refuses tensors that share memory
            ready = ready.clone()
        storages.add(ready.untyped_storage().data_ptr())
        stored[name] = ready
    data = memoryview(safetensors.torch.save(stored, dict(metadata) or None))
    parts = [data[:8], *_sorted_metadata(data)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    files.write_atomically(str(target), lambda file: file.writelines(parts))
    return len(data), digest.hexdigest()


def _stored(value: Tensor, half: bool, what: str) -> Tensor:
    """As it is written: contiguous, floats in the dtype of the file and finite."""
    if not value.is_floating_point():
        return value.detach().contiguous()
    dtype = torch.float16 if half else torch.float32
    converted = value.detach().to(dtype).contiguous()
    if not all_finite(converted):
        if not all_finite(value):
            raise QuantArtError(f"{what} holds numbers that are not finite")
        hint = ": convert without --half" if half else ""
        raise QuantArtError(f"{what} holds numbers beyond the range of {str(dtype).removeprefix('torch.')}{hint}")
    return converted


def _sorted_metadata(data: memoryview) -> tuple[bytes | memoryview, memoryview]:
    """The header of a file with its metadata sorted, and the rest: the library writes them in random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8:end]))
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(end - 8)
        if len(text) == end - 8:  # always, unless the library writes its JSON another way
            return text, data[end:]
    return data[8:end], data[end:]
