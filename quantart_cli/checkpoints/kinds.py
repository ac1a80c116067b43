"""What a file of weights is: the kinds quantart knows, told by names and shapes, and safetensors headers.

Nothing here needs torch, and nothing here believes a header: every number in it is checked against the file.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable, reason

Shape = tuple[int, ...]
FORMAT = "quantart"
"""The ``format`` in the metadata of every file we write."""

_LONGEST_HEADER = 100_000_000  # as the safetensors library has it
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of model file.

    Attributes:
        name: what manifest, metadata and messages call it.
        what: for people, a few words.
    """

    name: str
    what: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("quantart-vgg19", "QuantArt codebook for VGG-19"),
        Kind("quantart-painter", "QuantArt painter"),
        Kind("adain-decoder", "AdaIN decoder"),
        Kind("sanet", "SANet"),
        Kind("vgg19-normalised", "normalised VGG-19"),
        Kind("quantart-vqgan", "QuantArt on VQGAN"),
        Kind("vqgan", "VQGAN, stage 1"),
        Kind("vgg19", "VGG-19 of torchvision"),
        Kind("vgg16", "VGG-16 of torchvision"),
        Kind("lpips-vgg16", "LPIPS on VGG-16"),
        Kind("lpips-alexnet", "LPIPS on AlexNet"),
        Kind("state-dict", "tensors by name"),
    )
}
ENDS = ("quantized", "continuous")
"""The two ends of QuantArt's knob; their names open the tensors' names in a ``quantart-vqgan`` file."""


def _trunk(prefix: str, indices: Sequence[int], widths: Sequence[int], kernels: Sequence[int]) -> dict[str, Shape]:
    """Shapes of a chain of convolutions that starts from 3 channels."""
    shapes: dict[str, Shape] = {}
    fan_in = 3
    for i, width, kernel in zip(indices, widths, kernels, strict=True):
        shapes[f"{prefix}{i}.weight"] = (width, fan_in, kernel, kernel)
        shapes[f"{prefix}{i}.bias"] = (width,)
        fan_in = width
    return shapes


VGG19_INDICES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
VGG16_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG19_WIDTHS = (64,) * 2 + (128,) * 2 + (256,) * 4 + (512,) * 8
_VGG16_WIDTHS = (64,) * 2 + (128,) * 2 + (256,) * 3 + (512,) * 6
_ALEXNET_WIDTHS = (64, 192, 384, 256, 256)


def _lpips(widths: Sequence[int], kernels: Sequence[int], tapped: Sequence[int]) -> dict[str, Shape]:
    linear = {f"linear.{i}.weight": (1, width, 1, 1) for i, width in enumerate(tapped)}
    return {**_trunk("trunk.", range(len(widths)), widths, kernels), **linear}


SHAPES: dict[str, dict[str, Shape]] = {
    "vgg19": _trunk("features.", VGG19_INDICES, VGG19_WIDTHS, (3,) * 16),
    "vgg16": _trunk("features.", VGG16_INDICES, _VGG16_WIDTHS, (3,) * 13),
    "lpips-vgg16": _lpips(_VGG16_WIDTHS, (3,) * 13, (64, 128, 256, 512, 512)),
    "lpips-alexnet": _lpips(_ALEXNET_WIDTHS, (11, 5, 3, 3, 3), _ALEXNET_WIDTHS),
}
"""Every tensor of the kinds no network class of ours stands for. An LPIPS file has the convolutions of its trunk in
order, ``trunk.{i}.weight`` (out, in, k, k) and ``.bias``, and for each of its five taps ``linear.{i}.weight``
(1, channels, 1, 1)."""


