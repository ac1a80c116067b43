"""Tiles: every pixel once, the same picture, and memory that runs out in between."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantart_cli.device import DeviceSpec
from quantart_cli.memory import choose_tile, needed_in_tiles
from quantart_cli.methods.adain import AdaIN, AdaINSettings
from quantart_cli.methods.quantart import (
    ENCODE_CONTENT,
    MATCH,
    QuantArt,
    QuantArtSettings,
    _key_moments,
    _noise,
    _standardisation,
)
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.painting import ROUNDS
from quantart_cli.nets.vgg import VGG19
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.tiling import GRAIN, SMALLEST_TILE, Tile, Tiler
from tests.conftest import EXACT, scene
from tests.exact import encode, image_of, paint


def picture(width, height, seed=1):
    return torch.from_numpy(scene(width, height, seed)).permute(2, 0, 1)[None]


def tiles(height, width, side):
    found = []
    Tiler(side).run(height, width, found.append)
    return found


@given(height=st.integers(1, 900), width=st.integers(1, 900), side=st.integers(8, 60).map(lambda n: n * 8))
@settings(deadline=None, max_examples=200)
def test_tiles_cover_every_pixel_once_and_begin_on_the_grain(height, width, side):
    covered = np.zeros((height, width), int)
    for tile in tiles(height, width, side):
        assert tile.top % GRAIN == tile.left % GRAIN == 0
        assert 0 < tile.height <= side
        assert 0 < tile.width <= side
        covered[tile.slices] += 1
    assert covered.min() == covered.max() == 1


@given(height=st.integers(1, 900), width=st.integers(1, 900), side=st.integers(8, 60).map(lambda n: n * 8))
@settings(deadline=None, max_examples=200)
def test_tiles_with_their_borders_are_of_one_size(height, width, side):
    sizes = set()
    for tile in tiles(height, width, side):
        outer = tile.grown(32, height, width, GRAIN)
        assert outer.top % GRAIN == outer.left % GRAIN == 0
        for inner, border in ((tile.top, outer.top), (tile.left, outer.left)):
            assert border <= max(0, inner - 32)
        assert outer.bottom >= min(height, tile.bottom + 32)
        assert outer.right >= min(width, tile.right + 32)
        sizes.add((outer.height // GRAIN, outer.width // GRAIN))
    # One, and where a side is no multiple of the grain one row or column more at its end.
    heights, widths = ({size[axis] for size in sizes} for axis in (0, 1))
    assert max(heights) - min(heights) <= 1
    assert max(widths) - min(widths) <= 1


def test_tiles_are_of_nearly_one_size():
    sizes = [tile.width for tile in tiles(100, 1280, 1024)]
    assert sizes == [640, 640]


@pytest.fixture(scope="module")
def style_picture():
    return Image.of(scene(120, 90, 7))


METHODS = [
    (AdaIN(), AdaINSettings(), 1e-4),
    *((QuantArt(), QuantArtSettings(fidelity, codebook="art"), 1e-4) for fidelity in (0.0, 0.7, 1.0)),
    *((QuantArt(), QuantArtSettings(fidelity, codebook="style", brush="none"), 1e-3) for fidelity in (0.7, 1.0)),
]
"""With their settings, and how far tiles may differ from the whole; a match on a tie may be another one."""
ids = [f"{type(m).__name__}-{getattr(s, 'codebook', '')}-{getattr(s, 'fidelity', '')}" for m, s, _ in METHODS]


@pytest.mark.parametrize(("method", "settings", "bound"), METHODS, ids=ids)
def test_tiled_is_whole_at_random_sizes(backend, style_picture, method, settings, bound):
    numbers = random.Random(ids.index(f"{type(method).__name__}-{getattr(settings, 'codebook', '')}-"
                                      f"{getattr(settings, 'fidelity', '')}"))  # fmt: skip
    style = encode(backend, method, settings, style_picture)
    # Few of the large ones, so that the suite stays fast.
    sizes = [(numbers.randint(1, 300), numbers.randint(1, 300)) for _ in range(4)]
    for height, width in [*sizes, numbers.choice([(500, 90), (60, 500), (1, 500)])]:
        content, side = picture(width, height, height), 8 * numbers.randint(8, 30)
        whole = paint(backend, method, content, style, settings)
        tiled = paint(backend, method, content, style, settings, Tiler(side))
        assert whole.shape == (1, 3, height, width)
        assert (whole - tiled).abs().max() < bound, (height, width, side)


@pytest.mark.parametrize("codebook", ["art", "style"])
def test_tiled_is_whole_with_transparency(backend, style_picture, codebook):
    opacity = torch.zeros(1, 1, 150, 210)
    opacity[..., 30:190] = 0.75
    content = image_of(picture(210, 150), opacity)
    method, settings = QuantArt(), QuantArtSettings(codebook=codebook, brush="none")
    style = encode(backend, method, settings, style_picture)
    whole = paint(backend, method, content, style, settings)
    tiled = paint(backend, method, content, style, settings, Tiler(72))
    assert (whole - tiled).abs().max() < 1e-3


def test_tiled_is_whole_coarse_to_fine(quantart_model):
    """Levels are rounded to 8 bits: a pixel may round the other way, and what is painted over it differs as little."""
    style = quantart_model.encode_style(scene(120, 90, 7))
    for size in ((220, 140), (101, 230)):
        whole, tiled = (
            np.asarray(quantart_model.stylize(scene(*size), style, brush="90", tile=tile)).astype(int)
            for tile in ("none", 80)
        )
        assert np.abs(whole - tiled).mean() < 0.02
        assert (np.abs(whole - tiled) > 2).mean() < 1e-3


@pytest.mark.parametrize("size", [(300, 170), (101, 230)])
def test_matches_in_tiles_are_those_of_the_whole(backend, style_picture, size):
    """The halo is as wide as the rounds of the matching look; features, and so similarities, are equal here."""
    method, settings = QuantArt(), QuantArtSettings(codebook="style", brush="none")
    style, run = encode(backend, method, settings, style_picture), Runner(backend, Tiler())
    c = run(ENCODE_CONTENT, Image.of(scene(*size, 4)))
    inputs = {
        **{name: c[name] for name in ("z", "x3", "x2")},
        "noise": MapOf(backend.to_map(_noise(c["z"].size), c["z"].values), 8),
        **dict(zip(("mean", "scale"), _standardisation(_key_moments(c)), strict=True)),
        "places": style.places,
        "table": np.ascontiguousarray(style.keys.reshape(128, -1).T),
        "penalty": style.penalty.reshape(-1),
        "columns": style.penalty.shape[1],
    }
    whole, tiled = (Runner(backend, Tiler(side))(MATCH, **inputs) for side in (None, 64))
    assert torch.equal(tiled["best"].values, whole["best"].values)
    torch.testing.assert_close(tiled["share"].values, whole["share"].values, atol=1e-5, rtol=0)
    assert MATCH.halo == 8 * (ROUNDS + 1)  # one more, because plain areas are found by the neighbours


@pytest.mark.parametrize("kind", ["moments", "entries"])
def test_a_style_in_tiles_is_the_style(backend, kind):
    picture, method = Image.of(scene(300, 200, 3)), QuantArt()
    whole, tiled = (method.encode_style(Runner(backend, Tiler(side)), picture, kind) for side in (None, 96))
    if kind == "entries":
        for name in ("values", "s3", "s2"):
            assert torch.allclose(getattr(whole, name), getattr(tiled, name), atol=1e-4)
        assert np.array_equal(whole.places, tiled.places)
        assert np.abs(whole.keys - tiled.keys).max() < 1e-4
        assert np.abs(whole.penalty - tiled.penalty).max() < 1e-4
        whole, tiled = whole.moments, tiled.moments
    assert np.allclose(whole.mean, tiled.mean, atol=1e-5)
    assert np.allclose(whole.std, tiled.std, atol=1e-5)


@pytest.mark.parametrize("failing", range(8))
def test_memory_that_runs_out_on_any_tile_gives_the_right_picture(backend, style_picture, monkeypatch, failing):
    """The n-th call of either network fails, whole or as a tile."""
    method, settings, content = AdaIN(), AdaINSettings(), picture(210, 130)
    style = encode(backend, method, settings, style_picture)
    expected = paint(backend, method, content, style, settings)
    calls, told = iter(range(1000)), []

    def fails_once(network):
        def call(*arguments):
            if next(calls) == failing:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return network(*arguments)

        return call

    for name, network in (("vgg", VGG19), ("decoder", Decoder)):
        made = backend.network(name, network)
        monkeypatch.setattr(made, "forward", fails_once(made.forward))
    image = paint(backend, method, content, style, settings, Tiler(128, told.append))
    assert (image - expected).abs().max() < 1e-4
    assert len(told) == 1


def test_one_notice_and_tiles_are_halved_until_they_fit():
    told, done = [], []

    def work(tile):
        if max(tile.height, tile.width) > 100:
            raise MemoryError
        done.append(tile)

    tiler = Tiler(None, told.append)
    tiler.run(300, 500, work)
    assert told == ["memory ran out with the whole picture: continuing with tiles of 256 pixels"]
    assert tiler.side <= 100
    assert sum(tile.height * tile.width for tile in done) == 300 * 500


def test_what_never_fits_and_bugs_are_raised():
    def no_memory(_):
        raise MemoryError

    def bug(_):
        raise RuntimeError("shapes do not match")

    with pytest.raises(MemoryError):
        Tiler(None).run(300, 500, no_memory)
    with pytest.raises(RuntimeError, match="shapes"):
        Tiler(None).run(300, 500, bug)


def test_auto_takes_the_whole_when_small_and_less_when_memory_is_short(monkeypatch):
    monkeypatch.setattr("quantart_cli.memory.available", lambda _: 10**12)
    assert choose_tile(800, 600, "auto", EXACT) is None
    assert choose_tile(4000, 3000, "auto", EXACT) == 768
    assert choose_tile(4000, 3000, "auto", DeviceSpec("cpu", "fp32", "tests", "openvino")) == 512
    assert choose_tile(4000, 3000, None, EXACT) is None
    assert choose_tile(4000, 3000, 512, EXACT) == 512
    assert choose_tile(300, 300, 512, EXACT) is None
    monkeypatch.setattr("quantart_cli.memory.available", lambda _: 600 * 10**6)
    side = choose_tile(4000, 3000, "auto", EXACT)
    assert SMALLEST_TILE <= side < 768
    assert needed_in_tiles(4000, 3000, side, EXACT) < 600 * 10**6


def test_a_tile_among_others():
    tile = Tile(64, 0, 128, 40)
    assert tile.grown(32, 130, 50) == Tile(2, 0, 130, 50)  # the border it lacks below it has above
    assert tile.grown(32, 130, 50, 8) == Tile(0, 0, 130, 50)
    assert tile.grown(32, 500, 500) == Tile(32, 0, 160, 104)
    assert tile.within(tile.grown(32, 500, 500)) == Tile(32, 0, 96, 40)
    assert Tile(64, 0, 130, 50).shrunk(8) == Tile(8, 0, 17, 7)
