"""A VQ-VAE whose decoder is conditioned on the codes of a content and on those of a style.

Neural Discrete Representation Learning (van den Oord, Vinyals and Kavukcuoglu, NIPS 2017). The encoder is that of
section 4.1: two convolutions of stride 2 with kernels of 4, then residual blocks. The decoder is ours: see
:class:`Decoder`. Nothing looks at the whole picture, so results in tiles are exact.

e is the entry of a position, (B, D, h, w); a position is 4 × 4 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.statistics import moments

if TYPE_CHECKING:
    from typing_extensions import Self

_ENCODER_BLOCKS, _DECODER_BLOCKS = 2, 6


@dataclass(frozen=True)
class VQVAEConfig:
    """Sizes of a VQ-VAE.

    Attributes:
        channels: of the hidden layers, even.
        width: numbers of a code, D.
        entries: of the codebook, K.
    """

    channels: int
    width: int
    entries: int

    @classmethod
    def like(cls, tensors: Mapping[str, Any]) -> VQVAEConfig:
        """Sizes of a checkpoint, from the shapes of its tensors; 2 where a tensor is missing."""

        def size(name: str, axis: int) -> int:
            shape = tensors[name].shape if name in tensors else ()
            return max(2, int(shape[axis])) if len(shape) > axis else 2

        return cls(size("encoder.to_half.weight", 0) // 2 * 4, size("codebook.entries", 1), size("codebook.entries", 0))


class Block(nn.Module):
    """x + conv 1×1(relu(conv 3×3(relu(x)))); between the two convolutions a scale and a shift of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.narrow = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """(B, C, h, w), with (B, C / 2, 1, 1) each -> (B, C, h, w)."""
        hidden: Tensor = self.wide(F.relu(x))
        if scale is not None and shift is not None:
            hidden = hidden * (1 + scale) + shift
        return torch.add(x, self.narrow(F.relu(hidden)))


