"""The executor of one machine: reading, painting and writing go on at the same time, in memory that stays flat.

One thread reads and decodes ahead, the main thread paints, a few encode and write. Pictures wait between them in
buffers bounded by their bytes. Painting one picture at a time is on purpose: on a CPU the convolutions keep all cores
at nine tenths of their peak from 128² on, and several small pictures at once gain nothing (benchmarks/batch.py measures
it).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from quantart_cli.batch import work
from quantart_cli.batch.ledger import Content
from quantart_cli.batch.plan import STYLES_AT_ONCE
from quantart_cli.batch.recipe import Recipe
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture

Record = Callable[[Task, Content, "Finished | Failed"], None]
"""Takes what became of a picture: writes it, notes it in the ledger, reports it; an OSError when it cannot go on."""

# Between two threads lie at most so many bytes of pixels, or one picture, and so many pictures.
_BYTES = 96 << 20
_PICTURES = 8
_WRITERS = 4


class Styles:
    """The styles of a plan, each encoded when it is first asked for and kept while it may be asked for again."""

    def __init__(self, model: Any, styles: Sequence[tuple[str, ...]], recipe: Recipe) -> None:
        self._model, self._styles, self._recipe = model, styles, recipe
        self._known: dict[int, Any] = {}

    def __call__(self, number: int) -> Any:
        """One of them, by its place in the plan.

        Raises:
            QuantArtError: it cannot be read; the same each time.
        """
        if number not in self._known:
            while len(self._known) >= STYLES_AT_ONCE:
                del self._known[next(iter(self._known))]
            recipe = self._recipe
            try:
                encode = self._model.encode_style
                found = encode(list(self._styles[number]), weights=recipe.style_weights, size=recipe.style_size)
            except QuantArtError as error:
                found = error if len(self._styles) == 1 else QuantArtError(f"its style: {error}")
            self._known[number] = found
        found = self._known[number]
        if isinstance(found, QuantArtError):
            raise found
        return found


class Buffer:
    """First in, first out between threads, bounded by the weight of what lies in it; one thing always fits."""

    def __init__(self, weight: int = _BYTES, count: int = _PICTURES) -> None:
        self._most, self._count = weight, count
        self._items: deque[tuple[Any, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Any, weight: int = 0) -> bool:
        """Wait for room and put it; False when the buffer was closed meanwhile."""
        with self._changed:
            while not self._closed and self._items and not self._fits(weight):
                self._changed.wait()
            if self._closed:
                return False
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()
            return True

    def get(self) -> Any:
        """Wait for the next; None when there is nothing left and no more will come."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if not self._items:
                return None
            item, weight = self._items.popleft()
            self._weight -= weight
            self._changed.notify_all()
            return item

    def close(self, drop: bool = False) -> None:
        """No more will be put; with ``drop`` what lies in it is forgotten."""
        with self._changed:
            self._closed = True
            if drop:
                self._items.clear()
            self._changed.notify_all()

    def _fits(self, weight: int) -> bool:
        return len(self._items) < self._count and self._weight + weight <= self._most


class Pipeline:
    """One run over tasks.

    Args:
        model: that paints.
        styles: gives an encoded style by its number.
        recipe: how.
        record: takes what became of each picture, in any thread.
        stop: ends the run before the next picture, by whoever sets it.
        now: told each picture when it is about to be painted.
    """

    def __init__(
        self,
        model: Any,
        styles: Callable[[int], Any],
        recipe: Recipe,
        record: Record,
        stop: threading.Event,
        now: Callable[[Task], None] = lambda _: None,
    ) -> None:
        self._model, self._styles, self._recipe = model, styles, recipe
        self._record, self._stop, self._now = record, stop, now
        self._ready, self._done = Buffer(), Buffer()
        self._fatal: BaseException | None = None

    def run(self, tasks: Iterable[Task]) -> None:
        """Paint them all; whatever ends it, what is painted by then is written.

        Raises:
            OSError: the output cannot be written any more.
            KeyboardInterrupt, SystemExit: as they come, after what was painted is written.
        """
        reader = threading.Thread(target=self._guarded, args=(self._read, tasks), daemon=True)
        count = max(1, min(_WRITERS, os.cpu_count() or 1))
        writers = [threading.Thread(target=self._guarded, args=(self._write,), daemon=True) for _ in range(count)]
        for thread in (reader, *writers):
            thread.start()
        try:
            while not self._stop.is_set() and (item := self._ready.get()) is not None:
                self._paint(*item)
        finally:
            self._ready.close(drop=True)
            self._done.close()
            _join(writers)
        if self._fatal is not None:
            raise self._fatal

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """A thread that fails ends the run, and the run raises what it failed of."""
        try:
            work(*arguments)
        except BaseException as error:
            self._fatal = self._fatal or error
            self._stop.set()
            self._ready.close(drop=True)
            self._done.close(drop=True)

    def _read(self, tasks: Iterable[Task]) -> None:
        before: tuple[str, Any, Any] | None = None  # several styles paint one content
        for task in tasks:
            if self._stop.is_set():
                break
            if before is None or before[0] != task.source:
                before = task.source, *self._decoded(task)
            _, content, picture = before
            if not self._ready.put((task, content, picture), _weight(picture)):
                return
        self._ready.close()

    def _decoded(self, task: Task) -> tuple[Content, Any]:
        content = Content(task.source)
        try:
            data, content = work.load(task.source)
            return content, work.decode(data, task.source, self._recipe)
        except Exception as error:
            return content, Failed.of(error)

    def _paint(self, task: Task, content: Content, picture: Picture | Failed) -> None:
        self._now(task)
        if isinstance(picture, Failed):
            self._record(task, content, picture)
            return
        try:
            painted = work.paint(self._model, picture, self._styles(task.style), self._recipe)
        except Exception as error:
            self._record(task, content, Failed.of(error))
        else:
            self._done.put((task, content, picture, *painted), _weight(picture))

    def _write(self) -> None:
        while (item := self._done.get()) is not None:
            task, content, picture, painted, seconds = item
            outcome: Finished | Failed
            try:
                outcome = work.encode(picture, painted, seconds, task.format, self._recipe)
            except Exception as error:
                outcome = Failed.of(error)
            self._record(task, content, outcome)


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads to end, also when asked to leave meanwhile; then leave."""
    asked: BaseException | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except (KeyboardInterrupt, SystemExit) as error:
                asked = error
    if asked is not None:
        raise asked


def _weight(picture: Picture | Failed) -> int:
    return 0 if isinstance(picture, Failed) else picture.rgb.nbytes
