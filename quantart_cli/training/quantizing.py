"""Quantized latents of a batch, and a codebook that follows what it is asked for.

The codebook is that of methods/quantart.py: it quantizes features standardised by their own picture's statistics. Its
entries are moving averages of what falls to them (van den Oord et al. 2017, appendix A.1), with entries nobody asks for
restarted on features of the batch (Dhariwal et al. 2020, Jukebox, section 3). There is no commitment loss: the encoder
is frozen, and all that the loss could do to the projection is to shrink it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quantart_cli.nets.codebook import Codebook
from quantart_cli.training.losses import Moments

# An entry is dead when what falls to it is this share of an even use.
_DEAD = 0.01


def dress(z: Tensor, own: Moments, other: Moments) -> Tensor:
    """AdaIN with given statistics, (B, C, h, w)."""
    return (z - own[0]) * (other[1] / own[1]) + other[0]


class Quantizer:
    """VQ with moving averages.

    Attributes:
        codebook: float32; ``entries`` are moved in place.

    Args:
        decay: of the averages; 1 leaves the entries where they are.
    """

    def __init__(self, codebook: Codebook, decay: float) -> None:
        self.codebook = codebook
        self.decay = decay
        self.counts = torch.zeros(0)  # of rows an update, and their sums: as if use had been even so far
        self.sums = torch.zeros(0)

    @torch.no_grad()
    def find(self, z: Tensor, own: Moments) -> tuple[Tensor, Tensor]:
        """Nearest entries: (B, C, h, w) -> points (n, D) in the codebook's space, and indices (n, G), n = B·h·w."""
        rows = ((z.float() - own[0]) / own[1]).movedim(1, -1).reshape(-1, z.shape[1])
        points = self.codebook.project(rows)
        return points, self.codebook.nearest(points)

    @torch.no_grad()
    def follow(self, points: Tensor, indices: Tensor) -> int:
        """Move the entries towards the points that fell to them; how many dead ones were restarted.

        Args:
            points: (n, D) of artworks.
            indices: (n, G), their entries.
        """
        if self.decay == 1:
            return 0
        entries = self.codebook.tables.flatten(0, 1)  # (G·K, D / G), a view
        parts = indices.shape[1]
        points = points.view(-1, entries.shape[1])  # (n·G, D / G)
        even = indices.numel() / len(entries)
        if not len(self.counts):
            self.counts, self.sums = torch.full_like(entries[:, 0], even), even * entries
        new = torch.bincount(indices.flatten(), minlength=len(entries)).to(points.dtype)
        self.counts.lerp_(new, 1 - self.decay)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, indices.flatten(), points), 1 - self.decay)
        dead = (self.counts < _DEAD * even).nonzero()[:, 0]
        if len(dead):
            rows = torch.randint(len(indices), (len(dead),)).to(points.device) * parts
            own = dead // (len(entries) // parts)  # an entry's part, from which its new one must be
            self.counts[dead], self.sums[dead] = even, even * points[rows + own]
        entries.copy_(self.sums / self.counts[:, None])
        return len(dead)