class Encoder(nn.Module):
    """A picture to features: (B, 3, H, W) in [0, 1] -> (B, C, H / 4, W / 4); H and W multiples of 4."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        channels = config.channels
        self.to_half = nn.Conv2d(3, channels // 2, 4, 2, padding=1)
        self.to_quarter = nn.Conv2d(channels // 2, channels, 4, 2, padding=1)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(_ENCODER_BLOCKS))

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.to_quarter(F.relu(self.to_half((image - 0.5).to(self.to_half.weight.dtype))))
        for block in self.blocks:
            x = block(x)
        return F.relu(x)


class Decoder(nn.Module):
    """Codes of a content to a picture in the look of a style.

    The style is given by the mean and the deviation of its entries. They have two effects. The entries of the content
    are shifted and scaled to them, as in AdaIN (Huang and Belongie 2017, equation 8), beside the entries as they are.
    And they scale and shift the channels of each block, as in FiLM (Perez et al. 2018, equation 1). With the content's
    own mean and deviation the decoder reconstructs the content.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        channels = config.channels
        self.content = nn.Conv2d(config.width, channels, 3, padding=1)
        self.film = nn.Linear(2 * config.width, _DECODER_BLOCKS * channels)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(_DECODER_BLOCKS))
        self.to_half = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.to_full = nn.Conv2d(channels // 2, channels // 4, 3, padding=1)
        self.to_image = nn.Conv2d(channels // 4, 3, 3, padding=1)

    def forward(self, e: Tensor, styled: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Decode.

        Args:
            e: (B, D, h, w), entries of the content.
            styled: (B, C, h, w), expanded entries of the content, with the style's mean and deviation.
            mean, std: (B, D), of the style's entries.

        Returns:
            (B, 3, 4h, 4w) float32 in about [0, 1], not clamped.
        """
        dtype = self.content.weight.dtype
        film = self.film(torch.cat([mean, std], 1).to(dtype))[:, :, None, None].chunk(2 * _DECODER_BLOCKS, 1)
        x: Tensor = self.content(e.to(dtype)) + styled.to(dtype)
        for i, block in enumerate(self.blocks):
            x = block(x, film[2 * i], film[2 * i + 1])
        x = F.relu(self.to_half(_doubled(F.relu(x))))
        x = F.relu(self.to_full(_doubled(x)))
        image: Tensor = self.to_image(x)
        return image.float() + 0.5


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")  # transposed convolutions leave a checkerboard


class VQVAE(nn.Module):
    """Encoder, codebook and decoder."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.codebook = Codebook(config.entries, config.width, config.channels)
        self.decoder = Decoder(config)

    @classmethod
    def like(cls, tensors: Mapping[str, Any]) -> Self:
        """An empty network of the sizes of a checkpoint's tensors."""
        return cls(VQVAEConfig.like(tensors))

    def encode(self, image: Tensor) -> Tensor:
        """z, not yet quantized: (B, 3, H, W) in [0, 1] -> (B, D, H / 4, W / 4) float32."""
        rows = self.encoder(image).movedim(1, -1).to(self.codebook.project.weight.dtype)
        z: Tensor = self.codebook.project(rows).movedim(-1, 1)
        return z.float()

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """VQ: (B, D, h, w) -> the nearest entries e likewise, and their indices (B·h·w, 1)."""
        indices = self.codebook.nearest(z.detach().movedim(1, -1).reshape(-1, z.shape[1]).float())
        e = self.codebook.codes(indices).view(len(z), *z.shape[2:], -1).movedim(-1, 1)
        return e.float(), indices

    def decode(self, e: Tensor, slope: Tensor, shift: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Decode entries of a content with the look of a style.

        Args:
            e: (B, D, h, w).
            slope, shift: (B, D), so that slope · e + shift has the style's mean and deviation.
            mean, std: (B, D), of the style's entries.
        """
        expand = self.codebook.expand
        t = e * slope[:, :, None, None] + shift[:, :, None, None]
        styled = expand(t.movedim(1, -1).to(expand.weight.dtype)).movedim(-1, 1)
        image: Tensor = self.decoder(e, styled, mean, std)
        return image


class Encoding(nn.Module):
    """Codes of a tile as a stage."""

    parts: ClassVar = {"vqvae": VQVAE}

    def __init__(self, vqvae: VQVAE) -> None:
        super().__init__()
        self.vqvae = vqvae

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a tile.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
            weight: (1, 1, h, w), how much each position counts in the moments.

        Returns:
            z and e (1, D, h, w) float32, and the moments of e, (3, D) float32.
        """
        z = self.vqvae.encode(image)
        e, _ = self.vqvae.quantize(z)
        return z, e, moments(e, weight)


class Mixing(Encoding):
    """Codes of two pictures, averaged."""

    def forward(  # type: ignore[override]
        self, content: Tensor, style: Tensor, weight: Tensor, share: float, quantizes: float
    ) -> tuple[Tensor, Tensor]:
        """(1 - share) content + share style, quantized again if ``quantizes`` is not 0.

        Args:
            content, style: (1, D, h, w).
            weight: (1, 1, h, w), how much each position counts in the moments.
            share: of the style.
            quantizes: whether to take the nearest entries of the average.

        Returns:
            (1, D, h, w) float32 and its moments, (3, D) float32.
        """
        mixed = content.float().lerp(style.float(), share)
        if quantizes:
            mixed, _ = self.vqvae.quantize(mixed)
        return mixed, moments(mixed, weight)


class Decoding(Encoding):
    """The decoder of two pictures' codes as a stage."""

    def forward(  # type: ignore[override]
        self, e: Tensor, slope: Tensor, shift: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor]:
        """As :meth:`VQVAE.decode`: (1, D, h, w) and (D,) each -> (1, 3, 4h, 4w) float32."""
        return (self.vqvae.decode(e.float(), slope[None], shift[None], mean[None], std[None]),)
