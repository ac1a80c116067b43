"""Stages computed by OpenVINO on a CPU, without importing torch: the ``[fast]`` extra.

A stage is exported once from its torch module, compiled, and kept in the cache. Its cache entry records what it was
made from: the weights, OpenVINO's version, and the source code of the networks. An entry that does not agree counts as
missing, and the stage is exported again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from quantart_cli.checkpoints import cache as files_cache
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.scratch import alloc_scratch, trim_heap
from quantart_cli.settings import PRECISIONS
from quantart_cli.stages import Stage

_TELEMETRY = "openvino_telemetry"  # would report that OpenVINO was imported and what was converted
_CONVERTER = "openvino.tools.ovc"  # needed only to export, and slow to import
# Tiles from which on the network of a stage is dropped when it has run. Loading it again takes a tenth of a second, and
# so many tiles take several.
_MANY = 9


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Make imports of these modules fail, unless they are imported already."""
    ours = [name for name in names if name not in sys.modules]
    for name in ours:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in ours:
            sys.modules.pop(name, None)


@cache
def library() -> ModuleType:
    """OpenVINO, without its telemetry and its converter: half the import time.

    Raises:
        QuantArtError: it is not installed.
    """
    try:
        with _hidden(_TELEMETRY, _CONVERTER):
            import openvino
    except ImportError as error:
        if error.name != "openvino":
            raise
        raise QuantArtError("OpenVINO is not installed: pip install 'quantart-cli[fast]'") from None
    module: ModuleType = openvino
    return module


def convert(module: Any, **how: Any) -> Any:
    """``openvino.convert_model`` without telemetry."""
    library()
    with _hidden(_TELEMETRY):
        return import_module(_CONVERTER).convert_model(module, **how)


@cache
def core() -> Any:
    """The ``openvino.Core`` of this process."""
    return library().Core()


def choose(precision: str = "auto") -> DeviceSpec:
    """The CPU with OpenVINO; ``auto`` is bf16 where the hardware computes in it, otherwise fp32.

    Raises:
        QuantArtError: OpenVINO is not installed, or does not compute in this precision here.
    """
    check_choice("precision", precision, PRECISIONS)
    fast = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        why = f"the CPU computes {'bf16' if fast else 'no bf16'} in hardware"
        return DeviceSpec("cpu", "bf16" if fast else "fp32", why, "openvino")
    if precision == "fp16":
        raise QuantArtError("precision fp16 is not computed on a CPU: use bf16 or fp32")
    if precision == "bf16" and not fast:
        raise QuantArtError("OpenVINO does not compute bf16 on this CPU: use precision fp32 or backend torch")
    return DeviceSpec("cpu", precision, "precision as asked", "openvino")


@cache
def processor() -> str:
    """A digest of the CPU's name and capabilities: compiled networks depend on them."""
    name = core().get_property("CPU", "FULL_DEVICE_NAME")
    capabilities = sorted(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return hashlib.sha256(f"{sys.platform} {name} {capabilities}".encode()).hexdigest()[:12]


def compile_options(precision: str) -> dict[str, str]:
    """Options of OpenVINO for one picture at a time."""
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}


