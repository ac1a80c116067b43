"""Trainings of SANet and AdaAttN on tiny crops: the recorded losses, reproducible, resumable, end to end."""

import dataclasses

import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.layouts import vgg19_from_published
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.errors import QuantArtError
from quantart_cli.nets import adaattn, sanet
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.attention import AdaAttNTraining, SANetTraining
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import NotFinite, TrainingStopped
from quantart_cli.training.options import AdaAttNOptions, SANetOptions
from tests.conftest import DATA, scene
from tests.fill import filled

SMALL = {"batch": 2, "crop": 32, "short_side": 40, "seed": 3, "log_every": 1, "sheet_every": 100}
FORMS = {"sanet": (SANetTraining, SANetOptions), "adaattn": (AdaAttNTraining, AdaAttNOptions)}
NAMES = ("photographs", "paintings")


def pictures():
    found = [[torch.from_numpy(scene(48, 44 + i, 10 * kind + i)).permute(2, 0, 1) for i in range(3)] for kind in (0, 1)]
    return dict(zip(NAMES, found, strict=True))


def begin(kind, vgg, **options):
    made, chosen = FORMS[kind]
    shown = dict.fromkeys(NAMES, torch.rand(1, 3, 32, 32))
    return made(vgg, pictures(), shown, chosen(**{**SMALL, **options}))


@pytest.fixture(scope="module")
def recorded_vgg():
    return fill_strictly(lambda _: VGG19(), vgg19_from_published(filled("vgg_filled")), "vgg")


def recorded(name):
    found = safetensors.torch.load_file(DATA / f"{name}.safetensors")
    return {name: value.float() / 255 if value.dtype == torch.uint8 else value for name, value in found.items()}


def filled_with(training, published, *cases):
    state = {name: value for case in cases for name, value in filled(case).items()}
    training.network.network.load_state_dict(published(state))
    return training


def ones(options):
    return {item.name: 1.0 for item in dataclasses.fields(options) if item.name.endswith("_weight")}


def test_losses_of_sanet_are_the_recorded_ones(recorded_vgg):
    learning = begin("sanet", recorded_vgg, **ones(SANetOptions))
    filled_with(learning, sanet.from_published, "sanet_transform", "sanet_decoder")
    case = recorded("sanet")
    content, style, crop = case["content"], case["style"], case["style"][:, :, :48, :64]
    with torch.no_grad():
        c, s, cropped = (learning.features(each) for each in (content, style, crop))
        pixels, features = (
            sum(each)
            for each in zip(learning.reconstruction(content, c), learning.reconstruction(crop, cropped), strict=True)
        )
        learning.reconstruction = lambda *_: (torch.zeros(()), torch.zeros(()))  # odd sizes have none
        found = learning.losses(content, style, c, s)
    for value, name in (
        (found["content"], "content"),
        (found["style"], "style"),
        (pixels, "identity1"),
        (features, "identity2"),
    ):
        assert value.item() == pytest.approx(case[f"loss_{name}"].item(), rel=1e-4)


def test_losses_of_adaattn_are_the_recorded_ones(recorded_vgg):
    learning = begin("adaattn", recorded_vgg, **ones(AdaAttNOptions))
    filled_with(learning, adaattn.from_published, "adaattn_3", "adaattn_transformer", "adaattn_decoder")
    case = recorded("adaattn")
    with torch.no_grad():
        c, s = (learning.features(case[name]) for name in ("content", "style"))
        found = learning.losses(case["content"], case["style"], c, s)
    for name in ("global", "local"):
        assert found[name].item() == pytest.approx(case[f"loss_{name}"].item(), rel=1e-4)


@pytest.mark.parametrize("kind", FORMS)
def test_resumed_training_is_the_same_bit_for_bit_and_all_is_trained(kind, vgg):
    first, resumed = (begin(kind, vgg, batch=1) for _ in range(2))
    first.update(0)
    for name, weights in first.network.network.named_parameters():
        if not name.endswith(".g.bias"):  # softmax does not depend on it
            assert weights.grad.abs().max() > 0, name
    first.update(1)
    resumed.load_state({name: value.clone() for name, value in first.state().items()})
    assert resumed.update(2) == first.update(2)
    state = first.state()
    assert all(torch.equal(value, state[name]) for name, value in resumed.state().items())


@pytest.mark.parametrize("kind", FORMS)
def test_from_folders_to_a_picture(kind, vgg, tmp_path):
    folders = {}
    for name, each in pictures().items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for i, picture in enumerate(each):
            PIL.Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folders[name] / f"{i}.png")
    options, target, done = FORMS[kind][1](**{**SMALL, "steps": 2, "batch": 1}), tmp_path / "model.safetensors", []
    control = RunControl(stop=lambda: bool(done), progress=lambda stage, *_: done.extend([1] * (stage == "training")))
    with pytest.raises(TrainingStopped):
        train(FORMS[kind][0].training(options, vgg), folders, target, options, control)
    assert train(FORMS[kind][0].training(options, vgg), folders, target, options).updates == 2
    assert read_header(target).metadata["kind"] == kind
    model = quantart.load(kind, model=target, device="cpu", precision="fp32")
    assert model.stylize(scene(40, 33), scene(33, 40)).size == (40, 33)


def test_an_update_that_is_not_finite_changes_nothing(vgg):
    learning = begin("adaattn", vgg, batch=1, global_weight=1e38)
    before = {name: value.detach().clone() for name, value in learning.state().items()}
    with pytest.raises(NotFinite, match="global inf"):
        learning.update(0)
    assert all(torch.equal(value, before[name]) for name, value in learning.state().items())


def test_rates(vgg):
    rates = [begin("adaattn", vgg, steps=10, rate=1.0).rate(number) for number in (0, 4, 7, 10)]
    assert rates == pytest.approx([1, 1, 0.5, 0])
    assert begin("sanet", vgg, rate=1.0, rate_decay=0.1).rate(10) == pytest.approx(0.5)


def test_crops_that_do_not_fit(vgg):
    for made, options, message in (
        (SANetTraining, SANetOptions(crop=40), "multiple of 16, not 40"),
        (AdaAttNTraining, AdaAttNOptions(crop=64, short_side=48), "crop must be at most short_side 48, not 64"),
    ):
        with pytest.raises(QuantArtError, match=message):
            made.training(options, vgg)
