"""``quantart gatys``: optimisation, the classic."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Annotated, Any

import typer

from quantart_cli.cli import painting
from quantart_cli.cli.options import painting as parameters
from quantart_cli.cli.options import with_parameters
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import is_stream
from quantart_cli.methods.controls import CONTROLS, INITS, GatysControls

_DOC = """Paint a picture by optimisation (Gatys), slowly and richly.

Gatys, Ecker and Bethge 2016, from coarse to fine. Minutes a picture without a GPU; start with --size 512. Ctrl-C keeps
what is there, and --resume goes on from it.

quantart gatys photo.jpg painting.jpg -o out.png --size 512

quantart gatys photo.jpg sky.jpg land.jpg -o out.png --mask upper.png --mask lower.png

As in the paper: --pyramid none --optimizer lbfgs --pooling average --content-layers relu4_2 --tv-weight 0 --init noise
--tolerance 0
"""


def _own(kind: Any, default: Any, flag: str, help: str, metavar: str | None = None) -> tuple[Any, Any]:
    return Annotated[kind, typer.Option(flag, help=help, metavar=metavar)], default


_INIT_HELP = next(item.metadata["help"] for item in fields(GatysControls) if item.name == "init")
_OWN: dict[str, tuple[Any, Any]] = {
    "init": _own(str, GatysControls.init, "--init", _INIT_HELP, f"{'|'.join(INITS)}|FILE"),
    "mask": _own(
        list[str] | None,
        None,
        "--mask",
        "A region of the content, white where; several times: one a style, or one for each --style-mask. With a single "
        "one the rest is left as it is.",
        "FILE",
    ),
    "style_mask": _own(
        list[str] | None, None, "--style-mask", "The part of a style that the region of --mask takes.", "FILE"
    ),
    "preview_every": _own(int | None, None, "--preview-every", "Write the picture as it is, every N steps.", "N"),
    "preview": _own(str | None, None, "--preview", "The file of --preview-every. Default: the output's.", "FILE"),
    "trace": _own(str | None, None, "--trace", "Write the losses of each step to a table.", "FILE.csv"),
    "save_frames": _own(str | None, None, "--save-frames", "Write pictures of the way, for a film.", "FOLDER"),
    "frames_every": _own(int, 5, "--frames-every", "Steps between two frames.", "N"),
    "checkpoint": _own(
        str | None,
        None,
        "--checkpoint",
        "Where to keep what --resume needs, once a minute and at Ctrl-C. Default: beside the output.",
        "FILE",
    ),
    "resume": _own(bool, False, "--resume", "Go on where an interrupted run of the same command was."),
}


def register(app: typer.Typer) -> None:
    options = parameters(CONTROLS["gatys"])
    app.command("gatys")(with_parameters(run, _DOC, {**options, **_OWN}))


def run(values: dict[str, Any]) -> int:
    """Paint one picture; returns the exit status."""
    for name in ("preview_every", "frames_every"):
        if values[name] is not None and values[name] < 1:
            raise QuantArtError(f"--{name.replace('_', '-')} must be at least 1, not {values[name]}")
    if values["preview"] is not None and values["preview_every"] is None:
        raise QuantArtError("--preview needs --preview-every N")
    if values["preview_every"] is not None and values["preview"] is None and is_stream(values["output"]):
        raise QuantArtError("-o - is written once: give --preview a file")
    values["start"] = None
    if values["init"] not in INITS and (os.path.exists(values["init"]) or os.path.splitext(values["init"])[1]):
        values["start"], values["init"] = values["init"], GatysControls.init
    from quantart_cli.cli.gatys_session import Session

    return painting.run("gatys", values, Session(values))
