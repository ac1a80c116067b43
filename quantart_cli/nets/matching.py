"""Matching content positions with style positions, and copying the style's features.

The painting itself is the codebook: every position of relu4_1 of the style is an entry. Style swap (Chen and Schmidt
2016) and Avatar-Net (Sheng et al. 2018) match one layer; the keys of several layers follow AdaAttN (Liu et al. 2021).
CSLS (Conneau et al. 2018, section 2.3) keeps one entry from being matched everywhere.

Notation: B pictures; n content positions (h * w) and m style positions (hs * ws) of relu4_1's grid; one position is
8 x 8 pixels, 2 x 2 values of relu3_1 and 4 x 4 values of relu2_1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

KEY_LAYERS = {"relu4_1": 1, "relu3_1": 2, "relu2_1": 4}
"""Layers of the keys, and how many of their values are along one side of a position of relu4_1."""

KEY_SIZE = 896  # 512 + 256 + 128 channels
NEIGHBOURS = 10  # cosines averaged by CSLS
TOP = 4  # entries averaged at a position
TEMPERATURE = 0.05


class Matches(NamedTuple):
    """The best entries of every content position, best first."""

    indices: Tensor  # (B, n, TOP) int64, entries in [0, m)
    weights: Tensor  # (B, n, TOP) float32, sums to 1 over the last axis


class StylePatches(NamedTuple):
    """The style's features arranged for a content picture."""

    s4: Tensor  # (B, 512, h, w)
    s3: Tensor  # (B, 256, 2h, 2w)
    s2: Tensor  # (B, 128, 4h, 4w)


