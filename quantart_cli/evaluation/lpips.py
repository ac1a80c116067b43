"""LPIPS, learned perceptual image patch similarity (Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018), version 0.1.

    d(x, y) = Σ_l mean_hw  w_l · (φ̂_l(x) - φ̂_l(y))²        φ̂: activations of unit length over the channels

The trunks are AlexNet and VGG-16 as torchvision trained them; w_l, the linear layers, were fitted to people's
judgements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Mean and standard deviation of ImageNet for pictures in [-1, 1], as the release of LPIPS rounds them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@dataclass(frozen=True)
class _Trunk:
    """A chain of convolutions, each with its ReLU.

    Attributes:
        widths: channels of each.
        first: kernel, stride and padding of those that are not (3, 1, 1), from the first on.
        pool: kernel of the max pooling, stride 2.
        pooled: numbers of the convolutions that the pooling comes before.
        tapped: numbers of those whose activations are compared.
    """

    widths: tuple[int, ...]
    first: tuple[tuple[int, int, int], ...]
    pool: int
    pooled: tuple[int, ...]
    tapped: tuple[int, ...]


_TRUNKS = {
    "lpips-vgg16": _Trunk((64,) * 2 + (128,) * 2 + (256,) * 3 + (512,) * 6, (), 2, (2, 4, 7, 10), (1, 3, 6, 9, 12)),
    "lpips-alexnet": _Trunk((64, 192, 384, 256, 256), ((11, 4, 2), (5, 1, 2)), 3, (1, 2), (0, 1, 2, 3, 4)),
}

SMALLEST = 32
"""Pixels a side below which the trunks have nothing left to compare."""


class LPIPS(nn.Module):
    """LPIPS with one of the two trunks; its tensors are named as in the files ``quantart convert`` writes.

    Args:
        kind: "lpips-vgg16" or "lpips-alexnet".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.shape = shape = _TRUNKS[kind]
        trunk, linear = [], []
        fan_in = 3
        for number, width in enumerate(shape.widths):
            kernel, stride, padding = (*shape.first, *[(3, 1, 1)] * len(shape.widths))[number]
            trunk.append(nn.Conv2d(fan_in, width, kernel, stride, padding))
            fan_in = width
        for number in shape.tapped:
            linear.append(nn.Conv2d(shape.widths[number], 1, 1, bias=False))
        self.trunk, self.linear = nn.ModuleList(trunk), nn.ModuleList(linear)

    def features(self, image: Tensor) -> list[Tensor]:
        """φ̂: (B, 3, H, W) sRGB in [0, 1], 32 pixels a side or more -> the five taps, (B, C_l, h_l, w_l) each."""
        x = (2 * image - 1 - image.new_tensor(_SHIFT).view(-1, 1, 1)) / image.new_tensor(_SCALE).view(-1, 1, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        for number, convolution in enumerate(self.trunk):
            if number in self.shape.pooled:
                x = F.max_pool2d(x, self.shape.pool, 2)
            x = F.relu(convolution(x))
            if number in self.shape.tapped:
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON))
        return found

    def distance(self, one: list[Tensor], other: list[Tensor]) -> Tensor:
        """d of two pictures' features, (B,)."""
        parts = [linear((a - b).square()).mean((1, 2, 3)) for linear, a, b in zip(self.linear, one, other, strict=True)]
        return torch.stack(parts).sum(0)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """d(x, y) of pictures, (B, 3, H, W) sRGB in [0, 1] -> (B,)."""
        return self.distance(self.features(one), self.features(other))
