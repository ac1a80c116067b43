"""AdaIN: recorded parity first, then its formula by hand."""

import pytest
import torch

from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.models import find_model
from quantart_cli.color import match_color
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaIN, AdaINSettings
from quantart_cli.nets.vgg import VGG19
from tests.conftest import EXACT, PERSONS_CACHE
from tests.exact import encode, paint

METHOD = AdaIN()


def stylize(backend, content, *styles, weights=None, alpha=1.0):
    settings = AdaINSettings(alpha)
    return paint(backend, METHOD, content, encode(backend, METHOD, settings, *styles, weights=weights), settings)


@pytest.mark.parametrize(
    ("recorded", "weights", "alpha"),
    [("alpha1.0", [1.0], 1.0), ("alpha0.5", [1.0], 0.5), ("interpolate_0.3_0.7", [0.3, 0.7], 1.0)],
)
def test_parity_with_the_reference(backend, parity, recorded, weights, alpha):
    styles = [parity["style_1"], parity["style_2"]][: len(weights)]
    image = stylize(backend, parity["content"], *styles, weights=weights, alpha=alpha)
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
    backend = TorchBackend(EXACT, files)
    image = stylize(backend, parity["content"], parity["style_1"], parity["style_2"], weights=[0.3, 0.7])
    assert (image - parity["interpolate_0.3_0.7"]).abs().max() < 1e-4
    assert (backend.network("vgg", VGG19)(parity["content"])["relu4_1"] - parity["relu4_1_content"]).abs().max() < 1e-4


@torch.inference_mode()
def test_match_color_is_the_reference_coral_up_to_its_count(backend, parity):
    content, style = (parity[name][0].permute(1, 2, 0).numpy() for name in ("content", "style_1"))
    recoloured = match_color(style, content)
    # The reference leaves out the division by the number of pixels: its contrast is off by the root of their ratio.
    mean = content.reshape(-1, 3).mean(0)
    ratio = (content.shape[0] * content.shape[1] / (style.shape[0] * style.shape[1])) ** 0.5
    as_reference = torch.from_numpy((recoloured - mean) * ratio + mean).permute(2, 0, 1)[None].float()
    image = stylize(backend, parity["content"], as_reference)
    assert (image - parity["preserve_color_coral"]).abs().max() < 1e-2


@torch.inference_mode()
def test_the_formula_by_hand(backend, vgg, decoder, parity):
    f_c, f_s = (vgg(parity[name])["relu4_1"] for name in ("content", "style_1"))

    def moments(z):
        rows = z.flatten(2)
        return rows.mean(2)[..., None, None], (rows.var(2) + 1e-5).sqrt()[..., None, None]

    (mean_c, std_c), (mean_s, std_s) = moments(f_c), moments(f_s)
    t = (f_c - mean_c) / std_c * std_s + mean_s
    expected = decoder(0.4 * f_c + 0.6 * t)
    found = stylize(backend, parity["content"], parity["style_1"], alpha=0.6)
    assert (found - expected).abs().max() < 1e-5


@torch.inference_mode()
def test_alpha_zero_is_the_reconstruction(backend, vgg, decoder, parity):
    found = stylize(backend, parity["content"], parity["style_1"], alpha=0.0)
    assert torch.equal(found, decoder(vgg(parity["content"])["relu4_1"]))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (15, 16), (33, 31), (64, 70)])
def test_any_size_keeps_its_size(backend, size):
    torch.manual_seed(0)
    image = stylize(backend, torch.rand(1, 3, *size), torch.rand(1, 3, 5, 3))
    assert image.shape == (1, 3, *size)
    assert image.isfinite().all()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan"), float("inf"), "x", True])
def test_settings_refuse_what_is_out_of_range(alpha):
    with pytest.raises(QuantArtError, match="alpha must"):
        AdaINSettings(alpha=alpha)
