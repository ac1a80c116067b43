"""Defaults of one's own: the file, the environment over it, the command line over both; and ``quantart config``."""

import json
import os
from pathlib import Path

import pytest
import typer

from quantart_cli.cli.app import app
from quantart_cli.cli.defaults import Defaults, config_path

COMMANDS = typer.main.get_command(app).commands


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the configuration file."""
    monkeypatch.setenv("QUANTART_CONFIG", str(tmp_path / "config.toml"))
    for name in ("QUANTART_STYLES", "QUANTART_CACHE"):  # what the file sets is undone
        monkeypatch.setenv(name, os.environ.get(name, ""))

    def call(text: str) -> Path:
        (tmp_path / "config.toml").write_text(text)
        return tmp_path / "config.toml"

    return call


def values(command: str, *arguments: str) -> dict:
    """The parameters of a command line, with defaults of one's own."""
    group = typer.main.get_command(app)
    with group.make_context("quantart", [command, *arguments], default_map=Defaults(COMMANDS)) as ctx:
        inner = group.commands[command].make_context(command, list(arguments), parent=ctx)
    return inner.params


def test_the_command_line_goes_over_the_environment_and_that_over_the_file(write, monkeypatch):
    write('size = 100\nseed = 7\ndevice = "cpu"\n[adain]\nsize = 200\nstrength = 0.5\n[batch]\nsize = 1\n')
    files = ("a.jpg", "b.jpg", "-o", "c.png")
    found = values("adain", *files)
    assert (found["size"], found["seed"], found["device"], found["alpha"]) == (200, 7, "cpu", 0.5)
    assert values("stylize", *files)["size"] == 100
    monkeypatch.setenv("QUANTART_SIZE", "300")
    assert values("adain", *files)["size"] == 300
    monkeypatch.setenv("QUANTART_ADAIN_SIZE", "400")
    assert values("adain", *files)["size"] == 400
    assert values("stylize", *files)["size"] == 300
    assert values("adain", *files, "--size", "500")["size"] == 500


def test_flags_and_lists(write, monkeypatch):
    write("quiet = true\nstyle_weights = [0.3, 0.7]\nmax-pixels = 1000\n")
    found = values("adain", "a.jpg", "b.jpg", "-o", "c.png")
    assert (found["quiet"], found["style_weights"], found["max_pixels"]) == (True, "0.3,0.7", 1000)
    monkeypatch.setenv("QUANTART_QUIET", "0")
    assert values("adain", "a.jpg", "b.jpg", "-o", "c.png")["quiet"] is False


def test_an_argument_is_not_called_an_option(run):
    status, _, err = run("config", "adian")
    assert (status, err.startswith("quantart: command 'adian' is not known: did you mean adain?")) == (2, True), err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise = 3", "did you mean size?"),
        ("[adain]\nalhpa = 3", "did you mean alpha?"),
        ("[adain]\noutput = 'x.png'", "output in [adain] of"),
        ("size = ", "is no TOML file"),
        ("adain = 3", "write [adain], then options"),
        ("size = 2000-01-01", "takes a number or a text"),
        ("size = true", "size in FILE takes a number or a text, not true"),
        ("size = 'huge'", "--size takes pixels, one number: 512, not 'huge'; see size in FILE"),
        ("device = 'gpu'", "(one of auto, cpu, cuda, mps); see device in FILE"),
        ("seed = -1\n[adain]\nseed = -2", "--seed must be at least 0, not -2; see seed in [adain] of FILE"),
        ("[adain]\nstrength = 3", "--alpha must be between 0 and 1, not 3; see strength in [adain] of FILE"),
        ("style-weights = [1, 2]", "give one for each style; see style-weights in FILE"),
        ("model = 'nowhere.safetensors'", "nowhere.safetensors does not exist: check the path; see model in FILE"),
        ("quiet = 2", "--quiet takes true or false, not '2'; see quiet in FILE"),
    ],
)
def test_mistakes_are_one_line(run, write, content_file, style_file, tmp_path, text, message):
    path = write(text)
    status, _, err = run("adain", content_file, style_file, "-o", tmp_path / "c.png")
    assert status == 2
    assert message.replace("FILE", str(path)) in err
    assert len(err.splitlines()) == 1
    assert len(err) < 300
    assert run("adain", "--help")[0] == 0


def test_only_a_default_that_is_wrong_is_named(run, write, monkeypatch, content_file, style_file):
    write("size = -1\nseed = 3\n")
    files = content_file, style_file, "-o", "c.png"
    assert run("adain", *files, "--size", "-2")[2] == "quantart: --size must be at least 1, not -2\n"
    monkeypatch.setenv("QUANTART_SIZE", "0")
    assert run("adain", *files)[2] == "quantart: --size must be at least 1, not 0; see QUANTART_SIZE\n"


