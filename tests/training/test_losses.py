"""Losses by hand."""

import pytest
import torch

from quantart_cli.training.losses import (
    gram,
    gram_loss,
    grid_loss,
    hinge_discriminator,
    hinge_generator,
    moments,
    perceptual_loss,
    relaxed_emd,
    self_similarity,
    style_loss,
    texture_loss,
)


def test_moments_and_their_gradient_are_those_of_torch():
    z = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
    found = []
    for of in (moments, lambda x: (x.mean((2, 3), True), (x.var((2, 3), keepdim=True) + 1e-5).sqrt())):
        x = z.clone().requires_grad_()
        mean, std = of(x)
        (mean.square().sum() + std.pow(3).sum()).backward()
        found.append((mean, std, x.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_moments_of_bf16_are_summed_in_float32():
    z = torch.full((1, 1, 64, 64), 100.0, dtype=torch.bfloat16)
    z[..., :32] += 1
    mean, std = moments(z)
    assert mean.item() == pytest.approx(100.5, abs=1e-3)
    assert std.item() == pytest.approx(0.5, rel=1e-3)


def test_style_loss_by_hand():
    wanted = {"a": moments(torch.zeros(1, 1, 2, 2))}
    painted = {"a": torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]])}  # mean 2, variance 4/3
    assert style_loss(painted, wanted).item() == pytest.approx(4 + 4 / 3, rel=0.01)  # the epsilon is in both
    assert style_loss({"a": torch.zeros(1, 1, 2, 2)}, wanted).item() == 0


def test_gram_of_opposite_channels():
    z = torch.tensor([[[[1.0, -1.0]], [[-1.0, 1.0]]]])
    assert gram(z)[0].tolist() == [[1, -1], [-1, 1]]
    same = {"a": gram(z.abs())}
    # Off the diagonal by 2 twice, of entries that are all 1: (4 + 4) / 4.
    assert gram_loss({"a": z}, same).item() == pytest.approx(2)
    assert gram_loss({"a": z}, {"a": gram(-z)}).item() == 0


def test_perceptual_loss_is_a_sum_over_layers():
    zeros, ones = ({"a": torch.full((1, 2, 3, 3), x), "b": torch.full((1, 1, 2, 2), 3 * x)} for x in (0.0, 1.0))
    assert perceptual_loss(ones, zeros, ["a", "b"]).item() == 4
    assert perceptual_loss(ones, zeros, ["b"]).item() == 3


def test_texture_loss_by_hand():
    one = torch.tensor([1.0, 1, 3, 3]).expand(1, 1, 2, 4)  # windows of 2: means 1, 2, 3, deviations 0, 1, 0
    other = torch.tensor([[1.0, 3, 1, 3], [3, 1, 3, 1]]).view(1, 1, 2, 4)  # 2, 2, 2 and 1, 1, 1
    found = texture_loss({"a": one}, {"a": other}, {"a": 2})
    assert found.item() == pytest.approx(2 / 3 + 2 * (1.01**0.5 - 0.1) / 3)
    assert texture_loss({"a": one, "b": one}, {"a": other, "b": other}, {"a": 2, "b": 2}).item() == 2 * found.item()


def test_texture_loss_takes_texture_for_itself_wherever_it_falls_in_a_window():
    stripes = torch.tensor([0.0, 1]).repeat(16).expand(1, 3, 32, 32)
    shifted, blurred = stripes.roll(1, 3), torch.full_like(stripes, 0.5)
    windows = {"a": 8}
    assert texture_loss({"a": shifted}, {"a": stripes}, windows).item() < 1e-6
    assert texture_loss({"a": blurred}, {"a": stripes}, windows).item() > 0.3
    assert perceptual_loss({"a": shifted}, {"a": stripes}, ["a"]) > perceptual_loss(
        {"a": blurred}, {"a": stripes}, ["a"]
    )


def test_hinge_by_hand():
    real, fake = [torch.tensor([2.0, 0.0]), torch.tensor([0.5])], [torch.tensor([-3.0, 1.0]), torch.tensor([0.0])]
    # Head 1: (0 + 1) / 2 + (0 + 2) / 2; head 2: 0.5 + 1.
    assert hinge_discriminator(real, fake).item() == pytest.approx((1.5 + 1.5) / 2)
    assert hinge_generator(fake).item() == pytest.approx((1 + 0) / 2)


def test_relaxed_emd_by_hand():
    a = torch.tensor([[1.0, 0], [0, 1]]).view(1, 2, 1, 2)  # two positions, at right angles
    assert relaxed_emd(a, a, 8).item() == pytest.approx(0, abs=1e-6)
    same = torch.tensor([[1.0, 1], [0, 0]]).view(1, 2, 1, 2)  # both like the first
    # One of the two finds nothing near: the mean of 0 and 1.
    assert relaxed_emd(a, same, 8).item() == pytest.approx(0.5)


def test_self_similarity_ignores_what_all_positions_share():
    torch.manual_seed(0)
    a = torch.rand(2, 8, 6, 6)
    mixed = torch.linalg.qr(torch.randn(8, 8))[0]
    turned = torch.einsum("ij,bjhw->bihw", mixed, a)  # other features with the same angles
    assert self_similarity(a, a, 16).item() == pytest.approx(0, abs=1e-6)
    assert self_similarity(turned, a, 16).item() == pytest.approx(0, abs=1e-4)
    assert self_similarity(a.flip(3), a, 16).item() > 0.1


def test_grid_loss_is_of_patterns_with_that_period():
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, 3, 128, 128, generator=generator)
    pattern = 0.1 * torch.randn(1, 3, 8, 8, generator=generator).repeat(1, 1, 16, 16)
    assert grid_loss(torch.zeros(1, 3, 64, 64)).item() == 0
    assert grid_loss(noise).item() < 0.05  # about 2 of 196 blocks, by chance
    assert grid_loss(pattern).item() > 1
    other = 0.1 * torch.randn(1, 3, 7, 7, generator=generator).repeat(1, 1, 19, 19)[..., :128, :128]
    assert grid_loss(other).item() < 0.2
    detailed = noise.clone()
    detailed.unflatten(3, (16, 8))[..., 0] *= 4  # no pattern, but more detail in every eighth column
    assert 10 * grid_loss(noise).item() < grid_loss(detailed).item()
