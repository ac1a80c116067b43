"""VQ-VAE: mixing of codes agrees with recorded numbers, the decoder takes both codes, and a VQGAN can be brought."""

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.formats import FORMAT
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.base import adain
from quantart_cli.methods.vqvae import Codes, fitted
from quantart_cli.nets.statistics import moments
from quantart_cli.nets.vqgan import VQGAN, VQGANConfig
from quantart_cli.nets.vqvae import VQVAE, Mixing, VQVAEConfig
from quantart_cli.runner import MapOf, Runner
from quantart_cli.stages import Sums
from quantart_cli.tiling import Tiler
from quantart_cli.training.quantizer import Quantizer, perplexity
from tests.conftest import DATA, EXACT, scene

CONTENT, STYLE = scene(90, 70, 1), scene(64, 48, 2)


@pytest.fixture(scope="module")
def recorded():
    return safetensors.torch.load_file(DATA / "vq_mix.safetensors")


@pytest.fixture(scope="module")
def book(recorded):
    """A network with the recorded codebook."""
    network = VQVAE(VQVAEConfig(4, 16, 48)).requires_grad_(False)
    network.codebook.entries.copy_(recorded["codebook"])
    return network


def write(path, network, kind):
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(state, path, {"format": FORMAT, "kind": kind, "config": "{}"})
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A tiny network whose codes differ from place to place, and whose decoder shows them."""
    torch.manual_seed(0)
    network = VQVAE(VQVAEConfig(16, 8, 40)).requires_grad_(False)
    for name, value in network.named_parameters():
        value.mul_(1.0 if name.endswith("bias") else 2.0)
    image = torch.from_numpy(scene(96, 96, 5)).movedim(-1, 0)[None] / 255
    z = network.encode(image).movedim(1, -1).flatten(0, 2)
    network.codebook.entries.copy_(z[torch.randperm(len(z))[:40]])
    return write(tmp_path_factory.mktemp("model") / "vqvae.safetensors", network, "vqvae")


@pytest.fixture(scope="module")
def model(file):
    return quantart.load("vqvae", model=file, device="cpu", precision="fp32")


def test_quantization_and_mixing_are_as_recorded(book, recorded):
    run = Runner(TorchBackend(EXACT, {}), Tiler())
    for name in ("content", "style"):
        e, indices = book.quantize(recorded[name])
        assert torch.equal(indices.view_as(recorded[f"{name}_index"]), recorded[f"{name}_index"])
        torch.testing.assert_close(e, recorded[f"{name}_quantized"])
    e_c, e_s = recorded["content_quantized"], recorded["style_quantized"]
    at_grid = fitted(run, MapOf(e_s, 4), (7, 9)).values
    assert torch.equal(at_grid, F.interpolate(e_s, (7, 9), mode="nearest"))
    for share in (0.3, 0.7):
        mixed, _ = Mixing(book)(e_c, at_grid, torch.ones(1, 1, 7, 9), share, False)
        torch.testing.assert_close(mixed, recorded[f"mean_style{share}"])
        again, _ = Mixing(book)(e_c, at_grid, torch.ones(1, 1, 7, 9), share, True)
        torch.testing.assert_close(again, recorded[f"mean_style{share}_requantized"])
        assert torch.equal(book.quantize(mixed)[1].view(1, 7, 9), recorded[f"mean_style{share}_index"])


def test_the_look_of_a_style_is_as_recorded(book, recorded):
    own, style = Sums(), Sums()
    own.add(moments(recorded["content_quantized"], torch.ones(1, 1, 7, 9)).numpy())
    style.add(moments(recorded["style_quantized"], torch.ones(1, 1, 6, 8)).numpy())
    slope, shift = (torch.from_numpy(each).view(1, -1, 1, 1) for each in adain(own.result(), style.result()))
    found = recorded["content_quantized"] * slope + shift
    torch.testing.assert_close(found, recorded["adain"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(book.quantize(found)[0], recorded["adain_requantized"])


def test_what_the_codebook_learns_is_as_recorded(book, recorded):
    z, e = recorded["content"], recorded["content_quantized"]
    assert F.mse_loss(z, e).item() == pytest.approx(recorded["codebook_loss"].item(), rel=1e-5)
    assert 0.25 * F.mse_loss(z, e).item() == pytest.approx(recorded["commitment_loss_beta0.25"].item(), rel=1e-5)
    indices = recorded["content_index"].view(-1, 1)
    assert perplexity(indices) == pytest.approx(recorded["perplexity"].item(), rel=1e-5)
    averages = Quantizer(book.codebook, 0.99)
    start = recorded["codebook"]
    averages.load_state({"entries": start, "counts": torch.ones(48), "sums": start.clone()})
    averages.update(z.movedim(1, -1).reshape(-1, 16), indices)
    torch.testing.assert_close(averages.counts, recorded["ema_counts"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(book.codebook.entries.data, recorded["ema_codebook"], atol=1e-4, rtol=1e-4)
    book.codebook.entries.data.copy_(start)


@pytest.mark.parametrize("mix", ["decoder", "before", "after"])
def test_every_mix(model, mix):
    def paint(style, alpha, **more):
        return np.int16(model.stylize(CONTENT, style, alpha=alpha, mix=mix, **more))

    none, half, full = (paint(STYLE, alpha) for alpha in (0, 0.5, 1))
    assert np.array_equal(none, paint(scene(40, 40, 3), 0.0))
    assert np.abs(half - none).mean() > 0.5
    assert np.abs(full - half).mean() > 0.5
    assert np.abs(full - paint(STYLE, 1.0, tile=64)).max() <= 1
    both = paint([STYLE, scene(40, 40, 3)], 1.0)
    assert np.abs(both - full).mean() > 0.5
    assert np.array_equal(paint(model.encode_style([STYLE, scene(40, 40, 3)], weights=[1, 0]), 1.0), full)


def test_a_full_share_of_the_style_is_the_style(model):
    """Codes of the style alone are decoded as those of a content of the same size."""
    style = scene(90, 70, 7)
    alone = np.int16(model.stylize(style, STYLE, alpha=0.0))
    for mix in ("before", "after"):
        mixed = np.int16(model.stylize(CONTENT, style, alpha=1.0, mix=mix))
        assert np.abs(mixed - alone).max() <= 1


def test_several_styles_are_one_set_of_codes(model):
    style = model.encode_style([STYLE, CONTENT], weights=[1, 3], settings=model.method.settings(mix="after"))
    codes = style.encoded["codes"]
    assert isinstance(codes, Codes)
    assert [weight for weight, _, _ in codes.parts] == [0.25, 0.75]


def test_the_included_network_rebuilds_and_takes_the_colours_of_the_style():
    model = quantart.load("vqvae", device="cpu", precision="fp32")
    rebuilt = np.asarray(model.stylize(CONTENT, STYLE, alpha=0.0), float)
    assert np.corrcoef(rebuilt.ravel(), CONTENT.ravel())[0, 1] > 0.8
    blue, orange = (np.broadcast_to(np.uint8(colour), (48, 48, 3)) for colour in ((40, 60, 160), (200, 120, 40)))
    cold, warm = (np.asarray(model.stylize(CONTENT, each), float).mean((0, 1)) for each in (blue, orange))
    assert warm[0] - warm[2] > cold[0] - cold[2] + 20


def test_a_vqgan(tmp_path):
    torch.manual_seed(0)
    network = VQGAN(VQGANConfig(32, (1, 1), 1, (), 8, 8, 24, 0))
    model = quantart.load("vqvae", model=write(tmp_path / "vqgan.safetensors", network, "vqgan"), precision="fp32")
    with pytest.raises(QuantArtError, match="set mix to before or after"):
        model.stylize(CONTENT, STYLE, mix="decoder")
    found = {mix: np.int16(model.stylize(CONTENT, STYLE, mix=mix, alpha=0.6)) for mix in ("auto", "before", "after")}
    assert found["auto"].shape == CONTENT.shape
    assert np.array_equal(found["auto"], found["after"])
    assert not np.array_equal(found["before"], found["after"])
    x = F.pad(torch.from_numpy(CONTENT).movedim(-1, 0)[None] / 127.5 - 1, (0, 0, 0, 0))
    with torch.no_grad():
        rebuilt = (network(network.quantize(network.encode(x)))[0].movedim(0, -1) + 1) * 127.5
    same = model.stylize(CONTENT, STYLE, alpha=0.0)
    assert np.abs(np.asarray(same) - rebuilt.numpy().clip(0, 255)).max() < 1
    tiled = np.int16(model.stylize(CONTENT, STYLE, tile=64, alpha=0.6))
    assert np.abs(tiled - found["after"]).mean() < 20
