"""Which file ``--model`` means, and what kind of model it is. No torch here: what is wrong is said before it loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.kinds import KINDS, identify, read_header
from quantart_cli.checkpoints.manifest import Artefact, artefact, manifest
from quantart_cli.checkpoints.streams import Progress, sha256_of
from quantart_cli.errors import QuantArtError, suggest

Tell = Callable[[str], None]
VQGAN_MODEL = "quantart-vqgan"

# Suffixes of what convert reads, and a painting command does not.
_FOREIGN = (".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True)
class ModelFile:
    """A safetensors file of weights.

    Attributes:
        name: as it was asked for: a name of the manifest, a path, or a reference to the Hub.
        path: of the file.
        kind: a name of :data:`quantart_cli.checkpoints.kinds.KINDS`.
        sha256: that its bytes must have; None for a file a person gave, which may hold anything valid.
        embedded: whether it came with quantart.
    """

    name: str
    path: Path
    kind: str
    sha256: str | None = None
    embedded: bool = False

    @property
    def checksum(self) -> str:
        """The sha256 its bytes must have, or that of a person's file as it is now."""
        return self.sha256 or sha256_of(self.path)

    def brings(self, part: str) -> bool:
        """Whether it has tensors below a name, ``decoder`` or ``transfer``; only the header is read."""
        return any(name.startswith(f"{part}.") for name in read_header(self.path).shapes)


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
    """What a person named: ``hf://owner/repo/file.safetensors``, a path, or a name of the manifest.

    Without ``download`` the network is never asked.

    Args:
        model: the name.
        accepts: kinds that will do.
        download: get it if it is not here.
        tell: told one line when something is downloaded or fails on the way.
        progress: told the bytes of a download.

    Raises:
        QuantArtError: there is no such model, it is not here yet (how to get it is said), or it is of another kind.
    """
    if model.startswith("hf://"):
        found = _of_hub(model, download, tell, progress)
    elif _is_path(model):
        found = _of_person(model)
    else:
        found = _of_manifest(model, accepts, download, tell, progress)
    _check_kind(model, found.kind, accepts)
    return found


def _check_kind(model: str, kind: str, accepts: tuple[str, ...]) -> None:
    if kind not in accepts:
        wanted = " or ".join(KINDS[each].what for each in accepts)
        raise QuantArtError(f"{model} is a model of another kind, {KINDS[kind].what}: this method takes {wanted}")


def _is_path(model: str) -> bool:
    if model in manifest():
        return False
    path = Path(model)
    return path.suffix in (".safetensors", *_FOREIGN) or len(path.parts) > 1 or path.exists()


def _of_person(model: str) -> ModelFile:
    path = Path(model)
    if path.suffix in _FOREIGN:
        target = path.with_suffix(".safetensors").name
        raise QuantArtError(f"{model} is not safetensors: convert it first, quantart convert {model} -o {target}")
    return ModelFile(model, path, _kind_of(path, model))


def _of_manifest(
    model: str, accepts: tuple[str, ...], download: bool, tell: Tell | None, progress: Progress | None
) -> ModelFile:
    if model not in manifest():
        # Those without a carrier are QuantArt checkpoints to be brought by hand.
        by_hand = VQGAN_MODEL in accepts
        items = manifest().values()
        fitting = [item.name for item in items if item.kind in accepts or (by_hand and not item.carriers)]
        raise QuantArtError(f"model {model!r} is neither a file nor known by name: {suggest(model, fitting)}")
    item = artefact(model)
    if item.kind is not None:
        _check_kind(model, item.kind, accepts)
    if item.embedded is not None:
        return embedded_model(model)
    from quantart_cli.checkpoints.download import megabytes, missing

    entry = cache.find(item.key)
    if entry is None:
        if not download or not item.carriers:
            raise missing(item)
        entry = _fetched(item, megabytes(item), tell, progress)
    return ModelFile(model, entry.path, entry.kind or _kind_of(entry.path, model), entry.sha256)


def _fetched(item: Artefact, size: str, tell: Tell | None, progress: Progress | None) -> cache.Entry:
    from quantart_cli.checkpoints.download import fetch

    if tell is not None:
        tell(f"downloading {item.name}, {size}")
    fetch(item, tell=tell, progress=progress)
    entry = cache.find(item.key)
    assert entry is not None
    return entry


def _of_hub(model: str, download: bool, tell: Tell | None, progress: Progress | None) -> ModelFile:
    from quantart_cli.checkpoints.hub import parse_reference

    reference = parse_reference(model)
    entry = cache.find(reference.key)
    if entry is None:
        if not download:
            raise QuantArtError(
                f"{model} is not here yet: quantart download-weights {model} gets it, or give --download"
            )
        from quantart_cli.checkpoints.download import fetch_hub

        if tell is not None:
            tell(f"downloading {model}")
        fetch_hub(reference, tell=tell, progress=progress)
        entry = cache.find(reference.key)
        assert entry is not None
    return ModelFile(model, entry.path, entry.kind or _kind_of(entry.path, model), entry.sha256)


def _kind_of(path: Path, model: str) -> str:
    """What a safetensors file says it is, or looks like when it says nothing."""
    header = read_header(path)
    kind = header.metadata.get("kind") or identify(header.shapes)
    if kind not in KINDS:
        some = ", ".join(list(header.shapes)[:3])
        raise QuantArtError(f"{model} is no model quantart knows (its tensors are {some}, …): see quantart convert")
    return kind
