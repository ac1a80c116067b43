"""A codebook of art: vector quantization of VGG features (van den Oord et al. 2017, section 3.1).

In QuantArt (Huang et al. 2023) the codebook is learned from real artworks alone, so that a quantized
latent is made of pieces of paintings. What it is asked for is what it was trained on: see methods/quantart.py.

A code may be one entry, or several, each for a part of the components: product quantization (Jégou et al. 2011). Eight
parts of 1024 entries lose 35 % of the variance of paintings' features where 4096 whole entries lose 60 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from quantart_cli.nets.nearest import nearest

if TYPE_CHECKING:
    from typing_extensions import Self


class Codebook(nn.Module):
    """1×1 projection to the codebook's space, nearest entries, and 1×1 projection back.

    Attributes:
        entries: (K, D), or (G, K, D / G): for each of G equal parts of the components, entries of its own.

    Args:
        entries: K of one part.
        width: channels of a code D.
        channels: channels of the features, 512 for relu4_1.
        parts: G, which divides D; 0: of whole entries, as if 1, whose tensor has no dimension for it.
    """

    def __init__(self, entries: int, width: int = 256, channels: int = 512, parts: int = 0) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.expand = nn.Linear(width, channels)
        self.entries = nn.Parameter(torch.empty(*([parts] if parts else []), entries, width // (parts or 1)))

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> Self:
        """An empty codebook of the sizes of a checkpoint's tensors."""
        entries, project = tensors.get("entries"), tensors.get("project.weight")
        if entries is None or project is None or entries.ndim not in (2, 3) or project.ndim != 2:
            return cls(0)  # of a shape that fits nothing: the strict loader says what is missing
        parts = len(entries) if entries.ndim == 3 else 0
        if entries.shape[-1] * (parts or 1) != len(project):
            return cls(0)
        width, channels = project.shape
        return cls(entries.shape[-2], width, channels, parts)

    @property
    def tables(self) -> Tensor:
        """The entries by parts, (G, K, D / G)."""
        return self.entries if self.entries.ndim == 3 else self.entries[None]

    @property
    def size(self) -> int:
        """Entries of all parts, G·K."""
        return self.tables.shape[0] * self.tables.shape[1]

    def nearest(self, points: Tensor) -> Tensor:
        """Nearest entries by Euclidean distance: (n, D) points -> (n, G) int64, part g's in [g·K, (g + 1)·K)."""
        tables = self.tables
        own = points.unflatten(1, (len(tables), -1)).unbind(1)
        found = [nearest(part, table) + i * len(table) for i, (part, table) in enumerate(zip(own, tables, strict=True))]
        return torch.stack(found, 1)

    def codes(self, indices: Tensor) -> Tensor:
        """What entries stand for: (…, G) integers -> (…, D) points."""
        return self.tables.flatten(0, 1)[indices].flatten(-2)
