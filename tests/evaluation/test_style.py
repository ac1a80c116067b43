"""Style distances by hand."""

import pytest
import torch

from quantart_cli.evaluation.style import LAYERS, Look


def look(values):
    """Of one layer of two channels and two positions."""
    return Look.of(lambda image, layers: {"relu1_1": torch.tensor(values).view(1, 2, 1, 2)}, torch.zeros(1))


def test_by_hand():
    one, other = look([1.0, 3, 0, 0]), look([1.0, 3, 2, 2])
    # Gram / 2: [[5, 0], [0, 0]] and [[5, 4], [4, 4]]; mean of squared differences 48 / 4.
    assert one.gram_distance(other).item() == pytest.approx(12)
    # Means (2, 0) and (2, 2), deviations alike: 4 / 2.
    assert one.moment_distance(other).item() == pytest.approx(2)


def test_of_pictures(vgg):
    torch.manual_seed(0)
    one, other = (Look.of(vgg, torch.rand(1, 3, 40, 32)) for _ in range(2))
    assert [gram.shape[1] for gram in one.grams] == [64, 128, 256, 512]
    assert len(one.means) == len(LAYERS)
    assert one.gram_distance(one).item() == one.moment_distance(one).item() == 0
    brighter = Look.of(vgg, torch.ones(1, 3, 40, 32))
    assert brighter.gram_distance(one) > one.gram_distance(other)
    assert brighter.moment_distance(one) > one.moment_distance(other)
