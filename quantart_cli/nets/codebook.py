"""A codebook of art: vector quantization of VGG features (van den Oord et al. 2017, section 3.1).

In QuantArt (Huang et al. 2023) the codebook is learned from real artworks alone, so that a quantized
latent is made of pieces of paintings. What it is asked for is what it was trained on: see methods/quantart.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from quantart_cli.nets.nearest import nearest


class Codebook(nn.Module):
    """1×1 projection to the codebook's space, nearest entry, and 1×1 projection back.

    Args:
        entries: number of codes K.
        width: channels of a code D.
        channels: channels of the features, 512 for relu4_1.
    """

    def __init__(self, entries: int, width: int = 256, channels: int = 512) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.expand = nn.Linear(width, channels)
        self.entries = nn.Parameter(torch.empty(entries, width))

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> Codebook:
        """An empty codebook of the sizes of a checkpoint's tensors."""
        entries, project = tensors.get("entries"), tensors.get("project.weight")
        if entries is None or project is None or entries.ndim != 2 or project.ndim != 2:
            return cls(0)  # of a shape that fits nothing: the strict loader says what is missing
        return cls(len(entries), *project.shape)

    def indices(self, z: Tensor) -> Tensor:
        """Nearest entry by Euclidean distance: (B, C, h, w) features -> (B, h, w) int64 in [0, K)."""
        rows = z.movedim(1, -1).reshape(-1, z.shape[1]).to(self.entries.dtype)  # (B·h·w, C)
        return nearest(rows, self.entries, self.project).view(z.shape[0], *z.shape[2:])

    def lookup(self, indices: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, C, h, w) features of those entries."""
        return self.expand(self.entries[indices]).movedim(-1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """VQ(z): every position replaced by its nearest entry, (B, C, h, w) -> (B, C, h, w)."""
        return self.lookup(self.indices(z))
