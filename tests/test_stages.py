"""Moments of pictures: merged from tiles, weighted by opacity, and blended; the sizes of what stages get."""

import numpy as np
import pytest
import torch

from quantart_cli.methods.base import adain
from quantart_cli.nets.statistics import moments
from quantart_cli.runner import Image, extend
from quantart_cli.stages import EPSILON, Map, Moments, Stage, Sums


def merged(z: np.ndarray, weight: np.ndarray, cuts=()) -> Moments:
    """Moments of (1, C, h, w), from the moments of its parts between columns."""
    sums = Sums()
    for left, right in zip((0, *cuts), (*cuts, z.shape[3]), strict=True):
        part = moments(torch.from_numpy(z[..., left:right]), torch.from_numpy(weight[..., left:right]))
        sums.add(part.numpy())
    return sums.result()


def assert_close(found: Moments, mean: np.ndarray, std: np.ndarray, rtol=1e-5):
    np.testing.assert_allclose(found.mean, mean, rtol=rtol, atol=1e-5)
    np.testing.assert_allclose(found.std, std, rtol=rtol)


@pytest.mark.parametrize("cuts", [(), (1,), (5, 6, 40), tuple(range(1, 50))])
def test_merged_moments_are_those_of_numpy_in_float64(cuts):
    # A mean of a hundred deviations: where E[x²] - E[x]² in float32 would show.
    z = np.random.default_rng(0).normal(100, 1, (1, 7, 30, 50)).astype(np.float32)
    rows = z[0].reshape(7, -1).astype(np.float64)
    found = merged(z, np.ones((1, 1, 30, 50), np.float32), cuts)
    assert_close(found, rows.mean(1), np.sqrt(rows.var(1, ddof=1) + EPSILON))
    assert found.mean.dtype == found.std.dtype == np.float32


@pytest.mark.parametrize("cuts", [(), (3, 20)])
def test_positions_count_by_their_weights(cuts):
    random = np.random.default_rng(1)
    z = random.normal(3, 2, (1, 5, 20, 30)).astype(np.float32)
    weight = random.uniform(0, 1, (1, 1, 20, 30)).astype(np.float32)
    weight[..., 10:] = 0
    z[..., 10:] = 1e6  # where nothing counts
    w, rows = weight[0, 0, :, :10].ravel().astype(np.float64), z[0, :, :, :10].reshape(5, -1).astype(np.float64)
    mean = rows @ w / w.sum()
    variance = (rows - mean[:, None]) ** 2 @ w / (w.sum() - 1)
    assert_close(merged(z, weight, cuts), mean, np.sqrt(variance + EPSILON))


def test_one_position_and_none():
    one = merged(np.full((1, 3, 1, 1), 5, np.float32), np.ones((1, 1, 1, 1), np.float32))
    assert_close(one, np.full(3, 5), np.full(3, EPSILON**0.5))
    assert np.isfinite(Sums().result().std).all()


def test_lerp_interpolates_adain_exactly():
    random = np.random.default_rng(2)
    z = random.normal(0, 1, (4, 36))
    own, one, two = (
        Moments(random.normal(0, 1, 4).astype(np.float32), random.uniform(0.5, 2, 4).astype(np.float32))
        for _ in range(3)
    )

    def stylized(style):
        slope, shift = adain(own, style)
        return slope[:, None] * z + shift[:, None]

    blended = stylized(Moments.lerp([one, two], [0.3, 0.7]))
    np.testing.assert_allclose(blended, 0.3 * stylized(one) + 0.7 * stylized(two), atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_adain_as_slope_and_shift(alpha):
    own, style = Moments(np.float32([1, -2]), np.float32([2, 0.5])), Moments(np.float32([3, 4]), np.float32([1, 3]))
    z = np.random.default_rng(3).normal(0, 1, (2, 9))
    slope, shift = adain(own, style, alpha)
    moved = (z - own.mean[:, None]) / own.std[:, None] * style.std[:, None] + style.mean[:, None]
    np.testing.assert_allclose(slope[:, None] * z + shift[:, None], (1 - alpha) * z + alpha * moved, atol=1e-5)


def test_extend_mirrors_and_keeps_large_pictures():
    row = np.array([[1.0, 2.0, 3.0]])
    assert extend(row, 8)[0].tolist() == [1, 2, 3, 3, 2, 1, 1, 2]
    assert extend(row, 8).shape == (8, 8)
    assert extend(np.zeros((17, 20, 3)), 16, 8).shape == (24, 24, 3)
    large = np.zeros((20, 30, 3))
    assert extend(large, 16) is large


@pytest.mark.parametrize("size", [(1, 1), (13, 70), (64, 64)])
def test_opacity_is_averaged_at_the_positions_of_features(size):
    random = np.random.default_rng(4)
    image = Image.of(np.zeros((*size, 3), np.uint8), random.integers(0, 256, size).astype(np.uint8))
    height, width = (max(2, -(-length // 8)) for length in size)
    found = image.weight(8)
    assert found.shape == (height, width)
    opacity = torch.from_numpy(image.opacity)[None, None].float() / 255
    expected = torch.nn.functional.adaptive_avg_pool2d(opacity, (height, width))[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert image.size == size


def test_nothing_visible_counts_as_all_opaque():
    assert Image.of(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)).weight(8) is None
    assert Image.of(np.zeros((20, 20, 3), np.uint8)).weight(8) is None


@pytest.mark.parametrize(
    ("strides", "grain"), [((), 8), ((1, 4), 8), ((16, 8), 16), ((12, 8), 24)], ids=["image", "fine", "16", "12 and 8"]
)
def test_the_grain_is_a_multiple_of_every_stride(strides, grain):
    maps = {"image": (1, 3), **{f"map{i}": (stride, 5) for i, stride in enumerate(strides)}}
    assert Stage("toy", "toy:Toy", parts=(), maps=maps, outputs={"y": Map(2)}).grain == grain


def test_variances_of_instance_norm_are_divided_by_the_number_of_positions():
    rows = np.random.default_rng(0).normal(2, 3, (4, 50))
    sums = Sums(unbiased=False)
    for part in (rows[:, :20], rows[:, 20:]):
        mean = part.mean(1)
        sums.add(np.stack([np.full(4, part.shape[1]), mean, ((part - mean[:, None]) ** 2).sum(1)]))
    found = sums.result()
    np.testing.assert_allclose(found.std, np.sqrt(rows.var(1) + 1e-5), rtol=1e-6)
