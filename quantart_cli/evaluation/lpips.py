"""LPIPS, learned perceptual image patch similarity (Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018), version 0.1.

    d(x, y) = Σ_l mean_hw  w_l · (φ̂_l(x) - φ̂_l(y))²        φ̂: activations normalised over the channels

The trunks are AlexNet and VGG-16 as torchvision trained them; w_l, the linear layers, were fitted to human judgements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Mean and standard deviation of ImageNet for pictures in [-1, 1], as the release of LPIPS rounds them.
_MEAN = (-0.030, -0.088, -0.188)
_STD = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@dataclass(frozen=True)
class _Trunk:
    """Blocks of convolutions with ReLU; the end of each block is compared.

    Attributes:
        blocks: channels of the convolutions.
        pooled: numbers of the blocks with max pooling, stride 2, before them.
        first: kernel, stride and padding of the first convolutions; the others have (3, 1, 1).
    """

    blocks: tuple[tuple[int, ...], ...]
    pooled: tuple[int, ...]
    pool: int
    first: tuple[tuple[int, int, int], ...] = ()


_TRUNKS = {
    "lpips-vgg16": _Trunk(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), (1, 2, 3, 4), 2),
    "lpips-alexnet": _Trunk(((64,), (192,), (384,), (256,), (256,)), (1, 2), 3, ((11, 4, 2), (5, 1, 2))),
}

MIN_SIDE = 32
"""Smallest height and width in pixels."""


class LPIPS(nn.Module):
    """LPIPS; its tensors have the names in the files of ``quantart convert``.

    Args:
        kind: "lpips-vgg16" or "lpips-alexnet".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.shape = _TRUNKS[kind]
        widths = [width for block in self.shape.blocks for width in block]
        kernels = [*self.shape.first, *[(3, 1, 1)] * len(widths)]
        self.trunk = nn.ModuleList(map(nn.Conv2d, [3, *widths], widths, *zip(*kernels, strict=True)))
        self.linear = nn.ModuleList(nn.Conv2d(block[-1], 1, 1, bias=False) for block in self.shape.blocks)

    def features(self, image: Tensor) -> list[Tensor]:
        """φ̂: (B, 3, H, W) sRGB in [0, 1] -> the five layers, (B, C_l, h_l, w_l) each."""
        x = (2 * image - 1 - image.new_tensor(_MEAN).view(-1, 1, 1)) / image.new_tensor(_STD).view(-1, 1, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        convolutions = iter(self.trunk)
        found = []
        for number, block in enumerate(self.shape.blocks):
            if number in self.shape.pooled:
                x = F.max_pool2d(x, self.shape.pool, 2)
            for _ in block:
                x = F.relu(next(convolutions)(x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON))
        return found

    def distance(self, one: list[Tensor], other: list[Tensor]) -> Tensor:
        """d of two pictures' features, (B,)."""
        parts = [linear((a - b).square()).mean((1, 2, 3)) for linear, a, b in zip(self.linear, one, other, strict=True)]
        return torch.stack(parts).sum(0)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """d(x, y) of pictures, (B, 3, H, W) sRGB in [0, 1] -> (B,)."""
        return self.distance(self.features(one), self.features(other))
