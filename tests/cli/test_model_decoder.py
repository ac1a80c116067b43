"""A model of ``quantart train autoencoder``: a codebook that brings a decoder of its own."""

import numpy as np
import PIL.Image
import pytest
import safetensors.torch

from quantart_cli.checkpoints.manifest import artefact

EXACT = ("--device", "cpu", "--precision", "fp32", "--quiet")


@pytest.fixture
def codebook():
    """Tensors of the embedded codebook, without the decoder it brings."""
    tensors = safetensors.torch.load_file(artefact("quantart-vgg19").path)
    return {name: value for name, value in tensors.items() if not name.startswith("decoder.")}


@pytest.fixture
def plain(tmp_path, codebook):
    safetensors.torch.save_file(codebook, tmp_path / "plain.safetensors")
    return tmp_path / "plain.safetensors"


@pytest.fixture
def model(tmp_path, codebook):
    """The embedded codebook with the AdaIN decoder made darker."""
    decoder = safetensors.torch.load_file(artefact("adain-decoder").path)
    decoder["conv1_1.bias"] = decoder["conv1_1.bias"] - 0.25
    tensors = codebook | {f"decoder.{name}": value for name, value in decoder.items()}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_its_decoder_counts_as_much_as_fidelity_says(run, content_file, style_file, tmp_path, plain, model):
    def painted(*options):
        status, _, err = run("stylize", content_file, style_file, "-o", tmp_path / "out.png", *options, *EXACT)
        assert status == 0, err
        return np.asarray(PIL.Image.open(tmp_path / "out.png")).astype(float)

    for fidelity in (0, 0.5, 1):
        one, darker = (painted("--fidelity", fidelity, "--model", file) for file in (plain, model))
        inside = (one > 70) & (one < 250)  # neither end clips there
        assert np.abs((one - darker)[inside] - fidelity * 0.25 * 255).max() <= 1


def test_the_embedded_codebook_brings_one(run, content_file, style_file, tmp_path, plain):
    outputs = {}
    for fidelity in (0, 1):
        for name, options in (("plain", ("--model", plain)), ("embedded", ("--codebook", "art"))):
            out = tmp_path / f"{name}-{fidelity}.png"
            assert run("stylize", content_file, style_file, "-o", out, "--fidelity", fidelity, *options, *EXACT)[0] == 0
            outputs[name, fidelity] = PIL.Image.open(out).tobytes()
    assert outputs["plain", 0] == outputs["embedded", 0]  # AdaIN and its decoder
    assert outputs["plain", 1] != outputs["embedded", 1]


def test_openvino_paints_with_it_as_torch_does(run, content_file, style_file, tmp_path, model):
    pytest.importorskip("openvino")
    painted = []
    for runtime in ("torch", "openvino"):
        command = ("stylize", content_file, style_file, "-o", tmp_path / "out.png", "--model", model, *EXACT)
        status, _, err = run(*command, "--runtime", runtime)
        assert status == 0, err
        painted.append(np.asarray(PIL.Image.open(tmp_path / "out.png")).astype(int))
    assert np.abs(painted[0] - painted[1]).max() <= 1
