"""Fixtures: the embedded models in float32, and small pictures made here."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.device import DeviceSpec
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.painter import Painter
from quantart_cli.nets.vgg import VGG19
from quantart_cli.nets.vqgan import StyleVQGAN
from quantart_cli.registry import find
from tests.fill import fill

DATA = Path(__file__).with_name("data")
if "PYTEST_XDIST_WORKER" in os.environ:  # one thread for each of several processes, and for those that they start
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
PERSONS_CACHE = os.environ.get("QUANTART_CACHE", "")
EXACT = DeviceSpec("cpu", "fp32", "tests")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Nothing is written into a person's cache; it is read where a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("QUANTART_CONFIG", str(tmp_path_factory.mktemp("config") / "none.toml"))
        yield


@pytest.fixture(scope="session")
def parity():
    """Numbers recorded from the reference AdaIN with the published weights."""
    return safetensors.torch.load_file(DATA / "adain.safetensors")


@pytest.fixture(scope="session")
def backend():
    """torch in float32 with the embedded weights of all parts."""
    return TorchBackend(EXACT, {part: embedded_model(name) for part, name in find("quantart").weights.items()})


@pytest.fixture(scope="session")
def vgg(backend):
    return backend.network("vgg", VGG19)


@pytest.fixture(scope="session")
def decoder(backend):
    return backend.network("decoder", Decoder)


@pytest.fixture(scope="session")
def painter(backend):
    return backend.network("painter", Painter)


@pytest.fixture(scope="session")
def codebook(backend):
    """The embedded one, with the decoder that was trained with it."""
    return backend.network("codebook", ArtCodebook)


@pytest.fixture(scope="session")
def quantart_model():
    return quantart.load("quantart", device="cpu", precision="fp32", backend="torch")


@pytest.fixture(scope="session")
def adain_model():
    return quantart.load("adain", device="cpu", precision="fp32", backend="torch")


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


@pytest.fixture(scope="session")
def tiny_ends():
    """The two ends of a small QuantArt model on VQGAN, with the weights its numbers were recorded with."""
    ends = {}
    for end in ("quantized", "continuous"):
        case = json.loads((DATA / f"quantart_tiny_{end}.json").read_text())
        ends[end] = fill_strictly(StyleVQGAN.like, fill(case["state_dict"], case["salt"]), f"tiny {end}")
    return ends


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory):
    """The same two as their authors store them: Lightning checkpoints, with tensors of a loss beside the model's."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = {}
    for end in ("quantized", "continuous"):
        case = json.loads((DATA / f"quantart_tiny_{end}.json").read_text())
        state = {**fill(case["state_dict"], case["salt"]), "loss.discriminator.main.0.weight": torch.zeros(2, 3, 4, 4)}
        paths[end] = folder / f"{end}.ckpt"
        torch.save({"epoch": 3, "global_step": 7, "state_dict": state}, paths[end])
    return paths


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoints, tmp_path_factory):
    """One model file of both, made by ``quantart convert``'s own function."""
    target = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    convert(tiny_checkpoints["quantized"], target, continuous=tiny_checkpoints["continuous"])
    return target


@pytest.fixture
def browser():
    """A browser of its own for each test: a second download by the keyboard is held back in one that stays open."""
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no browser: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no browser: apt-get install chromium")
    with playwright.sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield found
        found.close()
