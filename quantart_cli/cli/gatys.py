"""``quantart gatys``: optimisation, the classic."""

from __future__ import annotations

import typer

from quantart_cli.cli import painting

_DOC = """Paint a picture by optimisation (Gatys), slowly.

Gatys, Ecker and Bethge 2016. Minutes a picture without a GPU; start with --size 512. Ctrl-C keeps what is there.

quantart gatys photo.jpg painting.jpg -o out.png --size 512
"""


def register(app: typer.Typer) -> None:
    painting.register(app, "gatys", "gatys", _DOC)
