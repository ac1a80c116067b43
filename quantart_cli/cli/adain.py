"""``quantart adain``: AdaIN."""

from __future__ import annotations

import typer

from quantart_cli.cli import painting

_DOC = """Paint a picture by feature statistics (AdaIN).

Huang and Belongie 2017. Fast, any style.

quantart adain photo.jpg painting.jpg -o out.png --alpha 0.8
"""


def register(app: typer.Typer) -> None:
    painting.register(app, "adain", "adain", _DOC)
