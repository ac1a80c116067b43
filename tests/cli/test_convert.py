"""``quantart convert`` from the command line."""

import hashlib
import json

import pytest
import torch

from tests.checkpoints.makers import codebook, lightning, style_vqgan


@pytest.fixture
def ends(tmp_path):
    for end in ("quantized", "continuous"):
        torch.save(lightning(style_vqgan(end)), tmp_path / f"{end}.ckpt")
    return tmp_path / "quantized.ckpt", tmp_path / "continuous.ckpt"


def test_both_ends(run, tmp_path, ends):
    target = tmp_path / "model.safetensors"
    status, out, err = run("convert", ends[0], "--continuous", ends[1], "-o", target, "--half", "--json")
    assert status == 0, err
    sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
    report = json.loads(out)
    assert err.splitlines() == [
        f"{ends[0]} and {ends[1]}: QuantArt on VQGAN (quantized and continuous)",
        "dropped: loss.* (2), epoch, global_step, optimizer_states",
        f"{target}: {report['tensors']} tensors, float16, {target.stat().st_size / 1e6:.1f} MB, sha256 {sha256}",
    ]
    assert report["output"] == str(target)
    assert report["kind"] == "quantart-vqgan"
    assert set(report["config"]) == {"quantized", "continuous"}
    assert report["sha256"] == sha256


@pytest.mark.parametrize(
    ("which", "hint"),
    [
        (0, "this is the quantized end: add --continuous CHECKPOINT2 for the whole fidelity range"),
        (1, "this is the continuous end: give the quantized checkpoint too for the whole fidelity range"),
    ],
)
def test_one_end_says_what_is_missing(run, tmp_path, ends, which, hint):
    status, out, err = run("convert", ends[which], "-o", tmp_path / "model.safetensors")
    assert (status, out) == (0, b"")
    assert err.splitlines()[-1] == hint


def test_quiet(run, tmp_path):
    torch.save(codebook(), tmp_path / "m.pth")
    assert run("convert", tmp_path / "m.pth", "-o", tmp_path / "m.safetensors", "--quiet") == (0, b"", "")


def test_mistakes(run, tmp_path):
    source = tmp_path / "m.safetensors"
    torch.save(codebook(), tmp_path / "m.pth")
    assert run("convert", tmp_path / "m.pth", "-o", source, "--quiet")[0] == 0
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "link.safetensors").symlink_to(source)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    for arguments, message in (
        ((source, "-o", tmp_path / "n.pth"), "n.pth must end in .safetensors"),
        ((source, "-o", source), "is an input and would be overwritten"),
        ((source, "-o", tmp_path / "link.safetensors"), "is an input and would be overwritten"),
        ((tmp_path / "m.pth", "--continuous", source, "-o", source), "is an input and would be overwritten"),
        ((source, "-o", tmp_path / "folder.safetensors"), "is a folder: give a file name"),
        ((source, "-o", tmp_path / "none" / "n.safetensors"), "first, it does not exist"),
        ((tmp_path / "none.pth", "-o", tmp_path / "n.safetensors"), "none.pth does not exist"),
        ((tmp_path, "-o", tmp_path / "n.safetensors"), "is a folder"),
        ((source, "--continuous", source, "-o", tmp_path / "n.safetensors"), "--continuous joins the two ends"),
    ):
        status, out, err = run("convert", *arguments)
        assert (status, out) == (2, b""), err
        assert err.count("\n") == 1
        assert message in err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()} == before


def test_interrupted(run, tmp_path, monkeypatch):
    torch.save(codebook(), tmp_path / "m.pth")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("quantart_cli.files.fsync", interrupt)
    status, _, err = run("convert", tmp_path / "m.pth", "-o", tmp_path / "m.safetensors")
    assert (status, err) == (130, "quantart: interrupted, nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pth"]
