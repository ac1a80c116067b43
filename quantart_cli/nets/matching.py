"""Copying features of a style to positions of a picture.

One position of relu4_1 is 8 x 8 pixels, 2 x 2 values of relu3_1 and 4 x 4 values of relu2_1. There are B pictures of
h x w positions, and styles of hs x ws.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KEY_SIZE = 896  # channels of relu4_1, relu3_1 and relu2_1


def overlap_blocks(source: Tensor, index: Tensor, stride: int, scale: float | Tensor = 1.0) -> Tensor:
    """Copy overlapping blocks of the source with raised-cosine weights.

    Position p of the result takes the source's block of 2 * stride values a side around position index[p]. With
    K = 2 * stride the window is w[k] = sin^2((k + 0.5) pi / K), so each value is the weighted sum of 2 x 2 copies:
    along each axis its own position's and the nearer neighbour's, with weights that sum to 1. At the border, where
    that neighbour does not exist, its own position's copy has weight 1. Blocks that reach over the source's border
    repeat the border's values. Equal to unfold, gather and fold with normalisation, but without their memory.

    Args:
        source: (B, hs * stride, ws * stride, C).
        index: (B, h, w) int64, positions of the source in row order, in [0, hs * ws).
        stride: values along one side of a position, even.
        scale: multiplies the result.

    Returns:
        (B, C, h * stride, w * stride) in the dtype of the source, channels last.
    """
    return OverlapBlocks(source, index, stride, scale)(0, index.shape[1] * stride)


class OverlapBlocks:
    """:func:`overlap_blocks`, some rows at a time."""

    def __init__(self, source: Tensor, index: Tensor, stride: int, scale: float | Tensor = 1.0) -> None:
        batch, height, width, channels = source.shape
        h, w = index.shape[1:]
        first = torch.arange(batch, device=index.device).view(-1, 1, 1) * (height * width)
        # As tensors, and not as numbers, which tracing would make constants of.
        last_row, last_column = (torch.arange(length, device=index.device)[-1] for length in (height, width))
        picks, weights = [], []
        for y, y_offset, y_weight in _copies(h, stride, source):
            for x, x_offset, x_weight in _copies(w, stride, source):
                matched = index[:, y][:, :, x]  # (B, h * stride, w * stride)
                row = torch.minimum(matched // (width // stride) * stride + y_offset[:, None], last_row).clamp(min=0)
                column = torch.minimum(matched % (width // stride) * stride + x_offset, last_column).clamp(min=0)
                picks.append(row * width + column + first)
                weights.append((y_weight[:, None] * x_weight).expand(batch, -1, -1))
        self._table = source.reshape(batch * height * width, channels)
        self._picks, self._weights = torch.stack(picks, -1), torch.stack(weights, -1) * scale  # (B, H, W, 4)

    def __call__(self, start: int, end: int) -> Tensor:
        """The rows from ``start`` up to ``end``, (B, C, end - start, w * stride)."""
        picks, weights = self._picks[:, start:end], self._weights[:, start:end]
        found = weighted_rows(self._table, picks.reshape(-1, 4), weights.reshape(-1, 4))
        return found.view(*picks.shape[:3], self._table.shape[1]).permute(0, 3, 1, 2)


def weighted_rows(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows of a table: (m, C), (n, k) int64 and (n, k) -> (n, C), in one pass over memory."""
    weights = weights.to(table.dtype)
    if torch.jit.is_tracing():
        found = table[index[:, 0]] * weights[:, :1]
        for k in range(1, index.shape[1]):
            found = found + table[index[:, k]] * weights[:, k : k + 1]
        return found
    return F.embedding_bag(index, table, mode="sum", per_sample_weights=weights)


def pad_to_grid(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat the last row and column of x (B, C, H, W) up to the given size.

    Pooling rounds sizes up, so relu3_1 and relu2_1 of an odd-sized picture end inside the last position of relu4_1.
    """
    missing = height - x.shape[2], width - x.shape[3]
    if torch.jit.is_tracing() or any(missing):  # a graph that is traced must pad: it is for pictures of any size
        return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
    return x


def _copies(positions: int, stride: int, like: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The two copies that each value along one axis is made of: its own position's, and the nearer neighbour's.

    Returns:
        two triples of tensors (positions * stride,): the position, the value's place counted from that position's first
        value, and the copy's weight in the dtype of ``like``.
    """
    place = torch.arange(positions * stride, device=like.device)
    own = place // stride
    offset = place - own * stride
    neighbour = own + torch.where(offset < stride // 2, -1, 1)
    exists = (neighbour >= 0) & (neighbour <= own[-1])
    window = torch.sin((offset + stride // 2 + 0.5) * (torch.pi / (2 * stride))) ** 2
    weight = torch.where(exists, window, 1.0)
    neighbour = torch.where(exists, neighbour, own)
    return [
        (own, offset, weight.to(like.dtype)),
        (neighbour, place - neighbour * stride, (1 - weight).to(like.dtype)),
    ]
