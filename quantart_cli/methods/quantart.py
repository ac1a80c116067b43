"""QuantArt: Quantizing Image Style Transfer Towards High Visual Fidelity (Huang et al., CVPR 2023).

With hats for quantized, c content, s style, y stylized, and a ⊕p b = p·a + (1 - p)·b:

    z_c = E(c)             ẑ_c = VQ(z_c)
    z_y = T(z_c, z_s)      ẑ_y = VQ(T̂(ẑ_c, ẑ_s))
    z     = (ẑ_y ⊕β ẑ_c) ⊕α (z_y ⊕β z_c)
    image = D(z)

α is visual fidelity, β style strength, both chosen when a picture is painted. Here, on the VGG-19 backbone: E is VGG-19
to relu4_1, T and T̂ are AdaIN, VQ a codebook of paintings behind a 1×1 projection, D the AdaIN decoder for both ends;
α = 0 is AdaIN with β as its α. It departs from the paper in its backbone, in transfer blocks without parameters, and
in VQ:

    VQ(z) = AdaIN(e((z - μ(z)) / σ(z)), z)        e: the nearest entry at every position

Entries are of features standardised by their own painting's statistics, and what is quantized keeps its own. Without
that, entries found by k-means, means of many features, lose contrast and drift to the average painting, brown and
flat, and a style unlike the paintings trained on takes the content's edges with it. It follows that ẑ_s has the
statistics of z_s, all that AdaIN sees of it, and that T̂(ẑ_c, ẑ_s) is made of entries already: VQ would find the same
ones again (at 99.9 % of the positions of real photographs) and is not asked a second time.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from quantart_cli.methods.adain import transfer
from quantart_cli.methods.controls import QuantArtControls
from quantart_cli.methods.features import Features, Statistics, adaptive_instance_norm, encode, style_statistics
from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19


class QuantArt:
    """Style transfer pulled towards a codebook of real artworks."""

    optimises = False
    backbone = "vgg19"

    def __init__(self, vgg: VGG19, codebook: Codebook, decoder: Decoder) -> None:
        self.vgg = vgg
        self.codebook = codebook
        self.decoder = decoder

    def encode_style(self, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float]) -> Statistics:
        """μ and σ of the blended styles, those of z_s and ẑ_s alike; arguments as in :func:`style_statistics`."""
        return style_statistics(self.vgg, styles, weights)

    def stylize(
        self, content: Tensor, style: Statistics, controls: QuantArtControls, coverage: Tensor | None = None
    ) -> Tensor:
        """(1, 3, H, W) float32 in [0, 1] -> the same shape, about [0, 1], not clamped."""
        alpha, beta = controls.fidelity, controls.strength
        c = encode(self.vgg, content, coverage)
        if alpha == 0:
            z = transfer(c, style, beta)  # z_y ⊕β z_c
        else:
            z = transfer(self.quantize(c), style, beta)  # ẑ_y ⊕β ẑ_c
            if alpha < 1:
                z = transfer(c, style, beta).lerp(z, alpha)
        return self.decoder(z)[:, :, : content.shape[2], : content.shape[3]]

    def quantize(self, features: Features) -> Features:
        """VQ(z): nearest entries of the standardised features, with the statistics of z."""
        own = features.statistics
        entries = Features(self.codebook((features.z - own.mean) / own.std), features.coverage)
        return Features(adaptive_instance_norm(entries.z, entries.statistics, own), features.coverage)
