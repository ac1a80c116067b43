"""Painting without flicker, on clips of known motion."""

from itertools import pairwise

import numpy as np
import pytest

import quantart_cli as quantart
from quantart_cli import flow
from quantart_cli.flow import Motion
from quantart_cli.images import Picture
from quantart_cli.result import Result
from quantart_cli.runner import Image
from quantart_cli.tiling import Tiler
from quantart_cli.video.steady import Memory, Steady
from tests.conftest import scene
from tests.video.clips import panned

WIDTH, HEIGHT, STEP = 96, 64, 5
CUT = Motion(np.zeros((HEIGHT, WIDTH, 2), np.float32), np.zeros((HEIGHT, WIDTH), np.float32))
STILL = Motion(CUT.flow, np.ones((HEIGHT, WIDTH), np.float32))


def pan_motion() -> Motion:
    """The motion of ``panned``: a pixel was further to the right; the last columns are new."""
    holds = np.ones((HEIGHT, WIDTH), np.float32)
    holds[:, WIDTH - STEP :] = 0
    return Motion(np.full((HEIGHT, WIDTH, 2), (STEP, 0), np.float32), holds)


def noisy(count: int) -> list[np.ndarray]:
    still, draw = scene(WIDTH, HEIGHT, 5).astype(float), np.random.default_rng(0)
    return [np.uint8((still + draw.normal(0, 4, still.shape)).clip(0, 255)) for _ in range(count)]


def paint(model, frames, motions, steady, **settings):
    style = model.encode_style(scene(64, 48, 2))
    painter = Steady(model, style, model.method.settings(**settings), steady)
    return [painter.paint(Picture(frame), motion).picture.rgb for frame, motion in zip(frames, motions, strict=True)]


def warping_error(painted, motion):
    """Root of the mean squared difference between each frame and the last one moved, where the flow holds."""
    errors = []
    for last, now in pairwise(painted):
        moved = flow.warp(last.astype(np.float32), motion.flow)
        errors.append(((now - moved) ** 2)[motion.holds == 1].mean())
    return np.mean(errors) ** 0.5


@pytest.fixture(scope="module", params=["adain", "quantart"])
def model(request):
    return request.getfixturevalue(f"{request.param}_model")


@pytest.fixture(scope="module")
def pan(model):
    """Frames of a pan painted alone, and painted steadily."""
    frames, motion = panned(3, STEP, WIDTH, HEIGHT), pan_motion()
    return paint(model, frames, [None] * 3, 0), paint(model, frames, [None, motion, motion], 0.7)


def test_a_pan_flickers_less(pan):
    """Of a frame this small most is within reach of the border; docs/video.md has numbers of whole clips."""
    alone, steady = (warping_error(each[-2:], pan_motion()) for each in pan)
    assert steady < 0.65 * alone


def test_a_pan_is_sharp(pan):
    """The steadied frame has the contrast of the frame painted alone: it is no blur."""
    alone, steady = (np.abs(np.diff(each[-1].astype(float), axis=1)).mean() for each in pan)
    assert steady > 0.8 * alone


def test_a_still_with_noise_does_not_boil(model):
    frames = noisy(3)
    assert warping_error(paint(model, frames, [None, STILL, STILL], 0.7), STILL) < warping_error(frames, STILL)


def test_steady_0_paints_each_frame_alone(adain_model):
    frames = panned(2, STEP, WIDTH, HEIGHT)
    painted = paint(adain_model, frames, [None, pan_motion()], 0)
    style = adain_model.encode_style(scene(64, 48, 2))
    expected = [np.asarray(adain_model.stylize(frame, style)) for frame in frames]
    assert np.array_equal(painted, expected)


@pytest.mark.parametrize("motion", [None, CUT])
def test_after_a_cut_nothing_is_kept(adain_model, motion):
    frames = panned(2, STEP, WIDTH, HEIGHT)
    painted = paint(adain_model, frames, [None, motion], 0.7)
    assert np.array_equal(painted[1], paint(adain_model, frames[1:], [None], 0.7)[0])


def test_entries_change_with_the_content(quantart_model):
    """A slow dissolve holds between frames; positions must not keep the entries of the first picture for ever."""
    one, other = (scene(WIDTH, HEIGHT, seed).astype(float) for seed in (5, 9))
    frames = [np.uint8(one + (other - one) * min(1, i / 2)) for i in range(5)]
    first, *_, painted = paint(quantart_model, frames, [None, *[STILL] * 4], 0.7)
    alone = paint(quantart_model, frames[-1:], [None], 0)[0]
    to_own, to_first = (np.abs(painted.astype(float) - each).mean() for each in (alone, first))
    assert to_own < 0.7 * to_first


def test_a_state_continues_where_it_was(quantart_model):
    frames, motion = panned(3, STEP, WIDTH, HEIGHT), pan_motion()
    style = quantart_model.encode_style(scene(64, 48, 2))
    one, other = (Steady(quantart_model, style, quantart_model.method.settings(), 0.7) for _ in range(2))
    one.paint(Picture(frames[0]), None)
    one.paint(Picture(frames[1]), motion)
    other.restore(one.state())
    expected, found = (each.paint(Picture(frames[2]), motion).picture.rgb for each in (one, other))
    assert np.array_equal(found, expected)


