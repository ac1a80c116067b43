"""The warping error, of clips whose motion is known."""

import json

import numpy as np
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.video import measure
from tests.video.clips import panned, square, write_gif

pytest.importorskip("cv2")


def test_a_clip_that_moves_with_its_content_does_not_flicker():
    frames = panned(12, 3, 192, 128)
    random = np.random.default_rng(0)
    flickering = [np.uint8((frame + random.normal(0, 20, 3)).clip(0, 255)) for frame in frames]
    own, steady, other = measure(zip(frames, [255 - each for each in frames], flickering, strict=True), 2)
    assert own.short == pytest.approx(steady.short, rel=0.01)  # a negative moves as the clip does
    assert other.short > 3 * own.short
    assert other.long > own.long > 0
    assert own.painted is None


def test_the_error_is_in_levels():
    still = square(1)[0]
    frames = [still, still, still]
    other = [still, still + np.uint8(6), still]
    assert measure(zip(frames, other, strict=True), 1)[1].short == pytest.approx(6, abs=0.01)


def test_clips_of_one_frame_have_no_error():
    assert measure([[square(1)[0]] * 2], 1)[1].short is None


def test_clips_without_a_frame_are_refused():
    with pytest.raises(QuantArtError, match="no frame can be read of all clips"):
        measure([], 1)


def test_what_a_short_clip_does_not_say_is_a_dash_with_a_reason(run, tmp_path):
    write_gif(tmp_path / "a.gif", square(4), 40)
    arguments = ("evaluate", "--video", tmp_path / "a.gif", "--outputs", tmp_path / "a.gif")
    why = "no long-term error: it compares frames 10 apart, and the clip has 4 frames"
    lines = run(*arguments)[1].decode().splitlines()
    assert lines[-1] == why
    assert lines[1].split()[2:] == ["–", "–"]
    facts = json.loads(run(*arguments, "--json", "--quiet")[1])
    assert (facts["clips"][1]["long"], facts["frames"], facts["notes"]) == (None, 4, [why])


def test_the_command(run, tmp_path, style_file):
    write_gif(tmp_path / "a.gif", square(3), 40)
    write_gif(tmp_path / "b.gif", [255 - each for each in square(3)], 40)
    status, stdout, stderr = run(
        "evaluate", "--video", tmp_path / "a.gif", "--outputs", tmp_path / "b.gif", "--styles", style_file, "--json"
    )
    assert status == 0, stderr
    clip, painted = json.loads(stdout)["clips"]
    assert clip["painted"] == 0
    assert painted["painted"] != 0
    assert painted["short"] == pytest.approx(clip["short"], abs=0.5)


def test_mistakes(run, tmp_path):
    assert "--video needs --outputs" in run("evaluate", "--video", "a.mp4")[2]
    assert "--contents is missing" in run("evaluate", "--styles", "x")[2]
    assert "one painting" in run("evaluate", "--video", "a.mp4", "--outputs", "b.mp4", "--styles", tmp_path)[2]
