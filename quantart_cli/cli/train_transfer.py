"""``quantart train transfer``: how a style guides, stage 2 of QuantArt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.cli.train import _ART, _OUTPUT, _OWN, _PHOTOS, _codebook_of, _target
from quantart_cli.cli.train_more import _machine, _told
from quantart_cli.training.options_more import TransferOptions

_TRANSFER = """Learn how a style guides a picture's features, stage 2 of QuantArt.

From photographs and paintings, in latent space, for a model of train autoencoder or the one that comes with quantart:
the file written is that model with its guides. Interrupted, the same command goes on where it was. A log and preview
sheets are written to FILE.training/.

quantart train transfer photos/ paintings/ -o model.safetensors
"""
_MODEL: dict[str, tuple[Any, Any]] = {
    "model": (
        Annotated[
            str | None,
            typer.Option(
                metavar="MODEL",
                help="A codebook or model whose transfer is learned. Default: what comes with quantart.",
            ),
        ],
        None,
    )
}


def register(group: typer.Typer) -> None:
    """Add the command to ``quantart train``."""
    own = {"photos": _PHOTOS, "folder": _ART, **_MODEL}
    parameters = {**own, "output": _OUTPUT, **from_controls(TransferOptions), **_OWN, **MACHINE}
    group.command(name="transfer")(with_parameters(_transfer, _TRANSFER, parameters))


def _transfer(values: dict[str, Any]) -> int:
    options = TransferOptions.of({name: values[name] for name in TransferOptions.__dataclass_fields__})
    target = _target(values)
    from quantart_cli.checkpoints.models import embedded_model, find_model
    from quantart_cli.engine.build import build_network
    from quantart_cli.training.transfer import train_transfer

    machine, model = _machine(values), values["model"]
    file = embedded_model("quantart-vgg19") if model is None else find_model(model, ("quantart-vgg19",))
    vgg, decoder = (
        build_network(*each, machine) for each in (("vgg", "vgg19-normalised"), ("decoder", "adain-decoder"))
    )
    codebook = _codebook_of(file).to(machine.device)
    folders = Path(values["photos"]), Path(values["folder"])
    return _told(
        values,
        target,
        options,
        ("quantized content", "quantized gram", "continuous gram", "continuous discriminator"),
        lambda **calls: train_transfer(*folders, target, options, vgg, codebook, decoder, **calls),
    )
