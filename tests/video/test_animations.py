"""Animated pictures and folders of frames, in and out."""

from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
from PIL import ImageSequence

from quantart_cli.errors import QuantArtError
from quantart_cli.video.clips import check_target, open_clip
from quantart_cli.video.render import render
from tests.conftest import scene
from tests.video.clips import Inverter, job_of, seconds, square, write_gif

RATE = Fraction(25)


def open_(path):
    return open_clip(str(path), rate=RATE, max_pixels=10**6)


def read(path):
    """(RGBA frames, durations in ms, loops) of an animation."""
    with PIL.Image.open(path) as image:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGBA")))
            durations.append(frame.info["duration"])  # known once it is loaded
        return frames, durations, image.info.get("loop")


@pytest.fixture
def gif(tmp_path):
    path = tmp_path / "clip.gif"
    write_gif(path, square(4), [40, 40, 200, 70], loop=3)
    return path


def test_reading(gif):
    clip = open_(gif)
    assert (clip.frames, clip.size, clip.seconds, clip.loops, clip.alpha) == (4, (64, 48), Fraction("0.35"), 3, False)
    frames = list(clip.read())
    assert [frame.time for frame in frames] == seconds("0", "0.04", "0.08", "0.28")
    assert [frame.duration for frame in frames] == seconds("0.04", "0.04", "0.2", "0.07")
    assert [np.array_equal(frame.picture.rgb, pixels) for frame, pixels in zip(frames, square(4), strict=True)] == [
        True
    ] * 4


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "apng"])
def test_times_and_loops_are_kept(gif, tmp_path, suffix):
    render(job_of(open_(gif), tmp_path / f"out.{suffix}"), Inverter())
    frames, durations, loops = read(tmp_path / f"out.{suffix}")
    assert (durations, loops) == ([40, 40, 200, 70], 3)
    for found, pixels in zip(frames, square(4), strict=True):
        assert np.abs(found[..., :3].astype(int) - (255 - pixels)).mean() < 12
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.gif", f"out.{suffix}"]


def test_a_gif_that_is_not_repeated(tmp_path):
    write_gif(tmp_path / "once.gif", square(2), 40)
    render(job_of(open_(tmp_path / "once.gif"), tmp_path / "out.gif"), Inverter())
    assert read(tmp_path / "out.gif")[2] is None


def test_one_palette_for_all_frames(tmp_path):
    """What stands still has the same colours in all frames."""
    frames = [scene(48, 32, 3).copy() for _ in range(3)]
    for i, frame in enumerate(frames):
        frame[:8] = scene(48, 8, 10 + i)  # other colours each time, which want other palettes
    PIL.Image.fromarray(frames[0]).save(
        tmp_path / "a.png", save_all=True, append_images=[PIL.Image.fromarray(each) for each in frames[1:]], duration=40
    )
    render(job_of(open_(tmp_path / "a.png"), tmp_path / "out.gif"), Inverter())
    found = read(tmp_path / "out.gif")[0]
    assert all(np.array_equal(each[8:], found[0][8:]) for each in found)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_transparency_is_kept(tmp_path, suffix):
    frames = [np.dstack([pixels, np.where(pixels[..., 0] > 150, 255, 0)]).astype(np.uint8) for pixels in square(3)]
    first, *rest = map(PIL.Image.fromarray, frames)
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=50)
    clip = open_(tmp_path / "a.png")
    assert clip.alpha
    render(job_of(clip, tmp_path / f"out.{suffix}"), Inverter())
    found = read(tmp_path / f"out.{suffix}")[0]
    assert [np.array_equal(one[..., 3], other[..., 3]) for one, other in zip(found, frames, strict=True)] == [True] * 3


def test_a_background_replaces_transparency(tmp_path):
    frames = [np.dstack([pixels, np.where(pixels[..., 0] > 150, 255, 0)]).astype(np.uint8) for pixels in square(2)]
    PIL.Image.fromarray(frames[0]).save(
        tmp_path / "a.png", save_all=True, append_images=[PIL.Image.fromarray(frames[1])]
    )
    render(job_of(open_(tmp_path / "a.png"), tmp_path / "out.png", background="white"), Inverter())
    found = read(tmp_path / "out.png")[0][0]
    assert found[0, 0].tolist() == [0, 0, 0, 255]  # the negative of white


