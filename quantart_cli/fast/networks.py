"""Networks for OpenVINO: exported once from those of nets/, kept compiled in the cache, read back verified.

An entry is one network, ``openvino-<name>-<sha256 of the weights>-<processor>``. Its record has the sha256 of its bytes
and says what it was made with: OpenVINO's version and the source of the networks. What does not agree is no entry, and
is exported again.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from quantart_cli import nets
from quantart_cli.checkpoints import cache as files_cache
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError
from quantart_cli.fast.runtime import core, library, processor, settings, untold

if TYPE_CHECKING:
    from torch import nn

PARTS = {"vgg": ("vgg",), "decoder": ("decoder",), "codebook": ("scores", "entries")}
"""Part of a method, as in :data:`quantart_cli.engine.build.METHODS` -> the networks made of it."""
_IN_FLOAT32 = ("scores", "entries")  # what is compared are differences of large numbers
_SOURCES = ("vgg.py", "decoder.py", "codebook.py")

_loaded: dict[tuple[Path, str], Any] = {}  # by place in the cache and precision


class Network:
    """A compiled network with the memory of its own runs.

    Attributes:
        compiled: an ``openvino.CompiledModel``.
    """

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._request = compiled.create_infer_request()

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """The network's only output; it is overwritten by the next call."""
        return self._request.infer(list(inputs), share_inputs=True, share_outputs=True)[0]

    def release(self) -> None:
        """Give the memory of its runs back, and with it what the last one returned."""
        self.compiled.release_memory()


def ready(files: Mapping[str, ModelFile], precision: str) -> bool:
    """Whether all networks of these weights are exported; they are read, verified and kept for :func:`load`.

    Args:
        files: weights by the part of the method they are for.
        precision: "fp32" or "bf16".
    """
    try:
        wanted = [(name, sha256, precision) for _, sha256, names in _parts(files) for name in names]
        _key(*wanted[0][:2])  # OpenVINO is imported here, not in the threads
        _at_once(wanted)
        return all([_find(*each) is not None for each in wanted])
    except (OSError, QuantArtError):
        return False


def load(files: Mapping[str, ModelFile], precision: str) -> dict[str, Network]:
    """The networks of these weights by name.

    Raises:
        QuantArtError: they are not exported.
    """
    found = {}
    for file, sha256, names in _parts(files):
        for name in names:
            compiled = _find(name, sha256, precision)
            if compiled is None:
                raise QuantArtError(f"{file.name} is not exported for OpenVINO yet: use --runtime torch")
            found[name] = Network(compiled)
    return found


def export(files: Mapping[str, ModelFile], precision: str, waiting: Callable[[str], None] | None = None) -> None:
    """Export what is not: seconds, with torch. Another process that does the same is waited for.

    Args:
        files: weights by the part of the method they are for.
        precision: that they will be read in; what is exported serves all.
        waiting: told one line when another process is at it.

    Raises:
        QuantArtError: weights that are damaged or of another network, or a cache that cannot be written.
    """
    for part, file in files.items():
        sha256 = _sha256(file)
        network = None
        for name in PARTS[part]:
            if _find(name, sha256, precision) is not None:
                continue
            with files_cache.writing(_key(name, sha256), waiting) as folder:
                if _find(name, sha256, precision) is not None:  # it was being exported
                    continue
                if network is None:
                    from quantart_cli.engine.build import build_network

                    network = build_network(part, file, Machine("cpu", "fp32", "to be exported"))
                blob = _compiled(name, network)
                place = files_cache.temporary(folder, ".blob")
                place.write_bytes(blob)
                files_cache.install(
                    _key(name, sha256),
                    place,
                    f"{name}.blob",
                    sha256=hashlib.sha256(blob).hexdigest(),
                    kind="openvino",
                    source=_made(sha256),
                )
            if _find(name, sha256, precision) is None:
                raise QuantArtError(f"{file.name}: OpenVINO does not read what it exported: use --runtime torch")