class OpenVINOBackend:
    """Computes stages by OpenVINO. Maps are bf16 (stored as uint16) or float32, as the precision is.

    Args:
        spec: from :func:`choose`, or in fp32 after an overflow.
        files: weights by part.
        notify: called with one line when stages are exported, which takes seconds.
    """

    def __init__(
        self, spec: DeviceSpec, files: Mapping[str, ModelFile], notify: Callable[[str], None] = lambda _: None
    ) -> None:
        self.spec, self.files, self.notify = spec, dict(files), notify
        self._networks: dict[str, _Network] = {}
        self._of_style: set[str] = set()
        self._told = False
        self._checksum = cache(lambda part: _checksum(self.files[part]))  # a file is hashed once, not for each stage

    def tile_of_image(self, pixels: np.ndarray) -> np.ndarray:
        planes = np.array(pixels.transpose(2, 0, 1)[None], np.float32, order="C")
        return np.divide(planes, 255, out=planes) if pixels.dtype == np.uint8 else planes

    def array(self, values: np.ndarray) -> np.ndarray:
        return values

    def numpy(self, values: np.ndarray) -> np.ndarray:
        if values.dtype != np.uint16:
            return values
        floats: np.ndarray = np.left_shift(values, 16, dtype=np.uint32).view(np.float32)
        return floats

    def pixels(self, values: np.ndarray) -> np.ndarray | None:
        rgb = np.ascontiguousarray(self.numpy(values)[0].transpose(1, 2, 0))  # (h, w, 3)
        if not np.isfinite(rgb).all():
            return None
        rgb = rgb.clip(0, 1)
        rgb *= 255
        found: np.ndarray = np.rint(rgb, out=rgb).astype(np.uint8)
        return found

    def to_map(self, values: np.ndarray, like: np.ndarray) -> np.ndarray:
        if values.dtype != np.float32 or like.dtype != np.uint16:
            return values
        bits = values.view(np.uint32) + np.uint32(0x8000)  # rounded to the nearest
        return np.ascontiguousarray(bits.view(np.uint16)[..., 1::2])  # the upper half: little-endian

    def allocate(self, like: np.ndarray, height: int, width: int) -> np.ndarray:
        return alloc_scratch((1, like.shape[1], height, width), like.dtype)

    def channels_last(self, values: np.ndarray) -> np.ndarray:
        batch, channels, height, width = values.shape
        found = alloc_scratch((batch, height, width, channels), values.dtype)
        found[...] = values.transpose(0, 2, 3, 1)
        return found

    def empty(self, like: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, like.dtype)

    def keep(self, values: np.ndarray) -> np.ndarray:
        found = alloc_scratch(values.shape, values.dtype)
        found[...] = values
        return found

    def finished(self, stage: Stage, tiles: int) -> None:
        for name in (stage.name, stage.with_usual_scalars.name):
            if name in self._networks and (tiles > 1 or stage.of_style):  # its memory is needed by the next stage
                self._networks[name].compiled.release_memory()
                if tiles >= _MANY:
                    del self._networks[name]
        if tiles > 1:
            trim_heap()

    def make_room(self) -> None:
        for stage in self._of_style:
            self._networks.pop(stage, None)
        trim_heap()

    def prepare(self, stage: Stage) -> Callable[..., tuple[np.ndarray, ...]]:
        if not stage.usual:
            return self._network(stage)

        def run(*inputs: Any) -> tuple[np.ndarray, ...]:
            count = len(stage.usual)
            if inputs[-count:] == stage.usual:
                return self._network(stage.with_usual_scalars)(*inputs[:-count])
            return self._network(stage)(*inputs)

        return run

    def _network(self, stage: Stage) -> _Network:
        if stage.name not in self._networks:
            self._networks[stage.name] = self._load(stage)
            if stage.of_style:
                self._of_style.add(stage.name)
        return self._networks[stage.name]

    def _load(self, stage: Stage) -> _Network:
        """The network of a stage, from the cache or exported now.

        Raises:
            QuantArtError: the weights are damaged, or the cache cannot be written.
        """
        precision = "fp32" if stage.exact else self.spec.precision
        key = self._key(stage, precision, self.spec.precision)
        compiled = _find(key, self._made_from(stage), precision)
        if compiled is None:
            if not self._told:
                self._told = True
                self.notify("preparing networks for OpenVINO: they are kept in the cache")
            try:
                compiled = self._export(stage, key, precision)
            except files_cache.CacheError:  # no cache: prepared anew in every process
                compiled = _read(self._blob(stage, precision), precision)
        if compiled is None:
            raise QuantArtError(f"OpenVINO cannot read the exported network {stage.name}: use backend torch")
        return _Network(compiled)

    def _blob(self, stage: Stage, precision: str) -> bytes:
        """The exported network."""
        from quantart_cli.backends.openvino_export import export

        return export(stage, self.files, precision, self.spec.precision)

    def _export(self, stage: Stage, key: str, precision: str) -> Any:
        """Export a network into the cache, and read it back."""
        made_from = self._made_from(stage)
        with files_cache.writing(key, self.notify) as folder:
            compiled = _find(key, made_from, precision)
            if compiled is not None:  # another process exported it meanwhile
                return compiled
            blob = self._blob(stage, precision)
            place = files_cache.temporary(folder, ".blob")
            place.write_bytes(blob)
            digest = hashlib.sha256(blob).hexdigest()
            files_cache.install(key, place, f"{stage.name}.blob", sha256=digest, kind="openvino", source=made_from)
            return _find(key, made_from, precision)

    def _key(self, stage: Stage, precision: str, maps: str) -> str:
        """Name of the cache entry."""
        words = [stage.net, precision, maps, *map(str, stage.usual), *self._sums(stage)]
        digest = hashlib.sha256(" ".join(words).encode()).hexdigest()
        return f"openvino-{stage.name}-{digest[:16]}-{processor()}"

    def _sums(self, stage: Stage) -> list[str]:
        return [f"{part}:{self._checksum(part)}" for part in stage.parts if part in self.files]

    def _made_from(self, stage: Stage) -> dict[str, str]:
        return {"weights": " ".join(self._sums(stage)), "openvino": library().get_version(), "code": _code(stage.net)}


