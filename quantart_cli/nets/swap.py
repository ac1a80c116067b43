"""Style swap: each patch of the content's features becomes the most similar patch of the style's.

Chen and Schmidt 2016, section 3.1. Patches are found by their first row and column. A patch of side p has its corner at
one of (h - p + 1) × (w - p + 1) positions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.decoder import Decoder

_PRODUCTS = 1 << 23  # products of positions computed at a time: 32 MB


class PatchMatcher(nn.Module):
    """Φ^ss, the index in equation 2: the style patch with the largest normalised cross-correlation."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, z: Tensor, style: Tensor, scale: Tensor) -> tuple[Tensor]:
        """Match a tile.

        Args:
            z: (1, C, h, w), features of the content.
            style: (1, C, hs, ws), features of the whole style.
            scale: (hs - p + 1, ws - p + 1), what the products with each style patch are multiplied by, 1 / ‖patch‖;
                -1 for patches that must not be used.

        Returns:
            (1, 1, h, w) int32: for the patch that begins at each position the best style patch, in row order of
            ``scale``; -1 at the last p - 1 rows and columns, where no patch begins.
        """
        p = style.shape[2] - scale.shape[0] + 1
        h, w = z.shape[2:]
        content, source = z[0].float(), style[0].float()
        found = torch.full((1, 1, h, w), -1, dtype=torch.int32, device=z.device)
        step = max(1, _PRODUCTS // (w * source[0].numel()) - p + 1)
        for top in range(0, h - p + 1, step):
            rows = content[:, top : min(top + step, h - p + 1) + p - 1]
            scores = patch_products(rows, source, p)
            best = scores.mul_(scale).masked_fill_(scale < 0, -torch.inf).flatten(2).argmax(2)
            found[0, 0, top : top + best.shape[0], : best.shape[1]] = best
        return (found,)


def patch_products(content: Tensor, style: Tensor, p: int) -> Tensor:
    """Scalar products of all patches of side p of two maps, (C, h, w) and (C, hs, ws).

    Computed from the products of single positions, each of which is part of p² patches.

    Returns:
        (h - p + 1, w - p + 1, hs - p + 1, ws - p + 1).
    """
    (h, w), (hs, ws) = content.shape[1:], style.shape[1:]
    single = (content.flatten(1).T @ style.flatten(1)).view(h, w, hs, ws)
    total: Tensor | None = None
    for y in range(p):
        for x in range(p):
            part = single[y : h - p + 1 + y, x : w - p + 1 + x, y : hs - p + 1 + y, x : ws - p + 1 + x]
            total = part.clone() if total is None else total.add_(part)
    assert total is not None
    return total


def overlapped(index: Tensor, style: Tensor, p: int) -> Tensor:
    """The style's patches at the places of the content's, averaged where they overlap (section 3.1).

    Args:
        index: (1, 1, h, w), from :class:`PatchMatcher`.
        style: (1, C, hs, ws).
        p: side of a patch.

    Returns:
        (1, C, h, w) float32.
    """
    ws = style.shape[3]
    table = style[0].flatten(1).T  # (hs·ws, C)
    corners = F.pad(index[0, 0].long(), (p - 1, 0, p - 1, 0), value=-1)
    h, w = index.shape[2:]
    total = torch.zeros(h * w, table.shape[1], device=style.device)
    count = torch.zeros(h * w, 1, device=style.device)
    columns = ws - p + 1
    for y in range(p):
        for x in range(p):
            corner = corners[p - 1 - y : p - 1 - y + h, p - 1 - x : p - 1 - x + w].flatten()
            exists = (corner >= 0)[:, None].float()
            corner = corner.clamp(min=0)
            position = (corner // columns + y) * ws + corner % columns + x
            total += table.index_select(0, position).float() * exists
            count += exists
    mean: Tensor = total / count.clamp(min=1)
    return mean.T.reshape(1, -1, h, w)


class SwapDecoder(nn.Module):
    """A decoder of swapped patches."""

    parts: ClassVar = {"decoder": Decoder}

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, index: Tensor, z: Tensor, style: Tensor, alpha: float, patch: float) -> tuple[Tensor]:
        """D(α · swapped + (1 - α) z).

        Args:
            index: (1, 1, h, w), from :class:`PatchMatcher`.
            z: (1, 512, h, w), features of the content.
            style: (1, 512, hs, ws), of the whole style.
            alpha: α.
            patch: side of a patch.

        Returns:
            (1, 3, 8h, 8w) float32.
        """
        swapped = overlapped(index, style, int(patch))
        return (self.decoder(torch.lerp(z.float(), swapped, alpha)),)
