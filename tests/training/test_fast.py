"""Training a network for given styles: losses of the papers, reproducible, resumed to the same bytes, and it paints."""

import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import torch

import quantart_cli as quantart
from quantart_cli.cli.train import _sized
from quantart_cli.cli.train_request import Request
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.fast import LAST, StyleNetwork
from quantart_cli.training import fast
from quantart_cli.training.fast import FastTraining, _gram, fast_training, read_styles
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import TrainingStopped
from quantart_cli.training.losses import gram
from quantart_cli.training.options import FastOptions
from quantart_cli.training.pictures import Pictures
from tests.conftest import scene

OPTIONS = FastOptions(steps=20, batch=2, crop=32, style_size=48, sheet_every=20, seed=3)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Networks of few channels."""

    def small(styles):
        return StyleNetwork((4, 6, 8, 6, 4), 1, styles)

    monkeypatch.setattr("quantart_cli.training.fast.StyleNetwork", small)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        PIL.Image.fromarray(scene(60, 50 + number, number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def style_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    for number, name in enumerate(("ink", "waves")):
        PIL.Image.fromarray(scene(64, 56, 20 + number)).save(folder / f"{name}.png")
    return [folder / "ink.png", folder / "waves.png"]


def training(photos, style_files, vgg, **options):
    options = dataclasses.replace(OPTIONS, **options)
    styles = read_styles(style_files, options.style_size)
    pictures = Pictures(sorted(photos.glob("*.png")), 1e9)
    return FastTraining(vgg, styles, pictures, torch.rand(1, 3, 32, 32), options)


def test_the_same_seed_gives_the_same_bytes_stopped_or_not(photos, style_files, vgg, tmp_path):
    def call(target, **control):
        made = fast_training(OPTIONS, vgg, read_styles(style_files, OPTIONS.style_size))
        return train(made, {"photographs": photos}, target, OPTIONS, RunControl(**control))

    report = call(tmp_path / "a.safetensors")
    assert (report.updates, report.skipped, report.pictures) == (20, 0, {"photographs": 3})
    done = []
    with pytest.raises(TrainingStopped):
        call(
            tmp_path / "b.safetensors",
            stop=lambda: len(done) == 7,
            progress=lambda stage, *_: done.extend([1] if stage == "training" else []),
        )
    call(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.safetensors.training" / "000020.png").exists()
    model = quantart.load("fast", model=tmp_path / "a.safetensors", device="cpu", precision="fp32")
    assert model.stylize(scene(41, 37), style_names="waves").size == (41, 37)


def test_losses_are_those_of_the_papers(photos, style_files, vgg):
    learning = training(photos, style_files, vgg, content_weight=3, style_weight=2, tv_weight=5)
    seen = []
    learning._painted = lambda content, chosen, **_: (
        seen.append((content, chosen, FastTraining._painted(learning, content, chosen))) or seen[-1][-1]
    )
    values = learning.update(0)
    content, chosen, image = seen[0]
    image = image.detach()
    assert sorted(chosen) == [0, 1]
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    wanted = torch.nn.functional.mse_loss(vgg(image, ("relu3_1",))["relu3_1"], vgg(content, ("relu3_1",))["relu3_1"])
    assert values["content"] == pytest.approx(3 * wanted.item(), rel=1e-3)
    styles = [list(read_styles(style_files, 48).values())[number] for number in chosen]
    off = []
    for layer, features in vgg(image, layers).items():
        for own, style in zip(gram(features), styles, strict=True):
            theirs = gram(vgg(style, (layer,))[layer])[0]
            off.append((own - theirs).square().sum() / theirs.square().sum())
    assert values["style"] == pytest.approx(2 * torch.stack(off).mean().item(), rel=1e-3)
    steps = [(image.diff(dim=axis) ** 2).mean() for axis in (2, 3)]
    assert values["tv"] == pytest.approx(5 * sum(steps).item() / 2, rel=1e-3)


def test_it_learns_and_styles_become_different(photos, style_files, vgg):
    learning = training(photos, style_files, vgg, rate=3e-3, steps=1000)
    first = learning.network.network.styles["ink"].clone()
    losses = [learning.update(number)["style"] for number in range(12)]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    ink, waves = learning.network.network.styles.values()
    contract = learning.network.network.norms["contract1"]
    assert (ink[:, contract] - first[:, contract]).abs().max() > 1e-3
    assert (ink - waves)[:, contract].abs().max() > 1e-3


def test_the_last_layer_begins_with_the_colours_of_the_style(photos, style_files, vgg):
    learning = training(photos, style_files, vgg)
    network = learning.network.network
    scale, shift = network.styles["waves"][:, network.norms[LAST]].detach()
    picture = read_styles(style_files, 48)["waves"][0].flatten(1)
    values = (shift[:, None] + scale[:, None] * torch.randn(3, 20_000)).sigmoid()
    torch.testing.assert_close(values.mean(1), picture.mean(1), atol=0.02, rtol=0)
    torch.testing.assert_close(values.std(1), picture.std(1), atol=0.05, rtol=0)


def test_mistakes(photos, style_files, vgg, tmp_path):
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "ink.png")
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "a:b.png")
    for files, message in (
        ([*style_files, tmp_path / "ink.png"], "two styles are named ink"),
        ([tmp_path / "a:b.png"], "without commas and colons"),
    ):
        with pytest.raises(QuantArtError, match=message):
            read_styles(files, 48)
    with pytest.raises(QuantArtError, match="multiple of 4, not 34"):
        fast_training(dataclasses.replace(OPTIONS, crop=34), vgg, {})


def test_from_the_command_line(run, photos, style_files, tmp_path):
    target = tmp_path / "network.safetensors"
    small = ("--steps", "2", "--batch", "2", "--crop", "32", "--style-size", "48", "--device", "cpu")
    status, out, err = run("train", "fast", photos, *style_files, "-o", target, *small, "--precision", "fp32", "--json")
    assert (status, json.loads(out)["report"]["updates"]) == (0, 2), err
    assert "2 updates on 3 photographs" in err
    painted = tmp_path / "painted.png"
    common = ("--model", target, "--device", "cpu", "--precision", "fp32")
    status, _, err = run("fast", photos / "0.png", "-o", painted, *common, "--style", "ink:3,waves")
    assert status == 0, err
    with PIL.Image.open(painted) as picture:
        assert picture.size == (60, 50)


def test_the_gradient_of_gram_matrices():
    z = torch.randn(2, 5, 6, 7, requires_grad=True)
    weights = torch.randn(2, 5, 5)
    own, expected = (torch.autograd.grad((of(z) * weights).sum(), z)[0] for of in (_gram, gram))
    torch.testing.assert_close(own, expected)


@pytest.mark.parametrize(("device", "given", "batch"), [("cpu", (), 4), ("cuda:1", (), 8), ("cuda", ("batch",), 4)])
def test_the_default_batch_is_larger_on_a_gpu(device, given, batch):
    unset = tuple({"batch"} - {*given})
    request = Request(options=FastOptions(), unset=unset, output="a.safetensors", device=device)
    assert _sized(request, DeviceSpec(device, "bf16", "asked"), "fast").batch == batch


def test_the_temporal_loss_makes_the_network_steadier(photos, style_files, vgg):
    off = []
    for weight in (0, 10_000):
        learning = training(photos, style_files, vgg, rate=1e-2, steps=1000, temporal=weight)
        values = [learning.update(number) for number in range(20)]
        torch.manual_seed(0)
        content = torch.from_numpy(np.stack([scene(32, 32, seed) for seed in (7, 8)])).permute(0, 3, 1, 2) / 255
        moved, motion = fast._moved(content)
        with torch.no_grad():
            found = fast._unsteady(*(learning._painted(each, [0, 1]) for each in (content, moved)), motion)
        off.append(found.item())
    assert off[1] < 0.5 * off[0]
    assert values[-1]["temporal"] < values[0]["temporal"]


def test_what_moved_is_compared_with_where_it_was():
    image = torch.rand(1, 3, 12, 12)
    for y, x in ((0, 0), (3, 5)):
        moved = torch.zeros_like(image)
        moved[..., : 12 - y, : 12 - x] = image[..., y:, x:]
        assert fast._unsteady(image, moved, (y, x)) == 0
    assert fast._unsteady(image, image, (1, 0)) > 0
    torch.manual_seed(1)
    content = torch.full((1, 3, 32, 32), 0.5)
    moved, (y, x) = fast._moved(content)
    assert 0 <= min(y, x) <= max(y, x) <= 8
    assert moved.shape == content.shape
    assert (moved - content).std() == pytest.approx(0.02, rel=0.1)
