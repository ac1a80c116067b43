"""The nearest entry against a search in float64."""

import pytest
import torch

from quantart_cli.nets import nearest as module
from quantart_cli.nets.nearest import nearest


@pytest.mark.parametrize(("count", "width", "size"), [(4096, 256, 1.0), (777, 40, 30.0), (65, 8, 0.01), (3, 2, 1.0)])
def test_the_same_as_in_float64(count, width, size):
    numbers = torch.Generator().manual_seed(count)
    entries = size * torch.randn(count, width, generator=numbers)
    rows = entries[torch.randint(count, (700,), generator=numbers)]
    rows = rows + 0.8 * size * torch.randn(rows.shape, generator=numbers)
    scores = rows.double() @ entries.double().T - entries.double().square().sum(1) / 2
    expected, found = scores.argmax(1), nearest(rows, entries)
    lost = scores.gather(1, expected[:, None]) - scores.gather(1, found[:, None])
    assert (found == expected).float().mean() > 0.999
    assert lost.max() <= 1e-6 * rows.norm(dim=1).max() * entries.norm(dim=1).max()


def test_a_few_rows_at_a_time(monkeypatch):
    entries, rows = torch.randn(50, 8), torch.randn(70, 8)
    expected = nearest(rows, entries)
    monkeypatch.setattr(module, "_SCORES", 7 * 50)
    assert torch.equal(nearest(rows, entries), expected)
    assert len(nearest(rows[:0], entries)) == 0


def test_rows_that_are_not_finite():
    entries = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    rows = entries[:50].clone()
    rows[3], rows[7, 2] = torch.nan, torch.inf
    found = nearest(rows, entries)
    fine = torch.ones(50, dtype=torch.bool)
    fine[[3, 7]] = False
    assert torch.equal(found[fine], torch.arange(50)[fine])
    assert 0 <= found.min() <= found.max() < 300
