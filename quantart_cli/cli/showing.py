"""``--show``: draws a picture in the terminal.

Where the package textual-image is installed it draws pixels by the protocol of Kitty or by Sixel, which iTerm2,
WezTerm, Konsole, foot, xterm and Windows Terminal understand. Elsewhere two pixels a character, as half blocks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import PIL.Image

from quantart_cli.cli.console import say

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_BEHIND = (128, 128, 128)  # transparency


def show(picture: PIL.Image.Image, quiet: bool = False) -> None:
    """Draw on stdout if it is a terminal, else on stderr; if neither is, say so unless ``quiet``."""
    from rich.console import Console

    console = Console() if sys.stdout is not None and sys.stdout.isatty() else Console(stderr=True)
    if not console.is_terminal:
        if not quiet:
            say("--show: there is no terminal to draw in")
        return
    backdrop = PIL.Image.new("RGBA", picture.size, (*_BEHIND, 255))
    console.print(_drawn(PIL.Image.alpha_composite(backdrop, picture.convert("RGBA")).convert("RGB"), console))


def _drawn(picture: PIL.Image.Image, console: Console) -> RenderableType:
    """The picture as rich prints it, no larger than the terminal."""
    columns, rows = fitted(picture.size, console.width, console.height - 2)  # the prompt and the line before it
    if not console.stderr:  # textual-image asks the terminal of stdout
        try:
            from textual_image.renderable import Image
        except ImportError:
            pass
        else:
            drawn: RenderableType = Image(picture, columns, rows)
            return drawn
    return half_blocks(picture, columns, rows)


def fitted(size: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """Columns and rows of characters, each twice as high as wide, that a picture of (width, height) fills.

    >>> fitted((400, 200), 80, 24), fitted((200, 400), 80, 24)
    ((80, 20), (24, 24))
    """
    width, height = size
    scale = min(columns / width, 2 * max(1, rows) / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def half_blocks(picture: PIL.Image.Image, columns: int, rows: int) -> Text:
    """Two pixels a character: the upper in the colour of the half block, the lower in that behind it."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    pixels = picture.resize((columns, 2 * rows), PIL.Image.Resampling.BOX).load()
    assert pixels is not None
    text = Text(no_wrap=True)
    for y in range(rows):
        text.append("\n" if y else "")
        for x in range(columns):
            upper, lower = (Color.from_rgb(*pixels[x, 2 * y + i]) for i in range(2))  # type: ignore[misc]
            text.append("▀", Style(color=upper, bgcolor=lower))
    return text
