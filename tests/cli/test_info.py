"""``quantart info`` tells the truth about weights and machine."""

import json

from quantart_cli.checkpoints import manifest as module


def test_json(run):
    status, out, _ = run("info", "--json", "--device", "cpu")
    report = json.loads(out)
    assert status == 0
    assert report["device"] == "cpu"
    assert report["precision"] in ("bf16", "fp32")
    assert report["why"]
    assert {row["name"]: row["state"] for row in report["weights"]} == dict.fromkeys(module.manifest(), "verified")
    assert report["packages"]["torch"]


def test_for_people(run):
    status, out, _ = run("info", "--device", "cpu", "--precision", "fp32")
    text = out.decode()
    assert status == 0
    assert "computes on cpu in fp32" in text
    for name in module.manifest():
        assert name in text


def test_damaged_and_missing_weights_are_told(run, tmp_path, monkeypatch):
    good = module.weights_folder()
    (tmp_path / "manifest.toml").write_bytes((good / "manifest.toml").read_bytes())
    (tmp_path / "adain-decoder.safetensors").write_bytes(b"not the decoder")
    known = module.manifest()
    monkeypatch.setattr(module, "weights_folder", lambda: tmp_path)
    status, out, _ = run("info", "--json")
    states = {row["name"]: row["state"] for row in json.loads(out)["weights"]}
    assert status == 1
    assert states == {**dict.fromkeys(known, "missing"), "adain-decoder": "damaged"}
