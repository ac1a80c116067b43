"""QuantArt on its authors' own networks (Huang et al., CVPR 2023): the VQGAN f16 autoencoder and their checkpoints.

With hats for quantized, c content, s style, y stylized, and a ⊕p b = p·a + (1 - p)·b:

    ẑ_c = VQ(Ê(c))     ẑ_s = VQ_art(Ê_art(s))     ẑ_y = VQ_art(T̂(ẑ_c, ẑ_s))     the quantized checkpoint
    z_c = E(c)         z_s = E_art(s)             z_y = T(z_c, z_s)              the continuous checkpoint
    z     = (ẑ_y ⊕β ẑ_c) ⊕α (z_y ⊕β z_c)
    image = D_α(z)                                                               D_α = D̂ ⊕α D, its weights interpolated

α is visual fidelity, β style strength. Both ends are whole networks of their own; what only one of them needs is not
computed where the other is asked for alone. The authors published no code for α and β. Several styles: the weighted
mean of their T, quantized once. Two departures: a picture whose sides are not multiples of the stride is mirrored to
them and cropped back, and what is transparent in a style is not looked at.

In tiles it is approximate (see methods/blending.py): attention of the autoencoder ends with the tile, and norms have
the statistics of a reduced picture. T sees all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from quantart_cli.checkpoints.layouts import ENDS
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.base import WholePicture
from quantart_cli.methods.blending import decode_in_tiles, encode_in_tiles, encode_whole, reduced
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.methods.tensors import extend, floats
from quantart_cli.nets.norm import keeping
from quantart_cli.nets.vqgan import VQGAN, StyleVQGAN
from quantart_cli.tiling import Tiler

_BACK = ("post_quant_conv.", "decoder.")


class QuantArtVQGAN(WholePicture[QuantArtSettings]):
    """Style transfer towards a codebook of real artworks, by the authors' networks.

    Args:
        quantized: the quantized checkpoint; None: only α = 0 can be painted.
        continuous: the continuous checkpoint; None: only α = 1 can be painted.
    """

    def __init__(self, quantized: StyleVQGAN | None, continuous: StyleVQGAN | None) -> None:
        self.quantized = quantized
        self.continuous = continuous

    @property
    def device(self) -> torch.device:
        """Of its networks."""
        network = self.quantized or self.continuous
        assert network is not None
        return network.quant_conv.weight.device

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], spec: DeviceSpec, name: str) -> QuantArtVQGAN:
        """Build both ends, or the one that the file has.

        Raises:
            QuantArtError: a tensor too many or missing, or ends that do not fit each other.
        """
        networks: dict[str, StyleVQGAN | None] = {}
        for end in ENDS:
            own = {key.removeprefix(f"{end}."): tensors.pop(key) for key in list(tensors) if key.startswith(f"{end}.")}
            network = fill_strictly(StyleVQGAN.like, own, f"{name} ({end})") if own else None
            if network is not None:
                if network.quantized != (end == "quantized"):
                    raise QuantArtError(f"{name}: the codebooks of its {end} end do not fit: convert it again")
                network.to_machine(spec.device, spec.dtype)
            networks[end] = network
        if tensors:
            raise QuantArtError(f"{name} has a tensor too many, {next(iter(tensors))}: convert it again")
        both = [network.config for network in networks.values() if network is not None]
        if not both or len({(config.stride, config.embed_dim) for config in both}) > 1:
            raise QuantArtError(f"{name}: its two ends do not fit each other: convert it again")
        return cls(**networks)

    def encode_style(self, styles: Sequence[tuple[Tensor, Tensor | None]], shares: Sequence[float]) -> _Styles:
        """The styles; each network encodes them when it is first used.

        Args:
            styles: pictures (1, 3, H, W), float32 in [0, 1] or uint8, each with its opacity (1, 1, H, W) or None.
            shares: one for each style, summing to 1.
        """
        return _Styles(styles, shares)

    def stylize(
        self,
        content: Tensor,
        style: _Styles,
        settings: QuantArtSettings,
        opacity: Tensor | None = None,
        tiler: Tiler | None = None,
    ) -> Tensor:
        """Paint a picture, (1, 3, H, W) -> the same shape, float32 in about [0, 1].

        Raises:
            QuantArtError: α needs a network whose checkpoint is not there.
        """
        alpha, beta = settings.fidelity, settings.strength
        self._check(alpha)
        height, width = content.shape[2:]
        decoder = self._network(quantized=alpha == 1)
        decode = self._decoder(alpha)
        if tiler is None or tiler.side is None or tiler.side >= max(height, width):
            image = decode(self._latent(lambda net: net.encode_content(prepare(content, net)), style, alpha, beta))
        else:
            # Statistics of norms depend on the whole picture: they are taken from a reduced one.
            small = reduced(content, tiler.side)
            z_small = self._latent(lambda net: encode_whole(net, prepare(small, net)), style, alpha, beta)
            with keeping(decoder.decoder):
                decode(z_small)
            z = self._latent(lambda net: encode_in_tiles(net, prepare(content, net), tiler), style, alpha, beta)
            image = decode_in_tiles(decoder, decode, z, tiler)
        return image[:, :, :height, :width].add_(1).div_(2)

    def _check(self, alpha: float) -> None:
        for network, end, other, only in (
            (self.quantized, "quantized", "continuous", 0),
            (self.continuous, "continuous", "quantized", 1),
        ):
            if network is None and alpha != only:
                raise QuantArtError(
                    f"this model holds the {other} checkpoint alone, which paints at fidelity {only}; fidelity "
                    f"{alpha:g} needs the {end} one too: convert both into one model, or set fidelity to {only}"
                )

    def _network(self, quantized: bool) -> StyleVQGAN:
        network = self.quantized if quantized else self.continuous
        assert network is not None, "_check comes first"
        return network

    def _latent(self, encode: Callable[[StyleVQGAN], Tensor], style: _Styles, alpha: float, beta: float) -> Tensor:
        """z = (ẑ_y ⊕β ẑ_c) ⊕α (z_y ⊕β z_c), (1, embed_dim, h, w) float32; ``encode`` is the networks' E(c)."""
        used = [self._network(quantized) for quantized, share in ((False, 1 - alpha), (True, alpha)) if share > 0]
        ends = [_styled(network, encode(network), style, beta) for network in used]  # z_y ⊕β z_c and ẑ_y ⊕β ẑ_c
        return ends[0] if len(ends) == 1 else ends[0].lerp(ends[1], alpha)

    def _decoder(self, alpha: float) -> Callable[[Tensor], Tensor]:
        """D_α."""
        if alpha in (0, 1):
            return self._network(quantized=alpha == 1)
        continuous, quantized = self._network(False), dict(self._network(True).named_parameters())
        between = {
            name: weight.lerp(quantized[name], alpha)
            for name, weight in continuous.named_parameters()
            if name.startswith(_BACK)
        }
        return lambda z: functional_call(continuous, between, (z,))


