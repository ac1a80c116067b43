"""``quantart styles``: the presets, with thumbnails where the terminal shows 24-bit colours."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from quantart_cli.cli.console import write_json, write_line
from quantart_cli.cli.options import ReportOptions
from quantart_cli.presets import Preset, presets

_THUMBNAIL = 24  # columns; a row of text is two pixels high


@dataclass(frozen=True, kw_only=True)
class StylesOptions(ReportOptions):
    """List the styles that come along, and those of your own folders.

    Give one wherever a style is taken, as @name. QUANTART_STYLES names folders of your own, whose pictures are listed
    first.

    quantart styles

    quantart stylize photo.jpg @ink-wash -o out.png

    QUANTART_STYLES=~/styles quantart stylize photo.jpg @mine -o out.png
    """


def run(options: StylesOptions) -> int:
    """Print the list; returns the exit status."""
    found = list(presets().values())
    if options.json:
        rows = [{"name": each.name, "about": each.about, "own": each.own, "path": str(each.path)} for each in found]
        write_json({"styles": rows})
        return 0
    if shows_colours():
        write_line(thumbnails(found, max(1, shutil.get_terminal_size().columns // (_THUMBNAIL + 2))))
    width = max((len(each.name) for each in found), default=0) + 1
    for each in found:
        write_line(f"@{each.name:{width}} {each.about or each.path.parent}")
    return 0


def shows_colours() -> bool:
    """Whether stdout is a terminal with 24-bit colours."""
    wanted = os.environ.get("COLORTERM", "") in ("truecolor", "24bit") and "NO_COLOR" not in os.environ
    return wanted and sys.stdout is not None and sys.stdout.isatty()


def thumbnails(styles: Sequence[Preset], columns: int) -> str:
    """The pictures with their names, so many in a row, as text with ANSI colours: two pixels a character."""
    lines: list[str] = []
    for start in range(0, len(styles), columns):
        row = styles[start : start + columns]
        pictures = [_picture(each) for each in row]
        for line in range(max(map(len, pictures))):
            lines.append("  ".join(each[line] if line < len(each) else " " * _THUMBNAIL for each in pictures))
        lines += ["  ".join(f"@{each.name}"[:_THUMBNAIL].ljust(_THUMBNAIL) for each in row).rstrip(), ""]
    return "\n".join(lines)


def _picture(style: Preset) -> list[str]:
    """The lines of one thumbnail, each of the same number of columns."""
    from PIL import Image

    from quantart_cli.images import read_picture, resize

    picture = resize(read_picture(str(style.path)), _THUMBNAIL * 8, enlarge=False)
    height = max(1, round(_THUMBNAIL * picture.height / picture.width / 2)) * 2
    pixels = picture.to_pil().convert("RGB").resize((_THUMBNAIL, min(height, 36)), Image.Resampling.BOX)
    return [
        "".join(
            "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*pixels.getpixel((x, y)), *pixels.getpixel((x, y + 1)))  # type: ignore[misc]
            for x in range(_THUMBNAIL)
        )
        + "\x1b[0m"
        for y in range(0, pixels.height, 2)
    ]
