"""The method shown in CONTRIBUTING.md is installed as a package and paints; files and options named there exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import typer

import quantart_cli as quantart
from quantart_cli import registry
from quantart_cli.cli.app import app
from tests.conftest import scene

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SECTION = TEXT.partition("## Add a method in one file\n")[2].partition("\n## ")[0]
CONTENT, STYLE = scene(150, 110, 1), scene(60, 80, 2)


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", SECTION, re.S)
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The example as an installed package."""
    ((name, module, _),) = re.findall(r'^(\w+) = "(\w+):(\w+)"$', block("toml"), re.M)
    folder = tmp_path_factory.mktemp("site")
    (folder / f"{module}.py").write_text(block("python"), "utf-8")
    record = folder / f"{module}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = block("toml").replace('[project.entry-points."quantart.methods"]', "[quantart.methods]").replace('"', "")
    (record / "entry_points.txt").write_text(lines)
    assert name == "tone"
    return folder


@pytest.fixture
def _installed(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    registry.methods.cache_clear()
    yield
    registry.methods.cache_clear()


def expected(amount: float) -> np.ndarray:
    """What the example paints, in float64, without the outer two pixels."""
    content = CONTENT.astype(float) / 255
    grey = content.mean(2)
    soft = np.stack([grey[y : y + 106, x : x + 146] for y in range(5) for x in range(5)]).mean(0)
    tone = soft[..., None] * (STYLE.reshape(-1, 3).mean(0) / 255)
    return (content[2:-2, 2:-2] * (1 - amount) + amount * tone) * 255


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    "backend",
    ["torch", pytest.param("openvino", marks=pytest.mark.skipif(find_spec("openvino") is None, reason="not here"))],
)
def test_the_method_paints(backend):
    model = quantart.load("tone", device="cpu", precision="fp32", backend=backend)
    whole = np.asarray(model.stylize(CONTENT, STYLE)).astype(int)
    tiled = np.asarray(model.stylize(CONTENT, STYLE, tile=64)).astype(int)
    half = np.asarray(model.stylize(CONTENT, [STYLE, STYLE], amount=0.5)).astype(int)
    assert np.abs(whole[2:-2, 2:-2] - expected(1.0)).max() <= 1
    assert np.abs(half[2:-2, 2:-2] - expected(0.5)).max() <= 1
    assert np.abs(whole - tiled).max() <= 1


def test_its_command_paints(package, tmp_path):
    PIL.Image.fromarray(CONTENT).save(tmp_path / "photo.jpg", quality=100, subsampling=0)
    PIL.Image.fromarray(STYLE).save(tmp_path / "painting.jpg", quality=100, subsampling=0)
    words = block("bash").split()
    assert words[0] == "quantart"
    path = os.pathsep.join([str(package), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "quantart_cli", *words[1:]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    painted = np.asarray(PIL.Image.open(tmp_path / "out.png")).astype(int)
    assert np.abs(painted[2:-2, 2:-2] - expected(0.5)).mean() < 2  # JPEG, and bf16 where the hardware has it


def test_commands_and_files_named_exist():
    known = set()
    groups = [typer.main.get_command(app)]
    for command in groups:  # grows while it is read: commands of commands
        groups += getattr(command, "commands", {}).values()
        known |= {name for parameter in command.params for name in parameter.opts}
    outside = TEXT.replace(SECTION, "")
    lines = [line for line in re.findall(r"quantart (?:train|stylize|evaluate|study) .*", outside) if "--" in line]
    assert len(lines) >= 5
    for line in lines:
        assert set(re.findall(r"(--[a-z][a-z-]+)", line)) <= known, line
    for name in re.findall(r"`((?:tests|weights|methods|nets|images)/[\w/.]+\.\w+)`", TEXT):
        assert (ROOT / name).exists() or (ROOT / "quantart_cli" / name).exists(), name


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text("utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target
