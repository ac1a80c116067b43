"""Tiles: every pixel once, the same picture, and memory that runs out on the way."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantart_cli.engine.machine import Machine
from quantart_cli.engine.memory import choose_tile, needed_in_tiles
from quantart_cli.engine.tiling import GRAIN, SMALLEST, Tiles, Window
from quantart_cli.methods.adain import AdaIN
from quantart_cli.methods.controls import AdaINControls, QuantArtControls
from quantart_cli.methods.features import encode
from quantart_cli.methods.quantart import QuantArt
from tests.conftest import scene

MACHINE = Machine("cpu", "fp32", "tests")


def picture(width, height, seed=1):
    return torch.from_numpy(scene(width, height, seed)).permute(2, 0, 1)[None]


def windows(height, width, side):
    found = []
    Tiles(side).run(height, width, found.append)
    return found


@given(height=st.integers(1, 900), width=st.integers(1, 900), side=st.integers(8, 60).map(lambda n: n * 8))
@settings(deadline=None, max_examples=200)
def test_windows_cover_every_pixel_once_and_begin_on_the_grain(height, width, side):
    covered = np.zeros((height, width), int)
    for window in windows(height, width, side):
        assert window.top % GRAIN == window.left % GRAIN == 0
        assert 0 < window.height <= side
        assert 0 < window.width <= side
        covered[window.slices] += 1
    assert covered.min() == covered.max() == 1


@given(height=st.integers(1, 900), width=st.integers(1, 900), side=st.integers(8, 60).map(lambda n: n * 8))
@settings(deadline=None, max_examples=200)
def test_windows_with_their_borders_are_of_one_size(height, width, side):
    sizes = set()
    for window in windows(height, width, side):
        outer = window.grown(32, height, width, GRAIN)
        assert outer.top % GRAIN == outer.left % GRAIN == 0
        for inner, border in ((window.top, outer.top), (window.left, outer.left)):
            assert border <= max(0, inner - 32)
        assert outer.bottom >= min(height, window.bottom + 32)
        assert outer.right >= min(width, window.right + 32)
        sizes.add((outer.height // GRAIN, outer.width // GRAIN))
    # One, and where a side is no multiple of the grain one row or column more at its end.
    heights, widths = ({size[axis] for size in sizes} for axis in (0, 1))
    assert max(heights) - min(heights) <= 1
    assert max(widths) - min(widths) <= 1


def test_windows_are_of_nearly_one_size():
    sizes = [window.width for window in windows(100, 1280, 1024)]
    assert sizes == [640, 640]


@pytest.fixture(scope="module")
def methods(vgg, codebook, decoder):
    return QuantArt(vgg, codebook, decoder), AdaIN(vgg, decoder)


@pytest.fixture(scope="module")
def style(methods):
    with torch.inference_mode():
        return methods[0].encode_style([(picture(120, 90, 7), None)], [1.0])


@torch.inference_mode()
def test_tiled_is_whole_at_random_sizes(methods, style):
    numbers = random.Random(0)
    quantart, adain = methods
    # Few of the large ones, so that the suite stays fast.
    sizes = [(numbers.randint(1, 300), numbers.randint(1, 300)) for _ in range(10)] + [(700, 90), (60, 700), (1, 700)]
    for height, width in sizes:
        content, side = picture(width, height, height), 8 * numbers.randint(8, 30)
        alpha = numbers.choice([0.0, 0.7, 1.0])
        for method, controls in ((quantart, QuantArtControls(fidelity=alpha)), (adain, AdaINControls())):
            whole = method.stylize(content, style, controls)
            tiled = method.stylize(content, style, controls, tiles=Tiles(side))
            assert whole.shape == (1, 3, height, width)
            assert (whole - tiled).abs().max() < 1e-4, (height, width, side, alpha)


@torch.inference_mode()
def test_tiled_is_whole_with_transparency(methods, style):
    coverage = torch.zeros(1, 1, 150, 210)
    coverage[..., 30:190] = 0.75
    content = picture(210, 150)
    controls = QuantArtControls()
    whole = methods[0].stylize(content, style, controls, coverage)
    tiled = methods[0].stylize(content, style, controls, coverage, Tiles(72))
    assert (whole - tiled).abs().max() < 1e-4


@torch.inference_mode()
def test_a_style_in_tiles_is_the_style(methods):
    style = [(picture(300, 200, 3), None)]
    whole, tiled = methods[1].encode_style(style, [1.0]), methods[1].encode_style(style, [1.0], Tiles(96))
    assert torch.allclose(whole.mean, tiled.mean, atol=1e-5)
    assert torch.allclose(whole.std, tiled.std, atol=1e-5)


@torch.inference_mode()
def test_floats_and_bytes_are_one_picture(vgg):
    content = picture(90, 70)
    assert torch.equal(encode(vgg, content).z, encode(vgg, content.float() / 255).z)


@pytest.mark.parametrize("failing", range(8))
@torch.inference_mode()
def test_memory_that_runs_out_on_any_window_gives_the_right_picture(methods, style, monkeypatch, failing):
    """The n-th call of either network fails, whole or as a tile."""
    adain = methods[1]
    content = picture(210, 130)
    expected = adain.stylize(content, style, AdaINControls())
    calls, told = iter(range(1000)), []

    def fails_once(network):
        def call(*arguments):
            if next(calls) == failing:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return network(*arguments)

        return call

    fragile = AdaIN(adain.vgg, adain.decoder)
    monkeypatch.setattr(adain.vgg, "forward", fails_once(adain.vgg.forward))
    monkeypatch.setattr(adain.decoder, "forward", fails_once(adain.decoder.forward))
    painted = np.zeros((130, 210), int)
    image = torch.zeros(1, 3, 130, 210)

    def put(window, part):
        rows, columns = window.slices
        painted[rows, columns] += 1
        image[:, :, rows, columns] = part

    fragile.stylize(content, style, AdaINControls(), tiles=Tiles(128, told.append), put=put)
    assert painted.min() == painted.max() == 1
    assert (image - expected).abs().max() < 1e-4
    assert len(told) == 1


def test_it_is_said_once_and_halved_until_it_fits():
    told, done = [], []

    def work(window):
        if max(window.height, window.width) > 100:
            raise MemoryError
        done.append(window)

    tiles = Tiles(None, told.append)
    tiles.run(300, 500, work)
    assert told == ["memory ran out on the whole picture: going on with tiles of 256"]
    assert tiles.side <= 100
    assert sum(window.height * window.width for window in done) == 300 * 500


def test_what_never_fits_and_bugs_are_raised():
    def no_memory(_):
        raise MemoryError

    def bug(_):
        raise RuntimeError("shapes do not match")

    with pytest.raises(MemoryError):
        Tiles(None).run(300, 500, no_memory)
    with pytest.raises(RuntimeError, match="shapes"):
        Tiles(None).run(300, 500, bug)


def test_auto_takes_the_whole_when_small_and_less_when_memory_is_short(monkeypatch):
    monkeypatch.setattr("quantart_cli.engine.memory.available", lambda _: 10**12)
    assert choose_tile(800, 600, "auto", MACHINE) is None
    assert choose_tile(4000, 3000, "auto", MACHINE) == 768
    assert choose_tile(4000, 3000, "auto", Machine("cpu", "fp32", "tests", "openvino")) == 512
    assert choose_tile(4000, 3000, None, MACHINE) is None
    assert choose_tile(4000, 3000, 512, MACHINE) == 512
    assert choose_tile(300, 300, 512, MACHINE) is None
    monkeypatch.setattr("quantart_cli.engine.memory.available", lambda _: 600 * 10**6)
    side = choose_tile(4000, 3000, "auto", MACHINE)
    assert SMALLEST <= side < 768
    assert needed_in_tiles(4000, 3000, side, MACHINE) < 600 * 10**6


def test_a_window_among_others():
    window = Window(64, 0, 128, 40)
    assert window.grown(32, 130, 50) == Window(2, 0, 130, 50)  # the border it lacks below it has above
    assert window.grown(32, 130, 50, 8) == Window(0, 0, 130, 50)
    assert window.grown(32, 500, 500) == Window(32, 0, 160, 104)
    assert window.within(window.grown(32, 500, 500)) == Window(32, 0, 96, 40)
    assert Window(64, 0, 130, 50).shrunk(8) == Window(8, 0, 17, 7)
