"""Convolution and ReLU in one step are those in two."""

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets import cpu
from quantart_cli.nets.cpu import convolution


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 3, 150, 60), (2, 16, 21, 40)])
def test_bit_for_bit(dtype, shape):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(shape[1], 24, 3).to(dtype).to(memory_format=torch.channels_last)
    x = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found, expected = convolution(layer, x), F.relu(layer(x))
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found, expected)
        assert expected.max() > 0 == expected.min()
        assert torch.equal(convolution(layer, x, relu=False), layer(x))


def test_gradients_go_through():
    layer, x = torch.nn.Conv2d(2, 4, 3), torch.randn(1, 2, 8, 8, requires_grad=True)
    convolution(layer, x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_without_the_fused_form(monkeypatch):
    monkeypatch.setattr(cpu, "_FUSED", None)
    layer, x = torch.nn.Conv2d(2, 4, 3), torch.randn(1, 2, 8, 8)
    with torch.inference_mode():
        assert torch.equal(convolution(layer, x), F.relu(layer(x)))