def test_a_folder_of_the_file_is_named(run, write, tmp_path, monkeypatch):
    monkeypatch.delenv("QUANTART_STYLES", raising=False)
    path = write(f"styles_folder = '{tmp_path}/nowhere'\n")
    assert run("styles")[2].endswith(f"which does not exist: change it; see styles_folder in {path}\n")


def test_a_training_takes_only_its_own_weights(run, write, monkeypatch):
    monkeypatch.setenv("QUANTART_SEED", "5")
    write('style_weight = 2\nmodel = "a.safetensors"\ndevice = "cpu"\n[train.painter]\ncontent_weight = 3\n')
    shown = json.loads(run("config", "--json")[1])["defaults"]
    own = {key: each["value"] for key, each in shown["train.painter"].items()}
    assert own == {"device": "cpu", "content_weight": 3}
    assert {"style_weight", "seed", "model"} <= shown["gatys"].keys()


def test_a_setting_of_another_method_stops_no_batch(run, write, content_file, style_file, tmp_path):
    write("fidelity = 0.5\n[batch]\nsteps = 3\n")
    batch = ("batch", content_file, style_file, "-o", tmp_path / "out", "--method", "adain", "--size", "16")
    assert run(*batch)[0] == 0
    assert "--fidelity is not a setting of this method" in run(*batch, "--fidelity", "0.5")[2]


@pytest.mark.parametrize("text", ["[train]\nrate = 1", "[train.fats]\nrate = 1", "[train]\nfast = 1"])
@pytest.mark.parametrize("command", [("config",), ("train", "fast", "photos", "style.jpg", "-o", "a.safetensors")])
def test_tables_of_trainings_are_checked(run, write, text, command):
    path = write(text)
    status, _, err = run(*command)
    assert (status, str(path) in err, len(err.splitlines())) == (2, True, 1)
    assert "is not known" in err or "write [train.fast]" in err


def test_config_shows_what_holds_and_where_from(run, write, monkeypatch):
    path = write("seed = 7\nstyles_folder = '~/styles'\n[adain]\nsize = 200\n")
    monkeypatch.delenv("QUANTART_STYLES")
    monkeypatch.setenv("QUANTART_ADAIN_SEED", "9")
    lines = run("config")[1].decode().splitlines()
    assert lines[0] == f"# {path}"
    assert 'styles_folder = "~/styles"  # from QUANTART_STYLES' in lines
    at = lines.index("[adain]")
    assert set(lines[at + 1 : at + 3]) == {
        f"size = 200  # from {path} [adain]",
        "seed = 9  # from QUANTART_ADAIN_SEED",
    }
    shown = json.loads(run("config", "adain", "--json")[1])
    assert shown["exists"] is True
    assert shown["defaults"]["adain"]["alpha"] == {"value": 1.0, "source": "quantart"}
    assert shown["defaults"]["adain"]["size"]["value"] == 200


@pytest.mark.parametrize(
    ("arguments", "command", "key", "value"),
    [
        ([], "stylize", "fidelity", 0.8),
        (["stylize"], "stylize", "codebook", "auto"),
        (["video"], "video", "steady", 0.7),
        (["train"], "train.painter", "seed", 0),
        (["train.fast"], "train.fast", "rate", 0.001),
    ],
)
def test_without_a_file_lines_to_copy(run, tmp_path, monkeypatch, arguments, command, key, value):
    monkeypatch.setenv("QUANTART_CONFIG", str(tmp_path / "config.toml"))
    status, out, _ = run("config", *arguments)
    assert status == 0
    assert "does not exist" in out.decode().splitlines()[0]
    (tmp_path / "config.toml").write_bytes(out)
    assert json.loads(run("config", "--json")[1])["defaults"][command][key]["value"] == value


def test_options_of_a_training_are_shown(run, write):
    path = write("[train.fast]\nrate = 0.5\n")
    lines = run("config")[1].decode().splitlines()
    assert lines[-2:] == ["[train.fast]", f"rate = 0.5  # from {path} [train.fast]"]


def test_a_folder_is_no_file(run, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CONFIG", str(tmp_path))
    assert run("config")[::2] == (2, f"quantart: {tmp_path} cannot be read: it is a folder\n")


def test_the_place_of_the_file(monkeypatch):
    monkeypatch.delenv("QUANTART_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert config_path().parts[-2:] == ("quantart", "config.toml")