def test_folders(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, pixels in zip((1, 2, 10), square(3), strict=True):  # 10 is behind 2
        PIL.Image.fromarray(pixels).save(folder / f"f{number}.png")
    (folder / "notes1.txt").write_text("no frame")
    render(job_of(open_(folder), tmp_path / "out"), Inverter())
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["f1.png", "f10.png", "f2.png"]
    assert np.array_equal(PIL.Image.open(tmp_path / "out" / "f10.png"), 255 - square(3)[2])


def test_an_animation_becomes_a_folder(gif, tmp_path):
    render(job_of(open_(gif), tmp_path / "out", format="jpeg"), Inverter())
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [f"{i:06}.jpg" for i in range(1, 5)]


def test_a_broken_frame_is_told_and_held(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, pixels in enumerate(square(4)):
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    PIL.Image.fromarray(scene(10, 10)).save(folder / "0.png")
    PIL.Image.fromarray(square(4)[0]).save(folder / "0.png")
    report = render(job_of(open_(folder), tmp_path / "out"), Inverter())
    assert [at for at, _ in report.broken] == [0.08]
    assert "2.png is damaged" in report.broken[0][1]
    assert np.array_equal(PIL.Image.open(tmp_path / "out" / "2.png"), PIL.Image.open(tmp_path / "out" / "1.png"))


def test_a_frame_of_another_size_is_held(tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(scene(20, 16)).save(tmp_path / "in" / "1.png")
    PIL.Image.fromarray(scene(24, 16)).save(tmp_path / "in" / "2.png")
    report = render(job_of(open_(tmp_path / "in"), tmp_path / "out"), Inverter())
    assert "is 24 × 16, not 20 × 16" in report.broken[0][1]


def test_start_and_end(gif):
    frames = list(open_(gif).between(*seconds("0.06", "0.29")))
    assert [frame.time for frame in frames] == seconds("0", "0.02", "0.22")
    assert [frame.duration for frame in frames] == seconds("0.02", "0.2", "0.01")


def test_a_preview_paints_few_frames(gif, tmp_path):
    render(job_of(open_(gif), tmp_path / "out.webp", every=Fraction("0.1")), painter := Inverter())
    assert painter.painted == 2
    assert read(tmp_path / "out.webp")[1] == [280, 70]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("still.png", r"still.png is a still picture \(PNG\): quantart stylize paints it"),
        ("still.mp4", r"still.mp4 is a still picture \(JPEG\)"),
        ("empty.gif", r"empty.gif is empty \(0 bytes\)"),
        ("none.gif", "none.gif does not exist"),
        ("folder", "folder has no numbered pictures"),
    ],
)
def test_refused(tmp_path, name, words):
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "still.png")
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "still.jpg")
    (tmp_path / "still.jpg").rename(tmp_path / "still.mp4")
    (tmp_path / "empty.gif").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(QuantArtError, match=words):
        open_(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out.txt", r"out.txt is no clip by its suffix: use one of \.mp4"),
        ("clip.gif", "clip.gif is an input and would be overwritten"),
        ("style.png", "style.png is an input and would be overwritten"),
        ("nowhere/out.gif", "make the folder .*nowhere first"),
        ("file", "file is a file: give a folder"),
    ],
)
def test_refused_to_write(gif, tmp_path, name, words):
    (tmp_path / "file").touch()
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "style.png")
    clip = open_(gif)
    with pytest.raises(QuantArtError, match=words):
        check_target(clip, job_of(clip, tmp_path / name).target, [str(tmp_path / "style.png")])


def test_a_folder_is_not_painted_into_itself(tmp_path):
    PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "1.png")
    clip = open_(tmp_path)
    with pytest.raises(QuantArtError, match="is the clip itself"):
        check_target(clip, job_of(clip, tmp_path).target)
