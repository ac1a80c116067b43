"""AdaIN and QuantArt on VGG-19 with OpenVINO: what :class:`quantart_cli.api.Model` is with torch, without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from quantart_cli.engine.canvas import Canvas
from quantart_cli.engine.machine import Machine
from quantart_cli.engine.painter import Moments, Painter
from quantart_cli.engine.tiling import Tiles, Window
from quantart_cli.fast.features import Features, Statistics, by_channels, decode, encode, quantize
from quantart_cli.fast.networks import Network, load
from quantart_cli.methods.arithmetic import transfer, transferring
from quantart_cli.methods.controls import AdaINControls, Controls, QuantArtControls


class FastModel(Painter):
    """A method on the CPU, its networks run by OpenVINO; they must be exported (see ``networks.py``).

    Arguments as of :class:`quantart_cli.engine.painter.Painter`: the method is "adain" or "quantart", the machine from
    :func:`quantart_cli.fast.runtime.choose`.

    Raises:
        QuantArtError: the networks are not exported.
    """

    def _build(self, machine: Machine) -> dict[str, Network]:
        return load(self._files, machine.precision)

    def _measure(
        self, networks: Mapping[str, Network], image: np.ndarray, alpha: np.ndarray | None, tiles: Tiles
    ) -> Moments:
        found = encode(networks["vgg"], image, alpha, tiles, self._rounds(networks)).statistics
        return found.mean, found.std

    def _blend(self, parts: Sequence[Moments], weights: Sequence[float]) -> Statistics:
        return Statistics.blend([Statistics(*part) for part in parts], weights)

    def _stylize(
        self,
        networks: Mapping[str, Network],
        canvas: Canvas,
        encoded: Statistics,
        controls: Controls,
        tiles: Tiles,
        seed: int,
        progress: Any,
    ) -> None:
        content = canvas.content
        features = encode(networks["vgg"], self._pixels(content), content.alpha, tiles, self._rounds(networks))
        latent = _latent(networks, features, encoded, controls)
        decode(_decoder(networks, controls), latent, features.grid, content.rgb.shape[:2], tiles, canvas.put)

    def _rounds(self, networks: Mapping[str, Network]) -> bool:
        """Whether features are kept in bf16: all but those that are computed again in fp32."""
        return self.machine.precision == "bf16" and networks is self._networks


def _decoder(networks: Mapping[str, Network], controls: Controls) -> Network:
    """D, or D_α where the codebook brought a decoder of its own."""
    if "between" not in networks:
        return networks["decoder"]
    assert isinstance(controls, QuantArtControls)
    return networks["between"].given(np.array(controls.fidelity, np.float32))


def _latent(
    networks: Mapping[str, Network], c: Features, style: Statistics, controls: Controls
) -> Callable[[Window], np.ndarray]:
    """z at a window of positions, as in methods/adain.py and methods/quantart.py."""
    if isinstance(controls, AdaINControls):
        alpha, beta = 0.0, controls.alpha
    else:
        assert isinstance(controls, QuantArtControls)
        alpha, beta = controls.fidelity, controls.strength

    if alpha == 0:
        return by_channels(
            lambda window, part: transfer(c.at(window, part), c.statistics[part], style[part], beta)  # z_y ⊕β z_c
        )
    hat = quantize(networks, c).transferred(style, beta)  # ẑ_y ⊕β ẑ_c
    if alpha == 1:
        return by_channels(hat.at)
    # The constant is that of all, and z_c but multiplied.
    slope, shift = transferring(c.statistics, style, beta)
    hat, slope = hat.changed(alpha, (1 - alpha) * shift), (1 - alpha) * slope

    def z(window: Window, part: slice) -> np.ndarray:
        found = hat.at(window, part)
        found += c.at(window, part) * slope[:, part]
        return found

    return by_channels(z)
