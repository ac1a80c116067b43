"""``quantart gatys``: optimisation, the classic."""

from __future__ import annotations

import typer

from quantart_cli.cli import painting
from quantart_cli.cli.options import painting as parameters
from quantart_cli.cli.options import with_parameters
from quantart_cli.methods.controls import GatysControls

_DOC = """Paint a picture by optimisation (Gatys), slowly.

Gatys, Ecker and Bethge 2016. Minutes a picture without a GPU; start with --size 512. Ctrl-C keeps what is there.

quantart gatys photo.jpg painting.jpg -o out.png --size 512
"""


def register(app: typer.Typer) -> None:
    command = with_parameters(lambda values: painting.run("gatys", values), _DOC, parameters(GatysControls, "Gatys"))
    app.command("gatys")(command)
