"""Losses by hand."""

import pytest
import torch

from quantart_cli.training.losses import (
    gram,
    gram_loss,
    hinge_discriminator,
    hinge_generator,
    moments,
    perceptual_loss,
    style_loss,
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


def test_hinge_by_hand():
    real, fake = [torch.tensor([2.0, 0.0]), torch.tensor([0.5])], [torch.tensor([-3.0, 1.0]), torch.tensor([0.0])]
    # Head 1: (0 + 1) / 2 + (0 + 2) / 2; head 2: 0.5 + 1.
    assert hinge_discriminator(real, fake).item() == pytest.approx((1.5 + 1.5) / 2)
    assert hinge_generator(fake).item() == pytest.approx((1 + 0) / 2)
