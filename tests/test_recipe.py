"""Recipes: what a painted file says about itself in every format, and painting by it again."""

import json
from dataclasses import replace

import PIL.Image
import pytest

from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Metadata, Picture, encode_picture, read_picture
from quantart_cli.recipe import parse_recipe
from tests.conftest import scene

FORMATS = ["png", "jpeg", "webp", "tiff", "avif", "gif"]
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="x"/></rdf:RDF></x:xmpmeta>'
)
TEXT = '{"quantart": "1 < 2 & \\"ü\\"", "method": "adain"}'


def picture(**metadata) -> Picture:
    return Picture(scene(20, 16, 3), metadata=Metadata(**metadata))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("xmp", [None, XMP], ids=["alone", "beside XMP"])
def test_every_format_brings_it_back(format, xmp):
    again = read_picture(encode_picture(picture(recipe=TEXT, xmp=xmp), format)).metadata
    assert again.recipe == TEXT
    assert again.comment is None
    assert again.text == ()
    if format != "gif":
        assert again.xmp == xmp or (xmp is None and b"quantart" not in again.xmp)


def test_a_new_recipe_replaces_the_old():
    first = read_picture(encode_picture(picture(recipe=TEXT, xmp=XMP), "jpeg"))
    data = encode_picture(first.with_recipe("{}"), "jpeg")
    assert data.count(b'quantart:recipe="') == 1
    assert read_picture(data).metadata.recipe == "{}"
    assert read_picture(encode_picture(first.with_recipe(None), "jpeg")).metadata.recipe is None


def test_png_holds_it_as_international_text():
    assert b"iTXtquantart\0" in encode_picture(picture(recipe=TEXT), "png")


def test_too_large_an_xmp_packet_stays_without_it():
    padded = XMP + b" " * (65400 - len(XMP))
    again = read_picture(encode_picture(picture(recipe=TEXT * 9, xmp=padded), "jpeg")).metadata
    assert (again.recipe, again.xmp) == (None, padded)


def test_strip_metadata_takes_it_out():
    assert read_picture(encode_picture(picture(recipe=TEXT), "png", strip_metadata=True)).metadata.recipe is None


@pytest.fixture(scope="module")
def painted(tmp_path_factory, module_run):
    """A folder with photo.png, painting.png, and out.png painted from them."""
    folder = tmp_path_factory.mktemp("recipe")
    PIL.Image.fromarray(scene(40, 32, 1)).save(folder / "photo.png")
    PIL.Image.fromarray(scene(32, 36, 2)).save(folder / "painting.png")
    module_run("adain", folder / "photo.png", folder / "painting.png", "-o", folder / "out.png", "--alpha", 0.5, *FAST)
    return folder


FAST = ("--backend", "torch", "--precision", "fp32", "--quiet")


@pytest.fixture(scope="module")
def module_run():
    from quantart_cli.cli import main

    def call(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        assert leaving.value.code == 0

    return call


def recipe_in(path):
    return parse_recipe(read_picture(path).metadata.recipe, path.name)


def test_what_it_says(painted):
    recipe = recipe_in(painted / "out.png")
    assert recipe.method == "adain"
    assert recipe.settings["alpha"] == 0.5
    assert recipe.options == {"precision": "fp32"}
    assert recipe.content == sha256_of(painted / "photo.png")
    assert recipe.styles == ({"sha256": sha256_of(painted / "painting.png")},)
    assert set(recipe.weights) == {"vgg19-normalised", "adain-decoder"}
    assert (recipe.backend, recipe.precision) == ("torch", "fp32")
    assert str(painted) not in recipe.text()
    assert "painting.png" not in recipe.text()


def test_the_content_of_the_recipe_is_not_the_contents_own(painted, run):
    """A painted picture painted again says how it was painted last; with --no-recipe nothing."""
    again = painted / "twice.png"
    run("adain", painted / "out.png", painted / "painting.png", "-o", again, "--no-recipe", *FAST)
    assert read_picture(again).metadata.recipe is None


def test_painting_again_gives_the_same_bytes_and_changes_change(painted, run):
    again, changed = painted / "again.png", painted / "changed.png"
    files = painted / "photo.png", painted / "painting.png"
    status, _, err = run("repaint", painted / "out.png", *files, "-o", again, *FAST)
    assert (status, err) == (0, "")
    assert again.read_bytes() == (painted / "out.png").read_bytes()
    run("repaint", painted / "out.png", *files, "--alpha", "0.1", "-o", changed, *FAST)
    assert recipe_in(changed).settings["alpha"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["painting.png", "photo.png"], "painting.png is not the content that"),
        (["photo.png"], "was painted in 1 style: give it again after the content"),
        (["photo.png", "photo.png"], "photo.png is not the style that"),
        (["photo.png", "painting.png", "painting.png"], "was painted in 1 style, not 2"),
        ([], "the content of"),
        (["nowhere.png", "painting.png"], "does not exist"),
        (["-", "painting.png"], "cannot be compared with the recipe"),
        (["photo.png", "--fidelity", "1"], "of stylize; the picture was painted by adain, which has --alpha"),
        (["photo.png", "--zip"], "--zip is not an option of repaint: the picture was painted by adain, see"),
        (["photo.png", "--othr"], "--othr is not an option of repaint: did you mean --other?"),
        (["photo.png", "painting.png", "--alpha"], "--alpha takes a value"),
        (["photo.png", "painting.png", "-o", "out.png"], "out.png is an input and would be overwritten"),
    ],
)
def test_what_does_not_fit_is_refused(painted, run, monkeypatch, arguments, message):
    monkeypatch.chdir(painted)
    status, _, err = run("repaint", "out.png", "-o", "never.png", *arguments)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (painted / "never.png").exists()


