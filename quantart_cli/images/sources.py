"""What a picture is read from: files, stdin, bytes, binary streams; arrays and tensors directly."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.files import (
    CHUNK,
    current_folder_is_gone,
    is_stream,
    near_name,
    open_regular,
    printable,
    read_chunk,
    reason,
)
from quantart_cli.images import formats
from quantart_cli.images.picture import Picture
from quantart_cli.images.remote import fetch, is_address
from quantart_cli.presets import locate, preset_name

DEFAULT_MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Origin:
    """Where a picture comes from: ``shown`` in errors (a path as given), ``name`` for the Picture (its last part)."""

    shown: str
    name: str


def origin_of_path(path: str) -> Origin:
    return Origin(printable(path), printable(os.path.basename(path)) or printable(path))


def origin_of(source: Any) -> Origin:
    """Raises TypeError when ``source`` is nothing that a picture is read from."""
    if isinstance(source, np.ndarray):
        return Origin("the array", "<array>")
    if is_tensor(source):
        return Origin("the tensor", "<tensor>")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Origin("the bytes given", "<bytes>")
    if isinstance(source, Image.Image) or hasattr(source, "read"):
        path = getattr(source, "filename", getattr(source, "name", ""))
        name = printable(os.path.basename(os.fsdecode(path))) if isinstance(path, (str, bytes, os.PathLike)) else ""
        what = "image" if isinstance(source, Image.Image) else "stream"
        return Origin(name or f"the {what} given", name or f"<{what}>")
    if is_stream(source):
        return Origin("stdin", "<stdin>")
    if isinstance(source, (str, os.PathLike)):
        preset = preset_name(source)
        return origin_of_path(os.fsdecode(source)) if preset is None else Origin(printable(source), printable(preset))
    what = type(source).__name__
    raise TypeError(f"a picture is a path, bytes, a binary stream, a PIL image, an array or a tensor, not {what}")


@contextlib.contextmanager
def open_source(source: Any, origin: Origin) -> Iterator[IO[bytes]]:
    """The source as a binary stream that can seek. Raises QuantArtError when it cannot be opened."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif hasattr(source, "read"):
        data = source.read()
        if not isinstance(data, bytes):
            raise QuantArtError(f"{origin.shown} gives {type(data).__name__}, not bytes: open it in binary mode")
        yield io.BytesIO(data)
    elif is_stream(source):
        yield _read_stdin(origin)
    elif is_address(source):
        yield fetch(source)
    else:
        with open_file(locate(os.fsdecode(source)), origin) as file:
            yield file


def open_file(path: str, origin: Origin) -> IO[bytes]:
    """Open a picture file. Raises QuantArtError when it cannot be opened or is not a regular file."""
    try:
        file = open_regular(path)
        if file is not None:
            return file
        if os.path.isdir(path):
            raise QuantArtError(f"{origin.shown} is a folder: give the picture files in it, or use quantart batch")
        raise QuantArtError(f"{origin.shown} is no regular file: to read from a pipe, give - and use stdin")
    except FileNotFoundError as error:
        raise QuantArtError(missing(path, origin)) from error
    except OSError as error:
        raise QuantArtError(f"{origin.shown} cannot be read: {reason(error)}") from error
    except ValueError as error:  # a NUL in the path
        raise QuantArtError(f"{origin.shown} is not a path: it has a character that no file name can have") from error


def missing(path: str, origin: Origin) -> str:
    """What to say of a path that does not exist: why, or the nearest name that does."""
    if not path:
        return "the name of a picture is empty: give a file"
    if "://" in path:
        return f"{origin.shown} is an address of a kind that is not read: give https://, or download the picture first"
    if not os.path.isabs(path) and current_folder_is_gone():
        return f"{origin.shown} does not exist, because the current folder was deleted: change to another"
    if os.path.islink(path):
        to = printable(os.readlink(path))
        return f"{origin.shown} is a symbolic link to {to}, which does not exist: check where the picture is"
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"{origin.shown} does not exist, nor does the folder {printable(folder)}: check the path"
    near = near_name(path, files_only=True)
    if near is None:
        return f"{origin.shown} does not exist: check the path"
    return f"{origin.shown} does not exist: did you mean {printable(os.path.join(os.path.dirname(path), near))}?"


