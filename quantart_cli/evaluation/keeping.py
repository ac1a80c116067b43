"""What is left of an evaluation besides numbers: the pictures, and a sheet of the first of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.pictures import Pair, square
from quantart_cli.evaluation.sheets import Cell, sheet
from quantart_cli.images import Picture, save_picture
from quantart_cli.images.names import reason

_ROWS, _CELL = 12, 224


class Keeper:
    """Shown every output; keeps what was asked for.

    ``folder/CANDIDATE/CONTENT--STYLE.png`` are the outputs, ``folder/contents`` and ``folder/styles`` the squares they
    were made from, so that another tool can paint the same.

    Args:
        folder: for the pictures, made when it is not there; None: none are kept.
        sheet: whether :meth:`write_sheet` will be called.
        names: of the candidates, in their order.

    Raises:
        QuantArtError: the folder cannot be made.
    """

    def __init__(self, folder: Path | None, sheet: bool, names: Sequence[str]) -> None:
        self._folder = folder
        self._sheet = sheet
        self._names = list(names)
        self._rows: dict[str, list[Image.Image]] = {}
        if folder is not None:
            subfolders = {self._folder_of(name) for name in self._names}
            if len(subfolders) < len(self._names):
                raise QuantArtError("the names of what is measured are too alike for folders of their own")
            for each in (*subfolders, "contents", "styles"):
                try:
                    (folder / each).mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise QuantArtError(f"folder {folder / each} cannot be made: {reason(error)}") from None

    def __call__(self, pair: Pair, name: str, rgb: np.ndarray) -> None:
        """Take an output, (size, size, 3) uint8."""
        first = name == self._names[0]
        if self._folder is not None:
            self._save(self._folder_of(name), pair.name, rgb)
            if first:
                for kind, source in (("contents", pair.content), ("styles", pair.style)):
                    self._save(kind, source.name, square(source.path, len(rgb)))
        if self._sheet and first and len(self._rows) < _ROWS:
            squares = (square(source.path, len(rgb)) for source in (pair.content, pair.style))
            self._rows[pair.name] = [Image.fromarray(each) for each in squares]
        if pair.name in self._rows:
            self._rows[pair.name].append(Image.fromarray(rgb))

    def write_sheet(self, target: str) -> None:
        """A row a pair: photograph, style, what each candidate made of them."""
        rows = [[Cell(image) for image in row] for row in self._rows.values()]
        page = sheet(rows, cell=_CELL, headings=["photograph", "style", *self._names])
        save_picture(Picture(np.array(page)), target)

    @staticmethod
    def _folder_of(name: str) -> str:
        return re.sub(r"[^\w.=,+-]+", "_", name)

    def _save(self, folder: str, name: str, rgb: np.ndarray) -> None:
        assert self._folder is not None
        save_picture(Picture(np.ascontiguousarray(rgb)), self._folder / folder / f"{name}.png")
