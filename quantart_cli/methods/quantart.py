"""QuantArt: Quantizing Image Style Transfer Towards High Visual Fidelity (Huang et al., CVPR 2023).

With hats for quantized, c content, s style, y stylized, and a ⊕p b = p·a + (1 - p)·b:

    z_c = E(c)             ẑ_c = VQ(z_c)
    z_y = T(z_c, z_s)      ẑ_y = VQ(T̂(ẑ_c, ẑ_s))
    z     = (ẑ_y ⊕β ẑ_c) ⊕α (z_y ⊕β z_c)
    image = D_α(z)         D_α = D̂ ⊕α D

α is visual fidelity, β style strength, both chosen when a picture is painted. Here, on the VGG-19 backbone: E is VGG-19
to relu4_1, VQ a codebook of paintings behind a 1×1 projection, D the AdaIN decoder, and D̂ one that was trained on from
there on quantized features, weight by weight between the two; a codebook that comes without one is decoded by D at both
ends. T and T̂ are AdaIN of features that the style has guided, G and Ĝ of methods/guided.py, each of them of the
identity in a codebook that comes without it:

    T(z_c, z_s) = AdaIN(G(z_c), z_s)       VQ(T̂(z_c, z_s)) = AdaIN(VQ(Ĝ(z_c)), z_s)

Without a guide α = 0 is AdaIN with β as its α. It departs from the paper in its backbone, in its transfer blocks (see
nets/guide.py), in T̂ seeing z_c where the paper's sees ẑ_c, so that a position is quantized once, at the end, and in VQ:

    VQ(z) = AdaIN(e((z - μ(z)) / σ(z)), z)        e: the nearest entries at every position, see nets/codebook.py

Entries are of features standardised by their own painting's statistics, and what is quantized keeps its own. Without
that, entries found by k-means, means of many features, lose contrast and drift to the average painting, brown and
flat, and a style unlike the paintings trained on takes the content's edges with it. It follows that ẑ_s has the
statistics of z_s, all that AdaIN sees of it, and that AdaIN(ẑ_c, ẑ_s), which T̂ is without a guide, is made of entries
already: VQ would find the same ones again (99.5 % of them and more, of photographs) and is not asked twice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.engine.tiling import Tiles, Window
from quantart_cli.methods.arithmetic import dress, mix, transfer, transferring
from quantart_cli.methods.controls import QuantArtControls
from quantart_cli.methods.features import (
    Features,
    Put,
    Statistics,
    bands,
    decode,
    encode,
    exact_on,
    style_statistics,
)
from quantart_cli.methods.guided import Guided, GuidedStyle, blend, style_of
from quantart_cli.nets.autoencoder import GUIDED, ArtCodebook
from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19


class QuantArt:
    """Style transfer pulled towards a codebook of real artworks.

    Args:
        vgg: E.
        codebook: of VQ, float32, with D̂ and guides in the precision of D if it has any; else D̂ is D.
        decoder: D.

    Attributes:
        guided: whether there is a guide, and styles are encoded with their tokens.
    """

    optimises = False
    backbone = "vgg19"
    tileable = True

    def __init__(self, vgg: VGG19, codebook: Codebook, decoder: Decoder) -> None:
        self.vgg = vgg
        self.codebook = codebook
        self.decoder = decoder
        art = codebook if isinstance(codebook, ArtCodebook) else None
        self.quantized = decoder if art is None or art.decoder is None else art.decoder
        self._guides = {end: None if art is None else art.guide(end) for end in GUIDED}
        self.guided = any(guide is not None for guide in self._guides.values())
        self._between: tuple[float, Decoder] = (0.0, decoder)  # the last α that was asked for, and D_α

    def encode_style(
        self, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float], tiles: Tiles | None = None
    ) -> Statistics:
        """μ and σ of the blended styles, those of z_s and ẑ_s alike; arguments as in :func:`style_statistics`.

        With a guide a :class:`GuidedStyle`, which has the styles' tokens as well.
        """
        if not self.guided:
            return style_statistics(self.vgg, styles, weights, tiles)
        return blend([style_of(encode(self.vgg, *style, tiles)) for style in styles], weights)

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
        if alpha == 0:
            z = self._continuous(c, style, beta)
        elif alpha == 1:
            z = self._quantized(c, style, beta)
        elif not self.guided:
            z = _between(self.quantize(c), c, style, alpha, beta)
        else:
            z_hat, z_own = self._quantized(c, style, beta), self._continuous(c, style, beta)

            def z(window: Window) -> Tensor:
                return mix(z_hat(window), z_own(window), alpha)

        return decode(self.decoder_at(alpha), z, c.grid, tuple(content.shape[2:]), tiles, put)

    def _continuous(self, c: Features, style: Statistics, beta: float) -> Callable[[Window], Tensor]:
        """z_y ⊕β z_c, window by window."""
        return _strengthened(self._guide("continuous", c, style, beta), c, style, beta)

    def _quantized(self, c: Features, style: Statistics, beta: float) -> Callable[[Window], Tensor]:
        """ẑ_y ⊕β ẑ_c, window by window."""
        y = self._guide("quantized", c, style, beta)
        y_hat = self.quantize(y)
        return _strengthened(y_hat, y_hat if y is c or beta == 1 else self.quantize(c), style, beta)

    def _guide(self, end: str, c: Features, style: Statistics, beta: float) -> Features:
        """G(z_c); z_c itself without a guide, or where no style is wanted."""
        guide = self._guides[end]
        if guide is None or beta == 0:
            return c
        assert isinstance(style, GuidedStyle)
        return Guided(z=c.z, coverage=c.coverage, own=c.statistics, guide=guide, style=style)

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
        own, book = features.statistics, self.codebook
        indices = torch.empty((1, *features.grid, len(book.tables)), dtype=torch.int32, device=features.z.device)
        sums = _Sums(book.expand.in_features, features.z.device)
        for rows in bands(features.z):
            found = book.indices(features.rows(rows), own.mean, own.std)
            indices[:, rows] = found.int()
            coverage = None if features.coverage is None else features.coverage[0, 0, rows].flatten()
            sums.add(book.codes(found).flatten(0, 2), coverage)
        expand = book.expand
        weight, bias, std = dress(
            expand.weight, expand.bias.view(1, -1, 1, 1), sums.statistics(expand.weight, expand.bias), own
        )
        return Quantized(indices, book, weight, bias, Statistics(own.mean, std))


@dataclass(frozen=True)
class Quantized:
    """ẑ as the entries it is made of.

    Attributes:
        indices: (1, h, w, G) int32.
        codebook: they are of.
        weight, bias: from codes to ẑ, (512, D) and (1, 512, 1, 1) float32.
        statistics: of ẑ; those of z but for channels that hardly vary.
    """

    indices: Tensor
    codebook: Codebook
    weight: Tensor
    bias: Tensor
    statistics: Statistics

    def at(self, window: Window) -> Tensor:
        """Those of a window of positions, (1, 512, h', w') float32."""
        codes = self.codebook.codes(self.indices[0][window.slices])  # (h', w', D)
        return F.linear(codes, self.weight, self.bias.flatten()).movedim(-1, 0)[None]

    def transferred(self, style: Statistics, beta: float) -> Quantized:
        """AdaIN(ẑ, s) ⊕β ẑ, whose statistics nobody asks for."""
        return self.changed(*transferring(self.statistics, style, beta))

    def changed(self, slope: Tensor | float, shift: Tensor | float) -> Quantized:
        """Every channel of ẑ multiplied and moved, (1, C, 1, 1) each; the statistics are those of before."""
        weight = self.weight * (slope.view(-1, 1) if isinstance(slope, Tensor) else slope)
        return replace(self, weight=weight, bias=self.bias * slope + shift)


class _Sums:
    """Of codes and of their products over positions: whence the statistics of whatever is linear in codes, at D² an
    entry of what would be C·D a position.

    Args:
        width: D, channels of a code.
        device: of codes.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self._exact = exact_on(device)
        self._total = torch.zeros((), dtype=self._exact, device=device)
        self._codes = torch.zeros(width, dtype=self._exact, device=device)
        self._products = torch.zeros(width, width, dtype=self._exact, device=device)

    def add(self, codes: Tensor, weights: Tensor | None) -> None:
        """(n, D) float32, and how much each counts, (n,), or None: all alike."""
        weighted = codes if weights is None else codes * weights[:, None]
        self._total += len(codes) if weights is None else weights.sum(dtype=self._exact)
        self._codes += weighted.sum(0, dtype=self._exact)
        self._products += codes.T @ weighted

    def statistics(self, weight: Tensor, bias: Tensor) -> Statistics:
        """Those of weight·code + bias, (C, D) and (C,)."""
        mean, weight = self._codes / self._total, weight.to(self._exact)
        covariance = (self._products - self._total * mean.outer(mean)) / (self._total - 1).clamp(min=0.5)
        return Statistics.from_moments(weight @ mean + bias.to(self._exact), ((weight @ covariance) * weight).sum(1))


