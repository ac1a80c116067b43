"""A model of ``quantart train autoencoder``: a codebook that brings a decoder of its own."""

import numpy as np
import PIL.Image
import pytest
import safetensors.torch

from quantart_cli.checkpoints.manifest import artefact

EXACT = ("--device", "cpu", "--precision", "fp32", "--quiet")


@pytest.fixture
def model(tmp_path):
    """The embedded codebook with the AdaIN decoder made darker."""
    tensors = safetensors.torch.load_file(artefact("quantart-vgg19").path)
    decoder = safetensors.torch.load_file(artefact("adain-decoder").path)
    decoder["conv1_1.bias"] = decoder["conv1_1.bias"] - 0.25
    tensors |= {f"decoder.{name}": value for name, value in decoder.items()}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_its_decoder_counts_as_much_as_fidelity_says(run, content_file, style_file, tmp_path, model):
    def mean(*options):
        status, _, err = run("stylize", content_file, style_file, "-o", tmp_path / "out.png", *options, *EXACT)
        assert status == 0, err
        return np.asarray(PIL.Image.open(tmp_path / "out.png")).astype(float)

    for fidelity in (0, 0.5, 1):
        plain = mean("--fidelity", fidelity)
        darker = mean("--fidelity", fidelity, "--model", model)
        inside = (plain > 70) & (plain < 250)  # neither end clips there
        assert np.abs((plain - darker)[inside] - fidelity * 0.25 * 255).max() <= 1


def test_openvino_paints_with_it_as_torch_does(run, content_file, style_file, tmp_path, model):
    pytest.importorskip("openvino")
    painted = []
    for runtime in ("torch", "openvino"):
        command = ("stylize", content_file, style_file, "-o", tmp_path / "out.png", "--model", model, *EXACT)
        status, _, err = run(*command, "--runtime", runtime)
        assert status == 0, err
        painted.append(np.asarray(PIL.Image.open(tmp_path / "out.png")).astype(int))
    assert np.abs(painted[0] - painted[1]).max() <= 1
