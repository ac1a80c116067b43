"""``quantart train adain`` and ``quantart train vqgan``: networks from scratch, from folders of pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli.cli.console import bytes_bar, say
from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.cli.train_common import ART, OUTPUT, OWN, PHOTOS, machine_of, target_of, tell
from quantart_cli.training.options_more import AdaINOptions, VQGANOptions

if TYPE_CHECKING:
    from quantart_cli.nets.vqgan import VQGAN
    from quantart_cli.training.vqgan import Perceptual

_ADAIN = """Learn the decoder of AdaIN from scratch.

From photographs and paintings, as Huang and Belongie did. Interrupted, the same command goes on where it was. A log and
preview sheets are written to FILE.training/.

quantart train adain photos/ paintings/ -o decoder.safetensors
"""
_VQGAN = """Learn a VQGAN and its codebook of art, stage 1 of QuantArt.

An autoencoder of stride 16, with the losses and numbers of the authors. Interrupted, the same command goes on where it
was. A log and preview sheets are written to FILE.training/.

quantart train vqgan paintings/ -o vqgan.safetensors
"""
_LPIPS = "lpips-vgg16"
_VQGAN_OWN: dict[str, tuple[Any, Any]] = {
    "model": (
        Annotated[
            str | None,
            typer.Option(metavar="MODEL", help="A VQGAN to begin with, of which the sizes are taken. Default: none."),
        ],
        None,
    ),
    "download": (
        Annotated[bool, typer.Option("--download", help="Download LPIPS if it is wanted and not here yet.")],
        False,
    ),
}


def register(group: typer.Typer) -> None:
    """Add the commands to ``quantart train``."""
    for name, run, doc, own, options in (
        ("adain", _adain, _ADAIN, {"photos": PHOTOS, "folder": ART}, AdaINOptions),
        ("vqgan", _vqgan, _VQGAN, {"folder": ART, **_VQGAN_OWN}, VQGANOptions),
    ):
        parameters = {**own, "output": OUTPUT, **from_controls(options), **OWN, **MACHINE}
        group.command(name)(with_parameters(run, doc, parameters))


def _adain(values: dict[str, Any]) -> int:
    options = AdaINOptions.of({name: values[name] for name in AdaINOptions.__dataclass_fields__})
    target = target_of(values)
    from quantart_cli.engine.build import build_network
    from quantart_cli.training.adain import train_adain

    vgg = build_network("vgg", "vgg19-normalised", machine_of(values))
    folders = Path(values["photos"]), Path(values["folder"])
    return tell(
        values,
        target,
        options,
        ("content", "style"),
        lambda **calls: train_adain(*folders, target, options, vgg, **calls),
    )


def _vqgan(values: dict[str, Any]) -> int:
    options = VQGANOptions.of({name: values[name] for name in VQGANOptions.__dataclass_fields__})
    target = target_of(values)
    from quantart_cli.training.vqgan import new_network, train_vqgan

    machine = machine_of(values)
    if values["model"] is None:
        network = new_network(options)
    else:
        network = vqgan_of(values["model"])
        sizes = network.config
        options = replace(
            options, channels=sizes.ch, blocks=sizes.num_res_blocks, width=sizes.embed_dim, entries=sizes.n_embed
        )
    name, perceptual = _perceptual(options.perceptual, values, machine.device)
    options = replace(options, perceptual=name)
    folder = Path(values["folder"])
    return tell(
        values,
        target,
        options,
        ("pixel", "perceptual", "codebook", "perplexity"),
        lambda **calls: train_vqgan(
            folder, target, options, network, perceptual, machine.device, machine.dtype, **calls
        ),
    )


def vqgan_of(model: str) -> VQGAN:
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.checkpoints.models import find_model
    from quantart_cli.nets.vqgan import VQGAN

    file = find_model(model, ("vqgan",))
    return fill_strictly(VQGAN.like, open_tensors(file.path), file.name)


def _perceptual(wanted: str, values: dict[str, Any], device: str) -> tuple[str, Perceptual]:
    """The perceptual loss, in float32, and which one it is."""
    from quantart_cli.checkpoints import cache
    from quantart_cli.checkpoints.manifest import artefact
    from quantart_cli.checkpoints.models import find_model
    from quantart_cli.engine.build import build_network
    from quantart_cli.engine.machine import Machine
    from quantart_cli.evaluation.networks import load_lpips
    from quantart_cli.training.vqgan import by_lpips, by_vgg

    here = cache.find(artefact(_LPIPS).key) is not None
    if wanted == "vgg" or (wanted == "auto" and not here and not values["download"]):
        if wanted == "auto" and not values["quiet"]:
            say(
                "perceptual loss: VGG-19; for the authors' LPIPS give --download, or quantart download-weights "
                + _LPIPS
            )
        return "vgg", by_vgg(build_network("vgg", "vgg19-normalised", Machine(device, "fp32", "a loss")))
    with bytes_bar(values["quiet"]) as bar:
        tell = None if values["quiet"] else bar.say
        find_model(_LPIPS, (_LPIPS,), download=values["download"], tell=tell, progress=bar.of(_LPIPS))
    return "lpips", by_lpips(load_lpips(_LPIPS, device))
