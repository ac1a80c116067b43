"""Intervals: as wide as theory has them, the same every time, and narrower for what is shared."""

import numpy as np
import pytest

from quantart_cli.evaluation.confidence import Estimate, halves


def test_halves():
    found = halves(9, seed=3)
    assert all(len(half) == len(set(half)) == 5 for half in found)
    assert all(np.array_equal(a, b) for a, b in zip(found, halves(9, seed=3), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(found, halves(9, seed=4), strict=True))


def test_error_of_a_mean_is_that_of_statistics():
    values = np.random.default_rng(0).normal(10, 2, 400)
    estimate = Estimate.of(values.mean(), [values[half].mean() for half in halves(400, 0)])
    assert estimate.error == pytest.approx(1.96 * 2 / np.sqrt(400), rel=0.15)


def test_ratio():
    half, whole = Estimate.of(1, [1.0, 2, 3]), Estimate.of(2, [2.0, 4, 6])
    ratio = half.over(whole)
    assert ratio is not None
    assert (ratio.value, ratio.error) == (0.5, 0)
    assert half.over(Estimate.of(2, [2.0])) is None
    assert half.over(Estimate.of(0, [0.0, 0, 0])) is None
