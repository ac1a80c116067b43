"""The Python API; the command line calls nothing else.

import quantart_cli as quantart
model = quantart.load("quantart")
style = model.encode_style("style.jpg")
picture = model.stylize("content.jpg", style, fidelity=0.7)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from quantart_cli.checkpoints.models import ModelFile, find_model, weights_of
from quantart_cli.color import match_color
from quantart_cli.engine import style_cache
from quantart_cli.engine.build import METHODS, build
from quantart_cli.engine.canvas import Canvas, Painted
from quantart_cli.engine.choices import ACCEPTS, PRESERVE_COLOR, STYLE_SIZE, normalise_weights, parse_tile
from quantart_cli.engine.device import choose
from quantart_cli.engine.machine import Machine
from quantart_cli.engine.memory import check_memory, choose_tile, needed, needed_in_tiles, out_of_memory
from quantart_cli.engine.tiling import Tiles
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import DEFAULT_MAX_PIXELS, Picture, fill_transparent, read_picture, resize
from quantart_cli.methods.controls import CONTROLS, Controls
from quantart_cli.methods.features import Statistics
from quantart_cli.methods.gatys import Record, Stopped

Source = str | PathLike[str] | bytes | PIL.Image.Image | np.ndarray | Picture


@dataclass(frozen=True)
class Style:
    """One or several pictures as a model sees them; made by :meth:`Model.encode_style`, used for many contents."""

    model: Model
    pictures: tuple[Picture, ...]
    weights: tuple[float, ...]
    encoded: Any


def load(
    method: str = "quantart",
    *,
    model: str | PathLike[str] | None = None,
    download: bool = False,
    device: str = "auto",
    precision: str = "auto",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Model:
    """A model with its weights, verified; by default the embedded ones.

    Args:
        method: "quantart", "adain" or "gatys".
        model: other weights: a name of the manifest, a .safetensors file, or ``hf://owner/repo/file.safetensors``.
            "quantart" takes a codebook of ``quantart train`` or a QuantArt model of ``quantart convert``, "adain" a
            decoder, "gatys" a normalised VGG-19.
        download: get the model if it is not here; otherwise the network is never asked.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16"; auto is bf16 where the hardware has it.
        max_pixels: pictures above it are refused before they are decoded.

    Raises:
        QuantArtError: an unknown name (the nearest is suggested), a device that is not here, weights that are damaged
            or of another kind, or a model that is not here yet.
    """
    check_choice("method", method, METHODS)
    file = None if model is None else find_model(os.fspath(model), ACCEPTS[method], download=download)
    return Model(method, choose(device, precision), max_pixels, file)


class Model:
    """A method on a machine. Make one with :func:`load`."""

    def __init__(
        self,
        method: str,
        machine: Machine,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        model: ModelFile | None = None,
        remember_styles: bool = False,
    ) -> None:
        self.method = method
        self.machine = machine
        self.max_pixels = max_pixels
        self._model = model
        self._remember_styles = remember_styles
        self._net = build(method, machine, model)

    @property
    def weights(self) -> dict[str, str]:
        """sha256 of each file of weights in use, by its name."""
        files = weights_of(self.method, self._model).values()
        return {file.name: file.checksum for file in files}

    @property
    def tileable(self) -> bool:
        """Whether pictures can be painted in tiles."""
        return self._net.tileable

    @property
    def backbone(self) -> str:
        """ "vgg19" or "vqgan"."""
        return self._net.backbone

    @property
    def _has_statistics(self) -> bool:
        """Whether a style is encoded as mean and standard deviation."""
        return self._net.tileable and self._net.backbone == "vgg19"

    @property
    def optimises(self) -> bool:
        """Whether a picture is found by optimisation, in many steps that can be watched, and not by one pass."""
        return self._net.optimises

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
        return Style(self, pictures, normalised, self._encode(self._net, pictures, normalised))

    def stylize(
        self,
        content: Source,
        style: Style | Source | Sequence[Source],
        *,
        size: int | None = None,
        preserve_color: str = "none",
        tile: int | str | None = "auto",
        seed: int = 0,
        progress: Callable[[Record], None] | None = None,
        **controls: Any,
    ) -> PIL.Image.Image:
        """Paint a picture.

        Args:
            content: a path, PIL image, uint8 array (H, W[, 1, 3 or 4]) or bytes of a file.
            style: from :meth:`encode_style`, or pictures to encode with equal weights.
            size: long side of the result in pixels; default the content's own.
            preserve_color: "none"; "luma": the result's luminance with the content's chroma; "match": the style is
                recoloured to the content's colour mean and covariance before it is encoded.
            tile: "auto", "none", or a number of pixels: "quantart" and "adain" paint in tiles of at most that many
                pixels a side; with the same result on VGG-19, with a similar one on VQGAN.
            seed: of all random numbers.
            progress: called with a :class:`quantart_cli.methods.gatys.Record` after each step, by "gatys" only.
            **controls: the method's own, for example ``fidelity=0.7``; see :mod:`quantart_cli.methods.controls`.

        Returns:
            RGB, or RGBA when the content has transparency; the content's size unless ``size`` is given.

        Raises:
            QuantArtError: a picture that cannot be read, or a control that does not exist or is out of range.
            KeyboardInterrupt: on Ctrl-C; :meth:`paint` keeps what an optimisation had reached.
        """
        chosen = CONTROLS[self.method].of(controls)
        picture = self._read(content)
        if size is not None:
            picture = resize(picture, size, enlarge=True)
        if not isinstance(style, Style):
            style = self.encode_style(style)
        painted = self.paint(
            picture, style, chosen, preserve_color=preserve_color, tile=tile, seed=seed, progress=progress
        )
        if painted.stopped:
            raise KeyboardInterrupt
        return painted.picture.to_pil()

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
    ) -> Painted:
        """Paint a picture that is already read, at its own size; arguments as in :meth:`stylize`."""
        check_choice("preserve-color", preserve_color, PRESERVE_COLOR)
        if style.model is not self:
            raise QuantArtError("the style was encoded by another model: encode it with this one")
        tiles = self._tiles(content, parse_tile(tile))
        notes: list[str] = []
        tiles.notice = notes.append
        torch.manual_seed(seed)
        extra = {"progress": progress} if progress is not None and self.optimises else {}
        precision, stopped = self.machine.precision, False
        canvas = Canvas(content, preserve_color == "luma")
        try:
            self._run(self._net, canvas, style, controls, preserve_color, tiles, extra)
            if precision != "fp32" and not canvas.finite:
                notes.append(f"{precision} overflowed on {content.name}: computed again in fp32")
                precision = "fp32"
                machine = Machine(self.machine.device, "fp32", "after an overflow")
                canvas = Canvas(content, preserve_color == "luma")
                exact = build(self.method, machine, self._model)
                self._run(exact, canvas, style, controls, preserve_color, tiles, extra, encode_again=True)
        except Stopped as stop:
            canvas.put_all(stop.image)
            stopped = True
            notes.append(f"stopped at step {stop.step}")
        if not canvas.finite:
            raise FloatingPointError(f"{self.method} gave numbers that are not finite for {content.name} in fp32")
        return Painted(content.with_rgb(canvas.rgb), precision, tuple(notes), stopped)

    def _tiles(self, picture: Picture, tile: int | str | None) -> Tiles:
        """How a picture is cut; one that cannot fit into memory is refused."""
        width, height = picture.size
        if self._net.tileable:
            side = choose_tile(width, height, tile, self.machine, self._net.backbone)
            wanted = needed_in_tiles(width, height, side, self.machine, self._net.backbone)
        else:
            if isinstance(tile, int):
                raise QuantArtError(f"{self.method} knows no tiles: leave --tile at auto")
            side = None
            wanted = needed(width * height, self.machine, self._net.backbone, self._net.optimises)
        check_memory(wanted, self.machine, picture.name)
        return Tiles(side)

    def _run(
        self,
        net: Any,
        canvas: Canvas,
        style: Style,
        controls: Controls,
        preserve_color: str,
        tiles: Tiles,
        extra: dict[str, Any],
        encode_again: bool = False,
    ) -> None:
        """One forward pass onto the canvas; the style is encoded anew where it must be."""
        content = canvas.content
        image, coverage = self._tensors(content)
        encoded = style.encoded
        if preserve_color == "match" or encode_again:
            reference = content if preserve_color == "match" else None
            encoded = self._encode(net, style.pictures, style.weights, reference)
        with torch.inference_mode(not self.optimises), out_of_memory(content.name):
            if net.tileable:
                net.stylize(image, encoded, controls, coverage, tiles, canvas.put)
            else:
                canvas.put_all(net.stylize(image, encoded, controls, coverage=coverage, **extra))

    def _encode(
        self, net: Any, pictures: Sequence[Picture], weights: Sequence[float], reference: Picture | None = None
    ) -> Any:
        """The method's encoding of styles, recoloured to ``reference`` if there is one."""
        tiles = [self._tiles(picture, "auto") for picture in pictures]
        largest = None if any(each.side is None for each in tiles) else min(each.side for each in tiles)
        extra = (Tiles(largest),) if net.tileable else ()
        with torch.inference_mode(not self.optimises), out_of_memory(pictures[0].name):
            if self._remember_styles and net is self._net and self._has_statistics and reference is None:
                return Statistics.blend([self._remembered(picture, *extra) for picture in pictures], weights)
            return net.encode_style([self._tensors(picture, reference) for picture in pictures], weights, *extra)

    def _remembered(self, picture: Picture, tiles: Tiles) -> Statistics:
        """Statistics of one style, from the cache on the disk if they are there."""

        def measure() -> tuple[np.ndarray, np.ndarray]:
            found = self._net.encode_style([self._tensors(picture)], (1.0,), tiles)
            return found.mean.cpu().numpy(), found.std.cpu().numpy()

        encoder = weights_of(self.method, self._model)["vgg"]
        key = style_cache.key_of(picture, encoder.checksum, self.machine.precision, self.machine.device)
        return Statistics(*(torch.from_numpy(v).to(self.machine.device) for v in style_cache.through(key, measure)))

    def _tensors(self, picture: Picture, reference: Picture | None = None) -> tuple[Tensor, Tensor | None]:
        """Image (1, 3, H, W), hidden colour replaced, and opacity (1, 1, H, W) float32 or None.

        uint8 where it is as it was read, so that a large picture is not held a second time, as floats; float32 in
        about [0, 1] where it was recoloured.
        """
        rgb = fill_transparent(picture)
        if reference is not None:
            rgb = match_color(_floats(rgb), _floats(fill_transparent(reference)), *map(_opacity, (picture, reference)))
        image = torch.from_numpy(rgb).permute(2, 0, 1)[None]
        opacity = _opacity(picture)
        return image, None if opacity is None else torch.from_numpy(opacity)[None, None].to(self.machine.device)

    def _read(self, source: Source) -> Picture:
        return source if isinstance(source, Picture) else read_picture(source, max_pixels=self.max_pixels)


def _floats(rgb: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [0, 1]."""
    return rgb.astype(np.float32) / 255


def _opacity(picture: Picture) -> np.ndarray | None:
    return None if picture.alpha is None else _floats(picture.alpha)
