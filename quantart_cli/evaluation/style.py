"""Style distances seen by the normalised VGG-19 at relu1_1, relu2_1, relu3_1 and relu4_1.

Gram: Σ_l mean (G_l(y) - G_l(s))² with G = F Fᵀ / (h·w) (Gatys, Ecker and Bethge 2016, section 2.2, without its weights
of layers). Moments: Σ_l |μ_l(y) - μ_l(s)|² / C + |σ_l(y) - σ_l(s)|² / C (Huang and Belongie 2017, section 5, the losses
squared as in its code).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_EPSILON = 1e-5  # added to the variance, as in AdaIN


@dataclass(frozen=True)
class StyleStatistics:
    """Statistics of each layer: Gram matrices (B, C, C), μ and σ (B, C)."""

    grams: tuple[Tensor, ...]
    means: tuple[Tensor, ...]
    stds: tuple[Tensor, ...]

    @staticmethod
    def of(features: Mapping[str, Tensor]) -> StyleStatistics:
        """Of :data:`LAYERS`: layer -> (B, C, h, w), each with two positions or more."""
        rows = [z.float().movedim(1, -1).flatten(1, 2) for name, z in features.items() if name in LAYERS]  # (B, n, C)
        return StyleStatistics(
            tuple(row.mT @ row / row.shape[1] for row in rows),
            tuple(row.mean(1) for row in rows),
            tuple((row.var(1) + _EPSILON).sqrt() for row in rows),
        )

    def gram_distance(self, other: StyleStatistics) -> Tensor:
        """(B,)."""
        squares = [(a - b).square().mean((1, 2)) for a, b in zip(self.grams, other.grams, strict=True)]
        return torch.stack(squares).sum(0)

    def moment_distance(self, other: StyleStatistics) -> Tensor:
        """(B,)."""
        both = zip((*self.means, *self.stds), (*other.means, *other.stds), strict=True)
        return torch.stack([(a - b).square().mean(1) for a, b in both]).sum(0)
