"""Entries that numpy finds are those of float64."""

import numpy as np
import pytest

from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.fast.search import Search


@pytest.fixture(scope="module")
def entries():
    """The last part of the embedded codebook."""
    safetensors = pytest.importorskip("safetensors.numpy")
    return safetensors.load_file(embedded_model("quantart-vgg19").path)["entries"][-1].astype(np.float32)


def near(entries, count, noise):
    numbers = np.random.default_rng(0)
    chosen = numbers.integers(0, len(entries), count)
    return np.float32(entries[chosen] + noise * numbers.normal(size=(count, entries.shape[1])))


def by_hand(points, entries):
    points, entries = points.astype(np.float64), entries.astype(np.float64)
    return (points @ entries.T - np.square(entries).sum(1) / 2).argmax(1)


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_the_same_as_in_float64(entries, noise):
    points = near(entries, 600, noise)
    found = Search(entries, 600)(points)
    assert (found == by_hand(points, entries)).mean() > 0.998


def test_fewer_points_than_there_is_room_for(entries):
    search = Search(entries, 50)
    for count in (50, 7, 1):
        points = near(entries, count, 0.5)
        assert np.array_equal(search(points), by_hand(points, entries))


def test_rows_that_are_not_finite(entries):
    points = near(entries, 100, 0.5)
    expected = by_hand(points, entries)
    points[3], points[7, 2] = np.nan, np.inf
    with np.errstate(all="ignore"):
        indices = Search(entries, 100)(points)
    fine = np.ones(100, bool)
    fine[[3, 7]] = False
    assert np.array_equal(indices[fine], expected[fine])
    assert indices.min() >= 0
    assert indices.max() < len(entries)
