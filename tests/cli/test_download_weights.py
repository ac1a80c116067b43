"""``quantart download-weights`` from the command line."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.manifest import manifest
from quantart_cli.checkpoints.models import find_model
from tests.checkpoints.servers import COMMIT, HubServer, Served, entry, hub_carrier, serving, sha256
from tests.cli.test_help import imported_by

DATA = os.urandom(30_000)
MODEL = safetensors.torch.save({"a": torch.arange(6.0)})
BY_HAND = (
    '[[artefact]]\nname = "by-hand"\npurpose = "a test"\nkind = "sanet"\nlicence = "MIT"\nsource = "a drive"\n'
    'how = "yourself"\n'
)


@pytest.fixture
def known(hub, use_manifest):
    """Three artefacts: one there, one the Hub has not got, one to be brought by hand."""
    hub.files["o/r/w.bin"] = Served(DATA)
    two = entry("gone", b"gone", hub_carrier("o/gone"), hub_carrier("o/gone2"))
    use_manifest(entry("thing", DATA, hub_carrier("o/r", revision=COMMIT)) + two + BY_HAND)
    return hub


def states(out):
    return {row["name"]: row["state"] for row in json.loads(out)["weights"]}


def test_without_arguments_the_list_is_shown_and_nothing_asked(run, cache_root, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    status, out, err = run("download-weights")
    lines = out.decode().splitlines()
    assert (status, err) == (0, "")
    assert max(map(len, lines[:-2])) <= 80
    assert lines[0].split() == ["name", "state", "size", "where"]
    assert [line.split()[0] for line in lines[1:] if not line.startswith((" ", "by hand:", "cache:"))] == list(
        manifest()
    )
    at = next(number for number, line in enumerate(lines) if line.startswith("vgg19 "))
    assert lines[at].split()[1:4] == ["missing", "575", "MB"]
    assert lines[at + 1] == "  VGG-19 as torchvision trained it (licence: BSD-3-Clause)"
    assert lines[-2:] == [f"cache: {cache_root}", "  0 MB downloaded, 0 MB computed"]
    assert run("download-weights", "--list")[1].decode().splitlines() == lines
    assert len({line.index("present") for line in lines if "present" in line}) == 1
    assert not cache_root.exists()


def test_a_download_then_the_list_then_verifying(run, known, cache_root):
    status, out, err = run("download-weights", "thing")
    assert (status, out) == (0, b"")
    path = cache.find("thing").path
    assert err == f"thing: {path} (verified, from the Hub (o/r))\n"
    assert states(run("download-weights", "--json")[1]) == {"thing": "present", "gone": "missing", "by-hand": "by hand"}
    status, out, _ = run("download-weights", "--verify", "--json")
    assert (status, states(out)["thing"]) == (0, "verified")
    before = len(known.requests)
    assert run("download-weights", "thing", "--quiet") == (0, b"", "")
    assert len(known.requests) == before
    path.unlink()
    path.write_bytes(DATA[::-1])
    status, out, err = run("download-weights", "--verify")
    assert status == 1
    assert "damaged" in out.decode()
    assert err == "quantart: thing is damaged: quantart download-weights thing gets it again\n"
    assert run("download-weights", "thing", "--quiet")[0] == 0
    assert run("download-weights", "--verify", "thing", "--quiet")[0] == 0


def test_verify_of_a_name_that_is_not_here(run, known):
    assert run("download-weights", "--verify", "thing")[0] == 1


def test_all_gets_what_it_can_and_tells_the_rest(run, known):
    status, out, err = run("download-weights", "--all", "--json")
    lines = err.splitlines()
    assert status == 2
    assert states(out) == {"thing": "present", "gone": "missing"}
    assert lines[1:3] == [
        "gone: the Hub (o/gone): HTTP 404: it has no file w.bin",
        "gone: the Hub (o/gone2): HTTP 404: it has no file w.bin",
    ]
    assert lines[3].startswith("quantart: weights gone could not be downloaded: none of 2 carriers has them")
    assert len(lines) == 4
    (note,) = (row["note"] for row in json.loads(out)["weights"] if row["name"] == "gone")
    assert "could not be downloaded" in note


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["thingg"], "quantart: weights 'thingg' are not known: did you mean thing?"),
        (["thing", "nothing-like-it"], "quantart: weights 'nothing-like-it' are not known:"),
        (["owner/repo/m.safetensors"], "a file of the Hub is hf://owner/repo/file.safetensors"),
        (["hf://o/r/m.pth"], "must end in .safetensors: quantart convert"),
        (["by-hand-2"], "quantart: weights 'by-hand-2' are not known: use one of thing, gone\n"),
        (["by-hand"], "cannot be downloaded by quantart: yourself"),
        (["thing", "--offline"], "weights thing could not be downloaded: the Hub (o/r): it is not in the Hub's cache"),
        (["gone", "--quiet"], "quantart: weights gone could not be downloaded"),
    ],
)
def test_mistakes_are_one_line_and_status_2(run, known, cache_root, arguments, said):
    status, out, err = run("download-weights", *arguments)
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1
    assert said in err
    assert cache.find("thing") is None


def test_a_link_in_the_cache_is_one_line_and_status_2(run, known, tmp_path):
    assert run("download-weights", "thing")[0] == 0
    path = cache.find("thing").path
    path.unlink()
    (tmp_path / "passwd").write_bytes(DATA)
    path.symlink_to(tmp_path / "passwd")
    status, out, err = run("download-weights", "thing")
    assert (status, out) == (2, b"")
    assert err == f"quantart: {path} in the cache is a symbolic link, which is never followed: remove it\n"
    status, out, err = run("download-weights", "--verify", "--json")
    assert (status, states(out)["thing"]) == (1, "damaged")
    assert path.is_symlink()


def test_another_folder_for_this_run(run, known, cache_root, tmp_path):
    other = tmp_path / "other"
    assert run("download-weights", "thing", "--dir", other)[0] == 0
    assert not cache_root.exists()
    assert states(run("download-weights", "--dir", other, "--json")[1])["thing"] == "present"
    assert states(run("download-weights", "--json")[1])["thing"] == "missing"


def test_a_file_of_the_hub_is_listed_with_the_rest(run, known):
    known.files["o/m/m.safetensors"] = Served(MODEL)
    assert run("download-weights", "hf://o/m/m.safetensors")[0] == 0
    report = json.loads(run("download-weights", "--json")[1])
    row = report["weights"][-1]
    assert (row["name"], row["state"], row["sha256"]) == ("hf://o/m@main/m.safetensors", "present", sha256(MODEL))
    assert Path(row["path"]).read_bytes() == MODEL


def test_a_process_with_nothing_but_its_environment(tmp_path):
    """The real client, reached through HF_ENDPOINT, its cache through HF_HOME, ours through QUANTART_CACHE."""
    server = HubServer()
    server.files["o/r/m.safetensors"] = Served(MODEL, redirect=True, cut=[20])
    with serving(server) as address:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "hf_of_the_test",
            "QUANTART_CACHE": str(tmp_path / "cache"),
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-m", "quantart_cli", "download-weights", "hf://o/r/m.safetensors", "--json"]
        requests = []
        for more, offline in ((), "0"), (("--offline",), "1"):
            done = subprocess.run(
                [*command, *more], env={**environment, "HF_HUB_OFFLINE": offline}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            (row,) = json.loads(done.stdout)["weights"]
            assert Path(row["path"]).read_bytes() == MODEL
            assert Path(row["path"]).is_relative_to(tmp_path / "cache")
            requests.append(len(server.requests))
        assert requests[0] == requests[1]
    assert server.downloads() == 2  # one was cut
    assert "Bearer hf_of_the_test" in server.tokens
    assert (tmp_path / "hf" / "hub").is_dir()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--verify"]])
def test_the_list_needs_neither_torch_nor_the_hub_client(arguments, cache_root):
    modules = imported_by(f"from quantart_cli.cli import main; main({['download-weights', *arguments]})")
    assert "typer" in modules
    assert not modules & {"torch", "huggingface_hub", "filelock"}


def test_a_file_that_a_person_brought_is_kept(run, tmp_path, monkeypatch):
    """By its name it is then found as if it had been downloaded."""
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))  # other tests expect it missing
    for kind in ("sanet", "adaattn"):
        safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / f"{kind}.safetensors", {"kind": kind})
    for words, said in (
        (("sanet",), "weights sanet (32 MB, licence: not stated where they are published) cannot be downloaded"),
        (("sanet",), "quantart convert transformer_iter_500000.pth decoder_iter_500000.pth -o sanet.safetensors"),
        (("sanet", "--from", tmp_path / "adaattn.safetensors"), "is AdaAttN, not SANet: get transformer_iter"),
        (("vgg19", "--from", tmp_path / "sanet.safetensors"), "not brought by hand"),
        (("sanet", "adaattn", "--from", tmp_path / "sanet.safetensors"), "--from takes one NAME"),
    ):
        status, _, err = run("download-weights", *words)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err
    status, out, err = run("download-weights", "sanet", "--from", tmp_path / "sanet.safetensors", "--json")
    assert (status, states(out)) == (0, {"sanet": "present"})
    (tmp_path / "sanet.safetensors").unlink()
    assert find_model("sanet", ("sanet",)).path.read_bytes()
    assert run("download-weights", "sanet")[0] == 0
    assert states(run("download-weights", "sanet", "--verify", "--json")[1]) == {"sanet": "verified"}
    rows = {row["name"]: row for row in json.loads(run("methods", "--json")[1])["methods"]}
    assert (rows["sanet"]["missing"], rows["adaattn"]["missing"]) == ([], ["adaattn"])


def test_painting_downloads_a_methods_own_weights(run, hub, use_manifest, content_file, style_file, tmp_path):
    data = safetensors.torch.save({"a": torch.zeros(1)}, metadata={"kind": "sanet"})
    hub.files["o/r/w.bin"] = Served(data)
    use_manifest(entry("sanet", data, hub_carrier("o/r", revision=COMMIT)))
    words = ("sanet", content_file, style_file, "-o", tmp_path / "o.png", "--download")
    assert "downloading sanet" in run(*words)[2]
    assert "--download needs --model: sanet's own weights are here already" in run(*words)[2]
