"""``--backend``: the same picture from either, the reason where it cannot compute, and what ``--dry-run`` says."""

import json
from importlib.util import find_spec

import numpy as np
import PIL.Image
import pytest

from quantart_cli import model, registry

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


@needs_openvino
@pytest.mark.parametrize("command", ["stylize", "adain"])
def test_both_paint_the_same_picture(run, content_file, style_file, tmp_path, command):
    painted = {}
    for runtime in ("torch", "openvino"):
        out = tmp_path / f"{runtime}.png"
        arguments = ("--device", "cpu", "--precision", "fp32", "--runtime", runtime, "--json")  # as it was called
        status, report, err = run(command, content_file, style_file, "-o", out, *arguments)
        assert status == 0, err
        assert json.loads(report)["backend"] == runtime
        painted[runtime] = np.asarray(PIL.Image.open(out), int)
    assert np.abs(painted["torch"] - painted["openvino"]).max() <= 1


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("gatys", ("--backend", "openvino"), "--backend openvino: it does not compute this form of gatys: use torch"),
        ("adain", ("--backend", "openvino", "--device", "cuda"), "it computes on the CPU, not on cuda"),
        ("adain", ("--backend", "openvino", "--precision", "fp16"), "use bf16 or fp32"),
        ("adain", ("--backend", "opnevino"), "did you mean openvino?"),
    ],
)
def test_what_it_cannot_is_said(run, content_file, style_file, tmp_path, monkeypatch, command, options, sentence):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    status, _, err = run(command, content_file, style_file, "-o", tmp_path / "o.png", *options)
    assert status == 2
    assert sentence in err
    assert err.count("\n") == 1


def test_without_openvino_it_is_torch_and_asking_for_it_says_how(run, content_file, style_file, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, report, _ = run("adain", content_file, style_file, "-o", tmp_path / "o.png", "--json")
    assert status == 0
    assert json.loads(report)["backend"] == "torch"
    status, _, err = run("adain", content_file, style_file, "-o", tmp_path / "p.png", "--backend", "openvino")
    assert status == 2
    assert "quantart-cli[fast]" in err


@pytest.mark.parametrize(
    ("amx", "pixels", "options", "taken"),
    [
        (True, 4_000_000, {}, "torch"),
        (True, 3_999_999, {}, "openvino"),
        (False, 100_000_000, {}, "openvino"),
        (True, 100_000_000, {"precision": "fp32"}, "openvino"),
        (True, 100_000_000, {"backend": "openvino"}, "openvino"),
    ],
)
def test_a_large_picture_is_for_torch_where_the_cpu_multiplies_matrices(monkeypatch, amx, pixels, options, taken):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(model, "has_amx", lambda: amx)
    row = registry.find("adain")
    chosen = {"device": "cpu", "precision": "bf16", "backend": "auto", **options}
    why = model._why_not_openvino(row, row.target, pixels=pixels, **chosen)
    assert ("openvino" if why is None else "torch") == taken


@needs_openvino
def test_without_a_cache_it_paints_and_says_so_once(run, content_file, style_file, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "file"))
    out = tmp_path / "o.png"
    status, report, err = run("adain", content_file, style_file, "-o", out, "--device", "cpu", "--json")
    assert status == 0, err
    assert err.count("without a cache") == 1
    assert json.loads(report)["backend"] == "openvino"


@pytest.mark.parametrize("command", [("stylize",), ("gatys", "--steps", "5")], ids=lambda words: words[0])
def test_a_dry_run_writes_nothing_and_says_what_it_would_take(run, content_file, style_file, tmp_path, command):
    out = tmp_path / "o.png"
    status, report, err = run(command[0], content_file, style_file, "-o", out, "--dry-run", "--json", *command[1:])
    assert status == 0, err
    assert not out.exists()
    assert "nothing was written" in err
    facts = json.loads(report)
    assert facts["dry_run"] is True
    assert facts["bytes"] > 5e7
    assert facts["seconds"] > 0


def test_tiles_by_hand(run, content_file, style_file, tmp_path):
    outs = []
    for tile in ("none", "64"):
        out = tmp_path / f"{tile}.png"
        status, _, err = run("stylize", content_file, style_file, "-o", out, "--tile", tile, "--precision", "fp32")
        assert status == 0, err
        outs.append(np.asarray(PIL.Image.open(out), int))
    assert np.abs(outs[0] - outs[1]).max() <= 1
    for tile in ("32", "-1", "many"):
        status, _, err = run("stylize", content_file, style_file, "-o", tmp_path / "o.png", "--tile", tile)
        assert status == 2
        assert "--tile must be auto, none or at least 64 pixels" in err
