"""Matching, against the same written out with all pairs, unfold and fold."""

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
    result = matching.overlap_blocks(source, index, stride)
    assert result.shape == (2, 3, h * stride, w * stride)
    torch.testing.assert_close(result, folded(source, index, stride))


@pytest.mark.parametrize("stride", [2, 4])
def test_overlap_blocks_of_every_own_position_is_the_source(stride: int) -> None:
    source = torch.randn(1, 5, 3 * stride, 4 * stride)
    index = torch.arange(12).view(1, 3, 4)
    torch.testing.assert_close(matching.overlap_blocks(source, index, stride), source)


def maps(height: int, width: int, batch: int = 1) -> dict[str, torch.Tensor]:
    """Random maps of a picture of that size, with pooling that rounds up."""
    found = {}
    for layer, channels, stride in (("relu2_1", 128, 2), ("relu3_1", 256, 4), ("relu4_1", 512, 8)):
        found[layer] = torch.randn(batch, channels, math.ceil(height / stride), math.ceil(width / stride)).relu()
    return found


def test_match_equals_all_pairs_written_out() -> None:
    torch.manual_seed(0)
    content, style = maps(32, 48, 2), maps(48, 40, 2)
    result = matching.match(content, style)
    q, e = matching.keys(content), matching.keys(style)
    cosine = torch.nn.functional.cosine_similarity(q[:, :, None], e[:, None], dim=3)
    r_s = cosine.sort(1, descending=True).values[:, :10].mean(1, keepdim=True)
    r_c = cosine.sort(2, descending=True).values[:, :, :10].mean(2, keepdim=True)
    similarity = 2 * cosine - r_c - r_s  # r_c cancels
    values, index = similarity.topk(4, 2)
    weight = torch.softmax(values / 0.05, 2)
    entries = style["relu4_1"].flatten(2).transpose(1, 2)
    s4 = torch.stack([(entries[b][index[b]] * weight[b, :, :, None]).sum(1) for b in range(2)])
    torch.testing.assert_close(result.s4, s4.transpose(1, 2).view(2, 512, 4, 6))
    best = index[:, :, 0].view(2, 4, 6)
    torch.testing.assert_close(result.s3, folded(style["relu3_1"], best, 2))
    torch.testing.assert_close(result.s2, folded(style["relu2_1"], best, 4))


def test_keys_weigh_the_layers_alike() -> None:
    features = maps(32, 32)
    deviation, mean = torch.std_mean(features["relu3_1"], (2, 3), keepdim=True)
    standardised = F.avg_pool2d((features["relu3_1"] - mean) / deviation, 2) / 16
    whole = matching.keys(features)
    assert whole.shape == (1, 16, matching.KEY_SIZE)
    torch.testing.assert_close(whole.norm(dim=2), torch.ones(1, 16))
    part = whole[:, :, 512:768].transpose(1, 2).view(1, 256, 4, 4)
    torch.testing.assert_close(F.normalize(part, dim=1), F.normalize(standardised, dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (18, 31), (21, 16), (33, 19), (40, 25)])
def test_match_accepts_every_size(height: int, width: int) -> None:
    h, w = math.ceil(height / 8), math.ceil(width / 8)
    for style in (maps(height, width), maps(19, 45), maps(16, 16)):
        patches = matching.match(maps(height, width), style)
        assert patches.s4.shape == (1, 512, h, w)
        assert patches.s3.shape == (1, 256, 2 * h, 2 * w)
        assert patches.s2.shape == (1, 128, 4 * h, 4 * w)
        assert all(x.isfinite().all() for x in patches)
