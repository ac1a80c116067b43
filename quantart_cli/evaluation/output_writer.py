"""Writes the outputs of an evaluation, and a contact sheet of some of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.pictures import Pair, square
from quantart_cli.evaluation.sheets import Cell, sheet
from quantart_cli.files import reason
from quantart_cli.images import Picture, save_picture

_ROWS, _CELL = 12, 224


class OutputWriter:
    """Called with every output.

    ``folder/SYSTEM/CONTENT--STYLE.png`` are the outputs, ``folder/contents`` and ``folder/styles`` the squares they
    were made from, so that another tool can paint the same.

    Args:
        folder: for the pictures, made when it does not exist; None: none are written.
        pairs: all pairs; the sheet shows the first of them.
        names: of the systems, in their order.

    Raises:
        QuantArtError: the folder cannot be made.
    """

    def __init__(self, folder: Path | None, pairs: Sequence[Pair], names: Sequence[str]) -> None:
        self._folder = folder
        self._names = list(names)
        self._rows: dict[str, list[Image.Image]] = {pair.name: [] for pair in pairs[:_ROWS]}
        if folder is not None:
            subfolders = {_folder_name(name) for name in self._names}
            if len(subfolders) < len(self._names):
                raise QuantArtError("the names of the systems are too similar for folders of their own: leave one out")
            for each in (*subfolders, "contents", "styles"):
                try:
                    (folder / each).mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise QuantArtError(f"folder {folder / each} cannot be made: {reason(error)}") from None

    def __call__(self, pair: Pair, name: str, rgb: np.ndarray) -> None:
        """Take an output, (size, size, 3) uint8."""
        row, first = self._rows.get(pair.name), name == self._names[0]
        if first and (row is not None or self._folder is not None):
            for role, source in (("contents", pair.content), ("styles", pair.style)):
                picture = square(source.path, len(rgb))
                self._save(role, source.name, picture)
                if row is not None:
                    row.append(Image.fromarray(picture))
        self._save(_folder_name(name), pair.name, rgb)
        if row is not None:
            row.append(Image.fromarray(rgb))

    def write_sheet(self, target: str) -> None:
        """One row for each pair: photograph, style, and the outputs."""
        rows = [[Cell(image) for image in row] for row in self._rows.values()]
        page = sheet(rows, cell=_CELL, headings=["photograph", "style", *self._names])
        save_picture(Picture(np.array(page)), target)

    def _save(self, folder: str, name: str, rgb: np.ndarray) -> None:
        if self._folder is not None:
            save_picture(Picture(np.ascontiguousarray(rgb)), self._folder / folder / f"{name}.png")


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w.=,+-]+", "_", name)
