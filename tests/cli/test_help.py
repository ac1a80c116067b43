"""Help is quick, does not import torch, and shows what the settings say."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields

import pytest
import typer

from quantart_cli import __version__
from quantart_cli.cli.app import app
from quantart_cli.registry import methods
from quantart_cli.settings import rule_of


def imported_by(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after some code."""
    program = f"import sys\ntry:\n  {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("arguments", [["--help"], ["stylize", "--help"], ["gatys", "--help"]])
def test_help_imports_neither_torch_nor_torchvision(arguments):
    modules = imported_by(f"from quantart_cli.cli import main; main({arguments})")
    assert "typer" in modules
    assert not modules & {"torch", "torchvision", "huggingface_hub"}


def test_painting_never_imports_torchvision(content_file, style_file, tmp_path):
    arguments = ["stylize", str(content_file), str(style_file), "-o", str(tmp_path / "o.png"), "--backend", "torch"]
    modules = imported_by(f"from quantart_cli.cli import main; main({arguments})")
    assert (tmp_path / "o.png").exists()
    assert "torch" in modules
    assert "torchvision" not in modules


def test_an_error_found_without_torch_does_not_import_it(content_file, tmp_path):
    arguments = ["stylize", str(content_file), str(tmp_path / "nowhere.png"), "-o", str(tmp_path / "o.png")]
    assert "torch" not in imported_by(f"from quantart_cli.cli import main; main({arguments})")


def test_help_names_options_as_they_are_written(run):
    assert not re.search(rb"--[a-z]+_", run("video", "--help")[1])


@pytest.mark.parametrize("method", methods().values(), ids=lambda method: method.name)
def test_help_shows_every_setting_with_its_default(run, monkeypatch, method):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 500)  # each option in one line
    status, out, _ = run(method.command_name, "--help")
    assert status == 0
    words = " ".join(out.decode().split())
    for item in fields(method.settings):
        rule = rule_of(item)
        for name in (item.name, *rule.aliases):
            assert f"--{name.replace('_', '-')}" in words
        default = "" if item.default is None else f" [default: {item.default}]"  # None: the help says what it is
        assert f"{rule.help}{default}" in words
    for shared in ("--style-weights", "--size", "--style-size", "--preserve-color", "--device", "--precision",
                   "--seed", "--json", "--quiet", "--output", "--background", "--max-pixels"):  # fmt: skip
        assert (shared in words) == (method.needs_style or shared not in ("--style-weights", "--style-size"))


@pytest.mark.parametrize("command", ["stylize", "gatys", "cache", "info", "methods"])
def test_help_has_no_syntax_of_parsers(run, command):
    text = run(command, "--help")[1].decode()
    assert not re.search(r"<\w+|\{|\}|list\[|\bbool\b", text)
    assert "Usage: quantart" in text


def all_commands(command=None, path=()):
    """Every command with its words, those in groups too."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    for name in inner or ():
        yield from all_commands(inner[name], (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(all_commands()), ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_help_fits_80_columns_without_broken_words(run, monkeypatch, path, command):
    """The names of options and the forms of their values are in one piece, and so are examples' words."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    chosen = [["--method", name] for name in methods()] if path in (("batch",), ("video",)) else [[]]
    out = "\n".join(run(*path, *words, "--help")[1].decode() for words in chosen)
    assert max(map(len, out.splitlines())) <= 80
    words = set(re.split(r"[\s│]+", out.replace(",-", " -")))
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert set(parameter.opts) <= words
            assert parameter.metavar is None or set(parameter.metavar.split()) <= words


@pytest.mark.parametrize(
    ("path", "command"), list(all_commands()), ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_help_has_three_examples_that_are_understood(path, command):
    parts = [part.split("|")[-1].strip() for part in command.help.replace("\\[", "[").split("\n\n")]
    lines = [re.sub(r"^(\w+=\S+ )+", "", part) for part in parts]
    examples = [line for line in lines if line.startswith("quantart ")]
    assert len(examples) >= 3
    for line in examples:
        words = shlex.split(line)[1:]
        inner = typer.main.get_command(app)
        while hasattr(inner, "commands"):
            name, *words = words
            inner = inner.commands[name]
        if "--help" not in words:
            assert inner.make_context(name, words).params is not None


def test_panels(run, monkeypatch):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    text = run("gatys", "--help")[1].decode()
    titles = re.findall(r"╭─ (.*?) ─", text)
    assert [title for title in titles if title != "Arguments"] == [
        "Options",
        "Picture",
        "Style",
        "Method",
        "Output",
        "Speed and memory",
    ]


def test_masks_are_not_last(run):
    text = run("gatys", "--help")[1].decode()
    assert text.index("--mask") < text.index("--preview-every") < text.index("--json") < text.index("--device")


def test_completion_knows_commands_and_options():
    environment = {
        **os.environ,
        "_QUANTART_COMPLETE": "complete_bash",
        "COMP_WORDS": "quantart styli",
        "COMP_CWORD": "1",
    }
    code = "from quantart_cli.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["stylize"]
    environment |= {"COMP_WORDS": "quantart adain --alp", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--alpha"]
    environment |= {"COMP_WORDS": "quantart adain photo.jpg @ink", "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["@ink-wash"]
    for shell in ("zsh", "fish"):
        asked = {"_QUANTART_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "quantart styli"}
        asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
        assert "stylize" in done.stdout
    code = code.replace("main()", "main(['--show-completion', 'bash'])")
    asked = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # the tests may run under no shell
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
    assert "complete" in done.stdout


def test_version(run):
    assert run("--version")[:2] == (0, f"quantart {__version__}\n".encode())


@pytest.mark.parametrize(("arguments", "named"), [((), "stylize")])
def test_no_arguments_shows_the_help(run, arguments, named):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "Usage: quantart" in out.decode()
    assert f"│ {named} " in out.decode()