def _at_once(wanted: list[tuple[str, str, str]]) -> None:
    """Read networks in threads; what goes wrong is found again where it can be told."""

    def read(name: str, sha256: str, precision: str) -> None:
        with suppress(OSError, QuantArtError):
            _find(name, sha256, precision)

    threads = [Thread(target=read, args=each) for each in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _parts(files: Mapping[str, ModelFile]) -> list[tuple[ModelFile, str, tuple[str, ...]]]:
    return [(file, _sha256(file), PARTS[part]) for part, file in files.items()]


def _sha256(file: ModelFile) -> str:
    try:
        return file.checksum
    except OSError as error:
        raise QuantArtError(f"{file.name} cannot be read: {error.strerror}") from None


def _key(name: str, sha256: str) -> str:
    return f"openvino-{name}-{sha256[:16]}-{processor()}"


@cache
def _definition() -> str:
    """A digest of the source of the networks and of their export: when these change, so does what is exported."""
    folder = Path(nets.__file__).parent
    digest = hashlib.sha256()
    for path in (*(folder / name for name in _SOURCES), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _made(sha256: str) -> dict[str, str]:
    return {"sha256": sha256, "openvino": library().get_version(), "definition": _definition()}


def _find(name: str, sha256: str, precision: str) -> Any | None:
    """The compiled network from the cache; None where there is none, or another, or a damaged one."""
    precision = "fp32" if name in _IN_FLOAT32 else precision
    key = _key(name, sha256)
    place = files_cache.folder_of(key)
    if (place, precision) not in _loaded:
        entry = files_cache.find(key)
        if entry is None or entry.source != _made(sha256):
            return None
        try:
            data = library().tensor_from_file(entry.path)
            if hashlib.sha256(data.data).hexdigest() != entry.sha256:
                return None
            _loaded[place, precision] = core().import_model(data, "CPU", settings(precision))
        except (RuntimeError, ValueError):  # what OpenVINO raises for all it cannot read
            return None
    return _loaded[place, precision]


@dataclass(frozen=True)
class _Form:
    """How a network is exported.

    Attributes:
        module: computes it.
        example: inputs to trace it with.
        shapes: of its inputs, -1 where it takes any size.
    """

    module: nn.Module
    example: tuple[Any, ...]
    shapes: tuple[list[int], ...]


def _compiled(name: str, network: nn.Module) -> bytes:
    """A network compiled by OpenVINO, for pictures of any size."""
    import torch

    form = _forms(name, network)
    with untold() as openvino, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that tracing is old
        shapes = [openvino.PartialShape(shape) for shape in form.shapes]
        model = openvino.convert_model(form.module, example_input=form.example, input=shapes)
        _halve(openvino, model)
        return core().compile_model(model, "CPU", settings("fp32")).export_model().getvalue()


def _halve(openvino: ModuleType, model: Any) -> None:
    """Keep constants as float16 where that changes none of their numbers, as with weights that were published so.

    OpenVINO's own compression would round all, the mean that VGG-19 subtracts too, which costs 2e-4 of every feature.
    """
    for constant in model.get_ops():
        if constant.get_type_name() == "Constant" and constant.get_element_type() == openvino.Type.f32:
            values = constant.data
            half = values.astype(np.float16)
            if values.size > 1 and np.array_equal(half.astype(np.float32), values):
                narrow = openvino.opset13.convert(openvino.opset13.constant(half), "f32")
                narrow.get_rt_info()["decompression_0"] = ""  # its mark for what is not to be widened before storing
                constant.output(0).replace(narrow.output(0))


def _forms(name: str, network: nn.Module) -> _Form:
    """The network of nets/ with one output."""
    import torch
    from torch import Tensor, nn

    class Encoder(nn.Module):
        """(1, 3, H, W) -> relu4_1."""

        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, image: Tensor) -> Tensor:
            return self.net(image)["relu4_1"]

    class Scores(Encoder):
        """(1, C, 1, n) features, their μ and σ -> (n, K): the highest is the nearest entry, as in nets/codebook.py.

        Without the argmax, which numpy finds in a tenth of the time.
        """

        def forward(self, z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
            rows = ((z - mean) / std)[0, :, 0].T
            return self.net.project(rows) @ self.net.entries.T - self.net.entries.square().sum(1) / 2

    class Entries(Encoder):
        """(n,) entries -> (n, C) features."""

        def forward(self, entries: Tensor) -> Tensor:
            return self.net.expand(self.net.entries[entries])

    if name == "vgg":
        return _Form(Encoder(), (torch.rand(1, 3, 64, 64),), ([1, 3, -1, -1],))
    if name == "decoder":
        return _Form(network, (torch.rand(1, 512, 8, 8),), ([1, 512, -1, -1],))
    channels = network.project.in_features
    one = [1, channels, 1, 1]
    if name == "scores":
        example = (torch.rand(1, channels, 1, 8), torch.zeros(one), torch.ones(one))
        return _Form(Scores(), example, ([1, channels, 1, -1], one, one))
    return _Form(Entries(), (torch.arange(4),), ([-1],))
