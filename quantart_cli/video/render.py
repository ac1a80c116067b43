"""Painting a clip: reading, flow, painting and encoding at the same time, and continuing after a kill.

Beside the output, a folder ``NAME.parts`` holds what was painted so far: segments or pictures, and the state of the
painter at their end. It is removed when the output is whole. The same command continues from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason, write_atomically
from quantart_cli.flow import Array, Motion
from quantart_cli.images import Picture, to_size
from quantart_cli.images.encoding import flattened, parse_background
from quantart_cli.video.clips import Clip, Frame, Sink, Target, sink_for
from quantart_cli.video.steady import Steady

_AHEAD = 3  # frames between two threads
_CUT_EVERY = 20.0  # seconds of work that a kill may lose
T = TypeVar("T")
Progress = Callable[[int, Picture], None]


@dataclass
class Report:
    """What became of a clip.

    Attributes:
        painted: frames that this run painted.
        before: frames that an earlier run had painted.
        broken: (time in seconds, why) of frames that could not be read; the last painted one was held.
        stopped: whether Ctrl-C ended it early.
        notes: remarks for a person, each once.
    """

    painted: int = 0
    before: int = 0
    broken: list[tuple[float, str]] = field(default_factory=list)
    stopped: bool = False
    precision: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What is painted, and how.

    Attributes:
        clip: to paint.
        size: long side of the frames, or None.
        max_pixels: largest number of pixels of a frame.
        background: colour that transparent clips are laid on; None: transparency is kept.
        every: paint only one frame in so many seconds, for a preview; None: all.
        recipe: everything that the result depends on, beside the clip. A run with another one starts anew.
    """

    clip: Clip
    target: Target
    size: int | None
    max_pixels: int
    background: str | None
    every: Fraction | None
    recipe: dict[str, Any]

    @property
    def work(self) -> str:
        """The folder of what is not finished."""
        return f"{os.path.abspath(self.target.path)}.parts"

    def frames(self) -> Iterator[Frame]:
        """The frames to paint, at their size."""
        frames = self.clip.between(self.target.start, self.target.end)
        for frame in frames if self.every is None else _thinned(frames, self.every):
            if frame.picture is None:
                yield frame
                continue
            picture = to_size(frame.picture, self.size, self.max_pixels)
            if self.background is not None:
                colour = parse_background(self.background)
                assert colour is not None
                picture = flattened(picture, colour) if picture.alpha is not None else picture
            yield replace(frame, picture=picture)


def _thinned(frames: Iterator[Frame], every: Fraction) -> Iterator[Frame]:
    """One frame in so many seconds, shown until the next."""
    waiting: Frame | None = None
    for frame in frames:
        if waiting is not None and frame.time - waiting.time < every:
            waiting = replace(waiting, duration=frame.time + frame.duration - waiting.time)
            continue
        if waiting is not None:
            yield waiting
        waiting = frame
    if waiting is not None:
        yield waiting


def render(job: Job, painter: Steady, progress: Progress = lambda done, picture: None) -> Report:
    """Paint a clip.

    Args:
        painter: paints the frames.
        progress: called after each frame, with the number of frames done and the painted frame.

    Raises:
        QuantArtError: the output cannot be written, another run is writing it, or no frame can be read.
    """
    with _held(job) as work:
        report = Report(before=_resume(job, painter, work))
        with closing(sink_for(job.clip, job.target, work, report.before)) as sink, ThreadPoolExecutor(1) as encoder:
            writer = _Writer(sink, work, report.before, painter.state())
            _paint(job, painter, writer, encoder, report, progress)
            encoder.submit(int).result()  # after everything that was handed on
            report.painted = writer.done - report.before
            if writer.done == 0:
                if report.stopped:
                    raise KeyboardInterrupt
                start, seconds = job.target.start, job.clip.seconds
                if start is not None and seconds is not None and start >= seconds:
                    ends = f"{printable(job.clip.path)} ends at {float(seconds):g} s"
                    raise QuantArtError(f"{ends}, before start={float(start):g}: give an earlier time")
                why = f" ({report.broken[0][1]})" if report.broken else ""
                raise QuantArtError(f"{printable(job.clip.path)} has no frame that can be painted{why}")
            encoder.submit(writer.cut).result()
            sink.finish()
    if not report.stopped:
        shutil.rmtree(job.work, ignore_errors=True)
    return report


