"""Jobs of a visitor: iterators of views. They know nothing of Gradio.

A feed-forward method first paints small. That takes a fraction of a second, because features are kept (memo.py). It
paints at full size when nothing newer was asked for meanwhile.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture
from quantart_cli.methods.base import Step
from quantart_cli.registry import find
from quantart_cli.result import Result
from quantart_cli.web.order import File, Order
from quantart_cli.web.studio import SHOWN, Studio

PREVIEW = 512
"""Long side of previews in pixels."""
REST = 0.4
"""Seconds without a change after which the picture is painted at full size."""
SHOW_EVERY = 1.0
"""Seconds between two views of a painting that takes long."""
_HISTORY = 30


class Superseded(Exception):
    """Something newer was asked for, or the browser is gone."""


@dataclass(frozen=True)
class Painting:
    """A picture painted at full size.

    Attributes:
        before, after: the content and the picture as they are shown.
    """

    order: Order
    file: str
    before: str
    after: str
    thumbnail: str


@dataclass(frozen=True)
class View:
    """What the page shows: one line, and where there is a picture, files of the content and of the painting."""

    line: str
    before: str | None = None
    after: str | None = None
    painting: Painting | None = None


@dataclass
class Session:
    """A visitor, and what was painted for them.

    Attributes:
        newest: number of the newest job; older ones end.
        stopped: number of the newest job that was stopped.
        history: newest first.
        chosen: the picture of the history that was clicked last.
    """

    newest: float = 0
    stopped: float = 0
    last: Order | None = None
    masks: tuple[File, ...] = ()
    history: list[Painting] = field(default_factory=list)
    chosen: Painting | None = None

    def begin(self, number: float = 0) -> float:
        """Begin a job and return its number.

        Args:
            number: when the browser asked for it: requests may arrive in another order. 0: now.

        Raises:
            Superseded: a newer one has begun.
        """
        if 0 < number <= self.newest:
            raise Superseded
        self.newest = number or self.newest + 1
        return self.newest

    def check(self, job: float) -> None:
        """Raises Superseded for a job that is not the newest, KeyboardInterrupt for one that was stopped."""
        if self.stopped == job:
            raise KeyboardInterrupt  # on it, methods that optimise return the picture reached
        if self.newest != job:
            raise Superseded

    def rest(self, job: float) -> None:
        """Wait a moment; raises as :meth:`check`."""
        end = time.monotonic() + REST
        while time.monotonic() < end:
            time.sleep(0.02)
            self.check(job)


def look(studio: Studio, session: Session, job: float, order: Order, at_once: bool = False) -> Iterator[View]:
    """Paint for the page: a preview and the full size, or the steps of an optimisation. Errors are lines.

    Args:
        at_once: paint at full size now. Otherwise methods that optimise wait to be asked.
    """
    try:
        order.checked()
        yield from _look(studio, session, job, order, at_once)
    except Superseded:
        pass
    except KeyboardInterrupt:
        yield View("Stopped.")
    except QuantArtError as error:
        yield View(sentence(str(error)))
    except Exception:
        yield View(bug())


def _look(studio: Studio, session: Session, job: float, order: Order, at_once: bool) -> Iterator[View]:
    path = order.content.path
    if find(order.method).optimises:
        if not at_once:
            yield View("This method takes a minute or more: press Paint.")
            return
    else:
        if order.method not in studio.loaded:
            yield View(f"Loading {order.method}…")
        with studio.lock:
            session.check(job)
            start = time.perf_counter()
            small = studio.content(order, PREVIEW)
            result = studio.paint(order, small)
        yield View(
            f"Preview of {_size(small)}, {time.perf_counter() - start:.2f} s.",
            studio.shown(path, max(small.size)),
            studio.show(result.picture),
        )
        if not at_once:
            session.rest(job)
    full, start = studio.content(order), time.perf_counter()
    yield View(f"Painting {_size(full)}…")
    for item in _at_full_size(studio, session, job, order, full):
        if isinstance(item, View):
            yield item
            continue
        painting = Painting(
            order,
            studio.save(order, item),
            studio.shown(path, min(SHOWN, max(full.size))),
            studio.show(item.picture),
            studio.show(item.picture, 240),
        )
        session.last, session.history = order, [painting, *session.history][:_HISTORY]
        line = " ".join(map(sentence, (f"{_size(full)} in {time.perf_counter() - start:.1f} s", *item.notes)))
        yield View(line, painting.before, painting.after, painting)


def in_background(
    studio: Studio, session: Session, job: float, work: Callable[[Callable[[Any], None]], Any], result: type
) -> Iterator[Any]:
    """Work in a thread of its own while the studio is free.

    Args:
        work: takes a function to report with; returns an object of the type ``result``.

    Yields:
        what it reports, then the result.
    """
    found: queue.Queue[Any] = queue.Queue()

    def thread() -> None:
        try:
            with studio.lock:
                session.check(job)
                found.put(work(found.put))
        except BaseException as error:
            found.put(error)

    threading.Thread(target=thread, daemon=True).start()
    item: Any = None
    while not isinstance(item, result):
        item = found.get()
        if isinstance(item, BaseException):
            raise item
        yield item


def _at_full_size(
    studio: Studio, session: Session, job: float, order: Order, content: Picture
) -> Iterator[View | Result]:
    """Views of the progress, then the result."""

    def work(report: Callable[[View], None]) -> Result:
        shown = time.monotonic()

        def progress(step: Step) -> None:
            nonlocal shown
            session.check(job)
            if time.monotonic() - shown > SHOW_EVERY:
                report(_progress(studio, order, content, step))
                shown = time.monotonic()

        return studio.paint(order, content, progress)

    return in_background(studio, session, job, work, Result)


def _progress(studio: Studio, order: Order, content: Picture, step: Step) -> View:
    if step.image is None:
        return View(f"Painting {_size(content)}: {step.stage}, tile {step.step} of {step.steps}.")
    picture = studio.model(order.method).picture_at(step, content, order.preserve_color)
    line = f"Step {step.step} of {step.steps}, {step.size[0]} × {step.size[1]}."
    return View(line, studio.shown(order.content.path, min(SHOWN, max(content.size))), studio.show(picture))


def paint_one(studio: Studio, session: Session, job: float, order: Order) -> str:
    """Paint a picture at full size and return its file.

    Raises:
        QuantArtError: as of ``Model.paint``, or it was stopped.
    """
    order.checked()
    try:
        for item in _at_full_size(studio, session, job, order, studio.content(order)):
            if isinstance(item, Result):
                return studio.save(order, item)
    except (Superseded, KeyboardInterrupt):
        pass
    raise QuantArtError("stopped")


def batch(
    studio: Studio, session: Session, job: float, order: Order, contents: Sequence[File]
) -> Iterator[tuple[str, list[str]]]:
    """Paint many contents: a line and the files painted so far, before each and at the end."""
    files: list[str] = []
    failed: list[str] = []
    for i, content in enumerate(contents):
        if job == session.stopped or job != session.newest:
            break
        yield f"Painting {content.name}, {i + 1} of {len(contents)}.", files
        try:
            files = [*files, paint_one(studio, session, job, replace(order, content=content, masks=()))]
        except QuantArtError as error:
            failed.append(f"{content.name}: {error}.")
    yield " ".join([f"{len(files)} of {len(contents)} pictures painted.", *failed]), files


def bug() -> str:
    """Print the traceback of the exception in hand where the server runs; a line for the page."""
    traceback.print_exc(file=sys.stderr)
    return "This is a bug of quantart. Its traceback is in the terminal where quantart ui runs."


def sentence(text: str) -> str:
    """With a full stop, and a capital if it does not begin with a name of a file or of an option."""
    first = text.split(" ")[0]
    return f"{text[:1].upper() if first.isalpha() else text[:1]}{text[1:]}".rstrip(".") + "."


def _size(picture: Picture) -> str:
    return f"{picture.width} × {picture.height}"
