"""What all visitors of the page share: models, pictures that were read, and the private folder."""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import PIL.Image
import PIL.ImageColor

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, read_picture, resize, save_picture, to_size
from quantart_cli.memory import NotEnoughMemory
from quantart_cli.methods.base import Step
from quantart_cli.methods.inputs import Masks, mask_of
from quantart_cli.model import Model, load
from quantart_cli.model_files import files_of
from quantart_cli.recipe import recipe_of, region
from quantart_cli.registry import Method, methods
from quantart_cli.result import Result
from quantart_cli.style import Style
from quantart_cli.web.order import File, Order

SHOWN = 1600
"""Long side to which pictures are reduced for the browser; the file to download is not."""
STYLES = 4
"""Most styles that can be blended."""
COLOURS = ["#e6194b", "#4363d8", "#3cb44b", "#ffe119"]
"""Colour of the brush that marks the region of each style."""
_MEMO = 1 << 29  # bytes of features that each model keeps


class Studio:
    """Reads, paints and writes pictures.

    Args:
        folder: private folder for pictures.
        machine: keyword arguments of ``load``, and ``tile`` and ``seed``, that are not the defaults.
        models: other weights of methods, by name.
        max_pixels: larger pictures are refused.

    Attributes:
        lock: held while a picture is painted; predictions of memory count on that.
        model: the model of a method, by name.
        painting: keyword arguments of ``Model.paint`` out of ``machine``.
        loaded: the models in memory by the name of their method.
    """

    def __init__(self, folder: Path, machine: dict[str, Any], models: dict[str, str], max_pixels: int) -> None:
        self.folder, self.machine, self.models, self.max_pixels = folder, machine, models, max_pixels
        self.painting: dict[str, Any] = {name: machine[name] for name in ("tile", "seed") if name in machine}
        self._loading = {name: value for name, value in machine.items() if name not in self.painting}
        self._numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.loaded: WeakValueDictionary[str, Model] = WeakValueDictionary()
        # What the last few clicks used, of all visitors.
        self.model = lru_cache(3)(self._load)
        self._kept = lru_cache(8)(self.read)
        self._style = lru_cache(8)(self._encode)
        self.shown = lru_cache(32)(self._show)

    def methods(self) -> dict[str, Method]:
        """The methods whose weights are here."""
        return {name: row for name, row in methods().items() if self._has_weights(row)}

    def _has_weights(self, row: Method) -> bool:
        if row.name in self.models:
            return True
        try:
            files_of(row)
        except QuantArtError:
            return False
        return bool(row.weights) or not row.models

    def _load(self, name: str) -> Model:
        model = self.models.get(name)
        made = load(name, model=model, max_pixels=self.max_pixels, memo_bytes=_MEMO, **self._loading)
        self.loaded[name] = made
        return made

    def read(self, path: str, side: int | None = None) -> Picture:
        """Read a picture, reduced to a long side if one is given."""
        if side is not None:
            return resize(self._kept(path), side, enlarge=False)
        try:
            return read_picture(path, max_pixels=self.max_pixels)
        except QuantArtError as error:
            raise QuantArtError(self.without_folder(str(error))) from None

    def without_folder(self, text: str) -> str:
        """A text without the private folder: the page shows no paths."""
        return re.sub(f"{re.escape(str(self.folder))}{re.escape(os.sep)}(?:[0-9a-f]+{re.escape(os.sep)})?", "", text)

    def content(self, order: Order, side: int | None = None) -> Picture:
        """The content of a order at the size to be painted, or reduced to a long side, for a preview."""
        full = to_size(self._kept(order.content.path), order.size, self.max_pixels)
        return full if side is None or max(full.size) <= side else self._kept(order.content.path, side)

    def _encode(self, method: str, styles: tuple[File, ...], shares: tuple[float, ...]) -> Style:
        """Styles, encoded when they are first painted with: masks and settings decide how."""
        pictures = [self._kept(style.path) for style in styles]
        return self.model(method).encode_style(pictures, weights=shares or None, encode=False)

    def style(self, order: Order) -> Style:
        """The styles of a order."""
        return self._style(order.method, order.styles, order.blend)

    def paint(self, order: Order, content: Picture, progress: Callable[[Step], None] | None = None) -> Result:
        """Paint a content; errors as of ``Model.paint``. If memory is short, models give back what they keep."""
        try:
            return self._paint(order, content, progress)
        except NotEnoughMemory:
            if not sum(model.forget() for model in list(self.loaded.values())):
                raise
        return self._paint(order, content, progress)

    def _paint(self, order: Order, content: Picture, progress: Callable[[Step], None] | None) -> Result:
        model, settings = self.model(order.method), order.checked()
        style = self.style(order)
        masks = tuple(mask_of(self._kept(mask.path), content.size) for mask in order.masks)
        return model.paint(
            content,
            style,
            settings,
            preserve_color=order.preserve_color,
            progress=progress,
            inputs=Masks(masks) if masks else None,
            **self.painting,
        )

    def save(self, order: Order, result: Result) -> str:
        """Write a result at full size, with its recipe; returns the file."""
        options = {"size": order.size, "preserve_color": order.preserve_color, "style_weights": order.blend}
        recipe = recipe_of(
            self.model(order.method),
            order.checked(),
            self._kept(order.content.path),
            [self._kept(style.path) for style in order.styles],
            result,
            {**self.machine, **options},
            {"mask": [region(mask.path) for mask in order.masks]},
        )
        path = self.new_file(order.name)
        save_picture(result.picture.with_recipe(recipe.text()), path)
        return path

    def _show(self, path: str, side: int) -> str:
        return self.show(self.read(path, side))

    def show(self, picture: Picture, side: int = SHOWN) -> str:
        """Write a picture for the browser, reduced to a long side; returns the file."""
        picture = resize(picture, side, enlarge=False)
        path = self.new_file("shown.jpg" if picture.alpha is None else "shown.png")
        save_picture(picture, path, strip_metadata=True, quality=90)
        return path

    def new_file(self, name: str) -> str:
        """A path of that name in a new folder."""
        path = self.folder / f"{next(self._numbers):06}" / name
        path.parent.mkdir()
        return str(path)

    def masks(self, layers: Sequence[Any], colours: Sequence[str]) -> tuple[File, ...]:
        """The masks that were drawn: one for each colour, or none if nothing was drawn.

        Args:
            layers: PIL images with alpha; the first that is not empty counts.
            colours: as "#rrggbb". A pixel belongs to the nearest.
        """
        drawn = [np.asarray(layer.convert("RGBA"), np.int32) for layer in layers]
        marked = next((layer for layer in drawn if (layer[..., 3] > 127).any()), None)
        if marked is None:
            return ()
        palette = np.array([PIL.ImageColor.getrgb(colour) for colour in colours])
        nearest = ((marked[:, :, None, :3] - palette) ** 2).sum(-1).argmin(-1)  # (h, w)
        found = []
        for i in range(len(colours)):
            file = File(self.new_file(f"mask-{i + 1}.png"), f"mask-{i + 1}.png")
            inside = (nearest == i) & (marked[..., 3] > 127)
            PIL.Image.fromarray(inside.astype(np.uint8) * 255).save(file.path)
            found.append(file)
        return tuple(found)