def _styled(network: StyleVQGAN, z_c: Tensor, style: _Styles, beta: float) -> Tensor:
    """y ⊕β c of one network: (1, embed_dim, h, w) float32."""
    if network.quantized:
        z_c = network.quantize_enc(z_c)
    if beta == 0:
        return z_c.float()
    parts = zip(style.shares, style.latents(network), strict=True)
    z_y = reduce(torch.add, (share * network.transfer(z_c, z_s) for share, z_s in parts))
    if network.quantized:
        z_y = network.quantize_dec(z_y)
    return z_c.float().lerp(z_y.float(), beta)


class _Styles:
    """Styles and their latents, each (1, embed_dim, h', w'), or (1, embed_dim, 1, n) of its visible positions."""

    def __init__(self, pictures: Sequence[tuple[Tensor, Tensor | None]], shares: Sequence[float]) -> None:
        self.pictures = pictures
        self.shares = shares
        self._known: dict[StyleVQGAN, list[Tensor]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _Styles, (self.pictures, self.shares)  # without the networks: another process has its own

    def latents(self, network: StyleVQGAN) -> list[Tensor]:
        """Those of one network; encoded when first asked for, since α may never ask."""
        if network not in self._known:
            self._known[network] = [_encode_style(network, *picture) for picture in self.pictures]
        return self._known[network]


def _encode_style(network: StyleVQGAN, image: Tensor, coverage: Tensor | None) -> Tensor:
    z = network.encode_style(prepare(image, network))
    if network.quantized:
        z = network.quantize_dec(z)
    if coverage is None or not coverage.any():
        return z
    stride = network.config.stride
    visible = F.avg_pool2d(extend(coverage, stride, stride), stride)[0, 0]  # (h', w')
    # T treats a style as a set of positions, so those that show nothing can be left out.
    return z[:, :, visible >= min(0.5, float(visible.max()))][:, :, None]


def prepare(image: Tensor, network: VQGAN | StyleVQGAN) -> Tensor:
    """To [-1, 1] on the network's device, mirrored to multiples of its stride."""
    stride = network.config.stride
    return extend(floats(image, network.quant_conv.weight.device), stride, stride) * 2 - 1
