"""Losses of known value, by hand; gradients by finite differences; tiles that add up."""

import math

import pytest
import torch

from quantart_cli.methods.gatys_settings import STYLE_LOSSES as NAMES
from quantart_cli.methods.objective import total_variation, weights_at
from quantart_cli.methods.style_losses import (
    STYLE_LOSSES,
    Gaussian,
    PositionWeights,
    RelaxedTransport,
    first_moment,
    second_moment,
)
from quantart_cli.tiling import Tile


def everywhere(z):
    return PositionWeights(torch.full((1, 1, *z.shape[2:]), 1 / (z.shape[2] * z.shape[3]), dtype=torch.float64))


def rows_of(z):
    return z[0].flatten(1).T  # (positions, channels)


def statistic(loss, z):
    guide = everywhere(z)
    return loss.statistic(z, guide.drawn(40, torch.Generator().manual_seed(0)) if loss.sample else guide)


def distance(name, x, y):
    loss = STYLE_LOSSES[name]()
    return loss.distance(statistic(loss, x), loss.prepare(statistic(loss, y)))


@pytest.fixture
def pictures():
    torch.manual_seed(0)
    return torch.rand(1, 5, 6, 8, dtype=torch.float64), 0.3 + torch.rand(1, 5, 7, 4, dtype=torch.float64)


def test_the_names_are_those_of_the_settings():
    assert tuple(STYLE_LOSSES) == NAMES


def test_gram_of_a_known_tensor():
    z = torch.tensor([[1.0, 2.0], [0.0, 3.0]])[None, :, None, :]  # two channels, two positions
    assert torch.equal(second_moment(z, torch.full((1, 1, 1, 2), 0.5)), torch.tensor([[2.5, 3.0], [3.0, 4.5]]))
    assert torch.equal(first_moment(z, torch.full((1, 1, 1, 2), 0.5)), torch.tensor([1.5, 1.5]))


def test_moments_count_weighted_positions_only():
    z = torch.randn(1, 5, 4, 6)
    weights = torch.zeros(1, 1, 4, 6)
    weights[..., :2] = 1 / 8
    assert torch.allclose(
        second_moment(z, weights), z[..., :2].flatten(2)[0] @ z[..., :2].flatten(2)[0].T / 8, atol=1e-6
    )


