"""AdaIN: recorded parity first, then its formula by hand."""

import pytest
import torch

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.models import find_model
from quantart_cli.color import match_color
from quantart_cli.engine.build import build_network
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaIN
from quantart_cli.methods.controls import AdaINControls
from tests.conftest import EXACT, PERSONS_CACHE


@pytest.fixture(scope="module")
def method(vgg, decoder):
    return AdaIN(vgg, decoder)


@pytest.mark.parametrize(
    ("recorded", "weights", "alpha"),
    [("alpha1.0", [1.0], 1.0), ("alpha0.5", [1.0], 0.5), ("interpolate_0.3_0.7", [0.3, 0.7], 1.0)],
)
@torch.inference_mode()
def test_parity_with_the_reference(method, parity, recorded, weights, alpha):
    styles = [(parity["style_1"], None), (parity["style_2"], None)][: len(weights)]
    style = method.encode_style(styles, weights)
    image = method.stylize(parity["content"], style, AdaINControls(alpha=alpha))
    # Recorded with float32 weights; ours are halved. With float32 weights it is 8e-6.
    assert (image - parity[recorded]).abs().max() < 1e-2


@torch.inference_mode()
def test_parity_with_the_published_float32_weights(parity, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", PERSONS_CACHE)
    files = {}
    for part, name in (("vgg", "vgg19-normalised-fp32"), ("decoder", "adain-decoder-fp32")):
        if cache.find(name) is None:
            pytest.skip(f"quantart download-weights {name} was not run")
        files[part] = find_model(name, ("vgg19-normalised", "adain-decoder"))
    method = AdaIN(**{part: build_network(part, file, EXACT) for part, file in files.items()})
    style = method.encode_style([(parity["style_1"], None), (parity["style_2"], None)], [0.3, 0.7])
    image = method.stylize(parity["content"], style, AdaINControls())
    assert (image - parity["interpolate_0.3_0.7"]).abs().max() < 1e-4
    assert (method.vgg(parity["content"])["relu4_1"] - parity["relu4_1_content"]).abs().max() < 1e-4


@torch.inference_mode()
def test_match_color_is_the_reference_coral_up_to_its_count(method, parity):
    content, style = (parity[name][0].permute(1, 2, 0).numpy() for name in ("content", "style_1"))
    recoloured = match_color(style, content)
    # The reference leaves out the division by the number of pixels: its contrast is off by the root of their ratio.
    mean = content.reshape(-1, 3).mean(0)
    ratio = (content.shape[0] * content.shape[1] / (style.shape[0] * style.shape[1])) ** 0.5
    as_reference = torch.from_numpy((recoloured - mean) * ratio + mean).permute(2, 0, 1)[None].float()
    image = method.stylize(parity["content"], method.encode_style([(as_reference, None)], [1.0]), AdaINControls())
    assert (image - parity["preserve_color_coral"]).abs().max() < 1e-2


@torch.inference_mode()
def test_the_formula_by_hand(method, vgg, decoder, parity):
    f_c, f_s = (vgg(parity[name])["relu4_1"] for name in ("content", "style_1"))

    def moments(z):
        rows = z.flatten(2)
        return rows.mean(2)[..., None, None], (rows.var(2) + 1e-5).sqrt()[..., None, None]

    (mean_c, std_c), (mean_s, std_s) = moments(f_c), moments(f_s)
    t = (f_c - mean_c) / std_c * std_s + mean_s
    expected = decoder(0.4 * f_c + 0.6 * t)
    style = method.encode_style([(parity["style_1"], None)], [1.0])
    found = method.stylize(parity["content"], style, AdaINControls(alpha=0.6))
    assert (found - expected).abs().max() < 1e-5


@torch.inference_mode()
def test_alpha_zero_is_the_reconstruction(method, vgg, decoder, parity):
    style = method.encode_style([(parity["style_1"], None)], [1.0])
    found = method.stylize(parity["content"], style, AdaINControls(alpha=0.0))
    assert torch.equal(found, decoder(vgg(parity["content"])["relu4_1"]))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (15, 16), (33, 31), (64, 70)])
@torch.inference_mode()
def test_any_size_keeps_its_size(method, size):
    torch.manual_seed(0)
    style = method.encode_style([(torch.rand(1, 3, 5, 3), None)], [1.0])
    image = method.stylize(torch.rand(1, 3, *size), style, AdaINControls())
    assert image.shape == (1, 3, *size)
    assert image.isfinite().all()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan"), float("inf"), "x", True])
def test_controls_refuse_what_is_out_of_range(alpha):
    with pytest.raises(QuantArtError, match="alpha must"):
        AdaINControls(alpha=alpha)
