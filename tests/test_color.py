"""Colour preservation against formulas written out plainly."""

import numpy as np
import pytest

from quantart_cli import color
from quantart_cli.color import keep_chroma, match_color


def picture(height: int, width: int, seed: int, spread: float = 0.15) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1] with correlated channels."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(3, 3))
    pixels = random.normal(size=(height, width, 3)) @ mixing * spread + random.uniform(0.3, 0.7, 3)
    return pixels.clip(0, 1).astype(np.float32)


def luma(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float64) @ [0.299, 0.587, 0.114]


def yiq(pixels: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    return pixels.astype(np.float64) @ matrix.T


def test_luminance_of_the_style_chroma_of_the_content():
    stylized, content = picture(30, 40, 1), picture(30, 40, 2)
    result = keep_chroma(stylized, content)
    assert (result.dtype, result.shape) == (np.float32, (30, 40, 3))
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(luma(result) - luma(stylized)).max() < 1e-5  # nowhere clipped away
    shift = content + (luma(stylized) - luma(content))[..., None]
    inside = ((shift >= 0) & (shift <= 1)).all(axis=2)
    assert 0.2 < inside.mean() < 0.95
    assert np.abs(yiq(result)[..., 1:] - yiq(content)[..., 1:])[inside].max() < 1e-3


def test_out_of_gamut_colours_keep_hue_and_luminance():
    stylized, content = picture(30, 40, 1), picture(30, 40, 2)
    wanted, got = yiq(content)[..., 1:], yiq(keep_chroma(stylized, content))[..., 1:]
    cross = wanted[..., 0] * got[..., 1] - wanted[..., 1] * got[..., 0]
    assert np.abs(cross).max() < 1e-3  # the same direction
    assert (np.linalg.norm(got, axis=-1) <= np.linalg.norm(wanted, axis=-1) + 1e-3).all()
    red, bright = np.array([[[1, 0, 0]]], np.float32), np.full((1, 1, 3), 0.9, np.float32)
    assert keep_chroma(bright, red)[0, 0] == pytest.approx([1, 0.857, 0.857], abs=1e-3)
    for level in (0, 1):
        assert (keep_chroma(np.full((1, 1, 3), level, np.float32), red) == level).all()


def test_same_picture_stays():
    content = picture(20, 20, 3)
    assert np.abs(keep_chroma(content, content) - content).max() < 1e-6


def test_bands_change_nothing(monkeypatch):
    first, second = picture(37, 20, 1), picture(37, 20, 2)
    whole = keep_chroma(first, second), match_color(first, second)
    monkeypatch.setattr(color, "_BAND_PIXELS", 60)
    assert (keep_chroma(first, second) == whole[0]).all()
    assert np.abs(match_color(first, second) - whole[1]).max() < 1e-6


def reference_coral(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """naoto0804/pytorch-AdaIN, function.py, coral(): covariance plus identity, not divided by the pixel count."""

    def root(matrix):
        u, d, vt = np.linalg.svd(matrix)
        return u @ np.diag(np.sqrt(d)) @ vt

    def normalised(pixels):
        flat = pixels.reshape(-1, 3).T.astype(np.float64)
        mean, deviation = flat.mean(axis=1, keepdims=True), flat.std(axis=1, ddof=1, keepdims=True)
        z = (flat - mean) / deviation
        return z, mean, deviation, z @ z.T + np.eye(3)

    z_s, _, _, cov_s = normalised(source)
    _, mean, deviation, cov_t = normalised(target)
    return ((root(cov_t) @ np.linalg.inv(root(cov_s)) @ z_s) * deviation + mean).T.reshape(source.shape)


@pytest.mark.parametrize("sizes", [((24, 30), (24, 30)), ((24, 30), (50, 41)), ((60, 50), (20, 21)), ((6, 5), (7, 4))])
def test_the_reference_but_for_its_missing_division(sizes):
    style, content = picture(*sizes[0], 4), picture(*sizes[1], 5)
    ours, mean = match_color(style, content).astype(np.float64), content.reshape(-1, 3).mean(axis=0)
    ratio = np.sqrt(content[..., 0].size / style[..., 0].size)
    theirs = reference_coral(style, content)
    assert np.abs((ours - mean) * ratio + mean - theirs).max() < 1e-4
    if ratio != 1:
        assert np.abs(ours - theirs).max() > 0.01


def test_mean_and_covariance_are_the_contents():
    style, content = picture(80, 90, 6), picture(100, 70, 7)
    result = match_color(style, content)
    assert (result.dtype, result.shape) == (np.float32, style.shape)
    flat, wanted = result.reshape(-1, 3).astype(np.float64), content.reshape(-1, 3).astype(np.float64)
    assert np.abs(flat.mean(axis=0) - wanted.mean(axis=0)).max() < 1e-5
    assert np.abs(np.cov(flat.T) - np.cov(wanted.T)).max() < 1e-3 * np.cov(wanted.T).max()
    assert result.min() < 0 or result.max() > 1  # not clamped


def test_weights():
    style, content = picture(30, 40, 8), picture(35, 20, 9)
    weight = np.zeros((30, 40), np.float32)
    weight[:, :25] = 1
    cropped = match_color(style[:, :25], content)
    assert np.abs(match_color(style, content, style_weight=weight)[:, :25] - cropped).max() < 1e-5
    weight_c = np.zeros((35, 20), np.float32)
    weight_c[10:] = 1
    expected = match_color(style, content[10:])
    assert np.abs(match_color(style, content, content_weight=weight_c) - expected).max() < 1e-5
    ones = np.ones((30, 40), np.float32)
    plain = match_color(style, content)
    assert np.abs(match_color(style, content, style_weight=ones) - plain).max() < 1e-6
    assert np.abs(match_color(style, content, style_weight=0 * ones) - plain).max() < 1e-6


def test_flat_and_grey_pictures():
    flat, other = np.full((10, 12, 3), 0.3, np.float32), picture(10, 12, 10)
    assert match_color(other, flat) == pytest.approx(0.3, abs=1e-6)
    assert match_color(flat, other) == pytest.approx(np.broadcast_to(other.mean(axis=(0, 1)), flat.shape), abs=1e-5)
    grey = np.repeat(other[..., :1], 3, axis=2)
    result = match_color(grey, other)
    assert np.isfinite(result).all()
    assert np.abs(result).max() < 10
    single = np.full((1, 1, 3), 0.5, np.float32)
    assert np.isfinite(match_color(single, other)).all()
    assert np.isfinite(match_color(other, single)).all()


def test_shapes():
    good = picture(4, 5, 1)
    for wrong in (good[..., 0], good[..., :2], good[:3]):
        with pytest.raises(ValueError, match="need"):
            keep_chroma(good, wrong)
    for wrong in (good[..., 0], good[:0]):
        with pytest.raises(ValueError, match="need"):
            match_color(good, wrong)
    with pytest.raises(ValueError, match="weight"):
        match_color(good, good, style_weight=np.ones((5, 4)))
