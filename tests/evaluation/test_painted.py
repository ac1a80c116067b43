"""Painted score: distances by hand, and its ends."""

import math

import numpy as np
import pytest
import torch

from quantart_cli.evaluation.painted import (
    LAYERS,
    PaintedStyle,
    high_band_energy,
    remd,
    sample,
    self_similarity,
)
from tests.conftest import scene


def tensor(rgb):
    return torch.tensor(rgb).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def features(vgg):
    """VGG features of a scene by seed."""

    @torch.inference_mode()
    def of(seed, side=96):
        return vgg(tensor(scene(side, side, seed)), LAYERS)

    return of


def test_remd_by_hand():
    a = torch.tensor([[1.0, 0], [0, 2]])
    assert remd(a, torch.tensor([[3.0, 0]])) == pytest.approx(0.5)  # rows: 0 and 1; column: 0
    assert remd(torch.tensor([[5.0, 0]]), a) == pytest.approx(0.5)
    assert remd(a, -a) == pytest.approx(1)
    assert remd(a, a) == pytest.approx(0, abs=1e-6)


def test_distances_are_centred_on_the_style():
    """A constant added to all features, which hides differences from the cosine, changes nothing."""
    torch.manual_seed(0)
    plain = {layer: torch.randn(1, 8, 6, 6) for layer in LAYERS}
    content = {layer: torch.randn(1, 8, 6, 6) for layer in LAYERS}
    shifted, moved = ({layer: each[layer] + 100 for layer in LAYERS} for each in (plain, content))
    expected = PaintedStyle.of(plain, 0).distance(sample(content, 0))
    assert PaintedStyle.of(shifted, 0).distance(sample(moved, 0)) == pytest.approx(expected, abs=1e-4)
    assert expected > 0.2


def test_samples_are_at_most_half_of_the_positions_and_the_same_again():
    features = {layer: torch.arange(3 * 70.0 * 60).view(1, 3, 70, 60) for layer in LAYERS}
    assert sample(features, 0)["relu2_1"].shape == (1024, 3)
    assert torch.equal(sample(features, 0)["relu2_1"], sample(features, 0)["relu3_1"])
    assert not torch.equal(sample(features, 0)["relu2_1"], sample(features, 1)["relu2_1"])
    small = {layer: torch.arange(2 * 15.0).view(1, 2, 3, 5) for layer in LAYERS}
    assert sample(small, 0)["relu4_1"].shape == (5, 2)  # of 3 × 5, halves of 1 × 5 and 3 × 2


def test_ends_of_the_score():
    style = PaintedStyle({}, {}, self_distance=0.2)
    assert style.score(photo=0.6, output=0.6) == 0
    assert style.score(photo=0.6, output=0.2) == pytest.approx(1)
    assert style.score(photo=0.6, output=0.5) == pytest.approx(0.25)
    assert style.score(photo=0.6, output=0.7) == pytest.approx(-0.25)
    assert math.isnan(style.score(photo=0.2, output=0.1))


def test_a_mixture_lies_between(features):
    style, content = features(1), features(2)
    painted = PaintedStyle.of(style, 0)
    photo = painted.distance(sample(content, 0))
    mixture = {layer: 0.5 * style[layer] + 0.5 * content[layer] for layer in LAYERS}
    scores = [painted.score(photo, painted.distance(sample(each, 0))) for each in (content, mixture, style)]
    assert scores[0] == 0
    assert 0.05 < scores[1] < scores[2]
    assert scores[2] > 1  # all of the painting is nearer to itself than its halves are
    assert painted.self_distance > 0.05


def test_positions_used(features):
    style = features(1)
    painted = PaintedStyle.of(style, 0)
    assert painted.positions_used(sample(style, 0)) == pytest.approx(1, abs=0.02)
    one_patch = {layer: style[layer][..., 3:4, 3:4].expand_as(style[layer]) for layer in LAYERS}
    count = len(painted.samples["relu3_1"])
    assert painted.positions_used(sample(one_patch, 0)) == pytest.approx(1 / count)


def test_self_similarity_by_hand():
    """Rows at 0°, 0° and 90°: distances 0 and 1, columns with means 1/3, 1/3 and 2/3."""
    found = self_similarity({"relu4_1": torch.tensor([[1.0, 0], [2, 0], [0, 3]])})
    assert torch.allclose(found, torch.tensor([[0, 0, 1.5], [0, 0, 1.5], [3, 3, 0]]), atol=1e-5)


def test_high_band():
    x = np.arange(64)
    low, high = (np.uint8(127.5 + 100 * np.sin(2 * np.pi * f * x)) for f in (0.1, 0.4))
    low, high = (np.repeat(np.tile(wave, (64, 1))[..., None], 3, 2) for wave in (low, high))
    assert high_band_energy(high) > 1000 * high_band_energy(low)
    assert high_band_energy(np.full((64, 64, 3), 90, np.uint8)) == pytest.approx(0, abs=1e-20)
    # Mean square of the windowed wave: (100/255)² / 2 times the Hann window's mean square, (3/8)².
    assert high_band_energy(high) == pytest.approx((100 / 255) ** 2 / 2 * (3 / 8) ** 2, rel=0.05)
