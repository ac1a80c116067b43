"""Networks for OpenVINO: exported once from those of nets/, kept compiled in the cache, read back verified.

An entry is one network, ``openvino-<name>-<sha256 of the weights>-<processor>``. Its record has the sha256 of its bytes
and says what it was made with: OpenVINO's version and the source of the networks. What does not agree is no entry, and
is exported again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from quantart_cli import nets
from quantart_cli.checkpoints import cache as files_cache
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError
from quantart_cli.fast.runtime import core, library, processor, settings

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_CODEBOOK = ("project", "codes", "expand")
_IN_FLOAT32 = ("project", "codes", "expand")  # what is compared are differences of large numbers
_SOURCES = ("vgg.py", "decoder.py", "codebook.py", "cpu.py")

_loaded: dict[tuple[Path, str], Any] = {}  # by place in the cache and precision


@dataclass(frozen=True)
class Recipe:
    """One network and the weights it is made of.

    Attributes:
        name: a name of :func:`quantart_cli.fast.exporting.compiled`.
        weights: files by the part of the method they are for.
        sha256: of the file, or of those of several.
    """

    name: str
    weights: Mapping[str, ModelFile]
    sha256: str

    @property
    def key(self) -> str:
        """Its name in the cache."""
        return f"openvino-{self.name}-{self.sha256[:16]}-{processor()}"

    @property
    def made(self) -> dict[str, str]:
        """What the record of a good entry says."""
        return {"sha256": self.sha256, "openvino": library().get_version(), "definition": _definition()}


def recipes(files: Mapping[str, ModelFile]) -> list[Recipe]:
    """The networks of a method.

    A codebook that brings a decoder D̂ of its own makes one network of that and of D, "between", which is D_α for any α.

    Args:
        files: weights by the part of the method they are for.

    Raises:
        QuantArtError: a file that cannot be read.
    """
    wanted = [("vgg", ("vgg",)), *((name, ("codebook",)) for name in _CODEBOOK), ("decoder", ("decoder",))]
    if {"codebook", "decoder"} <= set(files) and files["codebook"].brings("decoder"):
        wanted[-1] = ("between", ("codebook", "decoder"))
    made_of = {part: _sha256(file) for part, file in files.items()}
    found = []
    for name, parts in wanted:
        if set(parts) <= set(files):
            sums = [made_of[part] for part in parts]
            sha256 = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
            found.append(Recipe(name, {part: files[part] for part in parts}, sha256))
    return found


class Network:
    """A compiled network with the memory of its own runs.

    Attributes:
        compiled: an ``openvino.CompiledModel``.
    """

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self._given: tuple[np.ndarray, ...] = ()

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """The network's output; it is overwritten by the next call."""
        return self._request.infer([*inputs, *self._given], share_inputs=True, share_outputs=True)[0]

    def given(self, *inputs: np.ndarray) -> Network:
        """The same network, its last inputs being these."""
        found = copy(self)
        found._given = inputs
        return found

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
        wanted = recipes(files)
        library()  # imported here, not in the threads
        _at_once(wanted, precision)
        return all([_find(recipe, precision) is not None for recipe in wanted])
    except (OSError, QuantArtError):
        return False


def load(files: Mapping[str, ModelFile], precision: str) -> dict[str, Network]:
    """The networks of these weights by name.

    Raises:
        QuantArtError: they are not exported.
    """
    found = {}
    for recipe in recipes(files):
        compiled = _find(recipe, precision)
        if compiled is None:
            names = " and ".join(file.name for file in recipe.weights.values())
            raise QuantArtError(f"{names}: not exported for OpenVINO yet: use --runtime torch")
        found[recipe.name] = Network(compiled)
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
    built: dict[str, nn.Module] = {}
    for recipe in recipes(files):
        if _find(recipe, precision) is not None:
            continue
        with files_cache.writing(recipe.key, waiting) as folder:
            if _find(recipe, precision) is not None:  # it was being exported
                continue
            blob = _blob(recipe, built)
            place = files_cache.temporary(folder, ".blob")
            place.write_bytes(blob)
            files_cache.install(
                recipe.key,
                place,
                f"{recipe.name}.blob",
                sha256=hashlib.sha256(blob).hexdigest(),
                kind="openvino",
                source=recipe.made,
            )
        if _find(recipe, precision) is None:
            names = " and ".join(file.name for file in recipe.weights.values())
            raise QuantArtError(f"{names}: OpenVINO does not read what it exported: use --runtime torch")


def _blob(recipe: Recipe, built: dict[str, nn.Module]) -> bytes:
    """A network compiled; its parts are built unless they were for another."""
    from quantart_cli.engine.build import build_network
    from quantart_cli.fast.exporting import compiled

    for part, file in recipe.weights.items():
        if part not in built:
            built[part] = build_network(part, file, Machine("cpu", "fp32", "to be exported"))
    return compiled(recipe.name, *(built[part] for part in recipe.weights))


def _at_once(wanted: list[Recipe], precision: str) -> None:
    """Read networks in threads; what goes wrong is found again where it can be told."""

    def read(recipe: Recipe) -> None:
        with suppress(OSError, QuantArtError):
            _find(recipe, precision)

    threads = [Thread(target=read, args=(recipe,)) for recipe in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _sha256(file: ModelFile) -> str:
    try:
        return file.checksum
    except OSError as error:
        raise QuantArtError(f"{file.name} cannot be read: {error.strerror}") from None


@cache
def _definition() -> str:
    """A digest of the source of the networks and of their export: when these change, so does what is exported."""
    folder = Path(nets.__file__).parent
    digest = hashlib.sha256()
    for path in (*(folder / name for name in _SOURCES), Path(__file__).with_name("exporting.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _find(recipe: Recipe, precision: str) -> Any | None:
    """The compiled network from the cache; None where there is none, or another, or a damaged one."""
    if recipe.name in _IN_FLOAT32:
        precision = "fp32"
    place = files_cache.folder_of(recipe.key)
    if (place, precision) not in _loaded:
        entry = files_cache.find(recipe.key)
        if entry is None or entry.source != recipe.made:
            return None
        try:
            data = library().tensor_from_file(entry.path)
            if hashlib.sha256(data.data).hexdigest() != entry.sha256:
                return None
            _loaded[place, precision] = core().import_model(data, "CPU", settings(precision))
        except (RuntimeError, ValueError):  # what OpenVINO raises for all it cannot read
            return None
    return _loaded[place, precision]
