"""The AdaIN decoder: VGG-19 to relu4_1 in a mirror (Huang and Belongie 2017, section 6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.cpu import bands, convolution, reflected

CONVOLUTIONS = (
    ("conv4_1", 512, 256),
    ("conv3_4", 256, 256),
    ("conv3_3", 256, 256),
    ("conv3_2", 256, 256),
    ("conv3_1", 256, 128),
    ("conv2_2", 128, 128),
    ("conv2_1", 128, 64),
    ("conv1_2", 64, 64),
    ("conv1_1", 64, 3),
)
"""Name, input channels, output channels; named after the VGG layer each one undoes."""
_UPSAMPLE_AFTER = frozenset({"conv4_1", "conv3_1"})  # and conv2_1, see at_full_size


class Decoder(nn.Module):
    """Features of relu4_1 back to an image: reflection padding and nearest upsampling, so no checkerboard."""

    conv4_1: nn.Conv2d

    def __init__(self) -> None:
        super().__init__()
        add_convolutions(self, CONVOLUTIONS)

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> Decoder:
        """An empty decoder, to be filled with a checkpoint's tensors."""
        return cls()

    def forward(self, z: Tensor) -> Tensor:
        """(B, 512, h, w) features of relu4_1, h and w at least 2 -> (B, 3, 8h, 8w) sRGB, about [0, 1], not clamped.

        Computed in the dtype of the weights, returned as float32.
        """
        return mirrored(self, z, [name for name, _, _ in CONVOLUTIONS]).float()


def add_convolutions(network: nn.Module, convolutions: Sequence[tuple[str, int, int]]) -> None:
    """Give a network 3×3 convolutions: name, input channels, output channels of each."""
    for name, fan_in, fan_out in convolutions:
        network.add_module(name, nn.Conv2d(fan_in, fan_out, 3))


def mirrored(network: nn.Module, x: Tensor, names: Sequence[str]) -> Tensor:
    """Part of a decoder: these convolutions in turn, each with reflection padding and, but for conv1_1, a ReLU.

    Nearest upsampling follows the last convolution of each resolution. In the dtype of the weights.
    """
    enlarge = False
    for name in names:
        layer: nn.Conv2d = getattr(network, name)
        x = x.to(layer.weight.dtype).contiguous(memory_format=torch.channels_last)
        if name == "conv1_2":
            return at_full_size(network, x)
        x = reflected(x, enlarge=enlarge)  # assigned on its own: frees what it was
        x = convolution(layer, x)
        enlarge = name in _UPSAMPLE_AFTER
    return F.interpolate(x, scale_factor=2, mode="nearest") if enlarge else x


def at_full_size(network: Any, x: Tensor) -> Tensor:
    """The end of a decoder: upsampling, conv1_2 and conv1_1, (B, 64, h, w) -> (B, 3, 2h, 2w), band by band."""
    rows = bands(x, 4)
    found = []
    for start, end in rows:
        first, last = start == 0, (start, end) == rows[-1]
        # Each convolution takes a row above and below.
        band = x if first and last else x[:, :, start - (not first) : end + (not last)]
        band = convolution(network.conv1_2, reflected(band, (first, last), enlarge=True))
        found.append(convolution(network.conv1_1, reflected(band, (first, last)), relu=False))
    return torch.cat(found, 2) if len(found) > 1 else found[0]


class PlainDecoder(nn.Module):
    """A decoder of features as they are."""

    parts: ClassVar = {"decoder": Decoder}

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor) -> tuple[Tensor]:
        """D(z): (1, 512, h, w) -> (1, 3, 8h, 8w) float32."""
        return (self.decoder(z),)


class AffineDecoder(PlainDecoder):
    """A decoder of features that are first scaled and shifted, channel by channel: AdaIN is such a map."""

    def forward(self, z: Tensor, slope: Tensor, shift: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """D(slope · z + shift): (1, 512, h, w), (512,), (512,) -> (1, 3, 8h, 8w) float32."""
        return (self.decoder(scaled(z, slope, shift)),)


class LinearDecoder(PlainDecoder):
    """A decoder of features that a matrix is first applied to: whitening and colouring is such a map."""

    def forward(self, z: Tensor, matrix: Tensor, shift: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """D(matrix · z + shift): (1, 512, h, w), (512, 512), (512,) -> (1, 3, 8h, 8w) float32."""
        rows = matrix @ z.flatten(2).float() + shift[:, None]  # (1, 512, h·w)
        return (self.decoder(rows.view_as(z)),)


def scaled(z: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """slope · z + shift for each channel, (1, C, h, w) float32."""
    return torch.addcmul(shift.view(1, -1, 1, 1), z.float(), slope.view(1, -1, 1, 1))
