"""Statistics with and without coverage, mirroring, and transparency."""

import pytest
import torch

from quantart_cli.methods.arithmetic import adaptive_instance_norm
from quantart_cli.methods.features import Statistics, coverage_of, extend


def test_full_coverage_counts_like_none():
    z = torch.randn(1, 6, 7, 9)
    plain, covered = Statistics.of(z), Statistics.of(z, torch.ones(1, 1, 7, 9))
    assert torch.allclose(plain.mean, covered.mean, atol=1e-6)
    assert torch.allclose(plain.std, covered.std, atol=1e-6)


def test_uncovered_positions_do_not_count():
    z = torch.randn(1, 6, 8, 8)
    coverage = torch.zeros(1, 1, 8, 8)
    coverage[..., :5] = 1
    z[..., 5:] = 1e4
    expected = Statistics.of(z[..., :5])
    found = Statistics.of(z, coverage)
    assert torch.allclose(found.mean, expected.mean, atol=1e-5)
    assert torch.allclose(found.std, expected.std, atol=1e-4)


def test_blend_interpolates_adain_exactly():
    z = torch.randn(1, 4, 6, 6)
    own = Statistics.of(z)
    one, two = Statistics.of(torch.randn(1, 4, 5, 5)), Statistics.of(3 * torch.randn(1, 4, 5, 5) + 2)
    blended = adaptive_instance_norm(z, own, Statistics.blend([one, two], [0.3, 0.7]))
    apart = 0.3 * adaptive_instance_norm(z, own, one) + 0.7 * adaptive_instance_norm(z, own, two)
    assert torch.allclose(blended, apart, atol=1e-5)


def test_extend_mirrors_and_keeps_large_pictures():
    row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert extend(row, 8)[0, 0, 0].tolist() == [1, 2, 3, 3, 2, 1, 1, 2]
    assert extend(row, 8).shape == (1, 1, 8, 8)
    large = torch.rand(1, 3, 20, 30)
    assert extend(large, 16) is large


@pytest.mark.parametrize("size", [(1, 1), (13, 70), (64, 64)])
def test_coverage_lies_on_the_features(size):
    coverage = torch.ones(1, 1, *size)
    z = torch.zeros(1, 2, max(2, -(-size[0] // 8)), max(2, -(-size[1] // 8)))
    assert coverage_of(coverage, z, 16).shape == (1, 1, *z.shape[2:])
    assert coverage_of(coverage, z, 16).eq(1).all()


def test_nothing_visible_counts_as_a_whole():
    assert coverage_of(torch.zeros(1, 1, 20, 20), torch.zeros(1, 2, 3, 3), 16) is None
