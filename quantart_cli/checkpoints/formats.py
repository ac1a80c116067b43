"""What a file is, from its first bytes, and the header of a safetensors file. No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from quantart_cli.errors import QuantArtError
from quantart_cli.files import open_regular, printable, reason
from quantart_cli.images.formats import describe_foreign, sniff

Container = Literal["safetensors", "torch-zip", "torch-legacy", "pickle", "onnx", "unknown"]
Shape = tuple[int, ...]

FORMAT = "quantart"
"""The ``format`` in the metadata of every file that quantart writes."""

_ZIP = b"PK\x03\x04"
_TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch.save before 1.6
_ONNX = rb"\x08[\x03-\x1f][\x12\x1a\"(2:Br]"  # the version, then another field of the message ModelProto
_OTHERS = {b"\x1f\x8b": "an archive", b"7z\xbc\xaf": "an archive", b"\x89HDF": "an HDF5 file", b"GGUF": "a GGUF file"}


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file: shapes and dtypes ("F32", "F16", …) by name, and the file's metadata."""

    shapes: dict[str, Shape]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def container_of(path: Path) -> Container:
    """The container format of a checkpoint; only the first bytes are read, and the suffix does not count.

    Raises:
        QuantArtError: the file cannot be read, is empty, or is not a checkpoint; what it is instead is named.
    """
    shown = printable(path)
    start = _first_bytes(path, shown)
    if not start:
        raise QuantArtError(f"{shown} is empty: download it again")
    if start.startswith(_ZIP):
        return "torch-zip"
    if start.startswith(_TORCH_LEGACY):
        return "torch-legacy"
    if start[8:9] == b"{":
        return "safetensors"
    if re.match(_ONNX, start):
        return "onnx"
    if what := _other_format(start):
        raise QuantArtError(f"{shown} is {what}, not weights")
    return "pickle" if start.startswith(b"\x80") else "unknown"


def _first_bytes(path: Path, shown: str) -> bytes:
    try:
        file = open_regular(str(path))
        if file is not None:
            with file:
                return file.read(32)
    except FileNotFoundError:
        raise QuantArtError(f"{shown} does not exist: check the path") from None
    except OSError as error:
        raise QuantArtError(f"{shown} cannot be read: {reason(error)}") from None
    except ValueError as error:
        raise QuantArtError(f"{shown} is not a path: it has a character that no file name can have") from error
    if path.is_dir():
        raise QuantArtError(f"{shown} is a folder: give a file of weights")
    raise QuantArtError(f"{shown} is not a regular file: copy its bytes into a file and give that")


def read_header(path: Path) -> Header:
    """The header of a safetensors file. No tensor is read.

    Raises:
        QuantArtError: the file cannot be read or is not a valid safetensors file.
    """
    check_safetensors(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
            dtypes = {name: str(each.get_dtype()) for name, each in slices.items()}
            return Header(shapes, dtypes, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise invalid(printable(path), error) from None


def check_safetensors(path: Path) -> None:
    """Refuse what is not a regular file, is empty, or starts like another format; QuantArtError names it."""
    if container_of(path).startswith("torch"):
        shown, target = printable(path), printable(path.with_name(f"{path.stem}-converted.safetensors").name)
        raise QuantArtError(f"{shown} is a PyTorch checkpoint, not safetensors: quantart convert {shown} -o {target}")


def invalid(source: str, error: Exception) -> QuantArtError:
    """The error for a malformed safetensors file, with the words of the safetensors library."""
    words = printable(error, 200).removeprefix("Error while deserializing header: ")
    return QuantArtError(f"{source} is not a valid safetensors file: {words}; download it again")


def _other_format(start: bytes) -> str | None:
    if picture := sniff(start):
        return f"{'an' if picture == 'AVIF' else 'a'} {picture} picture"
    return describe_foreign(start) or next((what for magic, what in _OTHERS.items() if start.startswith(magic)), None)
