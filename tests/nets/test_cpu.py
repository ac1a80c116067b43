"""Convolution and ReLU in one step are those in two, and networks band by band compute what they do at once."""

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets import cpu
from quantart_cli.nets.cpu import bands, convolution, reflected


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


@pytest.mark.parametrize("rows", [(True, True), (True, False), (False, True), (False, False)])
@torch.inference_mode()
def test_enlarged_and_reflected(rows):
    x = torch.rand(2, 3, 4, 1).contiguous(memory_format=torch.channels_last)
    expected = F.pad(F.interpolate(x, scale_factor=2), (1, 1, *map(int, rows)), mode="reflect")
    found = reflected(x, rows, enlarge=True)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_bands_cover_all_rows_and_are_for_inference(monkeypatch):
    monkeypatch.setattr(cpu, "_BAND", 40)
    x = torch.empty(1, 1, 7, 5)
    assert bands(x, 4) == [(0, 7)]  # gradients are recorded
    with torch.inference_mode():
        assert bands(x, 4) == [(0, 2), (2, 4), (4, 7)]
        assert bands(x, 1) == [(0, 7)]


@pytest.mark.parametrize("size", [(16, 17), (37, 50), (64, 40)])
@torch.inference_mode()
def test_band_by_band(monkeypatch, vgg, decoder, painter, size):
    image = torch.rand(1, 3, *size)

    def computed():
        maps = vgg(image, ["relu2_1", "relu4_1"])
        z = maps["relu4_1"]
        h, w = z.shape[2:]
        patches = torch.ones(1, 256, 2 * h, 2 * w), torch.ones(1, 128, 4 * h, 4 * w)
        pooled = vgg(image, ["relu2_1"], "average")["relu2_1"]
        return maps["relu2_1"], pooled, decoder(z), painter.decoder(z, *patches)

    whole = computed()
    for pixels in (1, 300):
        monkeypatch.setattr(cpu, "_BAND", pixels)
        for found, expected in zip(computed(), whole, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
