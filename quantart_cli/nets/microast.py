"""MicroAST: two small encoders, a modulator and a decoder (Wang et al., AAAI 2023), with the published layout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.decoder import scaled
from quantart_cli.nets.statistics import moments

CHANNELS = 64


class Convolution(nn.Module):
    """A convolution with reflection padding."""

    def __init__(self, fan_in: int, fan_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(fan_in, fan_out, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        side = self.conv_layer.kernel_size[0] // 2
        padded = F.pad(x, (side,) * 4, mode="reflect") if side else x
        found: Tensor = self.conv_layer(padded)
        return found


class Residual(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Convolution(CHANNELS, CHANNELS, 3)
        self.conv2 = Convolution(CHANNELS, CHANNELS, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return found

    def modulated(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """With the signals of a style, (C,) each: each convolution f becomes w · f(x) + b · x (equation 4)."""
        w, b = (each.view(1, -1, 1, 1).to(x.dtype) for each in (weight, bias))
        y = F.relu(w * self.conv1(x) + b * x)
        found: Tensor = x + w * self.conv2(y) + b * y
        return found


class Encoder(nn.Module):
    """A picture (1, 3, H, W) to two maps, (1, 64, H / 4, W / 4) each; H and W are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.enc1 = nn.Sequential(
            Convolution(3, 16, 9),
            nn.ReLU(),
            Convolution(16, 32, 3, stride=2, groups=16),
            nn.ReLU(),
            Convolution(32, 32, 1),
            nn.ReLU(),
            Convolution(32, 64, 3, stride=2, groups=32),
            nn.ReLU(),
            Convolution(64, 64, 1),
            nn.ReLU(),
            Residual(),
        )
        self.enc2 = nn.Sequential(Residual())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        layer = self.enc1[0].conv_layer
        assert isinstance(layer, nn.Conv2d)
        shallow = self.enc1(image.to(layer.weight.dtype).contiguous(memory_format=torch.channels_last))
        return shallow, self.enc2(shallow)


class Modulator(nn.Module):
    """Convolutions whose means over positions are the signals of a style."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight1", "bias1", "weight2", "bias2"):
            self.add_module(name, nn.Sequential(Convolution(CHANNELS, CHANNELS, 3, groups=CHANNELS)))

    def forward(self, shallow: Tensor, deep: Tensor) -> list[Tensor]:
        """The maps of weight1, bias1, weight2 and bias2."""
        return [getattr(self, f"{what}{i}")(z) for i, z in ((1, shallow), (2, deep)) for what in ("weight", "bias")]


class Decoder(nn.Module):
    """Modulated blocks, and the way back to a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.dec1 = Residual()
        self.dec2 = Residual()
        self.dec3 = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            Convolution(64, 32, 3, groups=32),
            nn.ReLU(),
            Convolution(32, 32, 1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            Convolution(32, 16, 3, groups=16),
            nn.ReLU(),
            Convolution(16, 16, 1),
            nn.ReLU(),
            Convolution(16, 3, 9),
        )


class MicroAST(nn.Module):
    """All four networks."""

    kind = "microast"

    def __init__(self) -> None:
        super().__init__()
        self.content_encoder = Encoder()
        self.style_encoder = Encoder()
        self.modulator = Modulator()
        self.decoder = Decoder()

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> MicroAST:
        """An empty network, to be filled with a checkpoint's tensors."""
        return cls()


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the four published files, whose names begin with the file's, by the names of :class:`MicroAST`.

    Names of other files stay as they are; loading then refuses them.
    """
    return {re.sub(r"^(\w+?)_iter_\d+:", r"\1.", name): value for name, value in state.items()}


# Stages; see methods/microast.py.


class _Part(nn.Module):
    parts: ClassVar = {"microast": MicroAST}

    def __init__(self, microast: MicroAST) -> None:
        super().__init__()
        self.net = microast


class StyleSignals(_Part):
    """What a style is known by."""

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor]:
        """Moments of the two maps and of the four of the modulator, (3, 384) float32.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
            weight: (1, 1, H / 4, W / 4), how much each position counts.
        """
        shallow, deep = self.net.style_encoder(image)
        return (moments(torch.cat([shallow, deep, *self.net.modulator(shallow, deep)], 1), weight),)


class ContentEncoder(_Part):
    """The deep map of a content."""

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """z (1, 64, H / 4, W / 4), and its moments (3, 64) float32; arguments as of :class:`StyleSignals`."""
        _, z = self.net.content_encoder(image)
        return z, moments(z, weight)


class FirstBlock(_Part):
    """The first modulated block."""

    def forward(
        self, z: Tensor, weight: Tensor, slope: Tensor, shift: Tensor, w: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The block's map of slope · z + shift, (1, 64, h, w), and its moments (3, 64) float32.

        Args:
            z: (1, 64, h, w).
            weight: (1, 1, h, w), how much each position counts in the moments.
            slope, shift: (64,) each.
            w, b: the signals, (64,) each.
        """
        x = self.net.decoder.dec1.modulated(scaled(z, slope, shift).to(z.dtype), w, b)
        return x, moments(x, weight)


class LastBlock(_Part):
    """The second modulated block, and the picture."""

    def forward(self, z: Tensor, slope: Tensor, shift: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor]:
        """(1, 3, 4h, 4w) float32, about [0, 1]; arguments as of :class:`FirstBlock`."""
        x = self.net.decoder.dec2.modulated(scaled(z, slope, shift).to(z.dtype), w, b)
        return (self.net.decoder.dec3(x).float(),)
