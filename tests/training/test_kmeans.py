"""Principal components and k-means on data whose answer is known."""

import numpy as np
import pytest
import torch

from quantart_cli.training import kmeans
from quantart_cli.training.kmeans import Components, lloyd, plus_plus, principal_components


def quiet(*_):
    pass


def plain(width: int) -> Components:
    return Components(torch.ones(width), torch.zeros(width), torch.eye(width), 1.0, 1.0)


def test_components_find_the_plane_data_lies_in():
    random = np.random.default_rng(0)
    plane = np.linalg.qr(random.normal(size=(10, 2)))[0].T
    points = random.normal(size=(4000, 2)) * (3, 1) @ plane + 5
    found = principal_components(
        (points + random.normal(size=points.shape) * 1e-3).astype(np.float16), torch.ones(10), 2
    )
    assert found.explained > 0.999
    assert found.variance == pytest.approx(10, rel=0.1)
    assert torch.allclose(found.basis @ found.basis.T, torch.eye(2), atol=1e-5)
    assert torch.allclose(found.mean, torch.full((10,), 5.0) + found.mean - 5, atol=1e-6)
    residual = torch.from_numpy(plane).float() @ found.basis.T
    assert residual.norm() == pytest.approx(2**0.5, rel=1e-3)


def test_batches_do_not_change_the_components(monkeypatch):
    features = np.random.default_rng(1).normal(size=(1000, 6)).astype(np.float16)
    whole = principal_components(features, torch.ones(6), 3)
    monkeypatch.setattr(kmeans, "_BATCH", 64)
    pieces = principal_components(features, torch.ones(6), 3)
    assert pieces.explained == pytest.approx(whole.explained, rel=1e-5)
    assert torch.allclose(pieces.mean, whole.mean, atol=1e-5)


def test_plus_plus_draws_one_centre_from_each_far_cluster():
    corners = torch.eye(8) * 100
    rows = corners.repeat_interleave(20, 0) + torch.randn(160, 8, generator=torch.Generator().manual_seed(0))
    centres = plus_plus(rows, 8, torch.Generator().manual_seed(1), quiet)
    nearest = torch.cdist(centres, corners).argmin(1)
    assert sorted(nearest.tolist()) == list(range(8))


def test_lloyd_never_raises_the_residual_and_counts_use(monkeypatch):
    monkeypatch.setattr(kmeans, "_BATCH", 100)
    features = np.random.default_rng(2).normal(size=(1000, 4)).astype(np.float16)
    centres = torch.from_numpy(features[:10].astype(np.float32))
    residuals = []
    for _ in range(6):
        found = lloyd(features, plain(4), centres, quiet)
        residuals.append(found.residual)
        centres = found.centres
    assert residuals == sorted(residuals, reverse=True)
    assert found.used == 10
    by_hand = torch.cdist(torch.from_numpy(features.astype(np.float32)), centres).min(1).values.square().mean()
    assert lloyd(features, plain(4), centres, quiet).residual == pytest.approx(by_hand.item(), rel=1e-4)


def test_entropy_of_even_use_is_log_k():
    features = np.repeat(np.eye(4, dtype=np.float16) * 10, 25, 0)
    found = lloyd(features, plain(4), torch.eye(4) * 9, quiet)
    assert found.entropy == pytest.approx(np.log(4))
    assert torch.allclose(found.centres, torch.eye(4) * 10)


def test_dead_centres_restart_on_the_farthest_rows():
    features = np.array([[0, 0], [0, 1], [10, 0], [0, 20]], np.float16)
    centres = torch.tensor([[0.0, 0.0], [1000.0, 1000.0], [2000.0, 2000.0]])
    found = lloyd(features, plain(2), centres, quiet)
    assert found.used == 1
    assert found.centres[1].tolist() == [0, 20]
    assert found.centres[2].tolist() == [10, 0]


def test_weights_scale_channels_before_the_components():
    features = np.random.default_rng(4).normal(size=(3000, 3)).astype(np.float16)
    weight = torch.tensor([1.0, 5.0, 0.1])
    found = principal_components(features, weight, 1)
    assert found.basis[0].abs().argmax() == 1
    row = torch.from_numpy(features[:1].astype(np.float32))
    assert found.project(row).item() == pytest.approx(((row * weight - found.mean) @ found.basis[0]).item())