def test_transparent_frames(adain_model):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, :20] = 0
    frames = [np.dstack([frame, alpha]) for frame in panned(2, STEP, WIDTH, HEIGHT)]
    painter = Steady(adain_model, adain_model.encode_style(scene(64, 48, 2)), adain_model.method.settings(), 0.7)
    pictures = [Picture(np.ascontiguousarray(each[..., :3]), np.ascontiguousarray(each[..., 3])) for each in frames]
    painted = [
        painter.paint(picture, motion).picture for picture, motion in zip(pictures, [None, pan_motion()], strict=True)
    ]
    assert all(np.array_equal(each.alpha, alpha[..., 0]) for each in painted)
    assert painter.memory.shift.tolist() == [0, 0]


def test_the_grid_follows_the_axis_that_moves(adain_model):
    """Slow motion is left to the features; a frame is larger along the other axis alone."""
    memory, motion = Memory(0.7, 8), Motion(np.full((HEIGHT, WIDTH, 2), (0.4, 5), np.float32), STILL.holds)
    memory.begin(motion, Picture(scene(WIDTH, HEIGHT, 5)))
    assert memory.shift.tolist() == [0, 5]
    image = Image.of(scene(WIDTH, HEIGHT, 5))
    moved = memory.runner(adain_model.backend, Tiler())._on_moved_grid(image)
    assert moved.pixels.shape == (HEIGHT + 8, WIDTH, 3)
    assert np.array_equal(moved.pixels[5 : 5 + HEIGHT], image.pixels)


def test_methods_that_optimise_keep_what_they_painted():
    """On the left the last frame holds. On the right it does not: that of ten frames ago, or none."""
    model = quantart.load("gatys", device="cpu", precision="fp32")
    holds = np.zeros((24, 24), np.float32)
    holds[:, :12] = 0.75
    left, still = Motion(np.zeros((24, 24, 2), np.float32), holds), Motion(np.zeros((24, 24, 2)), np.ones((24, 24)))
    starts, painted = [], [scene(24, 24, seed) for seed in range(20, 40)]

    def paint(content, *_, inputs, **how):
        starts.append(inputs)
        return Result(Picture(painted[len(starts) - 1]), "fp32")

    model.paint = paint
    style, settings = model.encode_style(scene(24, 24, 2)), model.method.settings()
    estimated = []

    def estimate(before, now):
        estimated.append((before, now))
        return still

    painter = Steady(model, style, settings, 0.5, estimate)
    frames = [scene(24, 24, seed) for seed in range(1, 13)]
    for number, frame in enumerate(frames):
        painter.paint(Picture(frame), left if number else None)
    assert starts[0] is None
    first = starts[1]
    assert estimated[0][0] is not frames[1]
    assert np.allclose(first.past.weight, holds)  # times 0.5 / (1 - 0.5)
    assert np.allclose(first.past.picture[:, :12], painted[0][:, :12] / 255)
    assert np.array_equal(first.start[:, 12:], frames[1][:, 12:])
    mixed = frames[1][:, :12] + 0.75 * (painted[0][:, :12] - frames[1][:, :12].astype(float))
    assert np.abs(first.start[:, :12] - mixed).max() <= 0.51
    assert estimated[-1][0] is frames[1]
    last = starts[-1].past
    assert np.allclose(last.weight, 1)
    assert np.allclose(last.picture[:, 12:], painted[1][:, 12:] / 255)
    assert np.allclose(last.picture[:, :12], (0.75 * painted[10][:, :12] + 0.25 * painted[1][:, :12]) / 255)
    other = Steady(model, style, settings, 0.5, estimate)
    other.restore(painter.state())
    assert len(other.frames) == 10
    assert all(np.array_equal(one, two) for one, two in zip(other.frames[0], painter.frames[0], strict=True))
    painter.paint(Picture(frames[0]), CUT)
    assert starts[-1] is None
    assert len(painter.frames) == 1


def test_maps_keep_their_precision():
    model = quantart.load("microast", device="cpu", precision="bf16", backend="torch")  # its maps are float32
    frames = panned(2, STEP, WIDTH, HEIGHT)
    alone = paint(model, frames, [None] * 2, 0)
    painted = paint(model, frames, [None, CUT], 0.7)
    assert np.abs(np.int16(painted[0]) - alone[0]).max() <= 1


def test_flow_of_a_pan():
    pytest.importorskip("cv2")
    motion = flow.estimate(*panned(2, STEP, 192, 128))
    assert np.abs(np.median(motion.flow, axis=(0, 1)) - (STEP, 0)).max() < 0.2
    assert motion.holds[:, :-16].mean() > 0.9
    assert motion.holds[:, -STEP:].mean() < 0.5  # not seen before


def test_flow_does_not_hold_at_a_cut():
    assert flow.estimate(scene(96, 64, 1), 255 - scene(96, 64, 1)).holds.mean() < 0.3


def test_without_opencv_still_pictures_hold(monkeypatch):
    monkeypatch.setattr(flow, "available", lambda: False)
    frames = noisy(2)
    motion = flow.estimate(*frames)
    assert not motion.flow.any()
    assert motion.holds.mean() > 0.95
    assert flow.estimate(frames[0], 255 - frames[0]).holds.mean() < 0.5


@pytest.mark.parametrize("side", [1, 4, 7])
def test_blurred_is_the_mean_of_squares(side):
    values = np.random.default_rng(0).random((9, 11), np.float32)
    padded = np.pad(values, ((side // 2, side - 1 - side // 2),) * 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    assert np.allclose(flow.blurred(values, side), windows.mean((2, 3)), atol=1e-6)
