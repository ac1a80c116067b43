"""Features that a style has guided, and the tokens it does so with: T and T̂ of methods/quantart.py.

    G(z_c) = z_c + σ(z_c) R((z_c - μ(z_c)) / σ(z_c); tokens of z_s)

with R of nets/guide.py. Written as a change of z_c, so that a guide that changes nothing leaves every bit of it. G is a
function of one position: of a large picture it is computed wherever it is asked for, and takes no memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.engine.tiling import Window
from quantart_cli.methods.features import Features, Statistics, bands
from quantart_cli.nets.guide import TOKENS, StyleGuide

# So many positions are computed once and kept, 34 MB of them: a picture of a megapixel.
_KEPT = 1 << 14


@dataclass(frozen=True)
class GuidedStyle(Statistics):
    """A style's statistics and its tokens.

    Attributes:
        tokens: (1, n, C) float32, standardised features, each a mean over a part of the picture.
        log_weights: (1, n) float32, how much each counts; those of a style sum to its weight.
    """

    tokens: Tensor
    log_weights: Tensor


def style_of(features: Features) -> GuidedStyle:
    """The style that one picture is, its positions reduced to at most 16 × 16 tokens.

    The tokens are those of adaptive average pooling, of what is visible, computed a row of tokens at a time; where
    nothing is visible there is no token.
    """
    z, own = features.z, features.statistics
    height, width = features.grid
    rows, columns = min(height, TOKENS), min(width, TOKENS)
    means, visible = [], []
    for row in range(rows):
        band = slice(row * height // rows, -(-(row + 1) * height // rows))
        part = z[:, :, band].float()
        covered = part.new_ones(1, 1, *part.shape[2:]) if features.coverage is None else features.coverage[:, :, band]
        share = F.adaptive_avg_pool2d(covered, (1, columns))  # (1, 1, 1, columns)
        means.append(F.adaptive_avg_pool2d(part * covered, (1, columns)) / share.clamp(min=1e-6))
        visible.append(share)
    pooled = ((torch.cat(means, 2) - own.mean) / own.std).flatten(2).mT  # (1, n, C)
    counted = torch.cat(visible, 2).flatten(1)  # (1, n)
    seen = counted[0] > 1e-6
    counted = counted[:, seen]
    return GuidedStyle(own.mean, own.std, pooled[:, seen], (counted / counted.sum()).log())


def blend(parts: Sequence[GuidedStyle], weights: Sequence[float]) -> GuidedStyle:
    """Several styles as one: statistics as ever, tokens side by side, those of a style without weight left out."""
    both = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight > 0]
    mixed = Statistics.blend([part for part, _ in both], [weight for _, weight in both])
    tokens = torch.cat([part.tokens for part, _ in both], 1)
    log_weights = torch.cat([part.log_weights + math.log(weight) for part, weight in both], 1)
    return GuidedStyle(mixed.mean, mixed.std, tokens, log_weights)


@dataclass(frozen=True, kw_only=True)
class Guided(Features):
    """G(z_c), as :class:`Features` has features.

    Attributes:
        z: z_c, (1, C, h, w).
        own: μ and σ of z_c.
        guide: R.
        style: whose tokens guide.
    """

    own: Statistics
    guide: StyleGuide
    style: GuidedStyle

    @cached_property
    def statistics(self) -> Statistics:
        return Statistics.of(self.z, self.coverage, self.rows)

    def rows(self, rows: slice) -> Tensor:
        return self._changed(self.z[:, :, rows].float()) if self._kept is None else self._kept[:, :, rows]

    def at(self, window: Window) -> Tensor:
        rows, columns = window.slices
        if self._kept is not None:
            return self._kept[:, :, rows, columns]
        part = self.z[:, :, rows, columns]
        return torch.cat([self._changed(part[:, :, band].float()) for band in bands(part)], 2)

    @cached_property
    def _kept(self) -> Tensor | None:
        """All of a small picture, float32."""
        if self.z.shape[2] * self.z.shape[3] > _KEPT:
            return None
        return torch.cat([self._changed(self.z[:, :, band].float()) for band in bands(self.z)], 2)

    def _changed(self, part: Tensor) -> Tensor:
        x = (part - self.own.mean) / self.own.std
        return part + self.own.std * self.guide(x, self.style.tokens, self.style.log_weights).float()
