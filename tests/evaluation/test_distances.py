"""FID, KID and ArtFID against what is known exactly."""

import numpy as np
import pytest

from quantart_cli.evaluation.distances import Products, artfid, fid, kid


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(40, 7), (12, 2048)])
def test_fid_of_a_set_with_itself_is_zero(shape):
    x = normal(*shape).astype(np.float32)
    assert abs(fid(Products.of(x, x))) < 1e-6 * x.shape[1]


def test_fid_of_a_shifted_set_is_the_squared_shift():
    x = normal(30, 4)
    assert fid(Products.of(x, x + np.array([1, 2, 0, -2]))) == pytest.approx(9)


def test_fid_of_a_scaled_set():
    """Σ and 9Σ: tr Σ + 9 tr Σ - 6 tr Σ, here with mean 0."""
    x = normal(50, 3)
    x -= x.mean(0)
    assert fid(Products.of(x, 3 * x)) == pytest.approx(4 * np.cov(x.T).trace())


@pytest.mark.parametrize(("n", "m"), [(60, 90), (90, 60), (5, 8)])
def test_fid_is_the_formula(n, m):
    x, y = normal(n, 6, seed=1), normal(m, 6, seed=2) @ normal(6, 6, seed=3) + 0.3
    a, b = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + a.trace() + b.trace() - 2 * root
    assert fid(Products.of(x, y)) == pytest.approx(expected, rel=1e-6)


def test_kid_is_unbiased():
    """In one dimension the kernel is (xy + 1)³: for N(0, 1) and N(1, 1) the expectation is 4 + 32 - 2 · 7 = 22, for one
    distribution 0, however few pictures there are."""
    random = np.random.default_rng(0)
    for shift, expected in ((1, 22), (0, 0)):
        found = [kid(Products.of(random.normal(size=(4, 1)), random.normal(size=(6, 1)) + shift)) for _ in range(20000)]
        error = np.std(found) / np.sqrt(len(found))
        assert error < 1
        assert abs(np.mean(found) - expected) < 4 * error


def test_kid_by_hand():
    x, y = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 1], [1, 1], [0, 0]])
    # k(x, x') = 1; k(y, y') = 8, 1, 1 and again, of 6; k(x, y) = 1.5³ four times of six, 1 twice.
    assert kid(Products.of(x, y)) == pytest.approx(1 + 20 / 6 - 2 * (4 * 1.5**3 + 2) / 6)


def test_parts_are_what_parts_give():
    x, y = normal(9, 5), normal(11, 5, seed=1)
    rows, columns = np.array([0, 3, 4, 8]), np.array([1, 2, 10])
    part, own = Products.of(x, y).part(rows, columns), Products.of(x[rows], y[columns])
    assert fid(part) == pytest.approx(fid(own))
    assert kid(part) == pytest.approx(kid(own))


def test_artfid_by_its_definition():
    assert artfid(0.5, 99) == 150
    assert artfid(0, 0) == 1
