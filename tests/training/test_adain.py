"""A whole training of the AdaIN decoder on tiny crops: reproducible, resumable, and towards the published one."""

import json

import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaIN, AdaINSettings
from quantart_cli.nets.decoder import Decoder
from quantart_cli.training.adain import AdaINTraining
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import NotFinite, TrainingStopped
from quantart_cli.training.options import AdaINOptions
from quantart_cli.training.pictures import Pictures
from tests import exact
from tests.conftest import scene

OPTIONS = AdaINOptions(steps=3, batch=2, crop=32, short_side=48, log_every=1, sheet_every=2, seed=3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = []
    for first, name in ((0, "photos"), (10, "art")):
        made.append(tmp_path_factory.mktemp(name))
        for number in range(first, first + 3):
            PIL.Image.fromarray(scene(60, 50 + number, number)).save(made[-1] / f"{number}.png")
    return made


@pytest.fixture(scope="module")
def run(folders, vgg):
    def call(target, options=OPTIONS, **control):
        sources = dict(zip(("photographs", "paintings"), folders, strict=True))
        return train(AdaINTraining.training(options, vgg), sources, target, options, RunControl(**control))

    return call


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "decoder.safetensors"
    return target, run(target)


def training(folders, vgg, options):
    pictures = [Pictures(sorted(folder.glob("*.png")), 1e9, lambda *_: None) for folder in folders]
    names = ("photographs", "paintings")
    return AdaINTraining(
        vgg, dict(zip(names, pictures, strict=True)), dict.fromkeys(names, torch.rand(1, 3, 32, 32)), options
    )


def test_the_file_paints_as_it_learned_to(trained, folders, vgg):
    target, report = trained
    assert report.pictures == {"photographs": 3, "paintings": 3}
    assert (report.updates, report.skipped) == (3, 0)
    header = read_header(target)
    assert header.metadata["kind"] == "adain-decoder"
    assert json.loads(header.metadata["quantart"])["options"]["style_weight"] == 10
    own = fill_strictly(lambda _: Decoder(), safetensors.torch.load_file(target), "trained")
    content, style = torch.rand(2, 1, 3, 32, 32)
    model = quantart.load("adain", model=target, backend="torch", device="cpu", precision="fp32")
    method, settings = AdaIN(), AdaINSettings()
    encoded = exact.encode(model.backend, method, settings, style)
    painted = exact.paint(model.backend, method, content, encoded, settings)
    # What learned saw is what paints.
    learned = training(folders, vgg, OPTIONS)
    learned.network.network.load_state_dict(own.state_dict())
    found = learned.paint(learned.features(content), learned.features(style))
    torch.testing.assert_close(found, painted, rtol=1e-3, atol=1e-4)


def test_log_and_sheets_stay(trained):
    kept = trained[0].with_name("decoder.safetensors.training")
    lines = [json.loads(line) for line in (kept / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"content", "style", "gradient", "seconds"} <= set(lines[0])
    assert sorted(path.name for path in kept.glob("*.png")) == ["000002.png", "000003.png"]
    with PIL.Image.open(kept / "000003.png") as sheet:
        assert sheet.size == (3 * 36 + 4, 3 * 36 + 4)


def test_the_same_seed_gives_the_same_bytes_stopped_or_not(trained, run, tmp_path):
    target = tmp_path / "decoder.safetensors"
    done = []
    with pytest.raises(TrainingStopped):
        run(
            target,
            stop=lambda: len(done) == 1,
            progress=lambda stage, *_: done.extend([1] if stage == "training" else []),
        )
    assert target.with_name("decoder.safetensors.partial").exists()
    run(target)
    assert target.read_bytes() == trained[0].read_bytes()
    run(tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == trained[0].read_bytes()


def test_losses_are_low_for_the_published_decoder(folders, vgg, decoder):
    fresh, published = (training(folders, vgg, OPTIONS) for _ in range(2))
    published.network.network.load_state_dict(decoder.state_dict())
    ours, theirs = fresh.update(0), published.update(0)
    assert theirs["content"] < 0.6 * ours["content"]
    assert theirs["style"] < 0.6 * ours["style"]


def test_losses_are_those_of_the_paper(folders, vgg, decoder):
    options = AdaINOptions(batch=1, crop=32, short_side=48, style_weight=2, content_weight=3)
    learning = training(folders, vgg, options)
    learning.network.network.load_state_dict(decoder.state_dict())
    seen = []
    learning.losses = lambda *inputs: seen.extend(inputs[:2]) or AdaINTraining.losses(learning, *inputs)
    values = learning.update(0)
    content, style = seen
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    z_c, z_s = vgg(content)["relu4_1"], vgg(style, layers)
    std, mean = torch.std_mean(z_c, (2, 3), keepdim=True)
    t = (z_c - mean) / (std**2 + 1e-5).sqrt()
    std, mean = torch.std_mean(z_s["relu4_1"], (2, 3), keepdim=True)
    t = t * (std**2 + 1e-5).sqrt() + mean
    painted = vgg(decoder(t), layers)
    l_c = (painted["relu4_1"] - t).square().mean()
    l_s = 0
    for layer, features in painted.items():
        for one, other in zip(torch.std_mean(features, (2, 3)), torch.std_mean(z_s[layer], (2, 3)), strict=True):
            l_s += (one - other).square().mean()
    assert values["content"] == pytest.approx(3 * l_c.item(), rel=1e-3)
    assert values["style"] == pytest.approx(2 * l_s.item(), rel=1e-3)


def test_it_learns_at_a_rate_that_falls(folders, vgg):
    options = AdaINOptions(batch=2, crop=32, short_side=48, rate=1e-3, rate_decay=0.1)
    learning = training(folders, vgg, options)
    losses = [learning.update(number)["style"] for number in range(12)]
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])
    assert learning.network.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 / 2.1)


def test_an_update_that_is_not_finite_changes_nothing(folders, vgg):
    learning = training(folders, vgg, AdaINOptions(batch=1, crop=32, short_side=48, style_weight=1e38))
    before = {name: value.detach().clone() for name, value in learning.state().items()}
    with pytest.raises(NotFinite, match="style inf"):
        learning.update(0)
    assert all(torch.equal(value, before[name]) for name, value in learning.state().items())


def test_crops_that_do_not_fit(run, tmp_path):
    for options, message in (
        (AdaINOptions(crop=36), "multiple of 8, not 36"),
        (AdaINOptions(crop=64, short_side=48), "crop must be at most short_side 48, not 64"),
    ):
        with pytest.raises(QuantArtError, match=message):
            run(tmp_path / "a.safetensors", options)
    assert list(tmp_path.iterdir()) == []