def _between(hat: Quantized, c: Features, style: Statistics, alpha: float, beta: float) -> Callable[[Window], Tensor]:
    """(AdaIN(ẑ_c, z_s) ⊕β ẑ_c) ⊕α (AdaIN(z_c, z_s) ⊕β z_c), window by window.

    Of each channel that is a multiple of ẑ_c, one of z_c and a constant, the first and last of which the way back from
    the codebook's space can have.
    """
    slope, shift = transferring(c.statistics, style, beta)
    hat = hat.transferred(style, beta).changed(alpha, (1 - alpha) * shift)
    return lambda window: hat.at(window).addcmul_(c.at(window), (1 - alpha) * slope)


def _strengthened(
    y: Features | Quantized, c: Features | Quantized, style: Statistics, beta: float
) -> Callable[[Window], Tensor]:
    """AdaIN(y, z_s) ⊕β c, window by window."""
    if y is c or beta == 1:
        return _transferred(y, style, beta)
    z_y = _transferred(y, style, 1)
    return lambda window: mix(z_y(window), c.at(window), beta)


def _transferred(y: Features | Quantized, style: Statistics, beta: float) -> Callable[[Window], Tensor]:
    """AdaIN(y, z_s) ⊕β y, window by window."""
    if isinstance(y, Quantized):
        return y.transferred(style, beta).at
    return lambda window: transfer(y.at(window), y.statistics, style, beta)
