"""QuantArt: Quantizing Image Style Transfer Towards High Visual Fidelity (Huang et al., CVPR 2023).

With hats for quantized, c content, s style, y stylized, and a ⊕p b = p·a + (1 - p)·b:

    z_c = E(c)             ẑ_c = VQ(z_c)
    z_y = T(z_c, z_s)      ẑ_y = VQ(T̂(ẑ_c, ẑ_s))
    z     = (ẑ_y ⊕β ẑ_c) ⊕α (z_y ⊕β z_c)
    image = D_α(z)         D_α = D̂ ⊕α D

α is visual fidelity, β style strength, both chosen when a picture is painted. Here, on the VGG-19 backbone: E is VGG-19
to relu4_1, T and T̂ are AdaIN, VQ a codebook of paintings behind a 1×1 projection, D the AdaIN decoder, and D̂ one that
was trained on from there on quantized features, weight by weight between the two; a codebook that comes without one is
decoded by D at both ends. α = 0 is AdaIN with β as its α. It departs from the paper in its backbone, in transfer blocks
without parameters, and in VQ:

    VQ(z) = AdaIN(e((z - μ(z)) / σ(z)), z)        e: the nearest entry at every position

Entries are of features standardised by their own painting's statistics, and what is quantized keeps its own. Without
that, entries found by k-means, means of many features, lose contrast and drift to the average painting, brown and
flat, and a style unlike the paintings trained on takes the content's edges with it. It follows that ẑ_s has the
statistics of z_s, all that AdaIN sees of it, and that T̂(ẑ_c, ẑ_s) is made of entries already: VQ would find the same
ones again (at 99.9 % of the positions of real photographs) and is not asked a second time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantart_cli.engine.tiling import Tiles, Window
from quantart_cli.methods.arithmetic import adaptive_instance_norm, mix, transfer
from quantart_cli.methods.controls import QuantArtControls
from quantart_cli.methods.features import (
    Features,
    Put,
    Statistics,
    bands,
    decode,
    encode,
    style_statistics,
)
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19


class QuantArt:
    """Style transfer pulled towards a codebook of real artworks.

    Args:
        vgg: E.
        codebook: of VQ, float32, with D̂ in the precision of D if it has one; else D̂ is D.
        decoder: D.
    """

    optimises = False
    backbone = "vgg19"
    tileable = True

    def __init__(self, vgg: VGG19, codebook: Codebook, decoder: Decoder) -> None:
        self.vgg = vgg
        self.codebook = codebook
        self.decoder = decoder
        own = codebook.decoder if isinstance(codebook, ArtCodebook) else None
        self.quantized = decoder if own is None else own
        self._between: tuple[float, Decoder] = (0.0, decoder)  # the last α that was asked for, and D_α

    def encode_style(
        self, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float], tiles: Tiles | None = None
    ) -> Statistics:
        """μ and σ of the blended styles, those of z_s and ẑ_s alike; arguments as in :func:`style_statistics`."""
        return style_statistics(self.vgg, styles, weights, tiles)

    def stylize(
        self,
        content: Tensor,
        style: Statistics,
        controls: QuantArtControls,
        coverage: Tensor | None = None,
        tiles: Tiles | None = None,
        put: Put | None = None,
    ) -> Tensor | None:
        """Paint a picture; arguments and result as in :meth:`quantart_cli.methods.adain.AdaIN.stylize`."""
        alpha, beta = controls.fidelity, controls.strength
        c = encode(self.vgg, content, coverage, tiles)
        c_hat = self.quantize(c) if alpha > 0 else None

        def z(window: Window) -> Tensor:
            if c_hat is None:
                return transfer(c.at(window), c.statistics, style, beta)  # z_y ⊕β z_c
            z_hat = transfer(c_hat.at(window), c_hat.statistics, style, beta)  # ẑ_y ⊕β ẑ_c
            return z_hat if alpha == 1 else mix(z_hat, transfer(c.at(window), c.statistics, style, beta), alpha)

        return decode(self.decoder_at(alpha), z, c.grid, tuple(content.shape[2:]), tiles, put)

    def decoder_at(self, alpha: float) -> Decoder:
        """D_α = D̂ ⊕α D; that of the last α is kept."""
        if alpha in (0, 1) or self.quantized is self.decoder:
            return self.quantized if alpha == 1 else self.decoder
        if self._between[0] != alpha:
            between = copy.deepcopy(self.decoder)
            ends = zip(self.quantized.parameters(), self.decoder.parameters(), strict=True)
            for weight, (a, b) in zip(between.parameters(), ends, strict=True):
                weight.data.copy_(mix(a.float(), b.float(), alpha))
            self._between = (alpha, between)
        return self._between[1]

    def quantize(self, features: Features) -> Quantized:
        """VQ(z): nearest entries of the standardised features, with the statistics of z."""
        own = features.statistics
        indices = torch.empty((1, *features.grid), dtype=torch.int64, device=features.z.device)
        for rows in bands(features.z):
            indices[:, rows] = self.codebook.indices((features.z[:, :, rows].float() - own.mean) / own.std)
        counted = torch.bincount(indices.flatten(), minlength=len(self.codebook.entries))
        occurring = counted.nonzero()[:, 0]  # K' entries, fewer than all and than the positions
        place = torch.zeros_like(counted)
        place[occurring] = torch.arange(len(occurring), device=place.device)
        # A position is one of them, so how often each occurs is all there is to know of their statistics.
        often = counted
        if features.coverage is not None:
            often = torch.bincount(indices.flatten(), features.coverage.flatten().double(), len(counted))
        often = often[occurring].view(1, 1, -1, 1)
        entries = self.codebook.lookup(occurring[None, :, None])  # (1, 512, K', 1)
        dressed = adaptive_instance_norm(entries, Statistics.of(entries, often), own)
        return Quantized(place[indices], dressed[0, :, :, 0].T.contiguous(), Statistics.of(dressed, often))


@dataclass(frozen=True)
class Quantized:
    """ẑ as the entries it is made of.

    Attributes:
        indices: (1, h, w) int64 in [0, K').
        entries: (K', 512) float32, those that occur, each as it stands in ẑ.
        statistics: of ẑ; those of z but for channels that hardly vary.
    """

    indices: Tensor
    entries: Tensor
    statistics: Statistics

    def at(self, window: Window) -> Tensor:
        """Those of a window of positions, (1, 512, h', w') float32."""
        rows, columns = window.slices
        return self.entries[self.indices[:, rows, columns]].movedim(-1, 1)
