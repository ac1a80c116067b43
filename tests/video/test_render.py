"""Kills, Ctrl-C, errors, and the order of threads; with a painter that needs no network."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.video import render as rendering
from quantart_cli.video.clips import open_clip
from quantart_cli.video.render import ahead, render
from tests.video.clips import Inverter, job_of, square, write_gif
from tests.video.test_animations import read


@pytest.fixture(autouse=True)
def _cut_after_each_frame(monkeypatch):
    monkeypatch.setattr(rendering, "_CUT_EVERY", 0.0)


@pytest.fixture
def clip(tmp_path):
    write_gif(tmp_path / "clip.gif", square(6), 40)
    return open_clip(str(tmp_path / "clip.gif"), rate=Fraction(25), max_pixels=10**6)


def whole(clip, tmp_path):
    render(job_of(clip, tmp_path / "whole.webp"), Inverter())
    return (tmp_path / "whole.webp").read_bytes()


def test_ctrl_c_leaves_what_was_painted(clip, tmp_path):
    report = render(job_of(clip, tmp_path / "out.webp"), Inverter(interrupt=3))
    assert (report.painted, report.stopped) == (3, True)
    assert len(read(tmp_path / "out.webp")[0]) == 3


def test_ctrl_c_between_a_frame_and_its_count(clip, tmp_path, monkeypatch):
    """It may come when a frame was handed on, and nothing else is known of it yet."""
    job, submit, written = job_of(clip, tmp_path / "out.webp"), ThreadPoolExecutor.submit, []

    def interrupted(pool, work, *arguments):
        found = submit(pool, work, *arguments)
        if getattr(work, "__name__", "") == "write":
            written.append(found)
            if len(written) == 3:
                raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", interrupted)
        assert render(job, Inverter()).painted == 3
    assert render(job, Inverter()).before == 3
    assert (tmp_path / "out.webp").read_bytes() == whole(clip, tmp_path)


def test_the_same_command_continues(clip, tmp_path):
    job = job_of(clip, tmp_path / "out.webp")
    render(job, Inverter(interrupt=3))
    report = render(job, painter := Inverter())
    assert (report.before, report.painted, painter.painted) == (3, 3, 3)
    assert all(motion is not None for motion in painter.motions)  # the last frame painted before is known
    assert (tmp_path / "out.webp").read_bytes() == whole(clip, tmp_path)
    assert not os.path.exists(job.work)


def test_another_recipe_begins_anew(clip, tmp_path):
    job = job_of(clip, tmp_path / "out.webp")
    render(job, Inverter(interrupt=3))
    job.recipe["recipe"] = 2
    assert render(job, Inverter()).before == 0


def _killed(job):
    painter = Inverter(interrupt=4)
    painter.interrupt = None
    painted = painter.paint

    def paint(content, motion):
        if painter.painted == 4:
            os._exit(9)
        return painted(content, motion)

    painter.paint = paint
    render(job, painter)


def test_a_kill_loses_nothing_that_was_cut(clip, tmp_path):
    job = job_of(clip, tmp_path / "out.webp")
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(job,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert not os.path.exists(job.target.path)
    report = render(job, Inverter())
    assert 1 <= report.before <= 4
    assert report.before + report.painted == 6
    assert (tmp_path / "out.webp").read_bytes() == whole(clip, tmp_path)


def test_an_error_leaves_the_old_output(clip, tmp_path):
    (tmp_path / "out.webp").write_bytes(b"before")
    with pytest.raises(QuantArtError, match="too large"):
        render(job_of(clip, tmp_path / "out.webp"), Inverter(interrupt=2, error=QuantArtError("too large")))
    assert (tmp_path / "out.webp").read_bytes() == b"before"


def test_a_second_run_is_refused(clip, tmp_path):
    job = job_of(clip, tmp_path / "out.webp")
    with rendering._held(job), pytest.raises(QuantArtError, match="is being painted by another run"):
        render(job, Inverter())


def test_a_full_disk_is_one_line(clip, tmp_path, monkeypatch):
    def full(*_, **__):
        raise QuantArtError("out.png cannot be written: no space left on the disk")

    monkeypatch.setattr("quantart_cli.video.animations.save_picture", full)
    with pytest.raises(QuantArtError, match="no space left"):
        render(job_of(clip, tmp_path / "out.webp"), Inverter())


def test_frames_are_read_a_few_ahead():
    read = []

    def items():
        for i in range(10):
            read.append(i)
            yield i

    found = ahead(items())
    assert next(found) == 0
    assert next(found) == 1
    found.close()
    assert len(read) <= 5
    assert list(ahead(iter(range(10)))) == list(range(10))


def test_an_error_while_reading_is_raised():
    def items():
        yield 1
        raise QuantArtError("broken")

    with pytest.raises(QuantArtError, match="broken"):
        list(ahead(items()))


def test_motion_is_since_the_last_frame_that_could_be_read(clip, tmp_path, monkeypatch):
    pairs = []
    monkeypatch.setattr(Inverter, "estimate", lambda _, last, now: pairs.append((last, now)))
    render(job_of(clip, tmp_path / "out.webp"), Inverter())
    frames = square(6)
    assert [(np.array_equal(a, frames[i]), np.array_equal(b, frames[i + 1])) for i, (a, b) in enumerate(pairs)] == [
        (True, True)
    ] * 5