def _read_stdin(origin: Origin) -> IO[bytes]:
    """All of stdin, unless its first bytes already show that it is not a picture (it may have no end)."""
    stdin = getattr(sys.stdin, "buffer", None)
    if stdin is None or sys.stdin.closed:
        raise QuantArtError("stdin is closed: give a picture file instead of -")
    if sys.stdin.isatty():
        raise QuantArtError("stdin is a terminal: send a picture into it, as in quantart … - < photo.jpg")
    data = bytearray()
    try:
        while len(data) < formats.HEAD_BYTES and (chunk := read_chunk(stdin, formats.HEAD_BYTES - len(data))):
            data += chunk
        format = formats.sniff(bytes(data))
        if format is not None:
            while chunk := read_chunk(stdin, CHUNK):
                data += chunk
    except OSError as error:
        raise QuantArtError(f"{origin.shown} cannot be read: {reason(error)}") from error
    if format is not None and _has_second_picture(data, format):
        raise QuantArtError("stdin has a second picture after the first: send one at a time")
    return io.BytesIO(data)


def _has_second_picture(data: bytearray, format: str) -> bool:
    """Whether another picture begins where the first ends, as after ``cat a.png b.png``."""
    end = 0
    if format == "PNG":
        end = data.find(b"IEND\xae\x42\x60\x82") + 8
    elif format == "WEBP":
        end = 8 + int.from_bytes(data[4:8], "little")
    elif format == "BMP":
        end = int.from_bytes(data[2:6], "little")
    elif format == "JPEG" and b"MPF\0" not in data[:CHUNK]:  # else the second belongs to the first
        end = data.find(b"\xff\xd9\xff\xd8\xff") + 2
    return end >= 8 and formats.sniff(bytes(data[end : end + formats.HEAD_BYTES])) is not None


# Arrays and tensors


def is_tensor(source: object) -> bool:
    """Whether ``source`` is a torch tensor; torch is not imported."""
    return type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach")


def tensor_to_array(tensor: Any) -> np.ndarray[Any, Any]:
    """(C, H, W), (1, C, H, W), (H, W) or (H, W, C) to (H, W) or (H, W, C), on the CPU.

    Channels come first where the first axis can be one of channels.
    """
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy has no bfloat16
    array: np.ndarray[Any, Any] = tensor.detach().cpu().numpy()
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    return np.moveaxis(array, 0, -1) if array.ndim == 3 and array.shape[0] in (1, 2, 3, 4) else array


def picture_of_array(array: np.ndarray[Any, Any], origin: Origin) -> Picture:
    """A picture of (H, W) or (H, W, 1 to 4): uint8, or float in [0, 1]. Raises QuantArtError for anything else."""
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise QuantArtError(
            f"{origin.shown} of shape {array.shape} is no picture: give (H, W), (H, W, 3) or (H, W, 4), "
            "as a tensor (C, H, W)"
        )
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):  # also for NaN
            raise QuantArtError(f"{origin.shown} of {array.dtype} has values outside [0, 1]: scale it, or give uint8")
        array = (array.astype(np.float32) * 255 + 0.5).astype(np.uint8)
    if array.dtype != np.uint8:
        raise QuantArtError(f"{origin.shown} of {array.dtype} is no picture: give uint8 in 0..255 or float in [0, 1]")
    planes = array.reshape(*array.shape[:2], -1)
    grey = planes.shape[2] < 3
    rgb = np.repeat(planes[..., :1], 3, axis=2) if grey else np.array(planes[..., :3], order="C")
    alpha = np.array(planes[..., -1], order="C") if planes.shape[2] in (2, 4) else None
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return Picture(np.ascontiguousarray(rgb), alpha, name=origin.name)
