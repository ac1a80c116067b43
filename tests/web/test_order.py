"""The command and the Python code of a painting paint that picture."""

import shlex
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.recipe import parse_recipe
from quantart_cli.web.order import File, Order
from tests.web.conftest import MACHINE, picture_file


def painted(studio, order):
    return studio.paint(order, studio.content(order)).picture.rgb


@pytest.fixture
def full(tmp_path, order):
    """A order that names everything a page can say."""
    styles = (*order.styles, picture_file(tmp_path, "it's oil.png", seed=3))
    mask = np.zeros((48, 72), np.uint8)
    mask[:, :30] = 255
    masks = []
    for i, part in enumerate((mask, 255 - mask)):
        PIL.Image.fromarray(part).save(tmp_path / f"mask-{i + 1}.png")
        masks.append(File(str(tmp_path / f"mask-{i + 1}.png"), f"mask-{i + 1}.png"))
    return replace(order, styles=styles, style_weights=(0.25, 1.0), size=60, preserve_color="luma", masks=tuple(masks))


def test_the_command_paints_the_same(studio, full, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(full.command(MACHINE))
    assert words[:5] == ["quantart", "tint", "a photo.png", "ink.png", "it's oil.png"]
    assert "--style-weights" not in words  # a region takes one style
    status, _, message = run(*words[1:])
    assert status == 0, message
    assert np.array_equal(PIL.Image.open(full.name), painted(studio, full))


@pytest.mark.parametrize("masked", [True, False])
def test_python_paints_the_same(studio, full, tmp_path, monkeypatch, masked):
    order = full if masked else replace(full, masks=())
    monkeypatch.chdir(tmp_path)
    exec(compile(order.python(MACHINE), "order", "exec"), {})
    assert np.array_equal(PIL.Image.open(order.name), painted(studio, order))


def test_the_file_holds_its_recipe(studio, full, tmp_path):
    file = studio.save(full, studio.paint(full, studio.content(full)))
    found = parse_recipe(read_picture(file).metadata.recipe, "x")
    assert (found.method, found.settings, found.options["size"]) == ("tint", {"amount": 0.25}, 60)
    assert "style_weights" not in found.options  # a region takes one style
    assert (len(found.styles), len(found.regions["mask"])) == (2, 2)
    assert str(tmp_path) not in found.text()


def test_defaults_are_not_named(order):
    plain = replace(order, settings={"amount": 0.5})
    assert plain.command({}) == "quantart tint 'a photo.png' ink.png -o 'a photo--ink.png'"
    assert "stylize('a photo.png', 'ink.png')" in plain.python({})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.JPG", "x--ink.jpg"), ("x.webp", "x--ink.webp"), ("x.tif", "x--ink.png"), ("x", "x--ink.png")],
)
def test_names(order, name, expected):
    assert replace(order, content=File("/x", name)).name == expected
    assert replace(order, content=File("/x", name), styles=()).name == expected.replace("ink", "tint")


@pytest.mark.usefixtures("_toys")
def test_mistakes(order):
    with pytest.raises(QuantArtError, match="no style"):
        Order("tint", order.content).checked()
    with pytest.raises(QuantArtError, match="between 0 and 1"):
        replace(order, settings={"amount": 3}).checked()
