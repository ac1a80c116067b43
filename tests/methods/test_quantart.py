"""QuantArt: its formula by hand, and what each end of α and β is."""

import copy

import pytest
import torch

from quantart_cli.engine.tiling import Window
from quantart_cli.methods.adain import AdaIN
from quantart_cli.methods.arithmetic import adaptive_instance_norm, transfer
from quantart_cli.methods.controls import AdaINControls, QuantArtControls
from quantart_cli.methods.features import Features, Statistics, encode
from quantart_cli.methods.quantart import QuantArt
from quantart_cli.nets.autoencoder import ArtCodebook


@pytest.fixture(scope="module")
def method(vgg, codebook, decoder):
    return QuantArt(vgg, codebook, decoder)


@pytest.fixture(scope="module")
def style(method, parity):
    with torch.inference_mode():
        return method.encode_style([(parity["style_1"], None)], [1.0])


def whole(features):
    return Window(0, 0, *features.grid)


@pytest.mark.parametrize("beta", [0.0, 0.35, 1.0])
@torch.inference_mode()
def test_alpha_zero_is_adain_with_beta(method, style, vgg, decoder, parity, beta):
    ours = method.stylize(parity["content"], style, QuantArtControls(fidelity=0.0, strength=beta))
    adain = AdaIN(vgg, decoder)
    theirs = adain.stylize(
        parity["content"], adain.encode_style([(parity["style_1"], None)], [1.0]), AdaINControls(alpha=beta)
    )
    assert torch.equal(ours, theirs)


@torch.inference_mode()
def test_alpha_zero_beta_zero_is_the_reconstruction(method, style, vgg, decoder, parity):
    found = method.stylize(parity["content"], style, QuantArtControls(fidelity=0.0, strength=0.0))
    assert torch.equal(found, decoder(vgg(parity["content"])["relu4_1"]))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.6, 1.0])
@torch.inference_mode()
def test_the_formula_by_hand(method, style, vgg, codebook, decoder, parity, alpha, beta):
    def adain(x, y):
        a, b = Statistics.of(x), Statistics.of(y)
        return (x - a.mean) / a.std * b.std + b.mean

    def vq(z):
        own = Statistics.of(z)
        return adain(codebook((z - own.mean) / own.std), z)

    z_c, z_s = (vgg(parity[name])["relu4_1"] for name in ("content", "style_1"))
    c_hat, s_hat = vq(z_c), vq(z_s)
    # VQ would leave T̂(ẑ_c, ẑ_s) as it is: it is made of entries, up to the statistics VQ keeps.
    z_y, y_hat = adain(z_c, z_s), adain(c_hat, s_hat)
    quantized = beta * y_hat + (1 - beta) * c_hat
    continuous = beta * z_y + (1 - beta) * z_c
    expected = decoder(alpha * quantized + (1 - alpha) * continuous)
    found = method.stylize(parity["content"], style, QuantArtControls(fidelity=alpha, strength=beta))
    # Channels that hardly vary are bounded by the epsilon in the variance, here twice.
    assert (found - expected).abs().max() < 5e-3


@torch.inference_mode()
def test_quantization_takes_entries_and_keeps_statistics(method, codebook, vgg, parity):
    features = encode(vgg, parity["content"])
    quantized = method.quantize(features)
    before, after = features.statistics, quantized.statistics
    assert torch.allclose(before.mean, after.mean, atol=1e-3)
    alive = before.std > 0.1
    assert torch.allclose(before.std[alive], after.std[alive], rtol=0.01)
    indices = codebook.indices((features.z - before.mean) / before.std)
    assert torch.equal(indices, quantized.indices)
    assert 10 < len(indices[..., 0].unique()) < indices[..., 0].numel()
    z_hat = quantized.at(whole(features))
    made = codebook.lookup(indices)
    assert torch.allclose(z_hat, adaptive_instance_norm(made, Statistics.of(made), before), rtol=1e-3, atol=1e-3)
    assert (z_hat - features.z).abs().amax(1).min() > 0.1
    assert torch.allclose(quantized.statistics.std, Statistics.of(z_hat).std, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_quantizing_again_finds_the_same_entries(method, codebook, vgg, style, parity):
    def entries(z):
        own = Statistics.of(z)
        return codebook.indices((z - own.mean) / own.std)

    c_hat = method.quantize(encode(vgg, parity["content"]))
    dressed = transfer(c_hat.at(whole(encode(vgg, parity["content"]))), c_hat.statistics, style, 1.0)  # T̂(ẑ_c, ẑ_s)
    # 0.97 of the 192 positions of this made-up picture; 0.999 of photographs at 640 × 480.
    assert (entries(dressed) == entries(encode(vgg, parity["content"]).z)).float().mean() > 0.95


@torch.inference_mode()
def test_quantization_does_not_see_palette_and_contrast(method, parity, vgg):
    features = encode(vgg, parity["content"])
    other = Features(features.z * 3 + 5)
    found, expected = (method.quantize(each).at(whole(features)) for each in (other, features))
    # Here and there another entry is the nearest: the epsilon of the variance is not scaled.
    assert torch.isclose(found, expected * 3 + 5, rtol=1e-3, atol=0.05).float().mean() > 0.98


@torch.inference_mode()
def test_hidden_parts_of_the_style_do_not_count(method, parity):
    image = parity["style_1"].clone()
    coverage = torch.ones(1, 1, *image.shape[2:])
    coverage[..., 56:] = 0
    half = method.encode_style([(image[..., :56], None)], [1.0])
    masked = method.encode_style([(image, coverage)], [1.0])
    whole = method.encode_style([(image, None)], [1.0])

    def distance(one, two):
        return ((one.mean - two.mean).norm() + (one.std - two.std).norm()).item()

    assert distance(masked, half) < 0.4 * distance(whole, half)


@pytest.fixture
def trained(codebook, decoder):
    """A codebook with a decoder of its own, D̂ = D with every weight raised by a tenth."""
    book = ArtCodebook.like(codebook.state_dict())
    book.load_state_dict(codebook.state_dict())
    book.decoder = copy.deepcopy(decoder)
    for weight in book.decoder.parameters():
        weight.data.mul_(1.1)
    return book.requires_grad_(False)


@torch.inference_mode()
def test_the_decoder_lies_between_both_ends(vgg, trained, decoder, style, parity, codebook):
    method = QuantArt(vgg, trained, decoder)
    assert method.decoder_at(0.0) is decoder
    assert method.decoder_at(1.0) is trained.decoder
    for alpha in (0.3, 0.7):
        ends = zip(method.decoder_at(alpha).parameters(), decoder.parameters(), strict=True)
        assert all(torch.allclose(own, base * (1 + 0.1 * alpha), rtol=1e-6) for own, base in ends)
    assert method.decoder_at(0.7) is method.decoder_at(0.7)
    plain = QuantArt(vgg, codebook, decoder)
    assert plain.decoder_at(0.7) is decoder
    pictures = {}
    for alpha in (0.0, 0.7, 1.0):
        controls = QuantArtControls(fidelity=alpha)
        pictures[alpha] = [each.stylize(parity["content"], style, controls) for each in (method, plain)]
    assert torch.equal(*pictures[0.0])
    moved = [(ours - theirs).abs().mean() for ours, theirs in pictures.values()]
    assert 0 < moved[1] < moved[2]
