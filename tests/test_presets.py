"""Presets: what comes along, a person's own folders, and ``@name`` wherever a style is taken."""

import json

import PIL.Image
import pytest

from quantart_cli.cli.batch_options import BatchOptions
from quantart_cli.cli.styles import thumbnails
from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.presets import locate, presets, styles_folder
from tests.conftest import scene

LONG_SIDE, MOST_BYTES = 1024, 350_000


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a style of one's own, and one under a name that comes along."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("mine", "mosaic"):
        PIL.Image.fromarray(scene(40, 30, 5)).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.setenv("QUANTART_STYLES", str(folder))
    return folder


def test_the_styles_that_come_along_are_large_pictures_in_small_files():
    found = presets()
    assert len(found) >= 12
    for preset in found.values():
        assert preset.about
        assert preset.path.stat().st_size <= MOST_BYTES, preset.name
        with PIL.Image.open(preset.path) as image:
            assert max(image.size) == LONG_SIDE


def test_an_installed_package_has_them(tmp_path, monkeypatch):
    import quantart_cli.presets as module

    assert styles_folder().name == "styles"
    (tmp_path / "styles").mkdir()
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    assert styles_folder() == tmp_path / "styles"


def test_ones_own_come_first_and_replace(own):
    found = presets()
    assert next(iter(found)) == "mine"
    assert found["mosaic"].path == own / "mosaic.png"
    assert "notes" not in found
    assert found["ink-wash"].own is False


def test_a_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("QUANTART_STYLES", str(tmp_path / "nowhere"))
    with pytest.raises(QuantArtError, match="nowhere, which does not exist"):
        presets()


@pytest.mark.parametrize("command", ["stylize", "compare"])
def test_an_unknown_name_gets_a_suggestion(run, content_file, tmp_path, command):
    status, _, err = run(command, content_file, "@ink-wahs", "-o", tmp_path / "out.png")
    assert status == 2
    assert (
        "quantart: the style @ink-wahs is not known: did you mean @ink-wash? (one of @" in err
    )  # not an option --style
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["stylize", "compare"])
def test_a_forgotten_at_sign_is_named(run, content_file, tmp_path, command):
    status, _, err = run(command, content_file, "ink-wash", "-o", tmp_path / "out.png")
    assert (status, err) == (2, "quantart: ink-wash does not exist: did you mean the style @ink-wash?\n")


def test_a_file_of_that_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(scene(20, 30, 5)).save("@mosaic", "PNG")
    assert locate("@mosaic") == "@mosaic"
    assert read_picture("@mosaic").size == (20, 30)


def test_the_api_takes_it(adain_model):
    style = adain_model.encode_style("@ink-wash", size=32)
    assert style.pictures[0].name == "ink-wash"


def test_batch_takes_it():
    options = BatchOptions(output="out", paths=["photos", "@mosaic"])
    assert options._contents_and_styles() == (["photos"], [str(presets()["mosaic"].path)])


def test_the_list(run, own):
    status, out, _ = run("styles")
    assert status == 0
    assert out.decode().splitlines()[0].startswith("@mine ")
    rows = json.loads(run("styles", "--json")[1])["styles"]
    assert [row["name"] for row in rows] == list(presets())


def test_thumbnails_have_two_pixels_a_character(own):
    text = thumbnails([presets()["mine"]] * 3, 2)
    lines = text.split("\n")
    assert lines[0].count("▀") == 48  # two pictures in a row of 24 columns each
    assert sum("▀" in line for line in lines) == 2 * 9
    assert lines[9].split() == ["@mine", "@mine"]
