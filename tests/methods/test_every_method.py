"""Every method of the registry whose weights are here, with the pictures that break things."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import PIL.Image
import pytest
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.convert import convert
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.base import FeedForward, Optimising
from quantart_cli.registry import methods
from quantart_cli.settings import rule_of
from tests.conftest import scene
from tests.fill import filled

FEW_STEPS = {"steps": 2}
STAND_INS = {
    "sanet": ("sanet_transform", "sanet_decoder"),
    "adaattn": ("adaattn_3", "adaattn_transformer", "adaattn_decoder"),
    "magenta": ("magenta",),
}
"""Recorded cases whose filled weights stand in for those that a person brings."""


def _forms() -> list[tuple[str, dict[str, object]]]:
    """Methods, and each choice of those settings that choose between computations."""
    forms: list[tuple[str, dict[str, object]]] = []
    for name, row in methods().items():
        forms.append((name, {}))
        for item in fields(row.settings):
            if item.name in ("transfer", "codebook"):
                choices = rule_of(item).choices or ()
                forms += [(name, {item.name: choice}) for choice in choices if choice not in ("auto", item.default)]
    return forms


FORMS = _forms()
NAMES = [" ".join([name, *map(str, settings.values())]) for name, settings in FORMS]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """A method in float32 on the CPU, loaded once; skipped where neither its weights nor others for them are here."""
    loaded = {}

    def model_of(name):
        """The model file to load; None: the default one."""
        if name not in STAND_INS:
            return None
        folder = tmp_path_factory.mktemp(name)
        state = {key: value for case in STAND_INS[name] for key, value in filled(case).items()}
        torch.save(state, folder / "published.pth")
        convert(folder / "published.pth", folder / "model.safetensors")
        return folder / "model.safetensors"

    def get(name, settings):
        if name not in loaded:
            try:
                model = model_of(name)
                loaded[name] = quantart.load(name, model=model, device="cpu", precision="fp32", backend="torch")
            except QuantArtError as error:
                loaded[name] = error
        found = loaded[name]
        if isinstance(found, QuantArtError):
            assert "\n" not in str(found)
            pytest.skip(str(found))
        known = {item.name for item in fields(found.method.settings)}
        return found, {**settings, **{key: value for key, value in FEW_STEPS.items() if key in known}}

    return get


def rgba(width, height, seed=0):
    """A picture with a transparent corner and a soft edge."""
    alpha = np.full((height, width, 1), 255, np.uint8)
    alpha[: height // 2, : width // 2] = 0
    alpha[: height // 2, width // 2] = 128
    return np.concatenate([scene(width, height, seed), alpha], axis=2)


def flat(width, height, value=90):
    return np.full((height, width, 3), value, np.uint8)


CONTENT, STYLE = scene(48, 40, 1), scene(40, 48, 2)
PAIRS = {
    "usual": (CONTENT, STYLE),
    "grey": (CONTENT[:, :, 0], STYLE[:, :, 1]),
    "transparent": (rgba(48, 40, 1), rgba(40, 48, 2)),
    "invisible": (np.zeros((20, 24, 4), np.uint8), np.zeros((24, 20, 4), np.uint8)),
    "odd": (scene(37, 51, 1), scene(29, 33, 2)),
    "one pixel": (scene(1, 1, 1), scene(1, 1, 2)),
    "line": (scene(1, 40, 1), scene(40, 1, 2)),
    "style smaller than a patch": (CONTENT, scene(3, 5, 2)),
    "constant content": (flat(40, 32), STYLE),
    "constant style": (CONTENT, flat(32, 40)),
    "both constant": (flat(40, 32), flat(32, 40, 200)),
    "black and white": (flat(40, 32, 0), flat(32, 40, 255)),
    "content is the style": (CONTENT, CONTENT),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("name", "settings"), FORMS, ids=NAMES)
def test_any_picture(load, name, settings, pair):
    """Every picture is painted at its size."""
    model, settings = load(name, settings)
    content, style = PAIRS[pair]
    style = style if model.method.needs_style else ()
    painted = model.stylize(content, style, **settings)
    assert painted.size == (content.shape[1], content.shape[0])
    assert painted.mode == ("RGBA" if content.ndim == 3 and content.shape[2] == 4 else "RGB")
    pixels = np.asarray(painted)
    if pair == "transparent":
        assert np.array_equal(pixels[:, :, 3], content[:, :, 3])
    if pair == "usual":
        assert pixels[:, :, :3].std() > 10
    if pair == "both constant":
        assert pixels[8:-8, 8:-8].std(axis=(0, 1)).max() < 12


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=NAMES)
def test_tiles_do_not_change_the_picture(load, name, settings):
    """Of feed-forward methods: their stages are exact."""
    model, settings = load(name, settings)
    if not isinstance(model.program, FeedForward):
        pytest.skip("not a feed-forward method")
    content = rgba(150, 90, 1)
    style = model.encode_style(STYLE if model.method.needs_style else (), settings=model.method.settings.of(settings))
    whole, tiled = (
        np.int16(model.stylize(content, style, tile=tile, **settings).convert("RGB")) for tile in ("none", 64)
    )
    difference = np.abs(whole - tiled)
    assert difference.mean() < 0.02
    # Rounding may exchange ranks or matches that are nearly equal.
    assert difference.max() <= 1 or (difference > 1).mean() < 1e-3


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=NAMES)
def test_several_styles(load, name, settings):
    """A style of weight 0 changes nothing; equal weights differ from either."""
    model, settings = load(name, settings)
    if not model.method.needs_style:
        pytest.skip("its styles are in its weights")
    second = scene(56, 32, 3)
    alone, silent, both = (
        np.int16(model.stylize(CONTENT, model.encode_style(styles, weights=weights), **settings))
        for styles, weights in (([STYLE], None), ([STYLE, second], [1, 0]), ([STYLE, second], None))
    )
    if not isinstance(model.program, Optimising):
        # Not equal: QuantArt's candidates depend on the number of entries.
        assert np.abs(alone - silent).mean() < 0.5 * np.abs(alone - both).mean()
    assert np.abs(alone - both).max() > 1


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=NAMES)
def test_regions(load, name, settings):
    """Each region is the picture painted for it alone, and the rest is the content."""
    model, settings = load(name, settings)
    if isinstance(model.program, Optimising) or not model.method.needs_style:
        pytest.skip("has regions of its own, or no styles for several")
    second = scene(56, 32, 3)
    left = np.zeros(CONTENT.shape[:2], np.uint8)
    left[:, :20] = 255

    def paint(styles, *masks, **more):
        return np.int16(model.stylize(CONTENT, styles, masks=masks, **more, **settings))

    one, other, both = paint(STYLE, left), paint(second, 255 - left), paint([STYLE, second], left, 255 - left)
    assert np.array_equal(one[:, 20:], CONTENT[:, 20:])
    assert np.abs(one[:, :20] - CONTENT[:, :20]).mean() > 3
    assert np.array_equal(both, np.where(left[..., None], one, other))


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=NAMES)
def test_the_part_of_a_style(load, name, settings):
    """A masked style is nearer to its part alone than the whole style is."""
    model, settings = load(name, settings)
    if isinstance(model.program, Optimising) or name in STAND_INS or not model.method.needs_style:
        pytest.skip("has regions of its own, weights that are not trained, or no pictures of styles")
    half = scene(64, 64, 2)
    style = np.concatenate([half, 255 - half[::-1]], axis=1)
    mask, everywhere = np.zeros(style.shape[:2], np.uint8), np.full(CONTENT.shape[:2], 255, np.uint8)
    mask[:, :64] = 255
    masked = model.stylize(CONTENT, style, masks=[everywhere], style_masks=[mask], **settings)
    part, whole = (model.stylize(CONTENT, each, **settings) for each in (half, style))
    near, far = (np.abs(np.int16(part) - np.int16(each)).mean() for each in (masked, whole))
    assert near < 0.7 * far


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=NAMES)
def test_without_strength_the_style_does_not_matter(load, name, settings):
    """The setting that a method calls its strength goes from the content to the full style."""
    model, settings = load(name, settings)
    strength = model.method.settings.STRENGTH
    if strength is None:
        pytest.skip("no strength")
    first, second = (
        np.int16(model.stylize(CONTENT, style, **settings, **{strength: 0.0})) for style in (STYLE, flat(40, 40))
    )
    assert np.abs(first - second).max() <= 1


def test_pictures_come_as_any_type(load):
    model, settings = load("adain", {})
    first = model.stylize(PIL.Image.fromarray(CONTENT), PIL.Image.fromarray(STYLE), **settings)
    assert np.array_equal(np.asarray(first), np.asarray(model.stylize(CONTENT, STYLE, **settings)))
