"""Codes of a VQGAN, mixed by a weight: ``quantart vqvae --model`` with the autoencoder of Esser et al., CVPR 2021.

The formulas ``before`` and ``after`` of methods/vqvae.py, with E, VQ and D of the VQGAN. A position is 16 × 16 pixels.
In tiles it is approximate, as in methods/quantart_vqgan.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.base import WholePicture
from quantart_cli.methods.blending import decode_in_tiles, encode_in_tiles, encode_whole, reduced
from quantart_cli.methods.quantart_vqgan import prepare
from quantart_cli.methods.vqvae import VQVAESettings
from quantart_cli.nets.norm import keeping
from quantart_cli.nets.vqgan import VQGAN
from quantart_cli.tiling import Tiler

Styles = list[tuple[Tensor, float]]
"""z of each style, (1, embed_dim, h, w), and its share."""


class MixedVQGAN(WholePicture[VQVAESettings]):
    """Mixed codes of an autoencoder."""

    def __init__(self, network: VQGAN) -> None:
        self.autoencoder = network

    @property
    def device(self) -> torch.device:
        """Of its network."""
        return self.autoencoder.quant_conv.weight.device

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], spec: DeviceSpec, name: str) -> MixedVQGAN:
        """Build it.

        Raises:
            QuantArtError: a tensor too many or missing.
        """
        network = fill_strictly(VQGAN.like, tensors, name)
        network.to_machine(spec.device, spec.dtype)
        return cls(network)

    def encode_style(self, styles: Sequence[tuple[Tensor, Tensor | None]], shares: Sequence[float]) -> Styles:
        """z of each style."""
        with torch.inference_mode():
            found = [self.autoencoder.encode_content(prepare(image, self.autoencoder)) for image, _ in styles]
        return list(zip(found, shares, strict=True))

    def stylize(
        self,
        content: Tensor,
        style: Styles,
        settings: VQVAESettings,
        opacity: Tensor | None = None,
        tiler: Tiler | None = None,
    ) -> Tensor:
        """Paint a picture, (1, 3, H, W) -> the same shape, float32 in about [0, 1].

        Raises:
            QuantArtError: the settings ask for a decoder of both codes.
        """
        if settings.mix == "decoder":
            raise QuantArtError("a VQGAN has no decoder of two pictures' codes: set mix to before or after")
        net, (height, width) = self.autoencoder, content.shape[2:]

        def mixed(encode: Callable[[VQGAN], Tensor]) -> Tensor:
            return self._mixed(encode(net), style, settings)

        if tiler is None or tiler.side is None or tiler.side >= max(height, width):
            image = net(mixed(lambda each: each.encode_content(prepare(content, each))))
        else:
            small = reduced(content, tiler.side)
            z_small = mixed(lambda each: encode_whole(each, prepare(small, each)))
            with keeping(net.decoder):  # statistics of norms are those of the reduced picture
                net(z_small)
            z = mixed(lambda each: encode_in_tiles(each, prepare(content, each), tiler))
            image = decode_in_tiles(net, net, z, tiler)
        painted: Tensor = image[:, :, :height, :width].add(1).div_(2)
        return painted

    def _mixed(self, z_c: Tensor, style: Styles, settings: VQVAESettings) -> Tensor:
        before, quantize = settings.mix == "before", self.autoencoder.quantize
        own = z_c.float() if before else quantize(z_c.float())
        theirs = torch.zeros_like(own)
        for z, share in style:
            codes = z.float() if before else quantize(z.float())
            theirs += share * F.interpolate(codes, own.shape[2:], mode="nearest")
        found = own.lerp(theirs, settings.alpha)
        return quantize(found) if before else found
