"""A whole training of an art autoencoder, in seconds: reproducible, resumable, guarded."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import safetensors
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.training.decoder_trainer import DecoderTrainer, autoencoder_training, falling
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import NotFinite, TrainingStopped
from quantart_cli.training.options import AutoencoderOptions
from quantart_cli.training.pictures import Pictures, name_hash
from tests.conftest import scene

# The discriminator is listened to from the third update on, see the fixture.
OPTIONS = AutoencoderOptions(
    steps=4,
    batch=2,
    crop=64,
    smallest_crop=0.8,
    adversary_weight=1.0,
    adversary_after=1,
    average=0.5,
    log_every=1,
    sheet_every=4,
    hold_out=0.3,
)


def read(path):
    return fill_strictly(ArtCodebook.like, safetensors.torch.load_file(path), path.name)


@pytest.fixture(scope="module", autouse=True)
def _listens_early():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantart_cli.training.adversary.HEAD_START", 1)
        patch.setattr("quantart_cli.training.folders._SHOWN", 1)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = []
    for kind in range(2):
        folder = tmp_path_factory.mktemp("pictures")
        for number in range(8):
            PIL.Image.fromarray(scene(88, 76, 10 * kind + number)).save(folder / f"{number}.png")
        made.append(folder)
    return made


@pytest.fixture(scope="module")
def small():
    """The codebook that came with quantart, a sixteenth of it."""
    book = read(embedded_model("quantart-vgg19").path)
    book.decoder = None
    book.entries = torch.nn.Parameter(book.entries[..., ::16, :].clone(), requires_grad=False)
    return book


@pytest.fixture(scope="module")
def run(vgg, small, decoder):
    def call(folders, target, options=OPTIONS, start=small, **control):
        sources = dict(zip(("photographs", "paintings"), folders, strict=True))
        training = autoencoder_training(options, vgg, start, decoder)
        return train(training, sources, target, options, RunControl(**control))

    return call


@pytest.fixture(scope="module")
def trained(run, folders, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "model.safetensors"
    return target, run(folders, target)


def test_report_log_sheets_and_file(trained):
    target, report = trained
    kept = [number for number in range(8) if name_hash(f"{number}.png") >= 0.3]
    assert 0 < len(kept) < 8
    assert (report.updates, report.skipped) == (4, 0)
    assert report.pictures == {"photographs": len(kept), "paintings": len(kept)}
    log = target.with_name("model.safetensors.training")
    lines = [json.loads(line) for line in (log / "log.jsonl").read_text().splitlines()]
    assert "discriminator" not in lines[0]
    assert "adversary" not in lines[1]
    assert {"content", "style", "gram", "pixel", "perceptual", "texture", "discriminator", "adversary"} <= set(lines[3])
    assert 0 <= lines[3]["lead"] < 0.1  # after three updates nobody tells photographs of noise from paintings of it
    assert PIL.Image.open(log / "000004.png").width == 5 * 68 + 4
    with safetensors.safe_open(target, "pt") as file:
        assert json.loads(file.metadata()["quantart"])["options"]["hold_out"] == 0.3
    assert not target.with_name("model.safetensors.partial").exists()


def test_the_rate_rises_and_falls():
    rates = [falling(3e-4, number, 1000) for number in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == pytest.approx(3e-4, rel=0.01)
    assert rates[500] == pytest.approx(1.5e-4)
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert 0 < rates[-1] < 1e-8
    assert falling(3e-4, 1200, 1000) == 0  # of a training that is ended by fewer than it has


def test_the_file_is_a_codebook_and_a_decoder_that_paint(trained, small, decoder):
    target, _ = trained
    assert all(tensor.dtype == torch.float16 for tensor in safetensors.torch.load_file(target).values())
    book = read(target)
    assert not torch.equal(book.entries, small.entries)
    assert torch.equal(book.project.weight, small.project.weight)
    assert 0 < (book.decoder.conv1_1.weight - decoder.conv1_1.weight).abs().max() < 0.01
    model = quantart.load("quantart", model=target, backend="torch", device="cpu", precision="fp32")
    assert model.program.codebook(QuantArtSettings()) == "art"
    picture = model.stylize(scene(40, 30), scene(50, 40, 2))
    assert np.asarray(picture).std() > 5


def test_another_seed_gives_another_model(trained, run, folders, tmp_path):
    run(folders, tmp_path / "other.safetensors", replace(OPTIONS, seed=1, steps=1))
    entries = (safetensors.torch.load_file(each)["entries"] for each in (trained[0], tmp_path / "other.safetensors"))
    assert not torch.equal(*entries)


def test_stopped_twice_and_gone_on_with_gives_the_same_bytes(trained, run, folders, tmp_path):
    target = tmp_path / "model.safetensors"
    done = []
    for when in (1, 3):
        with pytest.raises(TrainingStopped):
            run(
                folders,
                target,
                stop=lambda when=when: len(done) >= when,
                progress=lambda stage, *_: stage == "training" and done.append(0),
            )
        assert not target.exists()
    run(folders, target)
    assert target.read_bytes() == trained[0].read_bytes()


def test_fewer_updates_than_there_are_end_an_unfinished_training(run, folders, tmp_path):
    target = tmp_path / "model.safetensors"
    done = []
    with pytest.raises(TrainingStopped):
        run(
            folders,
            target,
            stop=lambda: len(done) == 2,
            progress=lambda stage, *_: stage == "training" and done.append(0),
        )
    report = run(folders, target, replace(OPTIONS, steps=1))
    assert report.updates == 2
    assert target.exists()


def test_the_same_seed_gives_the_same_bytes_and_held_out_pictures_change_nothing(trained, run, folders, tmp_path):
    without = []
    for kind, folder in enumerate(folders):
        copied = tmp_path / str(kind)
        shutil.copytree(folder, copied, ignore=lambda _, names: [n for n in names if name_hash(n) < 0.3])
        without.append(copied)
    run(without, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == trained[0].read_bytes()


def test_it_goes_on_from_a_model_of_its_own(trained, run, folders, tmp_path):
    still = replace(OPTIONS, steps=1, rate=0.0, codebook_decay=1.0)
    target = tmp_path / "more.safetensors"
    run(folders, target, still, read(trained[0]))
    before, after = (safetensors.torch.load_file(each) for each in (trained[0], target))
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_an_update_that_is_not_finite_changes_nothing(vgg, small, decoder, folders):
    sick = copy.deepcopy(vgg)
    pictures = [Pictures(sorted(folder.iterdir()), 1e9, lambda *_: None) for folder in folders]
    sources = dict(zip(("photographs", "paintings"), pictures, strict=True))
    trainer = DecoderTrainer(sick, small, decoder, sources, {}, OPTIONS)
    trainer.update(0)
    before = {name: value.detach().clone() for name, value in trainer.state().items()}
    sick.conv1_1.weight.data[0] = torch.nan
    with pytest.raises(NotFinite, match="content nan"):
        trainer.update(1)
    after = trainer.state()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    # The estimates of spectral norms move whenever a discriminator is asked.
    assert all(name.endswith(("_u", "_v")) for name in changed)
    assert all(value.isfinite().all() for value in after.values())


def test_what_a_person_can_get_wrong(run, folders, tmp_path):
    with pytest.raises(QuantArtError, match="crop must be a multiple of 8, not 68"):
        run(folders, tmp_path / "m.safetensors", AutoencoderOptions(crop=68))
    with pytest.raises(QuantArtError, match="is not a folder"):
        run((folders[0], tmp_path / "none"), tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
