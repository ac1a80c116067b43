"""Contact sheets: rows of pictures with labels on grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

_GREY = (224, 224, 222)
_INK = (44, 44, 44)


@dataclass(frozen=True)
class Cell:
    """A picture of any size and mode, and the label below it."""

    image: Image.Image
    label: str = ""


def sheet(rows: Sequence[Sequence[Cell]], *, cell: int = 256, headings: Sequence[str] = ()) -> Image.Image:
    """Lay out pictures in rows, each fitted into its cell without cropping.

    Args:
        rows: each row is centred.
        cell: width of a cell in pixels; the tallest picture of a row sets the height, at most 1.5 widths.

    Returns:
        RGB; transparent pixels show the grey.
    """
    gap = max(8, cell // 24)
    font = ImageFont.load_default(size=max(12, cell // 18))
    assert isinstance(font, ImageFont.FreeTypeFont)  # as Pillow has FreeType in all its wheels
    line = round(font.size * 1.9)
    columns = max(len(row) for row in rows)
    heights = [round(cell * min(1.5, max(each.image.height / each.image.width for each in row))) for row in rows]
    labels = [line if any(each.label for each in row) else 0 for row in rows]
    top = 2 * gap + (line - gap // 2 if headings else 0)
    width = columns * (cell + gap) + 3 * gap
    page = Image.new("RGB", (width, top + sum(heights) + sum(labels) + gap * (len(rows) - 1) + 2 * gap), _GREY)
    draw = ImageDraw.Draw(page)

    def write(text: str, left: int, upper: int) -> None:
        draw.text((left + cell // 2, upper + line // 2), _cut(text, font, cell), _INK, font, anchor="mm")

    for column, heading in enumerate(headings):
        write(heading, 2 * gap + column * (cell + gap), gap)
    for row, height, label in zip(rows, heights, labels, strict=True):
        left = (width - len(row) * (cell + gap) + gap) // 2
        for each in row:
            _place(page, each.image, (left, top), (cell, height))
            write(each.label, left, top + height)
            left += cell + gap
        top += height + label + gap
    return page


def _place(page: Image.Image, image: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> None:
    """Paste a picture at the middle of the lower edge of its cell, near the label."""
    fitted = ImageOps.contain(image.convert("RGBA"), size, Image.Resampling.LANCZOS)
    left, top = at[0] + (size[0] - fitted.width) // 2, at[1] + size[1] - fitted.height
    page.paste(fitted, (left, top), fitted)


def _cut(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """A text, its middle replaced by … when it is too long."""
    kept, shown = len(text), text
    while font.getlength(shown) > room and kept > 4:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return shown
