"""Commands from dataclasses and from the registry: a method of another package, and the words of messages."""

import sys
import types
from dataclasses import dataclass

import pytest

from quantart_cli import registry
from quantart_cli.cli import app, mistakes
from quantart_cli.cli.command import as_flags
from quantart_cli.methods.adain import AdaIN
from quantart_cli.registry import Method
from quantart_cli.settings import Settings, setting

FLAGS = {"--tile", "--size", "--max-pixels", "--background", "--fidelity"}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("tile must be auto, not 3", "--tile must be auto, not 3"),
        ("size=9 makes 66 megapixels: raise max_pixels", "--size 9 makes 66 megapixels: raise --max-pixels"),
        ("JPEG has no transparency: give background=white", "JPEG has no transparency: give --background white"),
        ("convert both, or set fidelity to 1", "convert both, or set --fidelity to 1"),
        ("memory ran out on a.png: reduce it with size", "memory ran out on a.png: reduce it with --size"),
        ("the size of tiles is what it is", "the size of tiles is what it is"),
        ("tiles.png does not exist", "tiles.png does not exist"),
        ("backend openvino: no", "backend openvino: no"),
        ("adain:size=9,fidelity=1 is given twice", "adain:size=9,fidelity=1 is given twice"),
    ],
)
def test_messages_name_flags(message, shown):
    assert as_flags(message, FLAGS) == shown


def test_help_of_many_methods_shows_the_settings_of_one(run):
    said = {
        name: run("batch", *chosen, "--help")[1].decode()
        for name, chosen in {"quantart": (), "nnst": ("--method", "nnst"), "unknown": ("--method", "unknown")}.items()
    }
    assert "--fidelity" in said["quantart"]
    assert "[default: 0.7]" in said["quantart"]
    assert "--content-weight" not in said["quantart"]
    assert "The same as --content-weight." in said["nnst"]
    assert "--fidelity" not in said["nnst"]
    assert said["unknown"] == said["quantart"]


@dataclass(frozen=True)
class ToySettings(Settings):
    """Settings of a method of another package."""

    STRENGTH = "amount"

    amount: float = setting(1.0, "How much.", low=0, high=1)
    kind: str = setting("a", "Which.", choices=("a", "b"))


class Toy(AdaIN):
    """AdaIN by another name."""

    def style_form(self, settings):
        return "moments"

    def paint(self, run, content, style, settings):
        from quantart_cli.methods.adain import AdaINSettings

        return super().paint(run, content, style, AdaINSettings(settings.amount))


@pytest.fixture
def toy(monkeypatch):
    weights = dict(registry.find("adain").weights)
    row = Method(
        "toy", "Paint with a toy.", ToySettings, "toy_package:Toy", weights, command="play", paper="Nobody 2026"
    )
    known = {**registry.methods(), "toy": row}
    for module in (app, mistakes, registry):
        monkeypatch.setattr(module, "methods", lambda: known)
    package = types.ModuleType("toy_package")
    package.Toy = Toy
    monkeypatch.setitem(sys.modules, "toy_package", package)
    return row


def test_a_method_of_another_package_is_a_command(run, toy, content_file, style_file, tmp_path):
    exact = ("--device", "cpu", "--precision", "fp32", "--backend", "torch", "--no-recipe")
    outputs = []
    for command, option in (("play", "--strength"), ("play", "--amount"), ("adain", "--alpha")):
        status, _, err = run(command, content_file, style_file, "-o", tmp_path / "o.png", option, "0.4", *exact)
        assert status == 0, err
        outputs.append((tmp_path / "o.png").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
    text = run("play", "--help")[1].decode()
    assert "Nobody 2026" in text
    assert "--kind" in text
    assert "Paint with a toy." in run("--help")[1].decode()
    status, _, err = run("play", "--fidelity", "1")
    assert (status, "play has --amount, --kind" in err) == (2, True)
