"""One safetensors file, written tensor by tensor: whole or not at all, and the same bytes for the same tensors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from quantart_cli.checkpoints.loading import all_finite
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable, reason
from quantart_cli.images.output import beside, fsync, sync_folder

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def check_target(target: Path, inputs: Iterable[Path]) -> None:
    """Find out before any reading whether a model file can be written there.

    Raises:
        QuantArtError: another suffix than .safetensors, a folder, a folder that is missing, or one of the inputs.
    """
    shown = printable(target)
    if target.suffix != ".safetensors":
        raise QuantArtError(f"{shown} must end in .safetensors, the only format written")
    try:
        if target.is_dir():
            raise QuantArtError(f"{shown} is a folder: give a file name, for instance {shown}/model.safetensors")
        if target.exists() and not target.is_file():
            raise QuantArtError(f"{shown} is no regular file: choose another output")
        folder = Path(os.path.realpath(target)).parent
        if not folder.is_dir():
            raise QuantArtError(f"folder {printable(folder)} does not exist: make it first")
        for given in inputs:
            if target.exists() and given.exists() and target.samefile(given):
                raise QuantArtError(f"{shown} is an input and would be overwritten: choose another output")
    except OSError as error:
        raise QuantArtError(f"{shown} cannot be written: {reason(error)}") from None
    except ValueError:
        raise QuantArtError(f"{shown} is not a path: it has a character that no file name can have") from None


def write_tensors(
    target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, half: bool, source: str
) -> tuple[int, str]:
    """Write a safetensors file atomically; at most one tensor of it is in memory at a time.

    Args:
        target: where; what was there is replaced in one step.
        tensors: by name. Floats are stored as float32, integers and booleans as they are.
        metadata: of the file; with none the bytes are those the safetensors library writes.
        half: store floats as float16.
        source: names the tensors' origin in messages.

    Returns:
        The file's size in bytes and its sha256.

    Raises:
        QuantArtError: a value is not finite or beyond the range of what it is stored as, or the disk says no; nothing
            is left behind then.
    """
    stored = {name: _stored(value, half) for name, value in tensors.items()}
    names = sorted(tensors, key=lambda name: (-stored[name].itemsize, name))  # wide ones first: all are aligned
    digest, size = hashlib.sha256(), 0
    with _replacing(target) as file:

        def write(data: bytes | memoryview) -> None:
            nonlocal size
            file.write(data)
            digest.update(data)
            size += len(data)

        header = _header({name: (stored[name], tensors[name].shape) for name in names}, metadata)
        write(len(header).to_bytes(8, "little"))
        write(header)
        for name in names:
            _write_tensor(write, tensors[name], stored[name], f"{source}: {printable(name)}")
    return size, digest.hexdigest()


def _stored(value: Tensor, half: bool) -> torch.dtype:
    if value.is_floating_point():
        return torch.float16 if half else torch.float32
    return value.dtype


def _header(entries: Mapping[str, tuple[torch.dtype, torch.Size]], metadata: Mapping[str, str]) -> bytes:
    """Compact JSON, filled up with spaces to a multiple of 8 bytes."""
    described: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    begin = 0
    for name, (dtype, shape) in entries.items():
        end = begin + shape.numel() * dtype.itemsize
        described[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8)


def _write_tensor(write: Callable[[memoryview], None], value: Tensor, dtype: torch.dtype, what: str) -> None:
    converted = value.detach().to(dtype).contiguous()
    if converted.is_floating_point() and not all_finite(converted):
        if all_finite(value):
            hint = ": convert without --half" if dtype == torch.float16 else ""
            raise QuantArtError(f"{what} holds numbers beyond the range of {str(dtype).removeprefix('torch.')}{hint}")
        raise QuantArtError(f"{what} holds numbers that are not finite")
    numbers = converted.view(-1).numpy()
    if sys.byteorder == "big":
        numbers = numbers.byteswap()
    if numbers.size:
        write(memoryview(numbers).cast("B"))


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file that takes the target's place in one step when the body ends well, and vanishes when it does not."""
    real = os.path.realpath(target)
    temporary = beside(real)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        try:
            with open(os.open(temporary, flags, 0o666), "wb") as file:
                yield file
                file.flush()
                fsync(file.fileno())
            if os.path.exists(real):
                os.chmod(temporary, stat.S_IMODE(os.stat(real).st_mode))
            os.replace(temporary, real)
        except BaseException:  # a KeyboardInterrupt leaves no temporary file either
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        hint = ": free some or write elsewhere" if error.errno == errno.ENOSPC else ""
        raise QuantArtError(f"{printable(target)} cannot be written: {reason(error)}{hint}") from error
    sync_folder(os.path.dirname(real))
