"""Entries found with bf16 are those that float32 finds."""

import pytest
import torch

from quantart_cli.nets import nearest as module
from quantart_cli.nets.nearest import nearest


@pytest.fixture(autouse=True)
def _reduced(monkeypatch):
    """As on a CPU that computes in bf16, whether this one does or not."""
    monkeypatch.setattr(module, "bf16_hardware", lambda: "tests")
    monkeypatch.setattr(module, "_WORTH", 0)
    monkeypatch.setattr(module, "_WIDE", 0)


def by_hand(rows, entries):
    """Scores in float64, and the nearest."""
    scores = rows.double() @ entries.double().T - entries.double().square().sum(1) / 2
    return scores, scores.argmax(1)


@pytest.mark.parametrize(("count", "width", "size"), [(4096, 256, 1.0), (777, 40, 30.0), (65, 8, 0.01), (3, 2, 1.0)])
def test_the_same_as_in_float64(count, width, size):
    numbers = torch.Generator().manual_seed(count)
    entries = size * torch.randn(count, width, generator=numbers)
    rows = entries[torch.randint(count, (1500,), generator=numbers)]
    rows = rows + 0.8 * size * torch.randn(rows.shape, generator=numbers)
    scores, expected = by_hand(rows, entries)
    found = nearest(rows, entries)
    lost = scores.gather(1, expected[:, None]) - scores.gather(1, found[:, None])
    assert (found == expected).float().mean() > 0.999
    assert lost.max() <= 1e-6 * rows.norm(dim=1).max() * entries.norm(dim=1).max()


def test_neighbours_that_bf16_cannot_tell_apart():
    """Entries that differ by less than bf16 keeps: each is asked for, and found."""
    numbers = torch.Generator().manual_seed(0)
    entries = torch.randn(1, 64, generator=numbers) + 2e-3 * torch.randn(200, 64, generator=numbers)
    assert len(torch.unique(entries.bfloat16() @ torch.ones(64, dtype=torch.bfloat16))) < 150
    assert torch.equal(nearest(entries, entries), torch.arange(200))


def test_far_fewer_than_all_are_compared_in_float32(monkeypatch):
    """Rows near one entry each have one candidate, or the bound is no bound worth having."""
    counted = []
    best = module._Reduced._best
    monkeypatch.setattr(
        module._Reduced,
        "_best",
        lambda self, p, row, entry: counted.append(len(row) / len(p)) or best(self, p, row, entry),
    )
    numbers = torch.Generator().manual_seed(0)
    entries = torch.randn(4096, 256, generator=numbers)
    rows = entries[:500] + 0.8 * torch.randn(500, 256, generator=numbers)
    assert torch.equal(nearest(rows, entries), torch.arange(500))
    assert max(counted) < 2


def test_entries_all_alike_and_rows_that_are_not_finite():
    entries = torch.ones(300, 16)
    assert nearest(torch.randn(50, 16), entries).max() < 300
    entries = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    rows = entries[:50].clone()
    rows[3], rows[7, 2] = torch.nan, torch.inf
    found = nearest(rows, entries)
    fine = torch.ones(50, dtype=torch.bool)
    fine[[3, 7]] = False
    assert torch.equal(found[fine], torch.arange(50)[fine])
    assert 0 <= found.min() <= found.max() < 300
