"""A whole training of a tiny VQ-VAE: reproducible, resumable, and of use."""

import json

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.vqvae import VQVAE
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import TrainingStopped
from quantart_cli.training.options import VQVAEOptions
from quantart_cli.training.vqvae import Painting, vqvae_training
from tests.conftest import scene

SIZES = {"channels": 16, "width": 8, "entries": 24}
OPTIONS = VQVAEOptions(
    steps=20, batch=2, crop=32, quantize_after=4, style_after=14, log_every=2, sheet_every=20, seed=3, **SIZES
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for first, name in ((0, "photographs"), (10, "paintings")):
        made[name] = tmp_path_factory.mktemp(name)
        for number in range(first, first + 3):
            PIL.Image.fromarray(scene(60, 50 + number, number)).save(made[name] / f"{number}.png")
    return made


@pytest.fixture(scope="module")
def run(folders, vgg):
    def call(target, options=OPTIONS, network=None, **control):
        return train(vqvae_training(options, vgg, network), folders, target, options, RunControl(**control))

    return call


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "vqvae.safetensors"
    return target, run(target)


def test_the_file_paints(trained):
    target, report = trained
    assert (report.updates, report.skipped) == (20, 0)
    network = fill_strictly(VQVAE.like, safetensors.torch.load_file(target), "trained")
    assert vars(network.config) == SIZES
    model = quantart.load("vqvae", model=target, device="cpu")
    assert model.stylize(scene(50, 40, 1), scene(40, 40, 2)).size == (50, 40)


def test_the_log(trained):
    folder = trained[0].with_name("vqvae.safetensors.training")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert "perplexity" not in lines[1]
    assert lines[2]["perplexity"] > 5  # the entries were put on codes
    assert {"commitment", "pixel"} < set(lines[5])
    assert "style" not in lines[6]
    assert {"perceptual", "content", "style"} < set(lines[7])
    assert lines[6]["pixel"] < lines[0]["pixel"]
    with PIL.Image.open(folder / "000020.png") as sheet:
        assert sheet.size == (5 * 36 + 4, 3 * 36 + 4)


def test_stopped_before_the_entries_are_placed_and_resumed_gives_the_same_bytes(trained, run, tmp_path):
    target = tmp_path / "vqvae.safetensors"
    seen = []

    def progress(stage, *_):
        seen.extend([stage] if stage == "training" else [])

    with pytest.raises(TrainingStopped):
        run(target, stop=lambda: len(seen) == 3, progress=progress)
    run(target)
    assert target.read_bytes() == trained[0].read_bytes()


def test_it_goes_on_from_a_network_with_its_codebook(trained, run, tmp_path):
    network = fill_strictly(VQVAE.like, safetensors.torch.load_file(trained[0]), "trained").float()
    before = network.codebook.entries.detach().clone()
    target = tmp_path / "more.safetensors"
    run(target, VQVAEOptions(**{**vars(OPTIONS), "steps": 1, "style_after": 0}), network)
    after = safetensors.torch.load_file(target)["codebook.entries"].float()
    assert (after - before).abs().max() < 0.1 * before.std()


def test_a_picture_is_its_own_style(trained):
    """Decoding with the codes of the same picture is what a mix of nothing decodes."""
    network = fill_strictly(VQVAE.like, safetensors.torch.load_file(trained[0]), "trained").float()
    image = torch.from_numpy(scene(48, 32, 4)).movedim(-1, 0)[None] / 255
    with torch.no_grad():
        rebuilt = Painting(network)(image, torch.tensor([0]), torch.tensor([0]))[0][0]
    model = quantart.load("vqvae", model=trained[0], device="cpu", precision="fp32")
    same = np.asarray(model.stylize(scene(48, 32, 4), scene(40, 40, 2), alpha=0.0))
    assert np.abs(rebuilt.clamp(0, 1).movedim(0, -1).numpy() * 255 - same).max() < 1


@pytest.mark.parametrize(("wrong", "said"), [({"crop": 36}, "multiple of 8"), ({"channels": 6}, "multiple of 4")])
def test_mistakes(run, tmp_path, wrong, said):
    with pytest.raises(QuantArtError, match=said):
        run(tmp_path / "v.safetensors", VQVAEOptions(**{**vars(OPTIONS), **wrong}))
