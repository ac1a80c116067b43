"""Style distances by hand."""

import pytest
import torch

from quantart_cli.evaluation.style import LAYERS, StyleStatistics


def statistics(values):
    """Of one layer of two channels and two positions."""
    return StyleStatistics.of({"relu1_1": torch.tensor(values).view(1, 2, 1, 2)})


def test_by_hand():
    one, other = statistics([1.0, 3, 0, 0]), statistics([1.0, 3, 2, 2])
    # Gram / 2: [[5, 0], [0, 0]] and [[5, 4], [4, 4]]; mean of squared differences 48 / 4.
    assert one.gram_distance(other).item() == pytest.approx(12)
    # Means (2, 0) and (2, 2), equal deviations: 4 / 2.
    assert one.moment_distance(other).item() == pytest.approx(2)


def test_of_pictures(vgg):
    torch.manual_seed(0)
    one, other = (StyleStatistics.of(vgg(torch.rand(1, 3, 40, 32), LAYERS)) for _ in range(2))
    assert [gram.shape[1] for gram in one.grams] == [64, 128, 256, 512]
    assert len(one.means) == len(LAYERS)
    assert one.gram_distance(one).item() == one.moment_distance(one).item() == 0
    brighter = StyleStatistics.of(vgg(torch.ones(1, 3, 40, 32), LAYERS))
    assert brighter.gram_distance(one) > one.gram_distance(other)
    assert brighter.moment_distance(one) > one.moment_distance(other)