def keys(features: Mapping[str, Tensor]) -> Tensor:
    """Unit-length keys of all positions of a picture.

    Each layer is standardised per channel, averaged over a position, and divided by the square root of its channel
    count, so that all layers count alike.

    Args:
        features: the maps of :data:`KEY_LAYERS`, (B, C, H, W) each. Sizes that are no multiple of a position are fine.

    Returns:
        (B, n, 896) float32, positions in row order.
    """
    h, w = features["relu4_1"].shape[2:]
    parts = []
    for layer, stride in KEY_LAYERS.items():
        x = features[layer].float()
        deviation = (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
        x = pad_to_grid((x - x.mean((2, 3), keepdim=True)) / deviation, h * stride, w * stride)
        parts.append(F.avg_pool2d(x, stride) / x.shape[1] ** 0.5)
    return F.normalize(torch.cat(parts, 1), dim=1).flatten(2).transpose(1, 2)


def hubness(queries: Tensor, entries: Tensor) -> Tensor:
    """r_s of CSLS: the mean of the ten largest cosines between each entry and the content's positions.

    Args:
        queries: (B, n, 896) keys of the content.
        entries: (B, m, 896) keys of the style.

    Returns:
        (B, 1, m) float32.
    """
    cosines = _cosines(queries, entries)
    return cosines.topk(min(NEIGHBOURS, cosines.shape[1]), 1).values.mean(1, keepdim=True)


def best_matches(queries: Tensor, entries: Tensor, r_s: Tensor) -> Matches:
    """The entries with the largest 2 * cosine - r_s, and the softmax of those similarities.

    CSLS also subtracts r_c, a content position's mean. It is the same for all entries, so it changes neither the
    order nor the softmax and is left out.

    Args:
        queries: (B, n, 896), any part of the content's keys.
        entries: (B, m, 896).
        r_s: (B, 1, m), see :func:`hubness`.
    """
    similarity = _cosines(queries, entries).mul_(2).sub_(r_s)
    top = similarity.topk(min(TOP, similarity.shape[2]), 2)
    return Matches(top.indices, torch.softmax(top.values / TEMPERATURE, 2))


def average_entries(values: Tensor, matches: Matches) -> Tensor:
    """The weighted mean of the matched entries' values: (B, m, C) -> (B, n, C)."""
    batch, m, channels = values.shape
    n, top = matches.indices.shape[1:]
    first = torch.arange(batch, device=values.device).view(-1, 1, 1) * m
    found = weighted_rows(
        values.reshape(batch * m, channels), (matches.indices + first).view(-1, top), matches.weights.view(-1, top)
    )
    return found.view(batch, n, channels)


def overlap_blocks(source: Tensor, index: Tensor, stride: int) -> Tensor:
    """Copy overlapping blocks of the source with raised-cosine weights.

    Position p of the result takes the source's block of 2 * stride values a side around position index[p]. With
    K = 2 * stride the window is w[k] = sin^2((k + 0.5) pi / K), so each value is the weighted sum of 2 x 2 copies:
    along each axis its own position's and the nearer neighbour's, with weights that sum to 1. At the border, where
    that neighbour does not exist, its own position's copy has weight 1. Blocks that reach over the source's border
    repeat the border's values. Equal to unfold, gather and fold with normalisation, but without their memory.

    Args:
        source: (B, C, hs * stride, ws * stride), fastest in channels last.
        index: (B, h, w) int64, positions of the source in row order, in [0, hs * ws).
        stride: values along one side of a position, even.

    Returns:
        (B, C, h * stride, w * stride) in the dtype of the source, channels last.
    """
    batch, channels, height, width = source.shape
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
    table = source.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    found = weighted_rows(table, torch.stack(picks, -1).view(-1, 4), torch.stack(weights, -1).reshape(-1, 4))
    return found.view(batch, h * stride, w * stride, channels).permute(0, 3, 1, 2)


def weighted_rows(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows of a table: (m, C), (n, k) int64 and (n, k) -> (n, C), in one pass over memory."""
    weights = weights.to(table.dtype)
    if torch.jit.is_tracing():
        return torch.stack([table[index[:, k]] * weights[:, k, None] for k in range(index.shape[1])]).sum(0)
    return F.embedding_bag(index, table, mode="sum", per_sample_weights=weights)


def match(
    content: Mapping[str, Tensor], style: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
) -> StylePatches:
    """The style's features arranged for the content, all in one pass: for pictures that need no tiles.

    Args:
        content, style: the maps of :data:`KEY_LAYERS`; equal batch sizes, any picture sizes from 16 x 16 pixels.
        dtype: of the keys while cosines are computed; bfloat16 is faster where the hardware has it.
    """
    queries, entries = keys(content).to(dtype), keys(style).to(dtype)
    matches = best_matches(queries, entries, hubness(queries, entries))
    batch, _, h, w = content["relu4_1"].shape
    s4 = average_entries(style["relu4_1"].float().flatten(2).transpose(1, 2), matches)
    best = matches.indices[:, :, 0].view(batch, h, w)
    s3, s2 = (copy_blocks(style, layer, best) for layer in ("relu3_1", "relu2_1"))
    return StylePatches(s4.transpose(1, 2).reshape(batch, -1, h, w), s3, s2)


def copy_blocks(style: Mapping[str, Tensor], layer: str, best: Tensor) -> Tensor:
    """:func:`overlap_blocks` of a layer of the style for the best entries (B, h, w), float32."""
    hs, ws = style["relu4_1"].shape[2:]
    stride = KEY_LAYERS[layer]
    return overlap_blocks(pad_to_grid(style[layer].float(), hs * stride, ws * stride), best, stride)


def pad_to_grid(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat the last row and column of x (B, C, H, W) up to the given size.

    Pooling rounds sizes up, so relu3_1 and relu2_1 of an odd-sized picture end inside the last position of relu4_1.
    """
    missing = height - x.shape[2], width - x.shape[3]
    if torch.jit.is_tracing() or any(missing):  # a graph that is traced must pad: it is for pictures of any size
        return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
    return x


def _cosines(queries: Tensor, entries: Tensor) -> Tensor:
    return torch.matmul(queries, entries.transpose(1, 2)).float()  # (B, n, m)


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
