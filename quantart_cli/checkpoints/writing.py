"""Writing a safetensors file: whole or not at all, and the same bytes for the same tensors."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.checkpoints.loading import all_finite
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason
from quantart_cli.images.output import beside, fsync, sync_folder


def check_target(target: Path, inputs: Iterable[Path]) -> None:
    """Check before any reading that ``target`` can be a model file: its suffix, its folder, and that it is no input."""
    shown = printable(target)
    if target.suffix != ".safetensors":
        raise QuantArtError(f"{shown} must end in .safetensors, the only format written")
    try:
        folder = Path(os.path.realpath(target)).parent
        if target.is_dir():
            raise QuantArtError(f"{shown} is a folder: give a file name, for instance {shown}/model.safetensors")
        if not folder.is_dir():
            raise QuantArtError(f"folder {printable(folder)} does not exist: make it first")
        if target.exists() and not target.is_file():
            raise QuantArtError(f"{shown} is not a regular file: choose another output")
        if target.exists() and any(given.exists() and target.samefile(given) for given in inputs):
            raise QuantArtError(f"{shown} is an input and would be overwritten: choose another output")
    except OSError as error:
        raise QuantArtError(f"{shown} cannot be written: {reason(error)}") from None
    except ValueError:
        raise QuantArtError(f"{shown} is not a path: it has a character that no file name can have") from None


def write_tensors(
    target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, half: bool, source: str
) -> tuple[int, str]:
    """Write a safetensors file atomically.

    Args:
        target: the file; an existing one is replaced in one step and keeps its permissions.
        tensors: by name. Floats are stored as float32, integers and booleans as they are.
        metadata: of the file.
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
    real = os.path.realpath(target)
    temporary = Path(beside(real))
    try:
        try:
            save_file(stored, temporary, dict(metadata) or None)
            _sort_metadata(temporary)
            if os.path.exists(real):
                with contextlib.suppress(PermissionError):  # file systems without permissions
                    os.chmod(temporary, stat.S_IMODE(os.stat(real).st_mode))
            result = temporary.stat().st_size, sha256_of(temporary)
            os.replace(temporary, real)
        except BaseException:  # KeyboardInterrupt leaves no temporary file either
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        hint = ": free some or write elsewhere" if error.errno == errno.ENOSPC else ""
        raise QuantArtError(f"{printable(target)} cannot be written: {reason(error)}{hint}") from error
    except SafetensorError as error:  # what the library makes of an OSError
        raise QuantArtError(f"{printable(target)} cannot be written: {printable(error)}") from error
    sync_folder(os.path.dirname(real))
    return result


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


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in the header and flush the file: the library writes them in random order."""
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
            if len(text) == length:  # always, unless the library writes its JSON another way
                file.seek(8)
                file.write(text)
        file.flush()
        fsync(file.fileno())
