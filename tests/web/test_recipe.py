"""The command and the Python code of a painting paint that picture."""

import shlex
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.web.recipe import File, Recipe
from tests.web.conftest import MACHINE, picture_file


def painted(studio, recipe):
    return studio.paint(recipe, studio.content(recipe)).picture.rgb


@pytest.fixture
def full(tmp_path, recipe):
    """A recipe that names everything a page can say."""
    styles = (*recipe.styles, picture_file(tmp_path, "it's oil.png", seed=3))
    mask = np.zeros((48, 72), np.uint8)
    mask[:, :30] = 255
    masks = []
    for i, part in enumerate((mask, 255 - mask)):
        PIL.Image.fromarray(part).save(tmp_path / f"mask-{i + 1}.png")
        masks.append(File(str(tmp_path / f"mask-{i + 1}.png"), f"mask-{i + 1}.png"))
    return replace(recipe, styles=styles, weights=(0.25, 1.0), size=60, preserve_color="luma", masks=tuple(masks))


def test_the_command_paints_the_same(studio, full, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(full.command(MACHINE))
    assert words[:5] == ["quantart", "tint", "a photo.png", "ink.png", "it's oil.png"]
    assert "--style-weights" in words
    status, _, message = run(*words[1:])
    assert status == 0, message
    assert np.array_equal(PIL.Image.open(full.name), painted(studio, full))


@pytest.mark.parametrize("masked", [True, False])
def test_python_paints_the_same(studio, full, tmp_path, monkeypatch, masked):
    recipe = full if masked else replace(full, masks=())
    monkeypatch.chdir(tmp_path)
    exec(compile(recipe.python(MACHINE), "recipe", "exec"), {})
    assert np.array_equal(PIL.Image.open(recipe.name), painted(studio, recipe))


def test_defaults_are_not_named(recipe):
    plain = replace(recipe, settings={"amount": 0.5})
    assert plain.command({}) == "quantart tint 'a photo.png' ink.png -o 'a photo--ink.png'"
    assert "stylize('a photo.png', 'ink.png')" in plain.python({})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.JPG", "x--ink.jpg"), ("x.webp", "x--ink.webp"), ("x.tif", "x--ink.png"), ("x", "x--ink.png")],
)
def test_names(recipe, name, expected):
    assert replace(recipe, content=File("/x", name)).name == expected
    assert replace(recipe, content=File("/x", name), styles=()).name == expected.replace("ink", "tint")


@pytest.mark.usefixtures("_toys")
def test_mistakes(recipe):
    with pytest.raises(QuantArtError, match="no style"):
        Recipe("tint", recipe.content).checked()
    with pytest.raises(QuantArtError, match="between 0 and 1"):
        replace(recipe, settings={"amount": 3}).checked()
