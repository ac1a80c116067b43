"""The AdaIN decoder: VGG-19 to relu4_1 in a mirror (Huang and Belongie 2017, section 6.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.cpu import convolution

# name, input channels, output channels; named after the VGG layer each one undoes.
_CONVOLUTIONS = (
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
_UPSAMPLE_AFTER = frozenset({"conv4_1", "conv3_1", "conv2_1"})

REACH = 4
"""Positions beyond a window that pixels inside it depend on: 30 pixels, eight to a position."""


class Decoder(nn.Module):
    """Features of relu4_1 back to an image: reflection padding and nearest upsampling, so no checkerboard."""

    def __init__(self) -> None:
        super().__init__()
        for name, fan_in, fan_out in _CONVOLUTIONS:
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3))

    def forward(self, z: Tensor) -> Tensor:
        """(B, 512, h, w) features of relu4_1, h and w at least 2 -> (B, 3, 8h, 8w) sRGB, about [0, 1], not clamped.

        Computed in the dtype of the weights, returned as float32.
        """
        x = z.to(self.conv4_1.weight.dtype).contiguous(memory_format=torch.channels_last)
        for name, _, fan_out in _CONVOLUTIONS:
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")  # in a step of its own, so that the old x is let go
            x = convolution(self.get_submodule(name), x, relu=fan_out != 3)
            if name in _UPSAMPLE_AFTER:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
        return x.float()
