"""Style swap: recorded parity, plain loops, and what is not computed at once."""

import numpy as np
import pytest
import safetensors.torch
import torch

from quantart_cli.nets import swap
from quantart_cli.nets.swap import PatchMatcher, overlapped, patch_products
from tests.conftest import DATA


def swapped(content, style, p):
    """Index (h - p + 1, w - p + 1) and result (1, C, h, w)."""
    norm = style[0].square().sum(0).unfold(0, p, 1).unfold(1, p, 1).sum((2, 3)).sqrt()
    (index,) = PatchMatcher()(content, style, 1 / norm)
    return index[0, 0, : content.shape[2] - p + 1, : content.shape[3] - p + 1], overlapped(index, style, p)


@pytest.mark.parametrize("p", [1, 3, 5])
def test_parity(p):
    recorded = safetensors.torch.load_file(DATA / "style_swap.safetensors")
    index, result = swapped(recorded["content"], recorded["style"], p)
    assert torch.equal(index.long(), recorded[f"index_patch{p}_stride1"][0])
    assert (result - recorded[f"swapped_patch{p}_stride1"]).abs().max() < 1e-5


def test_plain_loops():
    torch.manual_seed(0)
    content, style, p = torch.rand(1, 4, 6, 5), torch.rand(1, 4, 4, 7), 3
    index, result = swapped(content, style, p)
    total, count = torch.zeros(4, 6, 5), torch.zeros(6, 5)
    for y in range(4):
        for x in range(3):
            own = content[0, :, y : y + p, x : x + p]
            patches = [style[0, :, j : j + p, i : i + p] for j in range(2) for i in range(5)]
            scores = [float((own * patch).sum() / patch.norm()) for patch in patches]
            best = int(np.argmax(scores))
            assert index[y, x] == best
            total[:, y : y + p, x : x + p] += patches[best]
            count[y : y + p, x : x + p] += 1
    torch.testing.assert_close(result[0], total / count)


def test_patch_products():
    torch.manual_seed(0)
    content, style = torch.rand(3, 4, 6), torch.rand(3, 5, 3)
    found = patch_products(content, style, 2)
    assert found.shape == (3, 5, 4, 2)
    expected = (content[:, 1:3, 4:6] * style[:, 2:4, 1:3]).sum()
    torch.testing.assert_close(found[1, 4, 2, 1], expected)


def test_rows_at_a_time_change_nothing(monkeypatch):
    recorded = safetensors.torch.load_file(DATA / "style_swap.safetensors")
    whole, _ = swapped(recorded["content"], recorded["style"], 3)
    largest = 0
    real = patch_products

    def count(content, style, p):
        nonlocal largest
        largest = max(largest, content.shape[1])
        return real(content, style, p)

    monkeypatch.setattr(swap, "_PRODUCTS", 1)
    monkeypatch.setattr(swap, "patch_products", count)
    index, _ = swapped(recorded["content"], recorded["style"], 3)
    assert torch.equal(index, whole)
    assert largest == 3  # the rows of one patch


def test_unused_patches_are_not_matched():
    torch.manual_seed(0)
    style = torch.rand(1, 4, 6, 6)
    scale = torch.ones(4, 4)
    scale[:, :3] = -1
    (index,) = PatchMatcher()(torch.zeros(1, 4, 5, 5), style, scale)
    assert (index[0, 0, :3, :3] % 4 == 3).all()
    assert (index[0, 0, 3:] == -1).all()
