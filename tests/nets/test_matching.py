"""Copying patches, against unfold and fold."""

import math

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets import matching


def folded(source: torch.Tensor, index: torch.Tensor, stride: int) -> torch.Tensor:
    """Blocks gathered from unfold, weighted by the raised cosine, and folded with normalisation."""
    _, h, w = index.shape
    size, margin = 2 * stride, stride // 2
    padded = F.pad(source, (margin,) * 4, mode="replicate")
    blocks = F.unfold(padded, size, stride=stride)  # (B, C * size^2, m)
    blocks = blocks.gather(2, index.flatten(1)[:, None].expand(-1, blocks.shape[1], -1))
    k = torch.sin((torch.arange(size) + 0.5) * math.pi / size) ** 2
    window = (k[:, None] * k).flatten().repeat(source.shape[1])[None, :, None]
    shape = h * stride, w * stride
    total = F.fold(blocks * window, shape, size, stride=stride, padding=margin)
    return total / F.fold(window.expand(1, -1, h * w), shape, size, stride=stride, padding=margin)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize(("h", "w", "hs", "ws"), [(5, 7, 4, 6), (2, 2, 2, 2), (1, 3, 3, 1), (6, 1, 1, 1)])
def test_overlap_blocks_equals_unfold_and_fold(stride: int, h: int, w: int, hs: int, ws: int) -> None:
    torch.manual_seed(0)
    source = torch.randn(2, 3, hs * stride, ws * stride)
    index = torch.randint(hs * ws, (2, h, w))
    result = matching.overlap_blocks(source.permute(0, 2, 3, 1), index, stride)
    assert result.shape == (2, 3, h * stride, w * stride)
    torch.testing.assert_close(result, folded(source, index, stride))
    rows = matching.OverlapBlocks(source.permute(0, 2, 3, 1), index, stride)(1, h * stride - 1)
    assert torch.equal(rows, result[:, :, 1:-1])


@pytest.mark.parametrize("stride", [2, 4])
def test_overlap_blocks_of_every_own_position_is_the_source(stride: int) -> None:
    source = torch.randn(1, 5, 3 * stride, 4 * stride)
    index = torch.arange(12).view(1, 3, 4)
    torch.testing.assert_close(matching.overlap_blocks(source.permute(0, 2, 3, 1), index, stride), source)