class _Writer:
    """Writes frames, in a thread of its own: Ctrl-C does not come between a frame and what is known of it.

    Args:
        sink: takes the frames.
        work: the folder of what is not finished.
        done: frames that an earlier run has cut.
    """

    def __init__(self, sink: Sink, work: str, done: int, state: dict[str, Array]) -> None:
        self.sink, self.done = sink, done
        self._work, self._state, self._last_cut = work, state, time.monotonic()

    def write(self, frame: Frame, picture: Picture, state: dict[str, Array]) -> None:
        """Write a frame; ``state`` is that of the painter after it."""
        self.sink.write(frame, picture)
        self.done, self._state = self.done + 1, state
        if time.monotonic() - self._last_cut >= _CUT_EVERY:
            self.cut()

    def cut(self) -> None:
        """Close a segment, then write the state at its end: what has no state is painted again."""
        self.sink.cut()
        name = f"state-{self.done:08}.npz"
        write_atomically(
            os.path.join(self._work, name),
            lambda file: np.savez(file, **self._state),  # type: ignore[arg-type]
        )
        for old in os.listdir(self._work):
            if old.startswith("state-") and old != name:
                os.unlink(os.path.join(self._work, old))
        self._last_cut = time.monotonic()


def _paint(
    job: Job,
    painter: Steady,
    writer: _Writer,
    encoder: ThreadPoolExecutor,
    report: Report,
    progress: Progress,
) -> None:
    """Paint the frames that are left, until the end or Ctrl-C."""
    held: Picture | None = None if painter.last is None else Picture(painter.last)
    state = painter.state()
    writing: deque[Future[None]] = deque()
    frames = _with_motion(_started(job.frames(), report), report.before, painter, job.every is None)
    try:
        for number, (frame, motion) in enumerate(ahead(frames)):
            if number < report.before:
                writer.sink.skip(frame)
                continue
            if frame.picture is not None:
                result = painter.paint(frame.picture, motion)
                if result.stopped:
                    raise KeyboardInterrupt
                held, state = result.picture, painter.state()
                report.precision = result.precision
                report.notes += [note for note in result.notes if note not in report.notes]
            else:
                report.broken.append((float(frame.time), frame.problem))
            assert held is not None
            writing.append(encoder.submit(writer.write, frame, held, state))
            if len(writing) > _AHEAD:
                writing.popleft().result()
            progress(number + 1, held)
    except KeyboardInterrupt:
        report.stopped = True
    finally:
        for each in writing:
            each.result()


def _started(frames: Iterator[Frame], report: Report) -> Iterator[Frame]:
    """The frames from the first that can be read; there is nothing to hold for those before it."""
    for frame in frames:
        if frame.picture is not None:
            yield frame
            yield from frames
            return
        report.broken.append((float(frame.time), frame.problem))


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, computed by another thread, a few ahead."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(_AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item


def _with_motion(
    frames: Iterator[Frame], skipped: int, painter: Steady, whole: bool
) -> Iterator[tuple[Frame, Motion | None]]:
    """Frames with the motion since the last one that could be read; None for all if that is not needed."""
    last = painter.content
    for number, frame in enumerate(frames):
        motion = None
        if frame.picture is not None and number >= skipped:
            if last is not None and whole and painter.steady > 0:
                motion = painter.estimate(last, frame.picture.rgb)
            last = frame.picture.rgb
        yield frame, motion


# What is not finished


@contextmanager
def _held(job: Job) -> Iterator[str]:
    """The folder of what is not finished, for this run alone."""
    try:
        os.makedirs(job.work, exist_ok=True)
        with FileLock(os.path.join(job.work, "lock"), timeout=0):
            try:
                yield job.work
            except QuantArtError:
                if not any(each.startswith("state-") for each in os.listdir(job.work)):  # nothing to continue from
                    shutil.rmtree(job.work, ignore_errors=True)
                raise
    except Timeout:
        raise QuantArtError(f"{printable(job.target.path)} is being painted by another run: wait for it") from None
    except OSError as error:
        raise QuantArtError(f"{printable(job.work)} cannot be written: {reason(error)}") from error


def _resume(job: Job, painter: Steady, work: str) -> int:
    """Take up an earlier run of the same recipe; returns how many of its frames are kept."""
    stat = os.stat(job.clip.path)
    target = {name: str(value) for name, value in vars(job.target).items() if name != "path"}
    facts = {**job.recipe, "clip": [os.path.abspath(job.clip.path), stat.st_size, stat.st_mtime_ns], "target": target}
    facts |= {"size": job.size, "background": job.background, "every": str(job.every)}
    recipe = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    place = os.path.join(work, "recipe")
    states = sorted(each for each in os.listdir(work) if each.startswith("state-"))
    known = ""
    if os.path.exists(place):
        with open(place) as file:
            known = file.read()
    if known != recipe or not states:
        for name in os.listdir(work):
            if name != "lock":
                os.unlink(os.path.join(work, name))
        write_atomically(place, recipe.encode())
        return 0
    kept = int(states[-1][6:-4])
    for name in os.listdir(work):  # a segment whose state was not written
        if name.startswith("part-") and int(name[5:]) > kept:
            os.unlink(os.path.join(work, name))
    with np.load(os.path.join(work, states[-1])) as state:
        painter.restore(dict(state))
    return kept
