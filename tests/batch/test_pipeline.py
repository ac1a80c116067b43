"""The executor of one machine: what waits between its threads is bounded, and what ends it ends it whole."""

from __future__ import annotations

import threading
import time
import tracemalloc
from types import SimpleNamespace

import PIL.Image
import pytest

from quantart_cli.batch import pipeline
from quantart_cli.batch.job import Failure, PaintedFile, PaintJob
from quantart_cli.batch.pipeline import BoundedQueue, LocalExecutor, style_encoder
from quantart_cli.batch.plan import WorkItem
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaINSettings
from quantart_cli.methods.base import Step
from tests.batch.stand_in import Inverter
from tests.conftest import scene

JOB = PaintJob("adain", AdaINSettings(), (1.0,), {}, max_pixels=10**6)
STYLE = SimpleNamespace(pictures=())


def test_a_queue_holds_so_much_and_no_more():
    queue = BoundedQueue(bytes=10, count=3)
    assert queue.put("large", 99)  # one thing always fits
    late = threading.Thread(target=lambda: [queue.put(number, 4) for number in range(4)])
    late.start()
    time.sleep(0.05)
    assert late.is_alive()
    assert queue.get() == "large"
    time.sleep(0.05)
    assert late.is_alive()  # two of four fit
    assert [queue.get() for _ in range(4)] == [0, 1, 2, 3]
    late.join(1)
    assert not late.is_alive()


def test_a_closed_queue_gives_what_is_left_and_takes_nothing():
    queue = BoundedQueue()
    queue.put(1)
    queue.close()
    assert queue.put(2) is False
    assert (queue.get(), queue.get()) == (1, None)


def test_closing_wakes_who_waits():
    queue = BoundedQueue(count=1)
    queue.put(1)
    waiting = threading.Thread(target=queue.put, args=(2,))
    waiting.start()
    queue.close(drop=True)
    waiting.join(1)
    assert not waiting.is_alive()
    assert queue.get() is None


@pytest.fixture
def items(tmp_path):
    made = []
    for number in range(30):
        path = tmp_path / f"{number:02}.png"
        PIL.Image.fromarray(scene(64, 64, number)).save(path)
        made.append(WorkItem(str(path), path.name, 0, "png"))
    return made


def run(items, record, model=None, stop=None):
    LocalExecutor(JOB, model or Inverter(), lambda _: STYLE, record, stop or threading.Event()).run(items)


def test_everything_is_recorded_once(items):
    found = {}
    run(items, lambda item, content, outcome: found.setdefault(item.output, []).append((content, outcome)))
    assert sorted(found) == [f"{number:02}.png" for number in range(30)]
    for [(content, outcome)] in found.values():
        assert isinstance(outcome, PaintedFile)
        assert content.size
        assert len(content.sha256) == 64


def test_reading_stays_a_little_ahead_and_no_more(items, monkeypatch):
    read, painted, ahead = [], [], []
    whole = pipeline.read_content
    monkeypatch.setattr(pipeline, "read_content", lambda path: read.append(path) or whole(path))

    class Slow(Inverter):
        def paint(self, picture, *arguments, **options):
            time.sleep(0.005)
            painted.append(picture.name)
            ahead.append(len(read) - len(painted))
            return super().paint(picture, *arguments, **options)

    run(items, lambda *_: None, Slow())
    assert len(painted) == 30
    assert 1 <= max(ahead) <= 10  # eight wait, one is in the reader's hand


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    path = tmp_path / "picture.jpg"
    PIL.Image.fromarray(scene(192, 192)).save(path)
    items = [WorkItem(f"{tmp_path}/{'./' * (number % 2)}{path.name}", "", 0, "jpeg") for number in range(480)]
    tracemalloc.start()
    run(items, lambda *_: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 192 * 192 * 3  # not even 40 of 480 pictures at a time


def test_what_the_recorder_cannot_write_ends_the_run(items):
    recorded = []

    def record(item, content, outcome):
        if len(recorded) == 5:
            raise OSError(28, "No space left on device")
        recorded.append(item)

    with pytest.raises(OSError, match="No space left"):
        run(items, record)
    assert len(recorded) == 5


def test_an_interrupted_run_writes_what_is_painted(items):
    recorded, painted = [], []

    class Interrupted(Inverter):
        def paint(self, picture, *arguments, **options):
            if len(painted) == 4:
                raise KeyboardInterrupt
            painted.append(picture.name)
            return super().paint(picture, *arguments, **options)

    with pytest.raises(KeyboardInterrupt):
        run(items, lambda item, *_: recorded.append(item.output), Interrupted())
    assert sorted(recorded) == sorted(painted)


def test_an_optimisation_that_was_stopped_is_no_result(items):
    recorded = []

    class Stopped(Inverter):
        def paint(self, picture, *arguments, **options):
            return SimpleNamespace(picture=picture, stopped=True)

    with pytest.raises(KeyboardInterrupt):
        run(items, lambda *each: recorded.append(each), Stopped())
    assert recorded == []


def test_told_to_stop_it_reads_no_more(items):
    stop, recorded = threading.Event(), []

    def record(*each):
        recorded.append(each)
        stop.set()

    run(items, record, stop=stop)
    assert 1 <= len(recorded) < 30


def test_styles_are_encoded_once_and_fail_each_time_alike(tmp_path):
    PIL.Image.fromarray(scene(8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").touch()
    model = Inverter()
    styles = style_encoder(JOB, model, [(str(tmp_path / "good.png"),), (str(tmp_path / "bad.png"),)])
    assert styles(0) is styles(0)
    assert len(model.encoded) == 1
    for _ in range(2):
        with pytest.raises(QuantArtError, match=r"its style: .*is empty"):
            styles(1)


def test_many_styles_are_not_all_kept(tmp_path):
    PIL.Image.fromarray(scene(8, 8)).save(tmp_path / "style.png")
    model = Inverter()
    styles = style_encoder(JOB, model, [(str(tmp_path / "style.png"),)] * 100)
    for number in (*range(100), *range(68, 100), 67):
        styles(number)
    assert len(model.encoded) == 101


def test_failures_of_a_person_and_bugs_are_told_apart():
    assert Failure.of(QuantArtError("a line")) == Failure("a line")
    try:
        raise ZeroDivisionError("ours")
    except ZeroDivisionError as error:
        bug = Failure.of(error)
    assert "bug of quantart" in bug.reason
    assert "test_pipeline.py" in bug.trace


def test_the_steps_of_the_picture_in_hand_are_told(items):
    class Tiled(Inverter):
        def paint(self, picture, *arguments, progress, **options):
            for number in range(1, 4):
                progress(Step(number, 3, stage="decode"))
            return super().paint(picture, *arguments, **options)

    told = []
    executor = LocalExecutor(JOB, Tiled(), lambda _: STYLE, lambda *_: None, threading.Event())
    executor.started = lambda item: told.append(item.output)
    executor.progress = lambda step: told.append((step.step, step.steps))
    executor.run(items[:2])
    assert told == ["00.png", (1, 3), (2, 3), (3, 3), "01.png", (1, 3), (2, 3), (3, 3)]