def identify(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The kind of a file in our own layout, from names and shapes alone; None when it is none.

    Only what tells kinds apart is looked at: whether all is there and fits is for the strict loader to say.
    """
    if "decoder.fuse3.weight" in shapes:
        return "quantart-painter"
    if "transform.merge_conv.weight" in shapes:
        return "sanet"
    if "entries" in shapes and "project.weight" in shapes:
        return "quantart-vgg19"
    if any(name.startswith(tuple(f"{end}." for end in ENDS)) for name in shapes):
        return "quantart-vqgan"
    if "conv4_1.weight" in shapes:
        first = list(shapes["conv4_1.weight"])[:1]  # the decoder goes from 512 channels to 256 there
        return "adain-decoder" if first == [256] else "vgg19-normalised"
    if any(name.startswith("model_x2y.") for name in shapes):
        return None  # the authors' own names: quantart convert makes a quantart-vqgan of it
    if "quantize.embedding.weight" in shapes and "encoder.conv_in.weight" in shapes:
        return "vqgan"
    if "trunk.0.weight" in shapes:
        return "lpips-vgg16" if "trunk.12.weight" in shapes else "lpips-alexnet"
    return vgg_of_features(shapes)


def vgg_of_features(names: Mapping[str, Any]) -> str | None:
    """Which of torchvision's two VGGs has these ``features.N.*``; None when neither has."""
    present = {int(found[1]) for name in names if (found := re.fullmatch(r"features\.(\d{1,3})\.weight", name))}
    if not present & {0, 2}:
        return None
    only19, only16 = set(VGG19_INDICES) - set(VGG16_INDICES), set(VGG16_INDICES) - set(VGG19_INDICES)
    in19, in16 = len(present & only19), len(present & only16)
    return None if in19 == in16 else "vgg19" if in19 > in16 else "vgg16"


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file, every number in it checked against the file.

    Attributes:
        shapes: name of each tensor -> its shape, in the order of the data.
        dtypes: name -> dtype as the format writes it: "F32", "F16", "I64", …
        metadata: of the file, text by text.
        bytes: size of the file.
    """

    shapes: dict[str, Shape]
    dtypes: dict[str, str]
    metadata: dict[str, str]
    bytes: int


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read, and nothing that is no file: a FIFO would wait for ever, a device never end.

    Raises:
        QuantArtError: it is missing, no regular file, or may not be read; also when reading fails within the body.
    """
    shown = printable(path)
    try:
        # The question goes to what was opened, so that nothing can be put in its place in between.
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise QuantArtError(f"{shown} is no regular file: copy its bytes into a file and give that")
            yield file
    except FileNotFoundError:
        raise QuantArtError(f"{shown} does not exist: check the path") from None
    except OSError as error:
        if os.path.isdir(path):
            raise QuantArtError(f"{shown} is a folder: give a file of weights") from None
        raise QuantArtError(f"{shown} cannot be read: {reason(error)}") from None
    except ValueError as error:
        if "\0" not in str(path):
            raise
        raise QuantArtError(f"{shown} is not a path: it has a character that no file name can have") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_header(path: Path) -> Header:
    """The header of a safetensors file; of the data nothing is read.

    Raises:
        QuantArtError: the file cannot be read, or is malformed, in one sentence.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = _header_length(start, size, printable(path))
        return parse_header(start + file.read(length), size, printable(path))


def parse_header(data: bytes, size: int, source: str) -> Header:
    """As :func:`read_header`, from the first bytes of a file.

    Args:
        data: at least the length and the header.
        size: bytes of the whole file.
        source: names it in messages.
    """
    length = _header_length(data[:8], size, source)
    if len(data) < 8 + length:
        raise _malformed(source, "it ends within its header")
    entries = _json_object(data[8 : 8 + length], source)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed(source, "its metadata is not text by name")
    spans = {name: _span(name, entry, source) for name, entry in entries.items()}
    end = 0
    names = sorted(spans, key=lambda name: spans[name])
    for name in names:
        first, last = spans[name]
        if first != end:
            problem = "shares bytes with another tensor" if first < end else "leaves bytes before it unused"
            raise _malformed(source, f"tensor {printable(name)} {problem}")
        end = last
    if end != size - 8 - length:
        problem = f"{end} bytes of tensors are declared, {size - 8 - length} are there"
        raise _malformed(source, f"{problem}; was it cut short?" if end > size - 8 - length else problem)
    shapes = {name: tuple(entries[name]["shape"]) for name in names}
    return Header(shapes, {name: entries[name]["dtype"] for name in names}, metadata, size)


def looks_like_safetensors(start: bytes) -> bool:
    """Whether the first bytes of a file (nine or more) may be those of a safetensors file."""
    return len(start) > 8 and start[8:9] == b"{"


def _malformed(source: str, problem: str) -> QuantArtError:
    return QuantArtError(f"{source} is not a valid safetensors file: {problem}")


def _header_length(start: bytes, size: int, source: str) -> int:
    if size == 0:
        raise QuantArtError(f"{source} is empty: download it again")
    if len(start) < 8 or size < 10:
        raise _malformed(source, "it is too short")
    length = int.from_bytes(start, "little")
    if length > size - 8 or length < 2:
        raise _malformed(source, f"it says its header has {length} bytes, the whole file has {size}")
    if length > _LONGEST_HEADER:
        raise _malformed(source, f"its header has {length} bytes, {_LONGEST_HEADER} are the limit")
    return length


def _json_object(data: bytes, source: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise _malformed(source, f"{printable(name)} is there twice")
            found[name] = value
        return found

    try:
        entries = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _malformed(source, "its header is not JSON") from None
    if not isinstance(entries, dict):
        raise _malformed(source, "its header is not a JSON object")
    return entries


def _span(name: str, entry: Any, source: str) -> tuple[int, int]:
    """First byte and end of a tensor, checked against its shape and dtype."""
    shown = f"tensor {printable(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _malformed(source, f"{shown} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise _malformed(source, f"{shown} has the dtype {printable(dtype, 40)}, which quantart does not read")
    if not _counts(shape) or len(shape) > 64:
        raise _malformed(source, f"{shown} has no valid shape")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _malformed(source, f"{shown} has no valid data_offsets")
    if math.prod(shape) * _BYTES[dtype] != offsets[1] - offsets[0]:
        raise _malformed(source, f"{shown} is {dtype} of shape {shape} but has {offsets[1] - offsets[0]} bytes")
    return offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in value)
