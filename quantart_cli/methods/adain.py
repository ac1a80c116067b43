"""AdaIN: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (Huang and Belongie, ICCV 2017).

    t     = AdaIN(f(c), f(s)) = σ(f(s)) (f(c) - μ(f(c))) / σ(f(c)) + μ(f(s))      equations 8 and 9
    image = g((1 - α) f(c) + α t)                                                 equation 14

f is VGG-19 to relu4_1, g the decoder, both with the published weights. Several styles: the sum of their t weighted to
one (equation 15). It departs from the reference script in three places: the picture keeps its size where that is not
divisible by 8 (the output is cropped), pictures below 16 pixels are mirrored to that size for the network, and what is
transparent does not count in μ and σ.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from quantart_cli.engine.tiling import Tiles, Window
from quantart_cli.methods.arithmetic import transfer
from quantart_cli.methods.controls import AdaINControls
from quantart_cli.methods.features import Put, Statistics, decode, encode, style_statistics
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19


class AdaIN:
    """Feed-forward style transfer by channel statistics."""

    optimises = False
    backbone = "vgg19"
    tileable = True

    def __init__(self, vgg: VGG19, decoder: Decoder) -> None:
        self.vgg = vgg
        self.decoder = decoder

    def encode_style(
        self, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float], tiles: Tiles | None = None
    ) -> Statistics:
        """μ and σ of the blended styles; arguments as in :func:`style_statistics`."""
        return style_statistics(self.vgg, styles, weights, tiles)

    def stylize(
        self,
        content: Tensor,
        style: Statistics,
        controls: AdaINControls,
        coverage: Tensor | None = None,
        tiles: Tiles | None = None,
        put: Put | None = None,
    ) -> Tensor | None:
        """Paint a picture.

        Args:
            content: (1, 3, H, W) sRGB, float32 in [0, 1] or uint8.
            style: from :meth:`encode_style`.
            controls: α.
            coverage: (1, 1, H, W) in [0, 1], the content's opacity, or None.
            tiles: the windows it is computed in, which do not change the result; None: one.
            put: takes the painted windows.

        Returns:
            (1, 3, H, W) float32, about [0, 1], not clamped; None when ``put`` has it.
        """
        c = encode(self.vgg, content, coverage, tiles)

        def z(window: Window) -> Tensor:
            return transfer(c.at(window), c.statistics, style, controls.alpha)

        return decode(self.decoder, z, c.grid, tuple(content.shape[2:]), tiles, put)
