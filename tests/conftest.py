"""Fixtures: the embedded models in float32, and small pictures made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.engine.build import build_network
from quantart_cli.engine.device import Machine

DATA = Path(__file__).with_name("data")
EXACT = Machine("cpu", "fp32", "tests")


@pytest.fixture(scope="session")
def parity():
    """Numbers recorded from the reference AdaIN with the published weights."""
    return safetensors.torch.load_file(DATA / "adain.safetensors")


@pytest.fixture(scope="session")
def vgg():
    return build_network("vgg", "vgg19-normalised", EXACT)


@pytest.fixture(scope="session")
def decoder():
    return build_network("decoder", "adain-decoder", EXACT)


@pytest.fixture(scope="session")
def codebook():
    return build_network("codebook", "quantart-vgg19", EXACT)


@pytest.fixture(scope="session")
def quantart_model():
    return quantart.load("quantart", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def adain_model():
    return quantart.load("adain", device="cpu", precision="fp32")


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: soft colour shapes with some texture, different for every seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    picture = np.zeros((height, width, 3))
    for _ in range(6):
        fx, fy, phase = random.uniform(-14, 14), random.uniform(-14, 14), random.uniform(0, 6)
        picture += np.sin(fx * x + fy * y + phase)[..., None] * random.uniform(-0.5, 0.5, 3)
    picture += random.normal(0, 0.08, picture.shape)
    return np.uint8(np.clip(picture * 0.25 + 0.5, 0, 1) * 255)


@pytest.fixture
def content_file(tmp_path):
    path = tmp_path / "content.png"
    PIL.Image.fromarray(scene(96, 64, 1)).save(path)
    return path


@pytest.fixture
def style_file(tmp_path):
    path = tmp_path / "style.png"
    PIL.Image.fromarray(scene(80, 88, 2)).save(path)
    return path


@pytest.fixture(autouse=True)
def _no_gradients_left_on():
    """Networks are asked under the same grad mode in every test."""
    with torch.enable_grad():
        yield


@pytest.fixture
def run(capfdbinary):
    """Run the command line in this process: ``status, stdout, stderr = run("info", "--json")``."""
    from quantart_cli.cli import main

    def call(*arguments: object) -> tuple[int, bytes, str]:
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return leaving.value.code, captured.out, captured.err.decode()

    return call
