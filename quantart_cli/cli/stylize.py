"""``quantart stylize``: QuantArt."""

from __future__ import annotations

import typer

from quantart_cli.cli import painting

_DOC = """Paint a picture, with a knob for real art (QuantArt).

The style is taken as in AdaIN; then the picture is rebuilt from a codebook of real paintings, as far as --fidelity
says.

quantart stylize photo.jpg painting.jpg -o out.png --fidelity 0.7
"""


def register(app: typer.Typer) -> None:
    painting.register(app, "stylize", "quantart", _DOC)