def test_half_precision_is_summed_exactly():
    z = torch.rand(1, 3, 300, 300).bfloat16()
    weights = torch.full((1, 1, 300, 300), 1 / 90000)
    wanted = second_moment(z.double(), weights.double())
    assert torch.allclose(second_moment(z, weights).double(), wanted, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_of_equal_pictures_it_is_zero_and_of_others_it_is_not(name, pictures):
    x, y = pictures
    assert distance(name, x, x).item() == pytest.approx(0, abs=1e-12)
    assert distance(name, x, y) > 1e-3


def kernel_mmd(x, y, kernel):
    """Of all pairs of rows, biased: with the pairs of a row and itself."""
    return kernel(x @ x.T).mean() + kernel(y @ y.T).mean() - 2 * kernel(x @ y.T).mean()


def test_gram_is_the_mmd_of_the_squared_kernel(pictures):
    x, y = pictures
    wanted = kernel_mmd(rows_of(x), rows_of(y), torch.square) / 25  # a mean over the 5 × 5 products
    assert distance("gram", x, y).item() == pytest.approx(wanted.item(), rel=1e-9)


def test_the_others_are_the_mmds_of_their_kernels(pictures):
    x, y = pictures
    wanted = kernel_mmd(rows_of(x), rows_of(y), lambda products: (products / 5 + 1) ** 2)
    assert distance("poly", x, y).item() == pytest.approx(wanted.item(), rel=1e-9)
    wanted = kernel_mmd(rows_of(x), rows_of(y), lambda products: products) / 5
    assert distance("linear", x, y).item() == pytest.approx(wanted.item(), rel=1e-9)


def test_gaussian_mmd_by_hand():
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([[0.0], [2.0]], dtype=torch.float64)  # |y - y'|² = 4: the kernel is exp(-d² / 8)
    loss = Gaussian()
    # Pairs of different numbers alone: x 0-1, y 0-2, and across 0-2 and 1-0.
    wanted = math.exp(-1 / 8) + math.exp(-4 / 8) - (math.exp(-4 / 8) + math.exp(-1 / 8))
    assert loss.distance(x, loss.prepare(y)).item() == pytest.approx(wanted, abs=1e-12)
    z = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    wanted = math.exp(-16 / 8) + math.exp(-4 / 8) - (math.exp(-4 / 8) + math.exp(-16 / 8))
    assert loss.distance(z, loss.prepare(y)).item() == pytest.approx(wanted, abs=1e-12)
    w = torch.tensor([[5.0], [6.0]], dtype=torch.float64)
    wanted = math.exp(-1 / 8) + math.exp(-4 / 8) - (math.exp(-9 / 8) + math.exp(-36 / 8))
    assert loss.distance(w, loss.prepare(y)).item() == pytest.approx(wanted, abs=1e-12)


def test_relaxed_transport_by_a_loop():
    torch.manual_seed(2)
    x, y = torch.rand(7, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64)
    costs = [[1 - torch.cosine_similarity(a, b, dim=0).item() for b in y] for a in x]
    there = sum(min(row) for row in costs) / 7
    back = sum(min(row[j] for row in costs) for j in range(5)) / 5
    moments = sum(abs(x[:, i].mean() - y[:, i].mean()) for i in range(4)) / 4
    for i in range(4):
        for j in range(4):
            one, other = (((z[:, i] - z[:, i].mean()) * (z[:, j] - z[:, j].mean())).mean() for z in (x, y))
            moments += abs(one - other) / 16
    loss = RelaxedTransport()
    assert loss.distance(x, loss.prepare(y)).item() == pytest.approx(max(there, back) + moments.item(), rel=1e-9)


def test_batch_norm_by_hand():
    x = torch.tensor([0.0, 2.0], dtype=torch.float64).view(1, 1, 1, 2)  # mean 1, deviation 1
    y = torch.tensor([1.0, 7.0], dtype=torch.float64).view(1, 1, 1, 2)  # mean 4, deviation 3
    assert distance("bn", x, y).item() == pytest.approx(9 + 4, rel=1e-5)


def test_wasserstein_by_hand():
    # Two independent channels: mean 0 and deviations 1 and 2 against mean (3, 0) and deviations 2 and 1.
    corners = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]], dtype=torch.float64)
    x = (corners * torch.tensor([[1.0], [2]])).view(1, 2, 2, 2)
    y = (corners * torch.tensor([[2.0], [1]]) + torch.tensor([[3.0], [0]])).view(1, 2, 2, 2)
    assert distance("wasserstein", x, y).item() == pytest.approx((9 + 1 + 1) / 2, rel=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_finite_differences(name, pictures):
    x, y = (z[:, :3, :4, :4].contiguous() for z in pictures)
    loss = STYLE_LOSSES[name]()
    target = loss.prepare(statistic(loss, y))
    assert torch.autograd.gradcheck(lambda z: loss.distance(statistic(loss, z), target), x.requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_tiles_add_up(name, pictures):
    z, loss = pictures[0], STYLE_LOSSES[name]()
    guide = everywhere(z)
    guide = guide.drawn(30, torch.Generator().manual_seed(1)) if loss.sample else guide
    tiles = [Tile(0, 0, 6, 3), Tile(0, 3, 4, 8), Tile(4, 3, 6, 8)]
    parts = [loss.statistic(z[:, :, w.top : w.bottom, w.left : w.right], guide.at(w)) for w in tiles]
    assert torch.allclose(sum(parts), loss.statistic(z, guide), atol=1e-12)


def test_samples_are_drawn_where_the_weights_are():
    weights = torch.zeros(1, 1, 3, 4)
    weights[0, 0, 1, 2], weights[0, 0, 2, 3] = 0.25, 0.75
    guide = PositionWeights(weights).drawn(4000, torch.Generator().manual_seed(0))
    places = (guide.rows * 4 + guide.columns).bincount(minlength=12) / 4000
    assert places[6] == pytest.approx(0.25, abs=0.03)
    assert places[11] == pytest.approx(0.75, abs=0.03)


def test_blends_are_mixtures(pictures):
    x, y = (z[:, :, :4, :4] for z in pictures)
    together = torch.cat([x, y], 3)
    for name in ("gram", "bn", "wasserstein"):
        loss = STYLE_LOSSES[name]()
        blended = loss.blend([statistic(loss, x), statistic(loss, y)], [0.5, 0.5])
        assert torch.allclose(blended, statistic(loss, together), atol=1e-12)
    rows = Gaussian().blend([torch.zeros(8, 2), torch.ones(8, 2)], [0.25, 0.75])
    assert rows[:, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_total_variation_of_a_checkerboard_is_two():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    assert total_variation(board.float().expand(1, 3, 8, 8)) == 2
    assert total_variation(torch.full((1, 3, 8, 8), 0.4)) == 0
    image = torch.rand(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(total_variation, image)


def test_weights_of_a_layer():
    image = torch.zeros(1, 3, 64, 48)
    even = weights_at(None, image, "relu3_1")
    assert even.shape == (1, 1, 16, 12)
    assert torch.allclose(even, torch.full_like(even, 1 / 192))
    visible = torch.zeros(1, 1, 64, 48)
    visible[..., :24] = 1
    weights = weights_at(visible, image, "relu3_1")
    assert weights[..., 6:].sum() == 0
    assert torch.allclose(weights[..., :6], torch.full((), 1 / 96))
    assert torch.equal(weights_at(torch.zeros(1, 1, 64, 48), image, "relu3_1"), even)