class _Network:
    """A compiled network. Called with its inputs in order; the next call overwrites what it returned."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self._types = [port.get_element_type() for port in compiled.inputs]
        self._outputs = [port.get_element_type() for port in compiled.outputs]

    def __call__(self, *inputs: Any) -> tuple[np.ndarray, ...]:
        openvino = library()
        given: list[Any] = []
        for values, kind in zip(inputs, self._types, strict=True):
            if not isinstance(values, np.ndarray):
                given.append(np.array(values, np.float32))
                continue
            array = np.ascontiguousarray(values)
            is_half = array.dtype == np.uint16
            given.append(openvino.Tensor(array, openvino.Shape(array.shape), kind) if is_half else array)
        self._request.infer(given, share_inputs=True)
        return tuple(
            _bits(tensor) if kind == openvino.Type.bf16 else tensor.data
            for kind, tensor in zip(self._outputs, self._request.output_tensors, strict=True)
        )


def _bits(tensor: Any) -> np.ndarray:
    """The numbers of a bf16 tensor as uint16: numpy has no bf16."""
    bits: np.ndarray = tensor.data.view(np.uint16).reshape(tuple(tensor.shape))
    return bits


def _checksum(file: ModelFile) -> str:
    try:
        return file.checksum
    except OSError as error:
        raise QuantArtError(f"{file.name} cannot be read: {error.strerror}") from None


@cache
def _code(net: str) -> str:
    """A digest of the source code that decides what is exported: the networks, and the export."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1] / "nets"
    module = net.partition(":")[0]
    own = [] if module.startswith("quantart_cli.nets.") else [Path(_origin(module))]
    for path in (*sorted(folder.glob("*.py")), *own, Path(__file__).with_name("openvino_export.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _origin(module: str) -> str:
    from importlib.util import find_spec

    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise QuantArtError(f"the module {module} of a stage cannot be found")
    return spec.origin


def _find(key: str, made_from: dict[str, str], precision: str) -> Any | None:
    """The compiled network of a cache entry; None where there is none, or it is outdated or damaged."""
    entry = files_cache.find(key)
    if entry is None or entry.source != made_from:
        return None
    try:
        data = library().tensor_from_file(entry.path)
    except (RuntimeError, ValueError, OSError):  # what OpenVINO raises for everything it cannot read
        return None
    return _read(data, precision) if hashlib.sha256(data.data).hexdigest() == entry.sha256 else None


def _read(data: Any, precision: str) -> Any | None:
    """The compiled network in the bytes of an export, given as bytes or as a tensor; None if it cannot be read."""
    if isinstance(data, bytes):
        data = library().Tensor(np.frombuffer(data, np.uint8).copy())
    try:
        return core().import_model(data, "CPU", compile_options(precision))
    except (RuntimeError, ValueError):
        return None
