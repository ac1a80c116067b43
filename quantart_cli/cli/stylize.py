"""``quantart stylize``: QuantArt."""

from __future__ import annotations

import typer

from quantart_cli.cli import painting
from quantart_cli.cli.options import painting as parameters
from quantart_cli.cli.options import with_parameters
from quantart_cli.methods.controls import QuantArtControls

_DOC = """Paint a picture, with a knob for real art (QuantArt).

The style is taken as in AdaIN; then the picture is rebuilt from a codebook of real paintings, as far as --fidelity
says.

quantart stylize photo.jpg painting.jpg -o out.png --fidelity 0.7
"""


def register(app: typer.Typer) -> None:
    command = with_parameters(
        lambda values: painting.run("quantart", values), _DOC, parameters(QuantArtControls, "QuantArt")
    )
    app.command("stylize")(command)
