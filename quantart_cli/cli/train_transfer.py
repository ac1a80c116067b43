"""``quantart train transfer``: how a style guides, stage 2 of QuantArt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.cli.train_common import ART, OUTPUT, OWN, PHOTOS, codebook_of, machine_of, target_of, tell
from quantart_cli.cli.train_more import vqgan_of
from quantart_cli.training.options_more import TransferOptions

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.engine.machine import Machine
    from quantart_cli.training.folders import Report

_TRANSFER = """Learn how a style guides a picture's features, stage 2 of QuantArt.

From photographs and paintings, in latent space, for a model of train autoencoder, of train vqgan, or the one that comes
with quantart: the file written is that model with its transfer. Interrupted, the same command goes on where it was. A
log and preview sheets are written to FILE.training/.

quantart train transfer photos/ paintings/ -o model.safetensors
"""
_MODEL: dict[str, tuple[Any, Any]] = {
    "model": (
        Annotated[
            str | None,
            typer.Option(
                metavar="MODEL",
                help="A codebook, model or VQGAN whose transfer is learned. Default: what comes with quantart.",
            ),
        ],
        None,
    )
}


def register(group: typer.Typer) -> None:
    """Add the command to ``quantart train``."""
    own = {"photos": PHOTOS, "folder": ART, **_MODEL}
    parameters = {**own, "output": OUTPUT, **from_controls(TransferOptions), **OWN, **MACHINE}
    group.command(name="transfer")(with_parameters(_transfer, _TRANSFER, parameters))


def _transfer(values: dict[str, Any]) -> int:
    options = TransferOptions.of({name: values[name] for name in TransferOptions.__dataclass_fields__})
    target = target_of(values)
    from quantart_cli.checkpoints.models import embedded_model, find_model

    machine, model = machine_of(values), values["model"]
    file = embedded_model("quantart-vgg19") if model is None else find_model(model, ("quantart-vgg19", "vqgan"))
    train = _on_vqgan(values, machine) if file.kind == "vqgan" else _on_vgg19(file, machine)
    folders = Path(values["photos"]), Path(values["folder"])
    return tell(
        values,
        target,
        options,
        ("quantized content", "quantized gram", "continuous content", "continuous gram"),
        lambda **calls: train(*folders, target, options, **calls),
    )


def _on_vgg19(file: ModelFile, machine: Machine) -> Callable[..., Report]:
    from quantart_cli.engine.build import build_network
    from quantart_cli.training.transfer import train_transfer

    vgg, decoder = build_network("vgg", "vgg19-normalised", machine), build_network("decoder", "adain-decoder", machine)
    networks = {"vgg": vgg, "codebook": codebook_of(file).to(machine.device), "decoder": decoder}
    return partial(train_transfer, **networks)


def _on_vqgan(values: dict[str, Any], machine: Machine) -> Callable[..., Report]:
    from quantart_cli.training.transfer_vqgan import train_transfer_vqgan

    return partial(train_transfer_vqgan, network=vqgan_of(values["model"]), device=machine.device, dtype=machine.dtype)
