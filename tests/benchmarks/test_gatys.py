"""Ours and the plain script are judged by the number that both lower, and noise is what it is called."""

import numpy as np
import pytest
import torch

from benchmarks import baseline, gatys, plain_gatys
from benchmarks.materials import make_pictures, make_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("materials")
    make_weights(folder)
    make_pictures(folder, ["64x64-1.png", "64x64-2.png"])
    return folder


def test_the_judge_computes_what_the_plain_script_lowers(folder):
    content, style = (str(folder / name) for name in ("64x64-1.png", "64x64-2.png"))
    network = plain_gatys.load(folder)
    goal = plain_gatys.goal_of(network, *(baseline.read(path, "cpu") for path in (content, style)))
    weights = gatys.ALPHA, gatys.BETA
    image = plain_gatys.paint(network, *(baseline.read(path, "cpu") for path in (content, style)), 3, weights)
    np.save(folder / "plain.npy", image.numpy())
    lowered = plain_gatys.loss_of(network, image, goal, weights).item()
    assert gatys.look(content, style, str(folder / "plain.npy"))[0] == pytest.approx(lowered, rel=1e-4)
    assert lowered < 0.9 * gatys.look(content, style, content)[0]


def test_noise_is_what_changes_from_pixel_to_pixel():
    x = torch.arange(64)
    for period, wanted in ((2, 0.25), (16, 0.0)):  # black and white in turns have a variance of a quarter
        wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * x / period)
        assert gatys.noise_of(wave.expand(1, 3, 64, 64)) == pytest.approx(wanted, abs=1e-6)


def test_what_the_plain_run_took_is_kept(folder, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(gatys, "execute", lambda command: runs.append(command) or gatys.Run(len(runs), 7.0))
    options = {"size": 32, "iterations": 5, "device": "cpu", "content": folder / "a.png", "style": folder / "b.png"}
    bench = gatys.Bench(tmp_path, gatys.argparse.Namespace(**options))
    assert bench.plain() == bench.plain() == gatys.Run(1, 7.0)
    bench.arguments.iterations = 6
    assert bench.plain() == gatys.Run(2, 7.0)
