"""Quantization of a batch, and a codebook that follows it.

The codebook quantizes features standardised by their own picture's mean and deviation. Its entries are moving averages
of the features assigned to them (van den Oord et al. 2017, appendix A.1). Unused entries are restarted on features of
the batch (Dhariwal et al. 2020, Jukebox, section 3). There is no commitment loss: the encoder is frozen, and the loss
could only shrink the projection.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from quantart_cli.nets.codebook import Codebook
from quantart_cli.training.losses import Moments

# An entry is unused when its share is less than this of an even share.
_UNUSED = 0.01


class Quantizer:
    """Vector quantization with moving averages.

    Attributes:
        codebook: float32; ``entries`` change in place.

    Args:
        decay: of the averages; 1 keeps the entries.
    """

    def __init__(self, codebook: Codebook, decay: float) -> None:
        self.codebook = codebook
        self.decay = decay
        # Features per entry and update, and their sums; filled at the first update as if use had been even before.
        self.counts = torch.zeros(0)
        self.sums = torch.zeros(0)

    @torch.no_grad()
    def quantize(self, z: Tensor, own: Moments) -> tuple[Tensor, Tensor]:
        """Nearest entries: (B, C, h, w) -> points (n, D) in the codebook's space, and indices (n, G), n = B * h * w."""
        rows = ((z.float() - own[0]) / own[1]).movedim(1, -1).reshape(-1, z.shape[1])
        points = self.codebook.project(rows)
        return points, self.codebook.nearest(points)

    @torch.no_grad()
    def update(self, points: Tensor, indices: Tensor) -> int:
        """Move the entries towards the points assigned to them. Returns how many entries were restarted.

        Args:
            points: (n, D) of artworks.
            indices: (n, G), their entries.
        """
        if self.decay == 1:
            return 0
        entries = self.codebook.tables.flatten(0, 1)  # (G * K, D / G), a view
        parts = indices.shape[1]
        points = points.view(-1, entries.shape[1])  # (n * G, D / G)
        even = indices.numel() / len(entries)
        if not len(self.counts):
            self.counts, self.sums = torch.full_like(entries[:, 0], even), even * entries
        new = torch.bincount(indices.flatten(), minlength=len(entries)).to(points.dtype)
        self.counts.lerp_(new, 1 - self.decay)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, indices.flatten(), points), 1 - self.decay)
        unused = (self.counts < _UNUSED * even).nonzero()[:, 0]
        if len(unused):
            rows = torch.randint(len(indices), (len(unused),)).to(points.device) * parts
            part = unused // (len(entries) // parts)  # an entry restarts on a point of its own part
            self.counts[unused], self.sums[unused] = even, even * points[rows + part]
        entries.copy_(self.sums / self.counts[:, None])
        return len(unused)

    def state(self) -> dict[str, Tensor]:
        return {"entries": self.codebook.entries.clone(), "counts": self.counts, "sums": self.sums}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        device = self.codebook.entries.device
        self.codebook.entries.data.copy_(state["entries"])
        self.counts, self.sums = state["counts"].to(device), state["sums"].to(device)


def perplexity(indices: Tensor) -> float:
    """The exponential of the entropy of the entries in a batch."""
    share = torch.bincount(indices.flatten()).double() / indices.numel()
    return float(torch.special.entr(share).sum().exp())
