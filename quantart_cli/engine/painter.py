"""Painting as every method and runtime does it: styles encoded once, tiles, and what overflowed computed again.

A runtime gives what only it can do: build networks, encode with them, and paint onto a canvas. No torch in here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.color import match_color
from quantart_cli.engine import style_cache
from quantart_cli.engine.canvas import Canvas, Painted
from quantart_cli.engine.choices import PRESERVE_COLOR, STYLE_SIZE, normalise_weights, parse_tile
from quantart_cli.engine.machine import Machine
from quantart_cli.engine.memory import (
    check_memory,
    choose_tile,
    choose_tile_to_optimise,
    needed_in_tiles,
    needed_to_optimise,
    out_of_memory,
)
from quantart_cli.engine.tiling import Tiles
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import DEFAULT_MAX_PIXELS, Picture, fill_transparent, read_picture, resize
from quantart_cli.methods.controls import Controls

if TYPE_CHECKING:
    from quantart_cli.methods.gatys import Record
    from quantart_cli.methods.guidance import Guidance

Source = str | PathLike[str] | bytes | PIL.Image.Image | np.ndarray | Picture
Moments = tuple[np.ndarray, np.ndarray]
"""Channel-wise mean and standard deviation, each (1, C, 1, 1) float32."""

_tokens = itertools.count()


@dataclass(frozen=True)
class Style:
    """One or several pictures as a model sees them; made by :meth:`Painter.encode_style`, used for many contents."""

    made_by: int
    """Token of the model; :meth:`Painter.adopt` takes a style from another process over."""
    pictures: tuple[Picture, ...]
    weights: tuple[float, ...]
    encoded: Any


class Painter:
    """A method with its networks on a machine; a runtime is a subclass.

    Args:
        method: its name.
        machine: where and how exactly it is computed.
        files: weights by the part of the method they are for.
        max_pixels: pictures above it are refused before they are decoded.
        remember_styles: keep statistics of styles on the disk, see engine/style_cache.py.

    Attributes:
        optimises: whether a picture is found by optimisation, in many steps that can be watched, and not by one pass.
        tileable: whether each window of a picture is painted by itself; a method that optimises looks at them together.
        guided: whether it takes more of a style than its statistics.
        backbone: "vgg19" or "vqgan".
    """

    optimises = False
    tileable = True
    guided = False
    backbone = "vgg19"

    def __init__(
        self,
        method: str,
        machine: Machine,
        files: Mapping[str, ModelFile],
        max_pixels: int = DEFAULT_MAX_PIXELS,
        remember_styles: bool = False,
    ) -> None:
        self.method = method
        self.machine = machine
        self.max_pixels = max_pixels
        self._files = dict(files)
        self._remember_styles = remember_styles
        self._token = next(_tokens)
        self._networks = self._build(machine)

    @property
    def remembers(self) -> bool:
        """Whether a style that was encoded before is not encoded again: what is remembered are statistics."""
        return self._remember_styles and not self.guided and self.tileable and self.backbone == "vgg19"

    @cached_property
    def weights(self) -> dict[str, str]:
        """sha256 of each file of weights in use, by its name."""
        return {file.name: file.checksum for file in self._files.values()}

    def encode_style(
        self, styles: Source | Sequence[Source], *, weights: Sequence[float] | None = None, size: int | None = None
    ) -> Style:
        """Encode one or several styles, once for any number of contents.

        Args:
            styles: a path, PIL image, uint8 array (H, W[, 1, 3 or 4]) or bytes of a file, or a list of these.
            weights: one a style, not negative; normalised to sum to 1. Default: all alike.
            size: long side in pixels above which a style is reduced, default 1024; never enlarged.

        Raises:
            QuantArtError: a picture that cannot be read, or weights that do not fit the styles.
        """
        many = styles if isinstance(styles, (list, tuple)) else [styles]
        limit = STYLE_SIZE if size is None else size
        pictures = tuple(resize(self._read(style), limit, enlarge=False) for style in many)
        normalised = normalise_weights(weights, len(pictures))
        return Style(self._token, pictures, normalised, self._encode(self._networks, pictures, normalised))

    def adopt(self, style: Style) -> Style:
        """A style that a model of the same method and weights encoded in another process."""
        return replace(style, made_by=self._token)

    def paint(
        self,
        content: Picture,
        style: Style,
        controls: Controls,
        *,
        preserve_color: str = "none",
        tile: int | str | None = "auto",
        seed: int = 0,
        progress: Callable[[Record], None] | None = None,
        guidance: Guidance | None = None,
    ) -> Painted:
        """Paint a picture at its own size; arguments as in :meth:`quantart_cli.api.Model.stylize`.

        ``guidance`` is for methods that optimise: regions, a picture to start from, where to go on.

        Raises:
            QuantArtError: it does not fit into memory, or the style was encoded by another model.
            FloatingPointError: numbers that are not finite even in fp32.
        """
        check_choice("preserve-color", preserve_color, PRESERVE_COLOR)
        if style.made_by != self._token:
            raise QuantArtError("the style was encoded by another model: encode it with this one")
        if guidance is not None and not self.optimises:
            raise QuantArtError(f"{self.method} takes no masks and no picture to start from: gatys does")
        aids = {} if guidance is None else {"guidance": guidance}
        tiles = self._tiles(content, parse_tile(tile))
        notes: list[str] = []
        tiles.notice = notes.append

        def run(networks: Any) -> tuple[Canvas, int | None]:
            canvas, encoded = Canvas(content, preserve_color == "luma"), style.encoded
            reference = content if preserve_color == "match" else None
            if reference is not None or networks is not self._networks:
                encoded = self._encode(networks, style.pictures, style.weights, reference)
            with out_of_memory(content.name):
                return canvas, self._stylize(networks, canvas, encoded, controls, tiles, seed, progress, **aids)

        precision = self.machine.precision
        canvas, stopped = run(self._networks)
        if precision != "fp32" and not canvas.finite:
            notes.append(f"{precision} overflowed on {content.name}: computed again in fp32")
            precision = "fp32"
            canvas, stopped = run(self._build(replace(self.machine, precision="fp32", why="after an overflow")))
        if not canvas.finite:
            raise FloatingPointError(f"{self.method} gave numbers that are not finite for {content.name} in fp32")
        if stopped is not None:
            notes.append(f"stopped at step {stopped}")
        return Painted(content.with_rgb(canvas.rgb), precision, tuple(notes), stopped is not None)

    def _build(self, machine: Machine) -> Any:
        """The networks, in that precision."""
        raise NotImplementedError

    def _measure(self, networks: Any, image: np.ndarray, alpha: np.ndarray | None, tiles: Tiles) -> Moments:
        """Statistics of a style's relu4_1, for methods that take a style as that; image as of :meth:`_pixels`.

        Of a model that is guided, a style with its statistics and whatever else it takes.
        """
        raise NotImplementedError

    def _blend(self, parts: Sequence[Moments], weights: Sequence[float]) -> Any:
        """Statistics of several styles as one, as the method takes them."""
        raise NotImplementedError

    def _encode_whole(
        self, networks: Any, pictures: Sequence[Picture], weights: Sequence[float], reference: Any
    ) -> Any:
        """Styles as other methods take them."""
        raise NotImplementedError

    def _stylize(
        self,
        networks: Any,
        canvas: Canvas,
        encoded: Any,
        controls: Controls,
        tiles: Tiles,
        seed: int,
        progress: Callable[[Record], None] | None,
        **guidance: Guidance,
    ) -> int | None:
        """Paint ``canvas.content`` onto the canvas; the step at which Ctrl-C ended an optimisation, else None.

        Methods that optimise take ``guidance``.
        """
        raise NotImplementedError

    def _encode(
        self, networks: Any, pictures: Sequence[Picture], weights: Sequence[float], reference: Picture | None = None
    ) -> Any:
        """The method's encoding of styles, recoloured to ``reference`` if there is one."""
        cut = [] if self.optimises else [self._tiles(picture, "auto") for picture in pictures]
        if not (self.tileable and self.backbone == "vgg19"):
            with out_of_memory(pictures[0].name):
                return self._encode_whole(networks, pictures, weights, reference)
        remembers = self.remembers and networks is self._networks and reference is None
        found = []
        for picture, tiles in zip(pictures, cut, strict=True):

            def measure(picture: Picture = picture, tiles: Tiles = tiles) -> Moments:
                with out_of_memory(picture.name):
                    return self._measure(networks, self._pixels(picture, reference), picture.alpha, tiles)

            where = self.machine.device if self.machine.runtime == "torch" else self.machine.runtime
            made_with = (self._files["vgg"].checksum, self.machine.precision, where)
            key = style_cache.key_of(picture, *made_with) if remembers else None
            found.append(measure() if key is None else style_cache.through(key, measure))
        return self._blend(found, weights)

    def _tiles(self, picture: Picture, tile: int | str | None) -> Tiles:
        """How a picture is cut; one that cannot fit into memory is refused."""
        width, height = picture.size
        if self.optimises:
            side = choose_tile_to_optimise(width, height, tile, self.machine)
            wanted = needed_to_optimise(width, height, side, self.machine)
        else:
            side = choose_tile(width, height, tile, self.machine, self.backbone)
            wanted = needed_in_tiles(width, height, side, self.machine, self.backbone)
        check_memory(wanted, self.machine, picture.name)
        return Tiles(side)

    @staticmethod
    def _pixels(picture: Picture, reference: Picture | None = None) -> np.ndarray:
        """(H, W, 3) with hidden colour replaced: uint8 as it was read, so that a large picture is not held a second
        time, as floats; float32 in about [0, 1] where it was recoloured to ``reference``."""
        rgb = fill_transparent(picture)
        if reference is None:
            return rgb
        opacities = (None if each.alpha is None else floats(each.alpha) for each in (picture, reference))
        return match_color(floats(rgb), floats(fill_transparent(reference)), *opacities).astype(np.float32)

    def _read(self, source: Source) -> Picture:
        return source if isinstance(source, Picture) else read_picture(source, max_pixels=self.max_pixels)


def floats(values: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [0, 1]."""
    return values.astype(np.float32) / 255
