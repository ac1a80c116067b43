"""Which file ``--model`` means, and which kind of model it is. No torch here: mistakes are reported before it loads."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.formats import container_of, read_header
from quantart_cli.checkpoints.hashing import Progress, sha256_of
from quantart_cli.checkpoints.layouts import KINDS, identify
from quantart_cli.checkpoints.manifest import artefact, manifest
from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.files import printable

Tell = Callable[[str], None]
VQGAN_MODEL = "quantart-vqgan"

# Suffixes of what convert reads and a painting command does not.
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin", ".onnx")


@dataclass(frozen=True)
class ModelFile:
    """A safetensors file of weights."""

    name: str  # as it was asked for: a name of the manifest, a path, or a reference to the Hub
    path: Path
    kind: str  # a key of layouts.KINDS
    sha256: str | None = None  # that its bytes must have; None for a file a person gave, which may hold anything valid
    embedded: bool = False  # whether it came with quantart

    @property
    def checksum(self) -> str:
        """The sha256 its bytes must have; for a person's file its present sha256."""
        return self.sha256 or sha256_of(self.path)


def embedded_model(name: str) -> ModelFile:
    """A file that came with quantart; its bytes are checked when it is loaded."""
    item = artefact(name)
    return ModelFile(name, item.path, item.kind or name, item.sha256, embedded=True)


def find_model(
    model: str,
    accepts: tuple[str, ...],
    *,
    download: bool = False,
    tell: Tell | None = None,
    progress: Progress | None = None,
) -> ModelFile:
    """The file a person named: ``hf://owner/repo/file.safetensors``, a path, or a name of the manifest.

    Args:
        accepts: kinds that can be used.
        download: get it if it is not here; otherwise no network is used.
        tell: called with one line when something is downloaded or fails.
        progress: called with the bytes of a download.

    Raises:
        QuantArtError: it does not exist, is not here yet (the message says how to get it), or is of another kind.
    """
    if model.startswith("hf://"):
        found = _from_hub(model, download, tell, progress)
    elif _is_path(model):
        found = _from_path(model)
    else:
        found = _from_manifest(model, accepts, download, tell, progress)
    _check_kind(model, found.kind, accepts)
    return found


def _check_kind(model: str, kind: str, accepts: tuple[str, ...]) -> None:
    if kind not in accepts:
        what, wanted = KINDS[kind].description, " or ".join(KINDS[each].description for each in accepts)
        raise QuantArtError(f"{model} is a model of another kind, {what}: this method takes {wanted}")


def _is_path(model: str) -> bool:
    if model in manifest():
        return False
    path = Path(model)
    return path.suffix in (".safetensors", *_CHECKPOINTS) or len(path.parts) > 1 or path.exists()


def _from_path(model: str) -> ModelFile:
    path = Path(model)
    if path.suffix in _CHECKPOINTS:
        if path.exists():
            container_of(path)  # a picture with such a suffix is no checkpoint to convert
        target = path.with_suffix(".safetensors").name
        raise QuantArtError(f"{model} is not safetensors: convert it first, quantart convert {model} -o {target}")
    return ModelFile(model, path, _kind_of(path, model))


def _from_manifest(
    model: str, accepts: tuple[str, ...], download: bool, tell: Tell | None, progress: Progress | None
) -> ModelFile:
    if model not in manifest():
        raise QuantArtError(f"model {model!r} is neither a file nor known by name: {_alternatives(model, accepts)}")
    item = artefact(model)
    if item.kind is not None:
        _check_kind(model, item.kind, accepts)
    if item.embedded is not None:
        return embedded_model(model)
    from quantart_cli.checkpoints.download import fetch, missing

    entry = cache.find(item.key)
    if entry is None:
        if not download or not item.carriers:
            raise missing(item)
        if tell is not None:
            tell(f"downloading {item.name}, {item.megabytes}")
        fetch(item, tell=tell, progress=progress)
    return _cached(model, item.key)


def _alternatives(model: str, accepts: tuple[str, ...]) -> str:
    """What to use instead of an unknown name: only models that can be used, or how a person brings the nearest one."""
    by_hand = {item.name: item.how for item in manifest().values() if not item.carriers}
    near = difflib.get_close_matches(model, by_hand, n=1, cutoff=0.8)
    if near and VQGAN_MODEL in accepts:
        return f"did you mean {near[0]}? It cannot be downloaded, no repository is known: {by_hand[near[0]]}"
    usable = [item.name for item in manifest().values() if item.kind in accepts and item.carriers]
    return suggest(model, usable) if usable else "give a .safetensors file"


def _from_hub(model: str, download: bool, tell: Tell | None, progress: Progress | None) -> ModelFile:
    from quantart_cli.checkpoints.hub import parse_reference

    reference = parse_reference(model)
    if cache.find(reference.key) is None:
        if not download:
            raise QuantArtError(
                f"{model} is not here yet: quantart download-weights {model} gets it, or give --download"
            )
        from quantart_cli.checkpoints.download import fetch_hub

        if tell is not None:
            tell(f"downloading {model}")
        fetch_hub(reference, tell=tell, progress=progress)
    return _cached(model, reference.key)


def _cached(model: str, key: str) -> ModelFile:
    entry = cache.find(key)
    assert entry is not None
    return ModelFile(model, entry.path, entry.kind or _kind_of(entry.path, model), entry.sha256)


def _kind_of(path: Path, model: str) -> str:
    """The kind in a safetensors file's metadata, else by the names and shapes of its tensors."""
    header = read_header(path)
    kind = header.metadata.get("kind") or identify(header.shapes)
    if kind not in KINDS:
        some = ", ".join(printable(name, 60) for name in list(header.shapes)[:3])
        raise QuantArtError(f"{model} is not a model quantart knows (its tensors are {some}, …): see quantart convert")
    return kind
