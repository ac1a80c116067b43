"""AdaIN and QuantArt on VGG-19 with OpenVINO: what :class:`quantart_cli.api.Model` is with torch, without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.color import match_color
from quantart_cli.engine import style_cache
from quantart_cli.engine.canvas import Canvas, Painted
from quantart_cli.engine.choices import PRESERVE_COLOR, STYLE_SIZE, normalise_weights, parse_tile
from quantart_cli.engine.machine import Machine
from quantart_cli.engine.memory import check_memory, choose_tile, needed_in_tiles, out_of_memory
from quantart_cli.engine.tiling import Tiles, Window
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.fast.features import Features, Statistics, by_channels, decode, encode, quantize
from quantart_cli.fast.networks import Network, load
from quantart_cli.images import Picture, fill_transparent, resize
from quantart_cli.methods.arithmetic import mix, transfer
from quantart_cli.methods.controls import AdaINControls, Controls, QuantArtControls


@dataclass(frozen=True)
class Style:
    """One or several pictures as a model sees them; made by :meth:`FastModel.encode_style`."""

    model: FastModel
    pictures: tuple[Picture, ...]
    weights: tuple[float, ...]
    encoded: Statistics


class FastModel:
    """A method on the CPU, its networks run by OpenVINO; they must be exported (see ``networks.py``).

    Args:
        method: "adain" or "quantart".
        machine: from :func:`quantart_cli.fast.runtime.choose`.
        files: weights by the part of the method they are for, as
            :func:`quantart_cli.checkpoints.models.weights_of` has them.
        remember_styles: keep statistics of styles on the disk, see engine/style_cache.py.

    Raises:
        QuantArtError: the networks are not exported.
    """

    optimises = False
    tileable = True
    backbone = "vgg19"

    def __init__(
        self, method: str, machine: Machine, files: Mapping[str, ModelFile], remember_styles: bool = False
    ) -> None:
        self.method = method
        self.machine = machine
        self._files = dict(files)
        self._remember_styles = remember_styles
        self._networks = load(files, machine.precision)

    @property
    def weights(self) -> dict[str, str]:
        """sha256 of each file of weights in use, by its name."""
        return {file.name: file.checksum for file in self._files.values()}

    def encode_style(
        self, pictures: Sequence[Picture], *, weights: Sequence[float] | None = None, size: int | None = None
    ) -> Style:
        """Encode one or several styles; arguments as in :meth:`quantart_cli.api.Model.encode_style`."""
        limit = STYLE_SIZE if size is None else size
        reduced = tuple(resize(picture, limit, enlarge=False) for picture in pictures)
        normalised = normalise_weights(weights, len(reduced))
        return Style(self, reduced, normalised, self._encode(self._networks, reduced, normalised))

    def paint(
        self,
        content: Picture,
        style: Style,
        controls: Controls,
        *,
        preserve_color: str = "none",
        tile: int | str | None = "auto",
        seed: int = 0,
    ) -> Painted:
        """Paint a picture; arguments as in :meth:`quantart_cli.api.Model.paint`, nothing here is random."""
        check_choice("preserve-color", preserve_color, PRESERVE_COLOR)
        if style.model is not self:
            raise QuantArtError("the style was encoded by another model: encode it with this one")
        tiles = self._tiles(content, parse_tile(tile))
        notes: list[str] = []
        tiles.notice = notes.append
        precision = self.machine.precision
        canvas = Canvas(content, preserve_color == "luma")
        reference = content if preserve_color == "match" else None
        self._run(self._networks, canvas, style, controls, tiles, reference)
        if precision != "fp32" and not canvas.finite:
            notes.append(f"{precision} overflowed on {content.name}: computed again in fp32")
            precision = "fp32"
            canvas = Canvas(content, preserve_color == "luma")
            exact = load(self._files, precision)
            self._run(exact, canvas, style, controls, tiles, reference, encode_again=True)
        if not canvas.finite:
            raise FloatingPointError(f"{self.method} gave numbers that are not finite for {content.name} in fp32")
        return Painted(content.with_rgb(canvas.rgb), precision, tuple(notes))

    def _run(
        self,
        networks: Mapping[str, Network],
        canvas: Canvas,
        style: Style,
        controls: Controls,
        tiles: Tiles,
        reference: Picture | None,
        encode_again: bool = False,
    ) -> None:
        """One forward pass onto the canvas; the style is encoded anew where it must be."""
        content, encoded = canvas.content, style.encoded
        if reference is not None or encode_again:
            encoded = self._encode(networks, style.pictures, style.weights, reference)
        with out_of_memory(content.name):
            features = self._features(networks, content, tiles)
            latent = _latent(networks, features, encoded, controls)
            decode(networks["decoder"], latent, features.grid, content.rgb.shape[:2], tiles, canvas.put)

    def _tiles(self, picture: Picture, tile: int | str | None) -> Tiles:
        """How a picture is cut; one that cannot fit into memory is refused."""
        side = choose_tile(*picture.size, tile, self.machine)
        check_memory(needed_in_tiles(*picture.size, side, self.machine), self.machine, picture.name)
        return Tiles(side)

    def _encode(
        self,
        networks: Mapping[str, Network],
        pictures: Sequence[Picture],
        weights: Sequence[float],
        reference: Picture | None = None,
    ) -> Statistics:
        """μ and σ of the blended styles, recoloured to ``reference`` if there is one."""
        remembers = self._remember_styles and networks is self._networks and reference is None
        found = []
        for picture in pictures:

            def measure(picture: Picture = picture) -> tuple[np.ndarray, np.ndarray]:
                with out_of_memory(picture.name):
                    own = self._features(networks, picture, self._tiles(picture, "auto"), reference).statistics
                return own.mean, own.std

            made_with = (self._files["vgg"].checksum, self.machine.precision, self.machine.runtime)
            key = style_cache.key_of(picture, *made_with) if remembers else None
            found.append(Statistics(*(measure() if key is None else style_cache.through(key, measure))))
        return Statistics.blend(found, weights)

    def _features(
        self, networks: Mapping[str, Network], picture: Picture, tiles: Tiles, reference: Picture | None = None
    ) -> Features:
        image = fill_transparent(picture)
        if reference is not None:
            opacities = (_floats(each.alpha) for each in (picture, reference))
            image = match_color(_floats(image), _floats(fill_transparent(reference)), *opacities).astype(np.float32)
        bf16 = self.machine.precision == "bf16" and networks is self._networks
        return encode(networks["vgg"], image, picture.alpha, tiles, bf16)


def _latent(
    networks: Mapping[str, Network], c: Features, style: Statistics, controls: Controls
) -> Callable[[Window], np.ndarray]:
    """z at a window of positions, as in methods/adain.py and methods/quantart.py."""
    if isinstance(controls, AdaINControls):
        alpha, beta = 0.0, controls.alpha
    else:
        assert isinstance(controls, QuantArtControls)
        alpha, beta = controls.fidelity, controls.strength

    def z_y(window: Window, part: slice) -> np.ndarray:  # z_y ⊕β z_c
        return transfer(c.at(window, part), c.statistics[part], style[part], beta)

    if alpha == 0:
        return by_channels(z_y)
    c_hat = quantize(networks["scores"], networks["entries"], c)
    # ẑ_y ⊕β ẑ_c, of the entries that occur: they are fewer than the positions.
    y_hat = replace(c_hat, entries=transfer(c_hat.entries, c_hat.statistics, style, beta))
    if alpha == 1:
        return by_channels(y_hat.at)
    return by_channels(lambda window, part: mix(y_hat.at(window, part), z_y(window, part), alpha))


def _floats(values: np.ndarray | None) -> np.ndarray | None:
    """uint8 to float32 in [0, 1]."""
    return None if values is None else values.astype(np.float32) / 255
