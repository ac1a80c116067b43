"""A whole training of a codebook, in seconds: reproducible, resumable, and of use to the method."""

import json
from dataclasses import replace

import PIL.Image
import pytest
import safetensors
import safetensors.torch
import torch

from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.codebook import Codebook
from quantart_cli.training.codebook import train_codebook
from quantart_cli.training.feature_sampling import sample_features
from quantart_cli.training.options import CodebookOptions
from quantart_cli.training.pictures import name_hash, pictures_below
from tests.conftest import scene

OPTIONS = CodebookOptions(entries=24, width=16, parts=2, samples=600, smallest_scale=1, iterations=5, seed=3)


@pytest.fixture(scope="module")
def paintings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("art")
    (folder / "more").mkdir()
    for number in range(6):
        place = folder / "more" if number % 2 else folder
        PIL.Image.fromarray(scene(90 + number, 80, number)).save(place / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a picture either")
    return folder


@pytest.fixture(scope="module")
def trained(paintings, vgg, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "book.safetensors"
    return target, train_codebook(paintings, target, OPTIONS, vgg)


def test_report_and_file(trained):
    target, report = trained
    assert report.paintings == 6
    assert len(report.unreadable) == 1
    assert "broken.jpg" in report.unreadable[0]
    assert 300 <= report.samples <= 600
    assert 0 < report.residual < 1
    assert 0.5 < report.explained <= 1
    assert 24 < report.used <= 48
    assert 1 < report.perplexity <= 24
    tensors = safetensors.torch.load_file(target)
    book = fill_strictly(Codebook.like, tensors, "trained")
    assert book.entries.shape == (2, 24, 8)
    with safetensors.safe_open(target, "pt") as file:
        assert json.loads(file.metadata()["quantart"])["options"]["seed"] == 3
    assert not target.with_name("book.safetensors.partial").exists()


def test_residual_is_what_quantization_loses(trained, paintings, vgg, tmp_path):
    target, report = trained
    book = fill_strictly(Codebook.like, safetensors.torch.load_file(target), "trained")
    sampled = sample_features(vgg, pictures_below(paintings), tmp_path, OPTIONS, lambda *_: None)
    rows = torch.from_numpy(sampled.rows.astype("float32"))
    weight = torch.from_numpy(sampled.spread)
    with torch.inference_mode():
        quantized = book.expand(book.codes(book.nearest(book.project(rows))))
        lost = ((quantized - rows) * weight).square().sum()
    everything = ((rows - rows.mean(0)) * weight).square().sum()
    assert (lost / everything).item() == pytest.approx(report.residual, rel=0.01)


def test_one_part_is_a_table_of_whole_entries(paintings, vgg, tmp_path, trained):
    target = tmp_path / "book.safetensors"
    report = train_codebook(paintings, target, replace(OPTIONS, parts=1), vgg)
    book = fill_strictly(Codebook.like, safetensors.torch.load_file(target), "trained")
    assert book.entries.shape == (24, 16)
    assert report.residual > trained[1].residual


def test_parts_vary_about_as_much(trained):
    book = fill_strictly(Codebook.like, safetensors.torch.load_file(trained[0]), "trained")
    spread = book.entries.var(1).sum(1)
    assert 0.5 < spread[0] / spread[1] < 2


def test_samples_are_standardised(paintings, vgg, tmp_path):
    one = [paintings / "0.png"]
    options = CodebookOptions(samples=10_000, smallest_scale=1)
    sampled = sample_features(vgg, one, tmp_path, options, lambda *_: None)
    rows = sampled.rows.astype("float32")[:, sampled.spread > 0.3]
    # All positions are there, so mean 0 and deviation 1 but for what was clipped.
    assert abs(rows.mean(0)).max() < 0.05
    assert abs(rows.std(0) - 1).max() < 0.2
    assert abs(rows).max() <= 8


def test_the_same_seed_gives_the_same_bytes(trained, paintings, vgg, tmp_path):
    train_codebook(paintings, tmp_path / "again.safetensors", OPTIONS, vgg)
    assert (tmp_path / "again.safetensors").read_bytes() == trained[0].read_bytes()


@pytest.mark.parametrize("stage", ["features", "k-means++ of part 1/2", "k-means 2/5 of part 2/2"])
def test_interrupted_and_resumed_gives_the_same_bytes(trained, paintings, vgg, tmp_path, stage):
    target = tmp_path / "book.safetensors"

    def interrupt(now, done, *_):
        if now == stage and done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_codebook(paintings, target, OPTIONS, vgg, progress=interrupt)
    assert not target.exists()
    train_codebook(paintings, target, OPTIONS, vgg)
    assert target.read_bytes() == trained[0].read_bytes()


def test_other_options_on_an_unfinished_training_are_refused(paintings, vgg, tmp_path):
    target = tmp_path / "book.safetensors"

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_codebook(paintings, target, OPTIONS, vgg, progress=interrupt)
    other = CodebookOptions(entries=25, width=16, parts=2, samples=600, smallest_scale=1, iterations=5, seed=3)
    with pytest.raises(QuantArtError, match="or restart"):
        train_codebook(paintings, target, other, vgg)
    assert train_codebook(paintings, target, other, vgg, restart=True).used <= 50


def test_held_out_paintings_are_chosen_by_name(paintings):
    everything = pictures_below(paintings)
    kept = pictures_below(paintings, 0.5)
    assert set(kept) == {path for path in everything if name_hash(path.name) >= 0.5}
    assert 0 < len(kept) < len(everything)


def test_what_a_person_can_get_wrong(paintings, vgg, tmp_path):
    with pytest.raises(QuantArtError, match="is not a folder"):
        pictures_below(tmp_path / "nowhere")
    with pytest.raises(QuantArtError, match="holds no pictures"):
        pictures_below(tmp_path)
    with pytest.raises(QuantArtError, match="too few for 5000 entries"):
        train_codebook(paintings, tmp_path / "b.safetensors", CodebookOptions(entries=5000, samples=600), vgg)
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(QuantArtError, match="none of the 1 pictures can be read"):
        train_codebook(tmp_path, tmp_path / "c.safetensors", OPTIONS, vgg)
