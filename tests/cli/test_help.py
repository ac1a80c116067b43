"""Help is quick, imports no torch, and shows what the controls say."""

import subprocess
import sys
from dataclasses import fields

import pytest

from quantart_cli import __version__
from quantart_cli.methods.controls import CONTROLS

COMMANDS = {"stylize": "quantart", "adain": "adain", "gatys": "gatys"}


def imported_by(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after some code."""
    program = f"import sys\ntry:\n  {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("arguments", [["--help"], ["stylize", "--help"], ["train", "codebook", "--help"]])
def test_help_imports_neither_torch_nor_torchvision(arguments):
    modules = imported_by(f"from quantart_cli.cli import main; main({arguments})")
    assert "typer" in modules
    assert not modules & {"torch", "torchvision", "huggingface_hub"}


def test_painting_never_imports_torchvision(content_file, style_file, tmp_path):
    arguments = ["stylize", str(content_file), str(style_file), "-o", str(tmp_path / "o.png"), "--runtime", "torch"]
    modules = imported_by(f"from quantart_cli.cli import main; main({arguments})")
    assert (tmp_path / "o.png").exists()
    assert "torch" in modules
    assert "torchvision" not in modules


def test_an_error_known_without_torch_is_told_without_it(content_file, tmp_path):
    arguments = ["stylize", str(content_file), str(tmp_path / "nowhere.png"), "-o", str(tmp_path / "o.png")]
    assert "torch" not in imported_by(f"from quantart_cli.cli import main; main({arguments})")


@pytest.mark.parametrize(("command", "method"), COMMANDS.items())
def test_help_shows_every_control_with_its_default(run, command, method):
    status, out, _ = run(command, "--help")
    assert status == 0
    words = " ".join(out.decode().split())
    for item in fields(CONTROLS[method]):
        for name in (item.name, *item.metadata["aliases"]):
            assert f"--{name.replace('_', '-')}" in words
        assert item.metadata["help"] in words
        assert f"[default: {item.default}]" in words
    for shared in ("--style-weights", "--size", "--style-size", "--preserve-color", "--device", "--precision",
                   "--seed", "--json", "--quiet", "--output", "--background", "--max-pixels"):  # fmt: skip
        assert shared in words


def test_version(run):
    assert run("--version")[:2] == (0, f"quantart {__version__}\n".encode())


@pytest.mark.parametrize(("arguments", "named"), [((), "stylize"), (("train",), "codebook")])
def test_no_arguments_shows_the_help(run, arguments, named):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "Usage: quantart" in out.decode()
    assert f"\n  {named} " in out.decode()
