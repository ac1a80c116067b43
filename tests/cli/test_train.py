"""``quantart train codebook`` from the command line."""

import json

import PIL.Image
import safetensors.torch

from tests.conftest import scene


def test_codebook(run, tmp_path):
    art = tmp_path / "art"
    art.mkdir()
    for number in range(3):
        PIL.Image.fromarray(scene(70, 60, number)).save(art / f"{number}.png")
    target = tmp_path / "book.safetensors"
    options = ("--entries", "8", "--width", "4", "--samples", "120", "--iterations", "2", "--device", "cpu")
    status, out, err = run("train", "codebook", art, "-o", target, *options, "--json")
    assert status == 0, err
    assert "explained variance" in err
    assert "residual fraction" in err
    assert "codes used" in err
    report = json.loads(out)
    assert report["options"]["entries"] == 8
    assert report["report"]["paintings"] == 3
    assert safetensors.torch.load_file(target)["entries"].shape == (8, 4)


def test_mistakes(run, tmp_path):
    for arguments, message in (
        ((tmp_path / "none", "-o", tmp_path / "b.safetensors"), "is not a folder"),
        ((tmp_path, "-o", tmp_path / "b.pth"), ".safetensors"),
        ((tmp_path, "-o", tmp_path / "none" / "b.safetensors"), "does not exist"),
        ((tmp_path, "-o", tmp_path / "b.safetensors", "--entries", "1"), "entries must be at least 2"),
        ((tmp_path, "-o", tmp_path / "b.safetensors", "--device", "cdua"), "did you mean cuda"),
    ):
        status, _, err = run("train", "codebook", *arguments)
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert list(tmp_path.iterdir()) == []
