"""What the Inception of FID is given, and that it can be loaded."""

import numpy as np
import pytest
import torch

from quantart_cli.checkpoints import cache
from quantart_cli.evaluation.inception import FEATURES, NAME, Inception
from tests.conftest import PERSONS_CACHE, scene


@pytest.mark.parametrize("size", [64, 299, 700])
def test_pictures_are_given_as_it_was_trained(size):
    given = []

    def network(image):
        given.append(image)
        return torch.zeros(1, FEATURES)

    rgb = np.zeros((size, size, 3), np.uint8)
    rgb[..., 1], rgb[..., 2] = 128, 255
    assert Inception(network)(rgb).shape == (FEATURES,)
    (image,) = given
    assert image.shape == (1, 3, 299, 299)
    assert torch.allclose(image.mean((0, 2, 3)), torch.tensor([-1, 0, 127 / 128]), atol=1e-5)


def test_reducing_does_not_alias():
    """A checkerboard of single pixels, halved, is grey."""
    given = []
    rgb = np.zeros((598, 598, 3), np.uint8)
    rgb[::2, ::2] = rgb[1::2, 1::2] = 255
    Inception(lambda image: given.append(image) or torch.zeros(1, FEATURES))(rgb)
    assert given[0].abs().max() < 0.3


def test_the_network_itself(monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", PERSONS_CACHE)
    if cache.find(NAME) is None:
        pytest.skip(f"quantart download-weights {NAME} was not run")
    network = Inception.load("cpu")
    one, other = network(scene(96, 96, 1)), network(scene(96, 96, 2))
    assert one.shape == (FEATURES,)
    assert np.isfinite(one).all()
    assert one.min() >= 0  # means of what a ReLU gives
    assert np.linalg.norm(one - other) > 1
