"""The f16 autoencoder of VQGAN, and QuantArt's style transfer in its latent space.

VQGAN: Taming Transformers for High-Resolution Image Synthesis (Esser, Rombach and Ommer, CVPR 2021).
QuantArt: Quantizing Image Style Transfer Towards High Visual Fidelity (Huang et al., CVPR 2023).

Modules and their parameters are named as in the authors' checkpoints, which therefore load as they are; sizes are read
off the checkpoint's shapes. Pictures enter as 2x - 1 and leave the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.attention import Attention
from quantart_cli.nets.nearest import nearest
from quantart_cli.nets.norm import GroupNorm

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes of an autoencoder, in the authors' words.

    Attributes:
        ch: channels at full resolution.
        ch_mult: channels of each level over ``ch``, finest first; the stride is 2 ** (levels - 1).
        num_res_blocks: residual blocks a level in the encoder, one more in the decoder.
        attn_levels: levels whose blocks are each followed by attention.
        z_channels: of the encoder's output.
        embed_dim: of a latent.
        n_embed: entries of each codebook, 0 where there is none.
        sga_blocks: style-guided blocks, 0 in a plain autoencoder.
    """

    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    attn_levels: tuple[int, ...]
    z_channels: int
    embed_dim: int
    n_embed: int
    sga_blocks: int

    @property
    def stride(self) -> int:
        """Pixels a side of one latent position."""
        return 1 << (len(self.ch_mult) - 1)

    @classmethod
    def like(cls, tensors: Mapping[str, Any]) -> VQGANConfig:
        """Sizes of a checkpoint, from the names and shapes of its tensors; what cannot be read off counts as 1 or none.

        A checkpoint of something else gives sizes that fit nothing: the strict loader then names its first offender.
        """

        def size(name: str, axis: int = 0) -> int:
            shape = tensors[name].shape if name in tensors else ()
            return max(int(shape[axis]), 1) if len(shape) > axis else 1

        def count(name: str) -> int:
            number = 0
            while number < _MOST and name.format(number) in tensors:
                number += 1
            return number

        ch = size("encoder.conv_in.weight")
        levels = max(count("encoder.down.{}.block.0.conv1.weight"), 1)
        codebook = next((name for name in _CODEBOOKS if name in tensors), None)
        return cls(
            ch=ch,
            ch_mult=tuple(max(size(f"encoder.down.{i}.block.0.conv1.weight") // ch, 1) for i in range(levels)),
            num_res_blocks=max(count("encoder.down.0.block.{}.conv1.weight"), 1),
            attn_levels=tuple(i for i in range(levels) if f"encoder.down.{i}.attn.0.q.weight" in tensors),
            z_channels=size("encoder.conv_out.weight"),
            embed_dim=size("quant_conv.weight"),
            n_embed=size(codebook) if codebook else 0,
            sga_blocks=count("model_x2y.blocks.{}.attn_block.q.weight"),
        )


# Levels, blocks of a level, style-guided blocks: so many that a file made to have millions is not built, but refused.
_MOST = 32
_CODEBOOKS = ("quantize_enc.embedding.weight", "quantize_dec.embedding.weight", "quantize.embedding.weight")


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1×1 convolution on x where the width changes."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(fan_in)
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, padding=1)
        self.norm2 = GroupNorm(fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(fan_in, fan_out, 1) if fan_in != fan_out else None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(self.norm1(x, silu=True))
        h = self.conv2(self.norm2(h, silu=True, overwrite=True))
        return h.add_(x if self.nin_shortcut is None else self.nin_shortcut(x))


class _Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = Attention(channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block_2(self.attn_1(self.block_1(x)))
        return x


class _Resample(nn.Module):
    """The convolution beside a change of resolution; a module of its own because the checkpoints name it so."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=2 - stride)


class _Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention where the level has it."""

    downsample: _Resample
    upsample: _Resample

    def __init__(self, fan_in: int, channels: int, blocks: int, attends: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(channels if i else fan_in, channels) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(channels) for _ in range(blocks if attends else 0))

    def steps(self) -> Iterator[nn.Module]:
        """In order; run by the caller, so that nobody holds on to an input that is done with."""
        for i, block in enumerate(self.block):
            yield block
            if self.attn:
                yield self.attn[i]


class Encoder(nn.Module):
    """A picture to z: (B, 3, H, W) -> (B, z_channels, H / stride, W / stride); H and W multiples of the stride."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        channels = config.ch
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.down = nn.ModuleList()
        for i, multiple in enumerate(config.ch_mult):
            level = _Level(channels, config.ch * multiple, config.num_res_blocks, i in config.attn_levels)
            channels = config.ch * multiple
            if i < len(config.ch_mult) - 1:
                level.downsample = _Resample(channels, stride=2)
            self.down.append(level)
        self.mid = _Middle(channels)
        self.norm_out = GroupNorm(channels)
        self.conv_out = nn.Conv2d(channels, config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            assert isinstance(level, _Level)
            for step in level.steps():
                x = step(x)
            if hasattr(level, "downsample"):
                x = level.downsample.conv(F.pad(x, (0, 1, 0, 1)))
        x = self.conv_out(self.norm_out(self.mid(x), silu=True, overwrite=True))
        return x


class Decoder(nn.Module):
    """z back to a picture: (B, z_channels, h, w) -> (B, 3, h · stride, w · stride), about [-1, 1], not clamped."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        channels = config.ch * config.ch_mult[-1]
        self.conv_in = nn.Conv2d(config.z_channels, channels, 3, padding=1)
        self.mid = _Middle(channels)
        levels: list[_Level] = []
        for i, multiple in reversed(list(enumerate(config.ch_mult))):
            level = _Level(channels, config.ch * multiple, config.num_res_blocks + 1, i in config.attn_levels)
            channels = config.ch * multiple
            if i > 0:
                level.upsample = _Resample(channels, stride=1)
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)  # the finest first, as in the checkpoints
        self.norm_out = GroupNorm(channels)
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            assert isinstance(level, _Level)
            for step in level.steps():
                x = step(x)
            if hasattr(level, "upsample"):
                x = level.upsample.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        x = self.conv_out(self.norm_out(x, silu=True, overwrite=True))
        return x


class Entries(nn.Module):
    """A codebook of ``n_embed`` latents; it stays in float32, see :func:`quantart_cli.nets.nearest.nearest`."""

    def __init__(self, n_embed: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim)

    @property
    def size(self) -> int:
        """n_embed."""
        return self.embedding.num_embeddings

    def indices(self, z: Tensor) -> Tensor:
        """(B, embed_dim, h, w) -> (B, h, w) int64 in [0, n_embed)."""
        rows = z.movedim(1, -1).reshape(-1, z.shape[1]).to(self.embedding.weight.dtype)
        return nearest(rows, self.embedding.weight).view(z.shape[0], *z.shape[2:])

    def lookup(self, indices: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, embed_dim, h, w) float32."""
        return self.embedding.weight[indices].movedim(-1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """VQ(z): the nearest entry at every position."""
        return self.lookup(self.indices(z)).to(z.dtype)


class StyleGuidedBlock(nn.Module):
    """Residual block, attention to itself, attention to the style (QuantArt's SGA)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res_block = ResidualBlock(channels, channels)
        self.self_attn_block = Attention(channels)
        self.attn_block = Attention(channels)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        content = self.attn_block(self.self_attn_block(self.res_block(content)), style)
        return content


class StyleTransfer(nn.Module):
    """T: latents of the content, guided by those of the style; (B, C, h, w), (B, C, h', w') -> (B, C, h, w)."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(StyleGuidedBlock(channels) for _ in range(blocks))

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        for block in self.blocks:
            content = block(content, style)
        return content


class _Autoencoder(nn.Module):
    """What both networks share: the way back. ``forward`` is D, so that its weights can be interpolated."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)
        self.decoder = Decoder(config)

    @classmethod
    def like(cls, tensors: Mapping[str, Any]) -> Self:
        """An empty network of the sizes of a checkpoint's tensors."""
        return cls(VQGANConfig.like(tensors))

    @property
    def dtype(self) -> torch.dtype:
        return self.quant_conv.weight.dtype

    def to_machine(self, device: str, dtype: torch.dtype) -> None:
        """Move to a device and precision; codebooks stay in float32, since nearest entries are close calls."""
        for child in self.children():
            kept = isinstance(child, Entries)
            child.to(device, torch.float32 if kept else dtype).to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """D(z): (B, embed_dim, h, w) -> (B, 3, H, W) float32, about [-1, 1]."""
        z = z.to(self.dtype, memory_format=torch.channels_last)
        image: Tensor = self.decoder(self.post_quant_conv(z))
        return image.float()

    def _encode(self, encoder: nn.Module, quant_conv: nn.Module, image: Tensor) -> Tensor:
        z: Tensor = quant_conv(encoder(image.to(self.dtype, memory_format=torch.channels_last)))
        return z


class VQGAN(_Autoencoder):
    """Stage 1: the plain autoencoder with one codebook, ``quantize``."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__(config)
        self.quantize = Entries(max(config.n_embed, 1), config.embed_dim)

    def encode(self, image: Tensor) -> Tensor:
        """z before quantization: (B, 3, H, W) in [-1, 1] -> (B, embed_dim, h, w)."""
        return self._encode(self.encoder, self.quant_conv, image)

    encode_content = encode


class StyleVQGAN(_Autoencoder):
    """Stage 2, the authors' ``VQModel_Ref``: an encoder for contents, one for styles, T, and the decoder.

    The quantized checkpoint has a codebook for contents (``quantize_enc``) and one for art (``quantize_dec``); the
    continuous one has neither.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__(config)
        self.encoder_real = Encoder(config)
        self.quant_conv_real = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.model_x2y = StyleTransfer(config.embed_dim, config.sga_blocks)
        if config.n_embed:
            self.quantize_enc = Entries(config.n_embed, config.embed_dim)
            self.quantize_dec = Entries(config.n_embed, config.embed_dim)

    @property
    def quantized(self) -> bool:
        return self.config.n_embed > 0

    def encode_content(self, image: Tensor) -> Tensor:
        """z_c, not yet quantized: (B, 3, H, W) in [-1, 1] -> (B, embed_dim, h, w)."""
        return self._encode(self.encoder, self.quant_conv, image)

    def encode_style(self, image: Tensor) -> Tensor:
        """z_s, not yet quantized; as :meth:`encode_content`."""
        return self._encode(self.encoder_real, self.quant_conv_real, image)

    def transfer(self, content: Tensor, style: Tensor) -> Tensor:
        """T̂ or T, not yet quantized."""
        z: Tensor = self.model_x2y(content, style)
        return z


def config_of(network: _Autoencoder) -> dict[str, Any]:
    """The configuration as JSON keeps it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(network.config).items()}
