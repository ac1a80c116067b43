"""The encoder against recorded reference numbers, and against the reference's own layout."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantart_cli.checkpoints.layouts import vgg19_from_published
from quantart_cli.nets.vgg import LAYERS, VGG19


def published_layout() -> nn.Sequential:
    """The published Sequential, layer by layer, as CHECKPOINTS of the AdaIN release lay it out."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    width = 3
    for block, (count, channels) in enumerate(((2, 64), (2, 128), (4, 256), (4, 512), (1, 512))):
        if block:
            layers.append(nn.MaxPool2d(2, 2, 0, ceil_mode=True))
        for _ in range(count):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(width, channels, 3), nn.ReLU()]
            width = channels
    return nn.Sequential(*layers)


def test_relu4_1_equals_the_recorded_reference(vgg, parity):
    found = vgg(parity["content"])["relu4_1"]
    # The recorded numbers are of float32 weights, the embedded ones are halved; activations reach 32.
    assert found.shape == parity["relu4_1_content"].shape
    assert (found - parity["relu4_1_content"]).abs().max() < 0.02


def test_every_layer_equals_the_published_layout_with_the_same_weights():
    torch.manual_seed(0)
    reference = published_layout()
    with torch.no_grad():
        reference[0].weight.copy_(torch.tensor([[0, 0, 255.0], [0, 255, 0], [255, 0, 0]])[:, :, None, None])
        reference[0].bias.copy_(torch.tensor([-103.939, -116.779, -123.68]))
    network = VGG19()
    network.load_state_dict(vgg19_from_published(reference.state_dict()))
    image = torch.rand(1, 3, 37, 50)
    found = network(image, LAYERS)
    x, expected = image, []
    for layer in reference:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            expected.append(x)
    assert list(found) == list(LAYERS)
    for name, wanted in zip(LAYERS, expected, strict=True):
        assert torch.allclose(found[name], wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item()), name


def test_goes_no_deeper_than_asked(vgg, monkeypatch):
    called = []
    hooks = [module.register_forward_hook(lambda *_: called.append(1)) for module in vgg.children()]
    vgg(torch.rand(1, 3, 32, 32), ["relu2_1", "relu1_1"])
    for hook in hooks:
        hook.remove()
    assert len(called) == 3


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (64, 23)])
def test_sizes_round_up(vgg, size):
    z = vgg(torch.rand(1, 3, *size))["relu4_1"]
    assert z.shape == (1, 512, -(-size[0] // 8), -(-size[1] // 8))


def test_average_pooling_can_be_chosen():
    torch.manual_seed(0)
    network = VGG19()
    image = torch.rand(1, 3, 20, 20)
    found = network(image, ["relu1_2", "relu2_1"], "average")
    pooled = F.avg_pool2d(found["relu1_2"], 2)
    expected = F.relu(network.conv2_1(F.pad(pooled, (1, 1, 1, 1), mode="reflect")))
    assert torch.allclose(found["relu2_1"], expected)


@pytest.mark.parametrize("size", [(20, 20), (17, 9)])
def test_gradients_of_max_pooling_are_torchs(vgg, size):
    image = torch.rand(1, 3, *size)
    x = image.clone().requires_grad_()
    found = vgg(x, ["relu1_2", "relu2_1"])
    (gradient,) = torch.autograd.grad(found["relu2_1"].square().sum(), x)
    y = image.clone().requires_grad_()
    pooled = F.max_pool2d(vgg(y, ["relu1_2"])["relu1_2"], 2, 2, ceil_mode=True)
    expected = F.relu(vgg.conv2_1(F.pad(pooled, (1, 1, 1, 1), mode="reflect")))
    assert torch.equal(found["relu2_1"], expected)
    (wanted,) = torch.autograd.grad(expected.square().sum(), y)
    assert torch.allclose(gradient, wanted)


def test_places_of_maxima_are_not_kept(vgg):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.dtype) or t, lambda t: t):
        vgg(torch.rand(1, 3, 16, 16, requires_grad=True))
    assert torch.int64 not in kept
