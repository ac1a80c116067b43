"""Gatys: losses of known value, gradients by finite differences, an optimisation that descends, and Ctrl-C."""

import pytest
import torch

from quantart_cli.methods.controls import GatysControls
from quantart_cli.methods.gatys import STYLE_LAYERS, Gatys, Stopped, gram, total_variation, weighted_mean
from quantart_cli.nets.vgg import VGG19


@pytest.fixture(scope="module")
def method(vgg):
    # Its own network: Gatys pools by averages.
    own = VGG19()
    own.load_state_dict(vgg.state_dict())
    return Gatys(own.requires_grad_(False))


def test_gram_of_a_known_tensor():
    z = torch.tensor([[1.0, 2.0], [0.0, 3.0]])[None, :, None, :]  # two channels, two positions
    assert torch.equal(gram(z), torch.tensor([[2.5, 3.0], [3.0, 4.5]]))


def test_gram_counts_covered_positions_only():
    z = torch.randn(1, 5, 4, 6)
    coverage = torch.zeros(1, 1, 4, 6)
    coverage[..., :2] = 1
    assert torch.allclose(gram(z, coverage), gram(z[..., :2]), atol=1e-6)


def test_weighted_mean():
    values = torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]]])
    assert weighted_mean(values, None) == 4
    assert weighted_mean(values, torch.tensor([[[[1.0, 0.0]]]])) == 3


def test_total_variation_of_a_checkerboard_is_two():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    assert total_variation(board.float().expand(1, 3, 8, 8)) == 2
    assert total_variation(torch.full((1, 3, 8, 8), 0.4)) == 0


def test_gradient_by_finite_differences():
    torch.manual_seed(0)
    image = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (gram(x) - target).square().mean() + total_variation(x), image)


def test_it_descends_towards_the_style(method, parity):
    content, style = parity["content"][..., :64, :64], parity["style_1"][..., :64, :64]
    encoded = method.encode_style([(style, None)], [1.0])
    assert set(encoded) == set(STYLE_LAYERS)
    seen = []
    image = method.stylize(content, encoded, GatysControls(steps=8), progress=seen.append)
    assert image.shape == content.shape
    assert [record.step for record in seen] == list(range(1, 9))
    assert seen[-1].losses["style"] < 0.3 * seen[0].losses["style"]
    found = method.encode_style([(image.clamp(0, 1), None)], [1.0])
    before = method.encode_style([(content, None)], [1.0])

    def distance(grams):
        return sum((grams[layer] - encoded[layer]).square().mean() for layer in STYLE_LAYERS)

    assert distance(found) < 0.5 * distance(before)


@pytest.mark.parametrize("weight", [1e-2, 1e2, 1e6])
def test_it_stays_finite_and_descends_whatever_the_weights(method, parity, weight):
    content = parity["content"][..., :48, :48]
    encoded = method.encode_style([(parity["style_2"], None)], [1.0])
    totals = []
    controls = GatysControls(steps=10, style_weight=weight)
    image = method.stylize(content, encoded, controls, progress=lambda r: totals.append(sum(r.losses.values())))
    assert image.isfinite().all()
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < totals[0]


def test_an_overflow_is_told(method, parity):
    content = parity["content"][..., :32, :32]
    encoded = {layer: g * float("inf") for layer, g in method.encode_style([(content, None)], [1.0]).items()}
    assert method.stylize(content, encoded, GatysControls(steps=2)).isnan().all()


def test_interrupt_keeps_the_image_reached(method, parity):
    content = parity["content"][..., :40, :33]
    encoded = method.encode_style([(parity["style_1"][..., :40, :40], None)], [1.0])

    def interrupt(record):
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(Stopped) as stop:
        method.stylize(content, encoded, GatysControls(steps=50), progress=interrupt)
    assert stop.value.step == 3
    assert stop.value.image.shape == content.shape
    assert stop.value.image.isfinite().all()
    assert not torch.equal(stop.value.image, content)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 17)])
def test_small_pictures(method, size):
    torch.manual_seed(1)
    encoded = method.encode_style([(torch.rand(1, 3, 3, 4), None)], [1.0])
    image = method.stylize(torch.rand(1, 3, *size), encoded, GatysControls(steps=2))
    assert image.shape == (1, 3, *size)
    assert image.isfinite().all()
