"""Attention: of a picture to itself (Esser et al. 2021), and of a content to a style (Huang et al. 2023).

One head as wide as the features, queries a few rows at a time, so that memory grows with the number of positions and
not with its square, whatever kernel the device has.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.norm import GroupNorm

# Queries at a time: where the device has no fused kernel, their similarities to 64k keys take 256 MB in float32.
_ROWS = 1024


class Attention(nn.Module):
    """x + proj(softmax(q(x̄) k(ȳ)ᵀ / √C) v(ȳ)), x̄ and ȳ after one and the same norm.

    Args:
        channels: C, of x and y alike.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, C, h, w) looks at y, (B, C, h', w') of any size; at itself when y is None."""
        x_norm = self.norm(x)
        y_norm = x_norm if y is None else self.norm(y)
        q, k, v = positions(self.q(x_norm)), positions(self.k(y_norm)), positions(self.v(y_norm))  # (B, 1, n, C)
        seen = torch.cat([F.scaled_dot_product_attention(rows, k, v) for rows in q.split(_ROWS, dim=2)], dim=2)
        found: Tensor = self.proj_out(seen[:, 0].transpose(1, 2).reshape(x.shape))
        return x + found


def positions(z: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 1, h·w, C)."""
    return z.flatten(2).transpose(1, 2)[:, None].contiguous()
