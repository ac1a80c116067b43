"""What the README and the pages of docs/ show exists and runs."""

import re
import shlex
from pathlib import Path

import PIL.Image
import pytest
import safetensors
import typer

from quantart_cli.checkpoints.manifest import artefact, embedded
from quantart_cli.cli.app import app
from quantart_cli.cli.methods import table
from tests.conftest import scene

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = README + "".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands() -> list[list[str]]:
    """Every different ``quantart …`` in the shell blocks, split into words."""
    found: list[list[str]] = []
    for line in "\n".join(blocks("bash", PAGES)).splitlines():
        for part in re.split(r"&&|\|", line):
            words = shlex.split(part.split(">")[0], comments=True)
            if words and Path(words[0]).name == "quantart" and words[1:] not in found:
                found.append(words[1:])
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_understood(words):
    command, path = typer.main.get_command(app), "quantart"
    while hasattr(command, "commands"):
        path, command, words = f"{path} {words[0]}", command.commands[words[0]], words[1:]
    # Parsing alone: raises where a name, a value or a number of arguments is wrong.
    assert command.make_context(path, list(words)).params is not None


def test_there_are_commands_to_check():
    assert len(commands()) >= 10


def test_every_option_named_exists():
    known, groups = {"--help"}, [typer.main.get_command(app)]
    for command in groups:  # grows while it is read: commands of commands
        groups += getattr(command, "commands", {}).values()
        known |= {name for parameter in command.params for name in parameter.opts}
    named = set(re.findall(r"`[^`]*?(--[a-z][a-z-]+)", PAGES))
    assert named
    assert named <= known


def test_the_python_example_runs(tmp_path, monkeypatch):
    PIL.Image.fromarray(scene(60, 40, 1)).save(tmp_path / "photo.jpg")
    PIL.Image.fromarray(scene(50, 50, 2)).save(tmp_path / "painting.jpg")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert PIL.Image.open("out.png").size == (60, 40)


def test_every_picture_and_file_named_is_there():
    headings = {
        re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-")
        for line in README.splitlines()
        if line[:1] == "#"
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_numbers_about_the_weights():
    total = sum(item.bytes for item in embedded().values()) / 1e6
    assert f"{total:.0f} MB together" in PAGES
    with safetensors.safe_open(artefact("quantart-vgg19").path, "pt") as file:
        parts, entries, _ = file.get_slice("entries").get_shape()
    assert f"codebook of {parts} × {entries} entries" in PAGES
    for name in embedded():
        assert f"`{name}`" in PAGES


def test_the_table_of_methods_is_up_to_date():
    """After a change of the registry: python benchmarks/methods.py --table."""
    between = README.partition("<!-- methods: begin -->")[2].partition("<!-- methods: end -->")[0]
    assert between.strip() == table().strip(), "run python benchmarks/methods.py --table"
