"""``quantart adain``: AdaIN."""

from __future__ import annotations

import typer

from quantart_cli.cli import painting
from quantart_cli.cli.options import painting as parameters
from quantart_cli.cli.options import with_parameters
from quantart_cli.methods.controls import AdaINControls

_DOC = """Paint a picture by feature statistics (AdaIN).

Huang and Belongie 2017. Fast, any style.

quantart adain photo.jpg painting.jpg -o out.png --alpha 0.8
"""


def register(app: typer.Typer) -> None:
    command = with_parameters(lambda values: painting.run("adain", values), _DOC, parameters(AdaINControls, "AdaIN"))
    app.command("adain")(command)
