"""The authors' networks: parity with numbers recorded from the reference, and their full-size checkpoints' keys."""

import json

import pytest
import safetensors.torch
import torch

from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.vqgan import VQGAN, StyleVQGAN, VQGANConfig, config_of
from tests.conftest import DATA
from tests.fill import fill

ENDS = ("quantized", "continuous")


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def recorded():
    return safetensors.torch.load_file(DATA / "quantart_tiny.safetensors")


@pytest.fixture(scope="module")
def latents(tiny_ends, recorded):
    """(z_c, z_s), not yet quantized, of each end."""
    content, style = 2 * recorded["content"] - 1, 2 * recorded["style"] - 1
    return {end: (net.encode_content(content), net.encode_style(style)) for end, net in tiny_ends.items()}


def test_quantized_content_and_style(tiny_ends, recorded, latents):
    quantized = tiny_ends["quantized"]
    z_c, z_s = latents["quantized"]
    close(z_c, recorded["latent_content"])
    close(z_s, recorded["latent_style"])
    assert torch.equal(quantized.quantize_enc.indices(z_c), recorded["indices_content"])
    assert torch.equal(quantized.quantize_dec.indices(z_s), recorded["indices_style"])


def test_quantized_transfer(tiny_ends, recorded, latents):
    quantized = tiny_ends["quantized"]
    z_c, z_s = latents["quantized"]
    transfer = quantized.transfer(quantized.quantize_enc(z_c), quantized.quantize_dec(z_s))
    close(transfer, recorded["transfer_quantized"])
    assert torch.equal(quantized.quantize_dec.indices(transfer), recorded["indices_stylized"])


def test_continuous(tiny_ends, recorded, latents):
    z_c, z_s = latents["continuous"]
    close(z_c, recorded["latent_content_continuous"])
    close(tiny_ends["continuous"].transfer(z_c, z_s), recorded["latent_stylized_continuous"])


@pytest.mark.parametrize("end", ENDS)
def test_the_full_size_checkpoints_load_strictly(end):
    case = json.loads((DATA / f"quantart_official_{end}_keys.json").read_text())
    state = fill(case["state_dict"], case["salt"])
    network = fill_strictly(StyleVQGAN.like, state, end)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == case["state_dict"]
    assert network.quantized == (end == "quantized")
    config, theirs = config_of(network), case["ddconfig"]
    assert config["ch"] == theirs["ch"] == 128
    assert config["ch_mult"] == theirs["ch_mult"] == [1, 1, 2, 2, 4]
    assert config["num_res_blocks"] == theirs["num_res_blocks"]
    assert config["attn_levels"] == [4]  # 256 / 16
    assert config["z_channels"] == theirs["z_channels"]
    assert config["embed_dim"] == case["embed_dim"]
    assert config["n_embed"] == (case["n_embed"] if end == "quantized" else 0)
    assert config["sga_blocks"] == 6
    assert network.config.stride == 16
    key = next(key for key in state if key.startswith("model_x2y") and key.endswith("q.weight"))
    del state[key]
    with pytest.raises(QuantArtError, match="lacks the tensor model_x2y"):
        fill_strictly(StyleVQGAN.like, state, end)


def test_stage_one_reads_its_sizes_and_goes_there_and_back():
    torch.manual_seed(0)
    made = VQGAN(VQGANConfig(32, (1, 2), 1, (1,), 16, 8, 24, 0))
    network = fill_strictly(VQGAN.like, made.state_dict(), "stage 1")
    assert network.config == made.config
    with torch.inference_mode():
        z = network.encode(torch.rand(1, 3, 6, 10) * 2 - 1)
        assert z.shape == (1, 8, 3, 5)
        image = network(network.quantize(z))
    assert image.shape == (1, 3, 6, 10)
    assert image.isfinite().all()


def test_tensors_of_something_else_are_named_and_nothing_worse():
    for tensors in (
        {},
        {"encoder.conv_in.weight": torch.zeros(())},
        {"encoder.conv_in.weight": torch.zeros(0, 3), "quant_conv.weight": torch.zeros(5)},
        {"encoder.conv_in.weight": torch.zeros(48, 3, 3, 3)},
    ):
        with pytest.raises(QuantArtError, match=r"lacks the tensor|has shape"):
            fill_strictly(StyleVQGAN.like, tensors, "x")


def test_half_precision_keeps_the_codebooks_exact(tiny_ends, recorded, latents):
    case = json.loads((DATA / "quantart_tiny_quantized.json").read_text())
    network = fill_strictly(StyleVQGAN.like, fill(case["state_dict"], case["salt"]), "tiny")
    network.to_machine("cpu", torch.bfloat16)
    assert network.dtype == torch.bfloat16
    assert network.quantize_dec.embedding.weight.dtype == torch.float32
    with torch.inference_mode():
        z = network.encode_content(2 * recorded["content"] - 1).float()
    assert (z - latents["quantized"][0]).abs().mean() < 0.02 * latents["quantized"][0].abs().mean()
