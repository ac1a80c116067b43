"""The executor of one machine: what waits between its threads is bounded, and what ends it ends it whole."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import PIL.Image
import pytest

from quantart_cli.batch import work
from quantart_cli.batch.local import Pipeline, Styles
from quantart_cli.batch.recipe import Recipe
from quantart_cli.batch.stages import Buffer
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.controls import AdaINControls
from tests.batch.stand_in import Inverter
from tests.conftest import scene

RECIPE = Recipe("adain", AdaINControls(), (1.0,), None, None, "none", "auto", 0, "auto", None, 95, False, 10**6, {})


def test_a_buffer_holds_so_much_and_no_more():
    buffer = Buffer(weight=10, count=3)
    assert buffer.put("large", 99)  # one thing always fits
    late = threading.Thread(target=lambda: [buffer.put(number, 4) for number in range(4)])
    late.start()
    time.sleep(0.05)
    assert late.is_alive()
    assert buffer.get() == "large"
    time.sleep(0.05)
    assert late.is_alive()  # two of four fit
    assert [buffer.get() for _ in range(4)] == [0, 1, 2, 3]
    late.join(1)
    assert not late.is_alive()


def test_a_closed_buffer_gives_what_is_left_and_takes_nothing():
    buffer = Buffer()
    buffer.put(1)
    buffer.close()
    assert buffer.put(2) is False
    assert (buffer.get(), buffer.get()) == (1, None)


def test_closing_wakes_who_waits():
    buffer = Buffer(count=1)
    buffer.put(1)
    waiting = threading.Thread(target=buffer.put, args=(2,))
    waiting.start()
    buffer.close(drop=True)
    waiting.join(1)
    assert not waiting.is_alive()
    assert buffer.get() is None


@pytest.fixture
def tasks(tmp_path):
    made = []
    for number in range(30):
        path = tmp_path / f"{number:02}.png"
        PIL.Image.fromarray(scene(64, 64, number)).save(path)
        made.append(Task(number, str(path), path.name, 0, "png", ""))
    return made


def run(tasks, record, model=None, stop=None):
    Pipeline(model or Inverter(), lambda _: object(), RECIPE, record, stop or threading.Event()).run(tasks)


def test_everything_is_recorded_once(tasks):
    found = {}
    run(tasks, lambda task, content, outcome: found.setdefault(task.number, []).append((content, outcome)))
    assert sorted(found) == list(range(30))
    for [(content, outcome)] in found.values():
        assert isinstance(outcome, Finished)
        assert content.size
        assert len(content.sha256) == 64


def test_reading_stays_a_little_ahead_and_no_more(tasks, monkeypatch):
    read, painted, ahead = [], [], []
    whole = work.load
    monkeypatch.setattr(work, "load", lambda path: read.append(path) or whole(path))

    class Slow(Inverter):
        def paint(self, picture, *arguments, **options):
            time.sleep(0.005)
            painted.append(picture.name)
            ahead.append(len(read) - len(painted))
            return super().paint(picture, *arguments, **options)

    run(tasks, lambda *_: None, Slow())
    assert len(painted) == 30
    assert 1 <= max(ahead) <= 10  # eight wait, one is in the reader's hand


def test_what_the_recorder_cannot_write_ends_the_run(tasks):
    recorded = []

    def record(task, content, outcome):
        if len(recorded) == 5:
            raise OSError(28, "No space left on device")
        recorded.append(task)

    with pytest.raises(OSError, match="No space left"):
        run(tasks, record)
    assert len(recorded) == 5


def test_an_interrupted_run_writes_what_is_painted(tasks):
    recorded, painted = [], []

    class Interrupted(Inverter):
        def paint(self, picture, *arguments, **options):
            if len(painted) == 4:
                raise KeyboardInterrupt
            painted.append(picture.name)
            return super().paint(picture, *arguments, **options)

    with pytest.raises(KeyboardInterrupt):
        run(tasks, lambda task, *_: recorded.append(task.output), Interrupted())
    assert sorted(recorded) == sorted(painted)


def test_an_optimisation_that_was_stopped_is_no_result(tasks):
    recorded = []

    class Stopped(Inverter):
        def paint(self, picture, *arguments, **options):
            return SimpleNamespace(picture=picture, stopped=True)

    with pytest.raises(KeyboardInterrupt):
        run(tasks, lambda *each: recorded.append(each), Stopped())
    assert recorded == []


def test_told_to_stop_it_reads_no_more(tasks):
    stop, recorded = threading.Event(), []

    def record(*each):
        recorded.append(each)
        stop.set()

    run(tasks, record, stop=stop)
    assert 1 <= len(recorded) < 30


def test_styles_are_encoded_once_and_fail_each_time_alike(tmp_path):
    PIL.Image.fromarray(scene(8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").touch()
    model = Inverter()
    styles = Styles(model, [(str(tmp_path / "good.png"),), (str(tmp_path / "bad.png"),)], RECIPE)
    assert styles(0) is styles(0)
    assert len(model.encoded) == 1
    for _ in range(2):
        with pytest.raises(QuantArtError, match=r"its style: .*is empty"):
            styles(1)


def test_many_styles_are_not_all_kept(tmp_path):
    PIL.Image.fromarray(scene(8, 8)).save(tmp_path / "style.png")
    model = Inverter()
    styles = Styles(model, [(str(tmp_path / "style.png"),)] * 100, RECIPE)
    for number in range(100):
        styles(number)
    assert len(styles._known) == 32


def test_failures_of_a_person_and_bugs_are_told_apart():
    assert Failed.of(QuantArtError("a line")) == Failed("a line")
    try:
        raise ZeroDivisionError("ours")
    except ZeroDivisionError as error:
        bug = Failed.of(error)
    assert "bug of quantart" in bug.reason
    assert "test_local.py" in bug.trace
