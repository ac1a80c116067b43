"""Group normalization with and without SiLU: exact in either layout."""

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets.norm import GroupNorm


@pytest.fixture
def norm():
    torch.manual_seed(0)
    made = GroupNorm(64).requires_grad_(False)
    made.weight.copy_(torch.randn(64))
    made.bias.copy_(torch.randn(64))
    return made


def expected(norm, x, silu):
    weight, bias = norm.weight.double(), norm.bias.double()
    y = F.group_norm(x.double(), norm.num_groups, weight, bias, 1e-6)
    return F.silu(y) if silu else y


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("silu", [False, True])
def test_close_to_double_precision_far_from_zero(norm, layout, silu):
    # A mean of ten deviations: where E[x²] - E[x]² in float32 would show.
    x = (torch.randn(2, 64, 70, 61) + 10).to(memory_format=layout)
    with torch.inference_mode():
        found = norm(x, silu=silu)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found.double(), expected(norm, x, silu), atol=1e-5, rtol=0)


def test_overwrites_only_when_asked(norm):
    x = torch.randn(1, 64, 8, 8).to(memory_format=torch.channels_last)
    before = x.clone()
    with torch.inference_mode():
        found = norm(x, silu=True)
        assert torch.equal(x, before)
        again = norm(x, silu=True, overwrite=True)
    assert again.data_ptr() == x.data_ptr()
    assert torch.equal(again, found)


def test_gradients_are_those_of_torch(norm):
    x = torch.randn(1, 64, 5, 4).to(memory_format=torch.channels_last).requires_grad_()
    norm(x, silu=True, overwrite=True).sum().backward()
    other = x.detach().clone().requires_grad_()
    F.silu(F.group_norm(other, 32, norm.weight, norm.bias, 1e-6)).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_fewer_than_32_channels_are_one_group():
    assert GroupNorm(16).num_groups == 1
    assert GroupNorm(32).num_groups == 32
