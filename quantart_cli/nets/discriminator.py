"""A discriminator of patches (Isola et al. 2017, section 3.2.2) on pixels and on features of a frozen VGG-19.

Judging features of a network that has learned to see, beside pixels, needs far fewer steps than judging pixels alone
(Sauer et al. 2021, Projected GANs Converge Faster); and the losses of style ask for these features anyway. Spectral
normalization (Miyato et al. 2018) keeps every head's slope bounded, but for its last convolution, which finds the scale
of its scores. Nothing is padded: a border is no sign of a fake.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

# What a head looks at -> its channels, and the channels after each of its convolutions of stride 2.
_HEADS = {
    "pixels": (3, (64, 128, 128)),
    "relu2_1": (128, (128, 128)),
    "relu3_1": (256, (128,)),
    "relu4_1": (512, (128,)),
}
LAYERS = tuple(_HEADS)[1:]
"""Layers of VGG-19 that are judged."""
SMALLEST = 64
"""Pixels a side of the smallest picture that every head can judge."""


class Discriminator(nn.Module):
    """One small convolutional head for the pixels and one for each layer: high where patches look real."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: _head(*shape) for name, shape in _HEADS.items()})

    def forward(self, seen: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """One map of scores a head, each (B, 1, h, w) float32.

        Args:
            seen: "pixels" (B, 3, H, W) in about [0, 1], and the layers :data:`LAYERS` of them, of any dtype.
            dtype: to compute in; the weights stay as they are.
        """
        seen = {**seen, "pixels": 4 * seen["pixels"] - 2}  # a spread like that of the features
        return [_scores(head, seen[name].to(dtype)) for name, head in self.heads.items()]


def _head(channels: int, widths: tuple[int, ...]) -> nn.ModuleList:
    sizes = (channels, *widths)
    down = [nn.Conv2d(a, b, 4, stride=2) for a, b in zip(sizes, widths, strict=False)]
    return nn.ModuleList([*map(spectral_norm, down), nn.Conv2d(sizes[-1], 1, 3)])


def _scores(head: nn.Module, x: Tensor) -> Tensor:
    layers = list(head.children())
    for conv in layers:
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        x = F.conv2d(x, conv.weight.to(x.dtype), conv.bias.to(x.dtype), conv.stride)
        if conv is not layers[-1]:
            x = F.leaky_relu(x, 0.2)
    return x.float()