def test_an_option_before_the_painted_picture_is_not_taken_for_it(run):
    status, _, err = run("repaint", "--alpha", "1", "out.png", "photo.png", "-o", "never.png")
    said = "PAINTED comes before the options of its method: write --alpha after it"
    assert (status, err) == (2, f"quantart: {said}\n")


def test_other_pictures_when_asked_for(painted, run, monkeypatch):
    monkeypatch.chdir(painted)
    assert run("repaint", "out.png", "painting.png", "photo.png", "--other", "-o", "other.png", *FAST)[0] == 0
    assert recipe_in(painted / "other.png").settings["alpha"] == 0.5


def test_other_weights_are_noticed(painted, run, monkeypatch):
    monkeypatch.chdir(painted)
    picture = read_picture("out.png")
    recipe = json.loads(picture.metadata.recipe)
    recipe["weights"]["adain-decoder"] = "0" * 64
    (painted / "foreign.png").write_bytes(encode_picture(picture.with_recipe(json.dumps(recipe)), "png"))
    err = run("repaint", "foreign.png", "photo.png", "painting.png", "-o", "never.png")[2]
    assert "was painted with other weights (vgg19-normalised, adain-decoder): give them with --model" in err


def test_a_preset_is_known_by_its_name(painted, run):
    from quantart_cli.presets import presets
    from quantart_cli.recipe import _style

    style = read_picture("@mosaic")
    assert _style(style) == {"sha256": sha256_of(presets()["mosaic"].path), "preset": "mosaic"}
    assert _style(replace(style, sha256="0" * 64)) == {"sha256": "0" * 64}


def test_info_shows_it(painted, run):
    text = run("info", painted / "out.png")[1].decode()
    assert text.splitlines()[0].endswith("adain, on torch in fp32")
    assert text.splitlines()[-1] == "quantart adain CONTENT STYLE -o FILE --alpha=0.5 --precision=fp32"
    with_regions = replace(recipe_in(painted / "out.png"), regions={"mask": ("not:0f", "alpha"), "style_mask": ("1f",)})
    assert " -o FILE --mask=not:FILE --mask=alpha --style-mask=FILE " in " ".join(with_regions.command())
    assert json.loads(run("info", painted / "out.png", "--json")[1])["recipe"]["method"] == "adain"
    status, _, err = run("info", painted / "photo.png")
    assert status == 2
    assert "photo.png has no recipe" in err
    assert "or it is a film, a frame or a sheet, which carry none" in err


def test_batch_writes_it(painted, tmp_path, run):
    files = painted / "photo.png", painted / "painting.png"
    status, _, err = run("batch", *files, "-o", tmp_path, "--method", "adain", "--alpha", 0.5, *FAST)
    assert status == 0, err
    assert recipe_in(tmp_path / "photo.png") == recipe_in(painted / "out.png")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "null", '{"quantart": 1}', '{"quantart":"1","method":"adain","settings":3}', "[" * 100_000],
)
def test_what_is_no_recipe_is_refused(text):
    with pytest.raises(QuantArtError, match=r"the recipe in a\.png is damaged"):
        parse_recipe(text, "a.png")


def test_a_recipe_from_a_stranger_sets_nothing_but_how_to_paint(painted):
    facts = json.loads(recipe_in(painted / "out.png").text())
    facts["options"] |= {"output": "/etc/passwd", "model": "/tmp/x", "seed": 3, "size": {"a": 1}}
    recipe = parse_recipe(json.dumps(facts), "a.png")
    assert recipe.options == {"precision": "fp32", "seed": 3}
    facts["settings"]["output"] = "x.png"
    with pytest.raises(QuantArtError, match="output is not a setting"):
        parse_recipe(json.dumps(facts), "a.png").flags()
