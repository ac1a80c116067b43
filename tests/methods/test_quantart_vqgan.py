"""QuantArt on the authors' networks: the whole formula against recorded pictures, one end alone, and any picture."""

import pytest
import safetensors.torch
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.methods.quantart_vqgan import QuantArtVQGAN
from tests.conftest import DATA


@pytest.fixture(scope="module")
def recorded():
    return safetensors.torch.load_file(DATA / "quantart_tiny.safetensors")


@pytest.fixture(scope="module")
def method(tiny_ends):
    return QuantArtVQGAN(**tiny_ends)


def paint(method, content, styles, weights=None, **settings):
    with torch.inference_mode():
        encoded = method.encode_style(styles, weights or [1 / len(styles)] * len(styles))
        return method.stylize(content, encoded, QuantArtSettings(**settings))


@pytest.mark.parametrize("beta", [0.5, 1])
@pytest.mark.parametrize("alpha", [0, 0.3, 0.7, 1])
def test_the_eight_recorded_pictures(method, recorded, alpha, beta):
    image = paint(method, recorded["content"], [(recorded["style"], None)], fidelity=alpha, strength=beta)
    torch.testing.assert_close(image, recorded[f"image_alpha{alpha}_beta{beta}"], atol=1e-4, rtol=0)


def test_one_checkpoint_paints_its_own_end(tiny_ends, recorded):
    for end, alpha in (("quantized", 1), ("continuous", 0)):
        alone = QuantArtVQGAN(**{"quantized": None, "continuous": None, end: tiny_ends[end]})
        image = paint(alone, recorded["content"], [(recorded["style"], None)], fidelity=alpha)
        torch.testing.assert_close(image, recorded[f"image_alpha{alpha}_beta1"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("alpha", [0, 0.7])
def test_the_quantized_end_alone_refuses_the_rest_with_the_reason(tiny_ends, recorded, alpha):
    alone = QuantArtVQGAN(tiny_ends["quantized"], None)
    with pytest.raises(QuantArtError, match=r"quantized checkpoint alone.*needs the continuous one.*set fidelity to 1"):
        paint(alone, recorded["content"], [(recorded["style"], None)], fidelity=alpha)


@pytest.mark.parametrize("alpha", [1, 0.7])
def test_the_continuous_end_alone_refuses_the_rest_with_the_reason(tiny_ends, recorded, alpha):
    alone = QuantArtVQGAN(None, tiny_ends["continuous"])
    with pytest.raises(QuantArtError, match=r"continuous checkpoint alone.*needs the quantized one.*set fidelity to 0"):
        paint(alone, recorded["content"], [(recorded["style"], None)], fidelity=alpha)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (37, 50)])
def test_any_size_keeps_its_size(method, recorded, size):
    content = recorded["content"][:, :, : size[0], : min(size[1], 64)]
    content = torch.nn.functional.interpolate(content, size)
    image = paint(method, content, [(recorded["style"][:, :, :41, :19], None)])
    assert image.shape == content.shape
    assert image.isfinite().all()


def test_only_the_frame_is_touched_by_padding(method, recorded):
    """A picture of whole strides and the same picture one pixel short agree away from the border."""
    whole = paint(method, recorded["content"], [(recorded["style"], None)], fidelity=0)
    short = paint(method, recorded["content"][:, :, :-1, :-1], [(recorded["style"], None)], fidelity=0)
    difference = (whole[:, :, :-1, :-1] - short).abs()
    # Norms and attention see the whole picture, so a little of it reaches everywhere.
    assert difference[:, :, :40, :40].mean() < 0.15 * whole.std()


def test_equal_styles_count_as_one(method, recorded):
    style = (recorded["style"], None)
    once = paint(method, recorded["content"], [style], fidelity=0)
    twice = paint(method, recorded["content"], [style, style], [0.3, 0.7], fidelity=0)
    torch.testing.assert_close(once, twice, atol=1e-4, rtol=0)


def test_weights_of_styles_count(method, recorded):
    first, second = (recorded["style"], None), (recorded["content"].flip(3), None)
    content = recorded["content"]
    only_first = paint(method, content, [first], fidelity=0)
    torch.testing.assert_close(
        paint(method, content, [first, second], [1.0, 0.0], fidelity=0), only_first, atol=1e-4, rtol=0
    )
    assert (paint(method, content, [first, second], [0.5, 0.5], fidelity=0) - only_first).abs().max() > 1e-2


def test_what_is_transparent_in_a_style_is_not_looked_at(tiny_ends):
    network = tiny_ends["continuous"]
    torch.manual_seed(0)
    style = torch.rand(1, 3, 32, 32)
    half = torch.ones(1, 1, 32, 32)
    half[:, :, :, 16:] = 0
    latent = QuantArtVQGAN(None, network).encode_style([(style, half)], [1.0]).latents(network)[0]
    assert latent.shape == (1, 32, 1, 8 * 4)  # stride 4: 8 × 8 positions, half of them visible
    everything = QuantArtVQGAN(None, network).encode_style([(style, None)], [1.0]).latents(network)[0]
    assert torch.equal(latent.view(1, 32, 8, 4), everything[:, :, :, :4])
    hidden = QuantArtVQGAN(None, network).encode_style([(style, torch.zeros(1, 1, 32, 32))], [1.0])
    assert torch.equal(hidden.latents(network)[0], everything)


def test_an_end_nobody_asks_for_is_not_computed(tiny_ends, recorded, monkeypatch):
    def never(*_):
        raise AssertionError("the continuous network was asked")

    monkeypatch.setattr(tiny_ends["continuous"], "_encode", never)
    paint(QuantArtVQGAN(**tiny_ends), recorded["content"], [(recorded["style"], None)], fidelity=1)
