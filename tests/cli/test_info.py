"""``quantart info`` tells the truth about weights and machine."""

import json

from quantart_cli.checkpoints import manifest as module
from quantart_cli.checkpoints.download import fetch
from tests.checkpoints.servers import Served, entry, hub_carrier


def test_json(run, cache_root):
    status, out, _ = run("info", "--json", "--device", "cpu")
    report = json.loads(out)
    assert status == 0
    assert report["device"] == "cpu"
    assert report["precision"] in ("bf16", "fp32")
    assert report["why"]
    assert {row["name"]: row["state"] for row in report["weights"]} == dict.fromkeys(module.embedded(), "verified")
    assert report["packages"]["torch"]


def test_for_people(run, cache_root):
    status, out, _ = run("info", "--device", "cpu", "--precision", "fp32")
    text = out.decode()
    assert status == 0
    assert "computes on cpu in fp32" in text
    for name in module.embedded():
        assert name in text


def test_damaged_and_missing_weights_are_told(run, tmp_path, monkeypatch, cache_root):
    good = module.weights_folder()
    (tmp_path / "manifest.toml").write_bytes((good / "manifest.toml").read_bytes())
    (tmp_path / "adain-decoder.safetensors").write_bytes(b"not the decoder")
    known = module.embedded()
    monkeypatch.setattr(module, "weights_folder", lambda: tmp_path)
    status, out, _ = run("info", "--json")
    states = {row["name"]: row["state"] for row in json.loads(out)["weights"]}
    assert status == 1
    assert states == {**dict.fromkeys(known, "missing"), "adain-decoder": "damaged"}


def test_downloaded_weights_are_named(run, hub, use_manifest):
    use_manifest(entry("thing", b"data", hub_carrier("o/r")) + entry("not-here", b"more", hub_carrier("o/r")))
    hub.files["o/r/w.bin"] = Served(b"data")
    path = fetch(module.artefact("thing"))
    status, out, _ = run("info", "--json")
    assert (status, [(row["name"], row["state"]) for row in json.loads(out)["weights"]]) == (0, [("thing", "present")])
    path.unlink()
    path.write_bytes(b"dat")
    status, out, _ = run("info", "--json")
    assert (status, [(row["name"], row["state"]) for row in json.loads(out)["weights"]]) == (1, [("thing", "damaged")])
