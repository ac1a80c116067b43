"""``quantart train`` from the command line."""

import json
import os
import signal

import PIL.Image
import pytest
import safetensors.torch

from quantart_cli.cli.train_request import stop_signals
from tests.conftest import scene


@pytest.fixture
def pictures(tmp_path):
    """A folder of photographs and one of paintings, two of each."""
    folders = [tmp_path / "photos", tmp_path / "art"]
    for kind, folder in enumerate(folders):
        folder.mkdir()
        for number in range(2):
            PIL.Image.fromarray(scene(80, 72, 10 * kind + number)).save(folder / f"{number}.png")
    return folders


def test_codebook(run, tmp_path):
    art = tmp_path / "art"
    art.mkdir()
    for number in range(3):
        PIL.Image.fromarray(scene(70, 60, number)).save(art / f"{number}.png")
    target = tmp_path / "book.safetensors"
    size = ("--entries", "8", "--width", "4", "--parts", "2")
    options = (*size, "--samples", "120", "--iterations", "2", "--device", "cpu")
    status, out, err = run("train", "codebook", art, "-o", target, *options, "--json")
    assert status == 0, err
    assert "explained variance" in err
    assert "residual fraction" in err
    assert "codes used" in err
    report = json.loads(out)
    assert report["options"]["entries"] == 8
    assert report["report"]["paintings"] == 3
    assert safetensors.torch.load_file(target)["entries"].shape == (2, 8, 2)


def test_mistakes(run, tmp_path):
    for arguments, message in (
        ((tmp_path / "none", "-o", tmp_path / "b.safetensors"), "is not a folder"),
        ((tmp_path, "-o", tmp_path / "b.pth"), ".safetensors"),
        ((tmp_path, "-o", tmp_path / "none" / "b.safetensors"), "does not exist"),
        ((tmp_path, "-o", tmp_path / "b.safetensors", "--entries", "1"), "entries must be at least 2"),
        ((tmp_path, "-o", tmp_path / "b.safetensors", "--parts", "3"), "parts must divide width 256, not 3"),
        ((tmp_path, "-o", tmp_path / "b.safetensors", "--device", "cdua"), "did you mean cuda"),
    ):
        status, _, err = run("train", "codebook", *arguments)
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert list(tmp_path.iterdir()) == []


def autoencoder(run, folders, target, *options):
    small = ("--batch", "2", "--crop", "64", "--device", "cpu", "--sheet-every", "100")
    return run("train", "autoencoder", *folders, "-o", target, *small, *options)


def test_autoencoder(run, pictures, tmp_path):
    target = tmp_path / "model.safetensors"
    status, out, err = autoencoder(run, pictures, target, "--steps", "2", "--precision", "fp32", "--json")
    assert status == 0, err
    assert "2 updates on 2 photographs and 2 paintings, 0 skipped" in err
    report = json.loads(out)
    assert report["options"]["steps"] == 2
    assert report["report"]["updates"] == 2
    assert set(safetensors.torch.load_file(target)) > {
        "entries",
        "project.weight",
        "expand.bias",
        "decoder.conv1_1.bias",
    }


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_it_keeps_what_it_has(run, pictures, tmp_path, monkeypatch, number, expected):
    from quantart_cli.training.decoder_trainer import DecoderTrainer

    update = DecoderTrainer.update

    def and_ask(self, count):
        losses = update(self, count)
        os.kill(os.getpid(), number)
        return losses

    monkeypatch.setattr(DecoderTrainer, "update", and_ask)
    target = tmp_path / "model.safetensors"
    status, _, err = autoencoder(run, pictures, target, "--steps", "50")
    assert status == expected
    assert "stopped after 1 update; the same command resumes from" in err
    state = safetensors.torch.load_file(tmp_path / "model.safetensors.partial" / "checkpoint.safetensors")
    assert state["loop"].tolist() == [1, 0]
    assert not target.exists()


def test_asked_twice_it_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with stop_signals() as asked:
        assert asked() is None
        os.kill(os.getpid(), signal.SIGINT)
        assert asked() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_batch_of_one_is_accepted_everywhere():
    from quantart_cli.training import options

    every = [each for each in vars(options).values() if isinstance(each, type) and hasattr(each, "batch")]
    assert len(every) == 12
    assert all(each(batch=1).batch == 1 for each in every)


def test_painter_from_folders_and_from_shards(run, pictures, tmp_path):
    target, shards = tmp_path / "painter.safetensors", tmp_path / "shards"
    options = ("--steps", "1", "--batch", "2", "--crop", "32", "--device", "cpu", "--precision", "fp32")
    status, out, err = run(
        "train", "painter", *pictures, "--detail-paintings", pictures[1], "-o", target, *options, "--json"
    )
    assert status == 0, err
    assert "1 update on 2 photographs and 2 paintings and 2 detail paintings, 0 skipped" in err
    assert json.loads(out)["options"]["batch"] == 2
    assert safetensors.torch.load_file(target)["decoder.fuse3.weight"].shape == (256, 512, 1, 1)
    status, _, err = run("train", "pack", *pictures, "-o", shards)
    assert status == 0, err
    assert "2 photographs and 2 paintings, 0.0 MB" in err
    again = tmp_path / "again.safetensors"
    more = ("--minutes", "0.00001", "--steps", "9")
    status, _, err = run("train", "painter", "--shards", shards, "-o", again, *options[2:], *more)
    assert status == 0, err
    assert "8 updates left: the same command resumes from" in err


def test_mistakes_of_a_painter(run, pictures, tmp_path):
    target = tmp_path / "p.safetensors"
    for arguments, message in (
        ((), "--shards FOLDER"),
        ((pictures[0],), "--shards FOLDER"),
        ((*pictures, "--shards", tmp_path), "one or the other"),
        (("--shards", tmp_path), "holds no photographs.safetensors"),
        (("--shards", tmp_path, "--hold-out", "0.1"), "give it to train pack"),
        ((*pictures, "--batch", "0"), "batch must be at least 1"),
        ((*pictures, "--model", "vgg19-normalised"), "another kind"),
    ):
        status, _, err = run("train", "painter", *arguments, "-o", target, "--device", "cpu")
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["art", "photos"]


def test_mistakes_of_an_autoencoder(run, pictures, tmp_path):
    for options, message in (
        (("--precision", "fp16"), "fp16"),
        (("--crop", "70"), "crop must be a multiple of 8, not 70"),
        (("--average", "2"), "average must be between 0 and 1"),
        (("--model", "vgg19-normalised"), "a model of another kind"),
        (("--model", str(tmp_path / "none.safetensors")), "does not exist"),
    ):
        status, _, err = autoencoder(run, pictures, tmp_path / "m.safetensors", *options)
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["art", "photos"]
