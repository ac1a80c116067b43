"""``quantart train``: codebooks, from a folder of paintings."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from quantart_cli.cli.console import INTERRUPTED, progress_bar, say
from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import CodebookOptions

_DOC = """Learn a codebook from a folder of paintings.

Principal components of their VGG features, then k-means. Interrupted, the same command goes on where it was.

quantart train codebook paintings/ -o codebook.safetensors
"""
_REQUIRED: dict[str, tuple[Any, Any]] = {
    "folder": (
        Annotated[
            str, typer.Argument(metavar="ART_FOLDER", help="Pictures of artworks, searched with its subfolders.")
        ],
        ...,
    ),
    "output": (
        Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
        ...,
    ),
}
_OWN: dict[str, tuple[Any, Any]] = {
    "restart": (
        Annotated[bool, typer.Option("--restart", help="Forget an unfinished training and begin anew.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")], False),
}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train models of your own.", no_args_is_help=True, rich_markup_mode=None)
    parameters = {**_REQUIRED, **from_controls(CodebookOptions), **_OWN, **MACHINE}
    group.command("codebook")(with_parameters(_codebook, _DOC, parameters))
    app.add_typer(group, name="train")


def _codebook(values: dict[str, Any]) -> int:
    start = time.perf_counter()
    options = CodebookOptions.of({name: values[name] for name in CodebookOptions.__dataclass_fields__})
    target = Path(values["output"])
    if target.suffix != ".safetensors":
        raise QuantArtError(f"{target} must end in .safetensors, the only format written")
    if not target.parent.is_dir():
        raise QuantArtError(f"folder {target.parent} does not exist: make it first")
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
            f"{target}: {options.entries} entries of {options.width} channels from {report.samples} samples of "
            f"{report.paintings} paintings in {time.perf_counter() - start:.0f} s"
        )
        say(f"explained variance {report.explained:.4f}, residual fraction {report.residual:.4f}")
        say(f"codes used {report.used}/{options.entries}, perplexity {report.perplexity:.0f}, {report.passes} passes")
    if values["json"]:
        print(json.dumps({"output": str(target), "options": asdict(options), "report": asdict(report)}))
    return 0
