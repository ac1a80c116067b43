"""``quantart info``, ``cache`` and ``methods``: what is said about weights, machine, cache and methods is true."""

import json

from quantart_cli import registry
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
    assert report["cache"] == {"folder": str(cache_root), "bytes": 0}
    assert report["unused_cuda_bytes"] >= 0


def test_for_people(run, cache_root):
    status, out, _ = run("info", "--device", "cpu", "--precision", "fp32")
    text = out.decode()
    assert status == 0
    assert "computes on cpu in fp32" in text
    for name in module.embedded():
        assert name in text
    assert f"cache {cache_root}: 0.0 MB" in text


def test_damaged_and_missing_weights_are_named(run, tmp_path, monkeypatch, cache_root):
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


def test_unused_cuda_libraries_are_named(run, monkeypatch):
    monkeypatch.setattr("quantart_cli.cli.info._cuda_bytes", lambda: 4_800_000_000)
    _, out, _ = run("info", "--device", "cpu")
    assert "4.8 GB of CUDA libraries are installed and not used here" in out.decode()


def test_the_cache_is_shown_and_cleared(run, hub, use_manifest, cache_root):
    use_manifest(entry("thing", b"data" * 1000, hub_carrier("o/r")))
    hub.files["o/r/w.bin"] = Served(b"data" * 1000)
    path = fetch(module.artefact("thing"))
    (cache_root / "notes.txt").write_text("a person's")
    (cache_root / "pictures").mkdir()
    status, out, _ = run("cache", "--json")
    report = json.loads(out)
    assert (status, report["cache"]) == (0, str(cache_root))
    assert report["bytes"] == sum(part["bytes"] for part in report["parts"]) > 4000
    assert f"cache {cache_root}: 0.0 MB" in run("cache")[1].decode()
    status, out, _ = run("cache", "--clear")
    assert (status, path.exists()) == (0, False)
    assert out.decode().strip().endswith(", cleared")
    assert sorted(entry.name for entry in cache_root.iterdir()) == ["notes.txt", "pictures"]


def test_methods_are_listed(run):
    status, out, _ = run("methods", "--json")
    rows = {row["name"]: row for row in json.loads(out)["methods"]}
    assert status == 0
    assert rows.keys() == registry.methods().keys()
    assert rows["quantart"]["command"] == "stylize"
    assert rows["adain"]["missing"] == []
    assert rows["gatys"]["optimises"] is True
    text = run("methods")[1].decode()
    assert "quantart convert latest_net_adaattn_3.pth" in " ".join(text.split())  # those a person brings
    for method in registry.methods().values():
        assert method.command_name in text
        assert method.paper in text


def test_missing_weights_of_a_method_say_how_to_get_them(run, hub, use_manifest):
    names = dict.fromkeys(name for method in registry.methods().values() for name in method.weights.values())
    use_manifest("".join(entry(name, b"data", hub_carrier("o/r")) for name in names))
    text = run("methods")[1].decode()
    assert "weights: quantart download-weights vgg19-normalised" in text
