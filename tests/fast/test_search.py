"""Entries that OpenVINO finds with bf16 are those of float64."""

import numpy as np
import pytest

from quantart_cli.engine.build import weights_of
from quantart_cli.fast import installed

pytestmark = pytest.mark.skipif(not installed(), reason="OpenVINO is not installed")
if installed():
    from quantart_cli.fast import networks, search


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The search of the last part of the embedded codebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        files = {"codebook": weights_of("quantart")["codebook"]}
        networks.export(files, "fp32")
        loaded = networks.load(files, "fp32")
    tables = loaded["codes"](np.zeros(1, np.float32)).copy()
    return search.Search(loaded["scores"], tables[-1], len(tables) - 1)


def near(entries, count, noise):
    numbers = np.random.default_rng(0)
    chosen = numbers.integers(0, len(entries), count)
    return np.float32(entries[chosen] + noise * numbers.normal(size=(count, entries.shape[1])))


def by_hand(points, entries):
    points, entries = points.astype(np.float64), entries.astype(np.float64)
    return (points @ entries.T - np.square(entries).sum(1) / 2).argmax(1)


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_the_same_as_in_float64(found, noise):
    points = near(found.entries, 600, noise)
    assert (found(points) == by_hand(points, found.entries)).mean() > 0.998


def test_candidates_are_few_and_more_than_one(found, monkeypatch):
    counted = []
    best = search.Search._best
    monkeypatch.setattr(
        search.Search,
        "_best",
        lambda self, p, row, entry: counted.append(len(row) / len(p)) or best(self, p, row, entry),
    )
    found(near(found.entries, 600, 2.0))
    assert 1 < counted[0] < 3


def test_rows_that_are_not_finite(found):
    points = near(found.entries, 100, 0.5)
    expected = by_hand(points, found.entries)
    points[3], points[7, 2] = np.nan, np.inf
    with np.errstate(all="ignore"):
        indices = found(points)
    fine = np.ones(100, bool)
    fine[[3, 7]] = False
    assert np.array_equal(indices[fine], expected[fine])
    assert indices.min() >= 0
    assert indices.max() < len(found.entries)
