"""The command ``video``, with a network; clips and threads are tested in tests/video."""

import json

import numpy as np
import PIL.Image
import pytest

from quantart_cli.cli.video import seconds_of
from quantart_cli.errors import QuantArtError
from tests.conftest import scene
from tests.video.clips import square, write_gif
from tests.video.test_animations import read

FAST = ("--method", "adain", "--backend", "torch", "--precision", "fp32")


@pytest.fixture
def gif(tmp_path):
    path = tmp_path / "clip.gif"
    write_gif(path, square(3), [40, 40, 200], loop=0)
    return path


def test_a_clip_is_painted(run, gif, style_file, tmp_path):
    status, stdout, stderr = run("video", gif, style_file, "-o", tmp_path / "out.gif", *FAST, "--json")
    assert status == 0, stderr
    facts = json.loads(stdout)
    assert (facts["frames"], facts["broken"], facts["method"]) == (3, [], "adain")
    assert "out.gif: 3 frames, adain in" in stderr
    frames, durations, loops = read(tmp_path / "out.gif")
    assert (durations, loops, frames[0].shape) == ([40, 40, 200], 0, (48, 64, 4))
    # The rest of the picture stands still, and is painted as one.
    assert np.abs(frames[0][24:, 32:].astype(int) - frames[2][24:, 32:]).mean() < 6


def test_options_of_other_methods_and_sizes(run, gif, style_file, tmp_path):
    status, _, stderr = run(
        "video",
        gif,
        style_file,
        "-o",
        tmp_path / "out",
        *FAST,
        "--alpha",
        "0.5",
        "--size",
        "32",
        "--preserve-color",
        "match",
    )
    assert status == 0, stderr
    assert PIL.Image.open(tmp_path / "out" / "000002.png").size == (32, 24)


def test_a_dry_run_writes_nothing(run, gif, style_file, tmp_path):
    before = sorted(tmp_path.iterdir())
    status, stdout, stderr = run("video", gif, style_file, "-o", tmp_path / "out.webp", *FAST, "--dry-run", "--json")
    assert status == 0, stderr
    assert "would be 3 frames of 64 × 48, adain: about" in stderr
    assert json.loads(stdout)["frames"] == 3
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--end", "1", "--start", "2"], "--end must be after --start"),
        (["--start", "soon"], "--start takes a time, such as 12.5 or 1:02:03, not 'soon'"),
        (["--start", "1:40", "--steady", "0", *FAST], "clip.gif ends at 0.28 s, before --start 100"),
        (["--start", "1e999", "--steady", "0", *FAST], "clip.gif ends at 0.28 s, before --start 1e+09"),
        (["--preview", "nan"], "--preview must be a number, not nan"),
        (["--preview", "inf"], "--preview must be a number, not inf"),
        (["--steady", "2"], "--steady must be between 0 and 1, not 2"),
        (["--method", "nobody"], "--method"),
        (["--fidelity", "0.5", *FAST], "fidelity"),
    ],
)
def test_mistakes(run, gif, style_file, tmp_path, arguments, words):
    status, _, stderr = run("video", gif, style_file, "-o", tmp_path / "out.gif", *arguments)
    assert status == 2
    assert words in stderr
    assert stderr.count("\n") == 1


def test_a_clip_that_does_not_exist_gets_the_nearest_name(run, gif, style_file, tmp_path):
    status, _, stderr = run("video", tmp_path / "clap.gif", style_file, "-o", tmp_path / "out.gif")
    assert (status, stderr) == (2, f"quantart: {tmp_path}/clap.gif does not exist: did you mean {gif}?\n")


def test_other_commands_name_this_one(run, gif, style_file, tmp_path):
    status, _, stderr = run("stylize", gif, style_file, "-o", tmp_path / "out.png")
    assert status == 2
    assert "is animated (3 frames): quantart video paints all of them" in stderr
    assert "has no recipe" in run("info", gif)[2]


def test_the_frame_rate_is_of_folders(run, gif, style_file, tmp_path):
    status, _, stderr = run("video", gif, style_file, "-o", tmp_path / "out.gif", *FAST, "--fps", "5")
    assert (status, stderr) == (2, f"quantart: --fps is of folders, and {gif} keeps its own frame rate: leave it out\n")
    (tmp_path / "frames").mkdir()
    for number in range(2):
        PIL.Image.fromarray(scene(16, 16, number)).save(tmp_path / "frames" / f"{number}.png")
    status, _, stderr = run("video", tmp_path / "frames", style_file, "-o", tmp_path / "o.gif", *FAST, "--fps", "5")
    assert status == 0, stderr
    assert read(tmp_path / "o.gif")[1] == [200, 200]


def test_a_still_picture_is_refused(run, style_file, tmp_path):
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "still.jpg")
    status, _, stderr = run("video", tmp_path / "still.jpg", style_file, "-o", tmp_path / "out.mp4")
    assert (status, "quantart stylize paints it" in stderr) == (2, True)


@pytest.mark.parametrize(("text", "seconds"), [("12.5", 12.5), ("1:02", 62), ("1:02:03.5", 3723.5), (None, None)])
def test_times(text, seconds):
    assert seconds_of("start", text) == seconds


@pytest.mark.parametrize("text", ["", "1:2:3:4", "-1", "1/2", "x"])
def test_no_times(text):
    with pytest.raises(QuantArtError, match="start takes a time"):
        seconds_of("start", text)


def test_the_current_frame_is_drawn(run, gif, style_file, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("quantart_cli.cli.console.Pictures.draw", lambda _, picture: drawn.append(picture.size))
    clip = ("video", gif, style_file, "-o", tmp_path / "out.gif", "--method", "microast", "--backend", "torch")
    assert run(*clip)[0] == 0
    assert drawn == []
    assert run(*clip, "--show")[0] == 0
    assert drawn == [(64, 48)] * 3
