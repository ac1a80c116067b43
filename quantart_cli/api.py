"""The Python API; the command line calls nothing else.

import quantart_cli as quantart
model = quantart.load("quantart")
style = model.encode_style("style.jpg")
picture = model.stylize("content.jpg", style, fidelity=0.7)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from quantart_cli.checkpoints.models import ModelFile, find_model, weights_of
from quantart_cli.engine.build import METHODS, build
from quantart_cli.engine.canvas import Canvas
from quantart_cli.engine.choices import ACCEPTS
from quantart_cli.engine.device import choose
from quantart_cli.engine.machine import Machine
from quantart_cli.engine.painter import Painter, Source, Style, floats
from quantart_cli.engine.tiling import Tiles
from quantart_cli.errors import check_choice
from quantart_cli.images import DEFAULT_MAX_PIXELS, Picture, resize
from quantart_cli.methods.controls import CONTROLS, Controls
from quantart_cli.methods.features import Statistics
from quantart_cli.methods.gatys import Record, Stopped
from quantart_cli.methods.guidance import Guidance, mask_of
from quantart_cli.methods.guided import blend

__all__ = ["Model", "Style", "load"]


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


class Model(Painter):
    """A method on a machine, computed by torch. Make one with :func:`load`."""

    def __init__(
        self,
        method: str,
        machine: Machine,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        model: ModelFile | None = None,
        remember_styles: bool = False,
    ) -> None:
        self._model = model
        super().__init__(method, machine, weights_of(method, model), max_pixels, remember_styles)
        kind = type(self._networks)
        self.optimises, self.tileable, self.backbone = kind.optimises, kind.tileable, kind.backbone
        self.guided = getattr(self._networks, "guided", False)

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
        masks: Sequence[Source] = (),
        style_masks: Sequence[Source] = (),
        start: Source | None = None,
        **controls: Any,
    ) -> PIL.Image.Image:
        """Paint a picture.

        Args:
            content: a path, PIL image, uint8 array (H, W[, 1, 3 or 4]) or bytes of a file.
            style: from :meth:`encode_style`, or pictures to encode with equal weights.
            size: long side of the result in pixels; default the content's own.
            preserve_color: "none"; "luma": the result's luminance with the content's chroma; "match": the style is
                recoloured to the content's colour mean and covariance before it is encoded.
            tile: "auto", "none", or a number of pixels: it is painted in tiles of at most that many pixels a side;
                with the same result on VGG-19, with a similar one on VQGAN.
            seed: of all random numbers.
            progress: called with a :class:`quantart_cli.methods.gatys.Record` after each step, by "gatys" only.
            masks: regions of the content, white where, one a style or one for each of ``style_masks``; brought to the
                content's size. With a single one the rest of the picture is left as it is. "gatys" only.
            style_masks: the part of a style that the region of the same number takes. "gatys" only.
            start: a picture to start from, instead of ``init``. "gatys" only.
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
        options = {"preserve_color": preserve_color, "tile": tile, "seed": seed, "progress": progress}
        if masks or style_masks or start is not None:
            options["guidance"] = Guidance(
                tuple(mask_of(self._read(mask), picture.size) for mask in masks),
                tuple(mask_of(self._read(mask)) for mask in style_masks),
                None if start is None else self._read(start).rgb,
            )
        painted = self.paint(picture, style, chosen, **options)
        if painted.stopped:
            raise KeyboardInterrupt
        return painted.picture.to_pil()

    def _build(self, machine: Machine) -> Any:
        return build(self.method, machine, self._model)

    def _measure(self, networks: Any, image: np.ndarray, alpha: np.ndarray | None, tiles: Tiles) -> Any:
        with torch.inference_mode():
            found = networks.encode_style([self._tensors(image, alpha)], (1.0,), tiles)
            return found if self.guided else (found.mean.cpu().numpy(), found.std.cpu().numpy())

    def _blend(self, parts: Sequence[Any], weights: Sequence[float]) -> Statistics:
        if self.guided:
            return blend(parts, weights)
        each = [Statistics(*(torch.from_numpy(values).to(self.machine.device) for values in part)) for part in parts]
        return Statistics.blend(each, weights)

    def _encode_whole(
        self, networks: Any, pictures: Sequence[Picture], weights: Sequence[float], reference: Picture | None
    ) -> Any:
        with torch.inference_mode(not self.optimises):
            styles = [self._tensors(self._pixels(picture, reference), picture.alpha) for picture in pictures]
            return networks.encode_style(styles, weights)

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
        torch.manual_seed(seed)
        image, coverage = self._tensors(self._pixels(canvas.content), canvas.content.alpha)
        with torch.inference_mode(not self.optimises):
            if self.tileable:
                networks.stylize(image, encoded, controls, coverage, tiles, canvas.put)
                return None
            watched = {} if progress is None else {"progress": progress}
            try:
                canvas.put_all(
                    networks.stylize(image, encoded, controls, coverage, tiles, seed=seed, **guidance, **watched)
                )
            except Stopped as stop:
                canvas.put_all(stop.image)
                return stop.step
        return None

    def _tensors(self, image: np.ndarray, alpha: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
        """Image (1, 3, H, W) of the array's type, and opacity (1, 1, H, W) float32 on the device, or None."""
        opacity = None if alpha is None else torch.from_numpy(floats(alpha))[None, None].to(self.machine.device)
        return torch.from_numpy(image).permute(2, 0, 1)[None], opacity
