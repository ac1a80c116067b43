"""Nothing is asked of the network that a person did not ask for."""

import shutil

import pytest

from quantart_cli.checkpoints.manifest import weights_folder


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    for name in ("socket.socket.connect", "socket.socket.connect_ex", "socket.getaddrinfo", "socket.create_connection"):
        monkeypatch.setattr(name, refuse)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("command", [("stylize",), ("adain",), ("gatys", "--steps", "1")], ids=lambda words: words[0])
def test_painting(run, command, content_file, style_file, tmp_path):
    status, _, err = run(command[0], content_file, style_file, "-o", tmp_path / "o.png", *command[1:])
    assert status == 0, err


@pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("download-weights",),
        ("download-weights", "--list", "--json"),
        ("download-weights", "--verify"),
        ("download-weights", "adain-decoder", "--offline"),
    ],
    ids=" ".join,
)
def test_looking_at_weights(run, words):
    status, _, err = run(*words)
    assert status == 0, err


def test_converting(run, tmp_path):
    status, _, err = run("convert", weights_folder() / "adain-decoder.safetensors", "-o", tmp_path / "d.safetensors")
    assert status == 0, err


def test_training(run, tmp_path, content_file, style_file):
    folder = tmp_path / "art"
    folder.mkdir()
    for number in range(6):
        shutil.copy(content_file if number % 2 else style_file, folder / f"{number}.png")
    arguments = ("--entries", "8", "--width", "8", "--iterations", "2", "--samples", "300")
    status, _, err = run("train", "codebook", folder, "-o", tmp_path / "c.safetensors", *arguments)
    assert status == 0, err


def test_offline_is_said_when_something_is_missing(run, tmp_path):
    status, _, err = run("download-weights", "adain-decoder-fp32", "--offline")
    assert status == 2
    assert "network is not used" in err
