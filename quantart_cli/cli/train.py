"""``quantart train``: codebooks and autoencoders, from folders of pictures."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from quantart_cli.cli import train_more, train_transfer
from quantart_cli.cli.console import INTERRUPTED, progress_bar, say
from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.cli.train_common import ART, OUTPUT, OWN, PHOTOS, codebook_of, machine_of, target_of, tell
from quantart_cli.training.options import AutoencoderOptions, CodebookOptions

_CODEBOOK = """Learn a codebook from a folder of paintings.

Principal components of their VGG features, then k-means. Interrupted, the same command goes on where it was.

quantart train codebook paintings/ -o codebook.safetensors
"""
_AUTOENCODER = """Learn to paint with a codebook: the decoder of quantized features.

From photographs that are painted and paintings that are rebuilt; with a discriminator if --adversary-weight says so.
Interrupted, the same command goes on where it was. A log and preview sheets are written to FILE.training/.

quantart train autoencoder photos/ paintings/ -o model.safetensors
"""


_START: dict[str, tuple[Any, Any]] = {
    "model": (
        Annotated[
            str | None,
            typer.Option(
                metavar="MODEL",
                help="A codebook, or a model of this command, to begin with. Default: what comes with quantart.",
            ),
        ],
        None,
    )
}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train models of your own.", no_args_is_help=True, rich_markup_mode=None)
    for name, run, doc, folders, options in (
        ("codebook", _codebook, _CODEBOOK, {"folder": ART}, CodebookOptions),
        ("autoencoder", _autoencoder, _AUTOENCODER, {"photos": PHOTOS, "folder": ART, **_START}, AutoencoderOptions),
    ):
        parameters = {**folders, "output": OUTPUT, **from_controls(options), **OWN, **MACHINE}
        group.command(name)(with_parameters(run, doc, parameters))
    train_more.register(group)
    train_transfer.register(group)
    app.add_typer(group, name="train")


def _size(options: CodebookOptions) -> str:
    parts = f"{options.parts} parts of " if options.parts > 1 else ""
    return f"{parts}{options.entries} entries, codes"


def _codebook(values: dict[str, Any]) -> int:
    start = time.perf_counter()
    options = CodebookOptions.of({name: values[name] for name in CodebookOptions.__dataclass_fields__})
    target = target_of(values)
    from quantart_cli.engine.build import build_network
    from quantart_cli.engine.device import choose
    from quantart_cli.training.codebook import train_codebook

    vgg = build_network("vgg", "vgg19-normalised", choose(values["device"], values["precision"]))
    try:
        with progress_bar("features", values["quiet"]) as bar:
            report = train_codebook(
                Path(values["folder"]),
                target,
                options,
                vgg,
                restart=values["restart"],
                progress=lambda p: bar(p.done, p.total, stage=p.stage),
            )
    except KeyboardInterrupt:
        say(f"quantart: stopped; the same command goes on from {target}.partial")
        return INTERRUPTED
    if not values["quiet"]:
        for line in report.unreadable:
            say(line)
        say(
            f"{target}: {_size(options)} of {options.width} channels from {report.samples} samples of "
            f"{report.paintings} paintings in {time.perf_counter() - start:.0f} s"
        )
        say(f"explained variance {report.explained:.4f}, residual fraction {report.residual:.4f}")
        used = f"{report.used}/{options.entries * options.parts}"
        say(f"codes used {used}, perplexity {report.perplexity:.0f}, {report.passes} passes")
    if values["json"]:
        print(json.dumps({"output": str(target), "options": asdict(options), "report": asdict(report)}))
    return 0


def _autoencoder(values: dict[str, Any]) -> int:
    options = AutoencoderOptions.of({name: values[name] for name in AutoencoderOptions.__dataclass_fields__})
    target = target_of(values)
    from quantart_cli.checkpoints.models import embedded_model, find_model
    from quantart_cli.engine.build import build_network
    from quantart_cli.engine.machine import Machine
    from quantart_cli.training.autoencoder import train_autoencoder

    machine, model = machine_of(values), values["model"]
    exact = Machine(machine.device, "fp32", "weights that learn")
    file = embedded_model("quantart-vgg19") if model is None else find_model(model, ("quantart-vgg19",))
    vgg = build_network("vgg", "vgg19-normalised", machine)
    networks = vgg, codebook_of(file).to(machine.device), build_network("decoder", "adain-decoder", exact)
    folders = Path(values["photos"]), Path(values["folder"])
    return tell(
        values,
        target,
        options,
        ("content", "style", "discriminator"),
        lambda **calls: train_autoencoder(*folders, target, options, *networks, **calls),
    )
