"""Painting with guides: AdaIN where they change nothing, the formula where they do, tiles, and several styles."""

import copy

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.engine.tiling import Tiles
from quantart_cli.methods.controls import QuantArtControls
from quantart_cli.methods.features import Features, Statistics, encode
from quantart_cli.methods.guided import GuidedStyle, style_of
from quantart_cli.methods.quantart import QuantArt
from quantart_cli.nets.autoencoder import GUIDED
from quantart_cli.nets.guide import StyleGuide
from tests.conftest import awake, scene

ENDS = [QuantArtControls(fidelity=0.0), QuantArtControls(), QuantArtControls(fidelity=1.0)]


def picture(width, height, seed=1):
    return torch.from_numpy(scene(width, height, seed)).permute(2, 0, 1)[None]


def with_guides(codebook, guides):
    book = copy.deepcopy(codebook)
    book.transfer = torch.nn.ModuleDict(guides)
    return book


@pytest.fixture(scope="module")
def plain(vgg, codebook, decoder):
    return QuantArt(vgg, codebook, decoder)


@pytest.fixture(scope="module")
def method(vgg, codebook, decoder):
    guides = {end: awake(StyleGuide(), number) for number, end in enumerate(GUIDED)}
    return QuantArt(vgg, with_guides(codebook, guides), decoder)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@torch.inference_mode()
def test_new_guides_change_nothing_whatever_the_tokens(plain, vgg, codebook, decoder, beta):
    new = QuantArt(vgg, with_guides(codebook, {end: StyleGuide() for end in GUIDED}), decoder)
    content, style = picture(150, 90), [(picture(120, 90, 7), None)]
    own, theirs = plain.encode_style(style, [1.0]), new.encode_style(style, [1.0])
    other = GuidedStyle(theirs.mean, theirs.std, torch.randn(1, 3, 512), torch.zeros(1, 3))
    for alpha in (0.0, 0.7, 1.0):
        controls = QuantArtControls(fidelity=alpha, strength=beta)
        expected = plain.stylize(content, own, controls)
        for tokens in (theirs, other):
            found = new.stylize(content, tokens, controls)
            if 0 < alpha < 1 or 0 < beta < 1:  # what lies between is added up in another order
                assert torch.allclose(found, expected, atol=1e-5)
            else:
                assert torch.equal(found, expected)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@torch.inference_mode()
def test_the_formula_by_hand(method, vgg, codebook, decoder, alpha, beta):
    def normal(z):
        own = Statistics.of(z)
        return (z - own.mean) / own.std

    def adain(x, y):
        other = Statistics.of(y)
        return normal(x) * other.std + other.mean

    content, painting = picture(150, 90), picture(200, 170, 7)
    z_c, z_s = encode(vgg, content).z, encode(vgg, painting).z
    tokens = F.adaptive_avg_pool2d(normal(z_s), 16).flatten(2).mT

    def guided(end):
        change = method.codebook.transfer[end](normal(z_c), tokens, torch.zeros(1, 256))
        return z_c + Statistics.of(z_c).std * change

    c_hat = adain(codebook(normal(z_c)), z_c)
    y_hat = adain(codebook(normal(guided("quantized"))), z_s)
    z_y = adain(guided("continuous"), z_s)
    z = alpha * (beta * y_hat + (1 - beta) * c_hat) + (1 - alpha) * (beta * z_y + (1 - beta) * z_c)
    found = method.stylize(
        content, method.encode_style([(painting, None)], [1.0]), QuantArtControls(fidelity=alpha, strength=beta)
    )
    # Channels that hardly vary are bounded by the epsilon in the variance, for ẑ here once less.
    assert (found - decoder(z)[:, :, :90, :150]).abs().max() < (5e-3 if alpha else 1e-4)


@torch.inference_mode()
def test_one_guide_alone_guides_its_own_end(method, plain, vgg, codebook, decoder):
    content, style = picture(90, 80), [(picture(120, 90, 7), None)]
    for end, kept in (("continuous", 1.0), ("quantized", 0.0)):
        half = QuantArt(vgg, with_guides(codebook, {end: method.codebook.transfer[end]}), decoder)
        for alpha in (0.0, 1.0):
            controls = QuantArtControls(fidelity=alpha)
            found = half.stylize(content, half.encode_style(style, [1.0]), controls)
            like = plain if alpha == kept else method
            assert torch.equal(found, like.stylize(content, like.encode_style(style, [1.0]), controls))


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("controls", ENDS)
@torch.inference_mode()
def test_tiled_is_whole(method, controls, kept, monkeypatch):
    monkeypatch.setattr("quantart_cli.methods.features._POSITIONS", 100)  # bands of a few rows, as of large pictures
    content = picture(170, 210)
    coverage = torch.ones(1, 1, 210, 170)
    coverage[..., 30:90] = 0.25
    style, tiled_style = (
        method.encode_style([(picture(300, 180, 7), None)], [1.0], tiles) for tiles in (None, Tiles(96))
    )
    torch.testing.assert_close(style.tokens, tiled_style.tokens, rtol=1e-4, atol=1e-4)
    whole = method.stylize(content, style, controls, coverage)
    monkeypatch.setattr("quantart_cli.methods.guided._KEPT", kept)
    tiled = method.stylize(content, style, controls, coverage, Tiles(72))
    assert (whole - tiled).abs().max() < 1e-4


@torch.inference_mode()
def test_styles_by_their_weights(method):
    one, two = (picture(120, 90, 7), None), (picture(80, 150, 9), None)
    alone = method.encode_style([one], [1.0])
    first = method.encode_style([one, two], [1.0, 0.0])
    assert all(
        torch.equal(getattr(first, name), getattr(alone, name)) for name in ("mean", "std", "tokens", "log_weights")
    )
    both = method.encode_style([one, two], [0.25, 0.75])
    assert both.log_weights.exp().sum() == pytest.approx(1)
    assert both.log_weights[:, : alone.tokens.shape[1]].exp().sum() == pytest.approx(0.25)
    twice = method.encode_style([one, one], [0.5, 0.5])
    content = picture(90, 80)
    same, expected = (method.stylize(content, style, QuantArtControls(fidelity=0.0)) for style in (twice, alone))
    torch.testing.assert_close(same, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_what_is_transparent_makes_no_tokens():
    z = torch.randn(1, 512, 40, 36)
    coverage = torch.zeros(1, 1, 40, 36)
    coverage[:, :, :20] = 1
    coverage[:, :, :10] = 0.5
    hidden = z.clone()
    hidden[:, :, 20:] = 100
    style, other = style_of(Features(z, coverage)), style_of(Features(hidden, coverage))
    torch.testing.assert_close(style.tokens, other.tokens)
    assert style.tokens.shape == (1, 8 * 16, 512)
    assert style.log_weights.exp().sum() == pytest.approx(1)
    assert style.log_weights[0, -1] - style.log_weights[0, 0] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-4)
