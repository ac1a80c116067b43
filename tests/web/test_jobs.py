"""Jobs: a preview and then the full size, steps of an optimisation, and what ends them."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from quantart_cli import memory
from quantart_cli.errors import QuantArtError
from quantart_cli.video.steady import Steady
from quantart_cli.web import jobs
from quantart_cli.web.films import paint_film
from quantart_cli.web.jobs import Session, Superseded, batch, look, paint_one
from quantart_cli.web.order import File
from quantart_cli.web.studio import COLOURS, Studio
from tests.conftest import scene
from tests.web.conftest import MACHINE, picture_file

pytestmark = pytest.mark.usefixtures("_toys")


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(jobs, "REST", 0.05)
    monkeypatch.setattr(jobs, "PREVIEW", 32)


@pytest.fixture
def session():
    return Session()


def lines(views):
    return [view.line for view in views]


def test_a_preview_and_then_the_full_size(studio, session, order):
    studio.model("tint")
    preview, painting, full = look(studio, session, session.begin(), order)
    assert PIL.Image.open(preview.after).size == PIL.Image.open(preview.before).size == (32, 21)
    assert painting.line == "Painting 72 × 48…"
    assert PIL.Image.open(full.painting.file).size == (72, 48)
    assert full.painting.file.endswith("/a photo--ink.png")
    assert session.history == [full.painting]
    assert session.last == order


def test_something_newer_ends_a_job_after_its_preview(studio, session, order):
    views = look(studio, session, session.begin(), order)
    next(view for view in views if view.after)
    session.begin()
    assert list(views) == []
    assert session.history == []


def test_requests_that_arrive_late_are_older(session):
    session.begin(1000.5)
    with pytest.raises(Superseded):
        session.begin(1000.0)
    assert session.begin(1001.0) == session.newest == 1001


def test_stop(studio, session, order):
    job = session.begin()
    session.stopped = job
    assert lines(look(studio, session, job, order))[-1] == "Stopped."


def test_methods_that_optimise_wait_to_be_asked_and_keep_what_they_reached(studio, session, order, monkeypatch):
    monkeypatch.setattr(jobs, "SHOW_EVERY", 0)
    slow = replace(order, method="fade", settings={"steps": 20})
    assert "press Paint" in lines(look(studio, session, session.begin(), slow))[-1]
    job = session.begin()
    seen = []
    for view in look(studio, session, job, slow, at_once=True):
        seen.append(view)
        if view.line.startswith("Step"):
            session.stopped = job
    assert "stopped at step" in seen[-1].line.lower()
    assert PIL.Image.open(seen[-1].painting.file).size == (72, 48)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 9000}, "size=9000 makes 54 megapixels: raise max_pixels."),
        ({"settings": {"amount": 2}}, "Amount must be between 0 and 1, not 2."),
        ({"preserve_color": "x"}, "preserve_color 'x' is not known"),
        ({"styles": ()}, "No style was given"),
    ],
)
def test_mistakes_are_lines(studio, session, order, changes, message):
    found = lines(look(studio, session, session.begin(), replace(order, **changes)))
    assert found[-1].startswith(message)


def test_pictures_that_cannot_be_read_are_lines(studio, session, order, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    broken = replace(order, content=File(str(tmp_path / "text.jpg"), "text.jpg"))
    (line,) = [line for line in lines(look(studio, session, session.begin(), broken)) if "Loading" not in line]
    assert line.startswith("text.jpg ")
    large = replace(order, content=picture_file(tmp_path, "large.png", (400, 300)))
    assert "megapixels" in lines(look(studio, session, session.begin(), large))[-1]


def test_no_memory_is_a_line(studio, session, order, monkeypatch):
    def paint(*_, **__):
        raise MemoryError

    monkeypatch.setattr(studio.model("tint").program, "paint", paint)
    assert lines(look(studio, session, session.begin(), order))[-1].startswith("Memory ran out")


def test_a_bug_is_a_line_and_a_traceback_in_the_terminal(studio, session, order, monkeypatch, capsys):
    monkeypatch.setattr(studio, "paint", lambda *_: 1 / 0)
    assert lines(look(studio, session, session.begin(), order))[-1].startswith("This is a bug")
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert studio.lock.acquire(timeout=1)


def test_visitors_take_turns(studio, order):
    """While one is painted, the others wait, and none is lost."""
    found = []

    def visit():
        session = Session()
        found.append(paint_one(studio, session, session.begin(), order))

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for each in visitors:
        each.start()
    for each in visitors:
        each.join()
    assert len({Path(path).read_bytes() for path in found}) == 1
    assert len(set(found)) == 4


def test_batch_goes_on_after_a_failure(studio, session, order, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    contents = [order.content, File(str(tmp_path / "text.jpg"), "text.jpg"), picture_file(tmp_path, "b.png")]
    *_, (line, files) = batch(studio, session, session.begin(), order, contents)
    assert [path.rpartition("/")[2] for path in files] == ["a photo--ink.png", "b--ink.png"]
    assert line.startswith("2 of 3 pictures painted. text.jpg")


def test_batch_stops(studio, session, order):
    job = session.begin()
    views = batch(studio, session, job, order, [order.content] * 3)
    next(views)
    session.stopped = job
    assert [files for _, files in views][-1] == []


def test_masks_of_colours(studio):
    drawn = np.zeros((20, 30, 4), np.uint8)
    drawn[:, :10] = (*PIL.ImageColor.getrgb(COLOURS[0]), 255)
    drawn[:, 20:] = (*PIL.ImageColor.getrgb(COLOURS[1]), 255)
    drawn[:5, 20:, :3] += 3  # not exactly that colour
    first, second = (
        np.asarray(PIL.Image.open(m.path)) for m in studio.masks([PIL.Image.fromarray(drawn)], COLOURS[:2])
    )
    assert first[:, :10].min() == 255
    assert first[:, 10:].max() == 0
    assert second[:, 20:].min() == 255
    assert second[:, :20].max() == 0
    assert studio.masks([PIL.Image.new("RGBA", (5, 5))], COLOURS[:2]) == ()


def test_methods_without_weights_are_left_out(tmp_path):
    names = set(Studio(tmp_path, dict(MACHINE), {}, 1000).methods())
    assert {"quantart", "adain", "tint", "fade"} <= names
    assert "sanet" not in names
    assert "sanet" in Studio(tmp_path, dict(MACHINE), {"sanet": "sanet.safetensors"}, 1000).methods()


@pytest.fixture
def clip(tmp_path):
    """An animation of four frames."""
    frames = [PIL.Image.fromarray(scene(40, 32, seed)) for seed in range(4)]
    frames[0].save(tmp_path / "cat.gif", save_all=True, append_images=frames[1:], duration=100)
    return File(str(tmp_path / "cat.gif"), "cat.gif")


def test_a_film(studio, session, order, clip):
    *lines, (last, film) = paint_film(studio, session, session.begin(), order, clip, 0.5)
    assert [line for line, _ in lines][:2] == ["Painting cat.gif.", "1 frames painted."]
    assert last.startswith("4 frames in all.")
    assert film.endswith("/cat--painted.gif")
    with PIL.Image.open(film) as painted:
        assert (painted.n_frames, painted.size) == (4, (40, 32))


def test_a_film_that_is_stopped_is_what_was_painted(studio, session, order, clip, monkeypatch):
    job, paint = session.begin(), Steady.paint

    def stop_at_the_second(self, *arguments):
        if self.last is not None:
            session.stopped = job
        return paint(self, *arguments)

    monkeypatch.setattr(Steady, "paint", stop_at_the_second)
    *_, (line, film) = paint_film(studio, session, job, order, clip, 0.5)
    assert line.startswith("2 frames in all. It was stopped.")
    assert PIL.Image.open(film).n_frames == 2


def test_a_picture_is_no_film(studio, session, order):
    with pytest.raises(QuantArtError, match="still picture"):
        list(paint_film(studio, session, session.begin(), order, order.content, 0.5))


def test_what_models_keep_is_given_back_before_a_picture_is_refused(studio, order, monkeypatch):
    content, memo = studio.content(order), studio.model("tint")._memo
    studio.paint(order, content)
    assert memo.bytes > 0
    monkeypatch.setattr(memory, "available", lambda _: 1 if memo.bytes else 1 << 40)
    assert studio.paint(order, content).picture.size == (72, 48)
    monkeypatch.setattr(memory, "available", lambda _: 1)
    with pytest.raises(QuantArtError, match="reduce it with size"):
        studio.paint(order, content)
    assert memo.bytes == 0
