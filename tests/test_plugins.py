"""Methods of another package paint through every way in: Python, tiles, OpenVINO, and the command line."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import quantart_cli as quantart
from quantart_cli import registry
from quantart_cli.errors import QuantArtError
from quantart_cli.registry import Method
from tests.conftest import scene

ROOT = Path(__file__).parents[1]
CONTENT, STYLE = scene(150, 110, 1), scene(60, 80, 2)


def install(folder: Path, *entry_points: str) -> None:
    """A package of one module, and the record of its installation."""
    shutil.copy(Path(__file__).with_name("quantart_toy.py"), folder)
    record = folder / "quantart_toy-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: quantart-toy\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("\n".join(["[quantart.methods]", *entry_points, ""]))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    install(folder, "tint = quantart_toy:TINT", "fade = quantart_toy:FADE")
    return folder


@pytest.fixture(autouse=True)
def _installed(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    registry.methods.cache_clear()
    yield
    registry.methods.cache_clear()


def load(method, backend="torch"):
    return quantart.load(method, device="cpu", precision="fp32", backend=backend)


def expected(amount=0.5):
    """What tint paints, in float64, away from the border."""
    content = CONTENT.astype(float) / 255
    rows = np.stack([content[y : y + 102, x : x + 142] for y in range(9) for x in range(9)]).mean(0)
    moved = STYLE.reshape(-1, 3).mean(0) / 255 - content.reshape(-1, 3).mean(0)
    return (rows + amount * moved).clip(0, 1) * 255


def test_they_are_found_beside_those_of_quantart():
    names = list(registry.methods())
    own = [method.name for method in registry._BUILT_IN]
    assert {"quantart", "adain", "gatys"} < set(own)
    assert names[: len(own)] == own
    assert {"tint", "fade"} < set(names)
    assert registry.find("tint").backends == ("torch", "openvino")
    with pytest.raises(QuantArtError, match="did you mean tint"):
        registry.find("tnit")


@pytest.mark.parametrize(
    "backend",
    ["torch", pytest.param("openvino", marks=pytest.mark.skipif(find_spec("openvino") is None, reason="not here"))],
)
def test_the_feed_forward_one_paints_whole_and_in_tiles(backend):
    model = load("tint", backend)
    assert model.spec.backend == backend
    assert not model.optimises
    assert model.checksums == {}
    seen = []
    whole = np.asarray(model.stylize(CONTENT, STYLE)).astype(int)
    tiled = np.asarray(model.stylize(CONTENT, STYLE, tile=64, progress=seen.append)).astype(int)
    assert np.abs(whole[4:-4, 4:-4] - expected()).max() <= 1
    assert np.abs(whole - tiled).max() <= 1
    assert (whole != tiled).mean() < 0.01
    assert [(step.stage, step.step, step.steps) for step in seen[-6:]] == [("tint-paint", n, 6) for n in range(1, 7)]
    assert np.abs(np.asarray(model.stylize(CONTENT, STYLE, share=1.0))[4:-4, 4:-4] - expected(1.0)).max() <= 1
    both = model.encode_style([STYLE, CONTENT], weights=[1, 1])
    assert np.abs(np.asarray(model.stylize(CONTENT, both))[4:-4, 4:-4] - expected(0.25)).max() <= 1
    with pytest.raises(QuantArtError, match="did you mean amount"):
        model.stylize(CONTENT, STYLE, amuont=1)
    with pytest.raises(QuantArtError, match="amount must be between 0 and 1"):
        model.stylize(CONTENT, STYLE, amount=2)


def test_the_optimising_one_paints_and_can_be_stopped():
    model = load("fade")
    assert model.optimises
    seen = []
    picture = np.asarray(model.stylize(CONTENT, STYLE, steps=3, progress=seen.append))
    colour = STYLE.reshape(-1, 3).mean(0)
    wanted = colour + 0.8**3 * (CONTENT - colour)
    assert np.abs(picture - wanted).max() <= 1
    assert [step.step for step in seen] == [1, 2, 3]
    assert seen[-1].losses["style"] < seen[0].losses["style"]

    def interrupt(step):
        raise KeyboardInterrupt

    settings = model.method.settings(steps=3)
    from quantart_cli.images import read_picture

    result = model.paint(read_picture(CONTENT), model.encode_style(STYLE), settings, progress=interrupt)
    assert result.stopped
    assert np.abs(result.picture.rgb - (colour + 0.8 * (CONTENT - colour))).max() <= 1
    with pytest.raises(QuantArtError, match="does not compute this form of fade"):
        load("fade", "openvino")


def test_an_encoded_style_belongs_to_its_method():
    style = load("tint").encode_style(STYLE)
    with pytest.raises(QuantArtError, match="another model"):
        load("fade").stylize(CONTENT, style)


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        ("broken = quantart_toy:NOTHING", r"the method broken \(quantart_toy:NOTHING\) cannot be loaded"),
        ("broken = no_such_module:X", r"the method broken \(no_such_module:X\) cannot be loaded"),
        ("broken = quantart_toy:Tint", r"the entry point broken \(quantart_toy:Tint\) is not a quantart method"),
    ],
)
def test_a_broken_package_is_named(tmp_path, monkeypatch, entry_point, message):
    install(tmp_path, entry_point)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.methods.cache_clear()
    with pytest.raises(QuantArtError, match=message):
        registry.methods()


def test_a_package_does_not_replace_a_method_of_quantart(monkeypatch):
    own = registry.find("adain")
    theirs = Method("adain", "Another.", own.settings, "quantart_toy:Tint")
    monkeypatch.setattr("quantart_toy.TINT", theirs)
    registry.methods.cache_clear()
    assert registry.find("adain") is own


# The command line, in processes of its own: commands are made from the registry at its start.


@pytest.fixture
def cli(package, tmp_path):
    """``status, stdout, stderr = cli("tint", "content.png", …)`` in a folder with content.png and style.png."""
    PIL.Image.fromarray(CONTENT).save(tmp_path / "content.png")
    PIL.Image.fromarray(STYLE).save(tmp_path / "style.png")
    path = os.pathsep.join([str(package), str(ROOT)])
    code = "import sys; from quantart_cli.cli import main; main(sys.argv[1:])"

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def painted(path):
    return np.asarray(PIL.Image.open(path)).astype(float)


def test_commands(cli, tmp_path):
    for name, option in (("tint", "--amount"), ("fade", "--steps")):
        status, out, _ = cli(name, "--help")
        assert status == 0
        assert option in out
    status, out, err = cli(
        "tint", "content.png", "style.png", "-o", "out.png", "--amount", "1", "--json", "--precision", "fp32"
    )
    assert status == 0, err
    facts = json.loads(out)
    assert facts["method"] == "tint"
    assert facts["options"]["amount"] == 1
    assert np.abs(painted(tmp_path / "out.png")[4:-4, 4:-4] - expected(1.0)).max() <= 1
    status, out, err = cli("fade", "content.png", "style.png", "-o", "fade.png", "--steps", "2", "--json")
    assert status == 0, err
    assert json.loads(out)["options"]["steps"] == 2
    status, _, err = cli("tint", "content.png", "style.png", "-o", "out2.png", "--amount", "2")
    assert status == 2
    assert "amount" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("method", ["tint", "fade"])
def test_batch(cli, tmp_path, method):
    exact = "--device", "cpu", "--precision", "fp32", "--quiet"
    status, _, err = cli("batch", "content.png", "--style", "style.png", "--method", method, "-o", "out", *exact)
    assert status == 0, err
    (file,) = (tmp_path / "out").rglob("*.png")
    expected = np.asarray(load(method).stylize(CONTENT, STYLE)).astype(float)
    assert np.abs(painted(file) - expected).max() <= 1  # by OpenVINO, where it is installed


def test_compare(cli, tmp_path):
    options = ("--method", "tint:amount=0.7", "--method", "fade", "--fidelity", "0", "--strength", "1")
    status, _, err = cli("compare", "content.png", "style.png", "-o", "sheet.png", *options, "--size", "64")
    assert status == 0, err
    assert painted(tmp_path / "sheet.png").std() > 5


def test_evaluate(cli, tmp_path):
    for folder, picture in (("contents", CONTENT), ("styles", STYLE)):
        (tmp_path / folder).mkdir()
        for n in range(2):
            PIL.Image.fromarray(np.roll(picture, 20 * n, 1)).save(tmp_path / folder / f"{n}.png")
    options = ("--compare", "tint:amount=0.7", "--compare", "fade", "--pairs", "2", "--size", "64", "--json")
    status, out, err = cli("evaluate", "--contents", "contents", "--styles", "styles", *options)
    assert status == 0, err
    assert "tint:amount=0.7" in out
    assert "fade" in out
