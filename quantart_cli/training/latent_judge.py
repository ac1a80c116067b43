"""A discriminator of patches in latent space: stage 2 of QuantArt (Huang et al. 2023) judges latents, not pictures.

Spectral normalization (Miyato et al. 2018) keeps the slope of all layers but the last at one. The norms are found anew
each time, from a fixed vector: there is no estimate that would have to be kept beside the weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ITERATIONS = 6
SMALLEST = 5
"""Positions a side of the smallest latent it can judge."""


class LatentJudge(nn.Module):
    """A map of scores, high where 5 × 5 positions look real: (B, C, h, w) -> (B, 1, h - 4, w - 4) float32.

    Args:
        channels: C, of features standardised by their own statistics.
        width: channels inside.
    """

    def __init__(self, channels: int = 512, width: int = 128) -> None:
        super().__init__()
        sizes = ((channels, width, 1), (width, width, 3), (width, width, 3), (width, 1, 1))
        self.layers = nn.ModuleList(nn.Conv2d(*size) for size in sizes)

    def forward(self, z: Tensor) -> Tensor:
        *inner, last = self.layers
        x = z.to(last.weight.dtype).contiguous(memory_format=torch.channels_last)
        for layer in inner:
            weight = layer.weight / spectral_norm(layer.weight).to(x.dtype)
            x = F.leaky_relu(F.conv2d(x, weight, layer.bias), 0.2)
        return last(x).float()


def spectral_norm(weight: Tensor) -> Tensor:
    """The largest singular value of (out, …), by power iteration; float32, with its gradient."""
    rows = weight.flatten(1).float()
    with torch.no_grad():
        u = torch.ones_like(rows[:, 0])
        for _ in range(_ITERATIONS):
            v = F.normalize(u @ rows, dim=0)
            u = F.normalize(rows @ v, dim=0)
    return u @ rows @ v
