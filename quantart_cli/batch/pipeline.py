"""Reads, paints and writes at the same time, in memory that stays flat.

One thread reads ahead, the main thread works, a few threads encode and write. Queues between them hold a limited
number of bytes. One picture is painted at a time: on a CPU the convolutions use nine tenths of all cores from 128² on,
and several small pictures at once gain nothing (benchmarks/batch.py measures it).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from quantart_cli.batch.job import Failure, PaintedFile, PaintJob, read_content, style_error
from quantart_cli.batch.ledger import Content
from quantart_cli.batch.plan import STYLES_AT_ONCE, WorkItem
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.base import Step

Record = Callable[[WorkItem, Content, "PaintedFile | Failure"], None]
"""Receives the outcome of each item, in any thread: writes it, notes it in the ledger and reports it. An OSError means
that the run cannot continue."""

Tell = Callable[[str], None]

_QUEUE_BYTES = 96 << 20  # of pictures between two threads
_QUEUE_ITEMS = 8
_WRITERS = 4


class BoundedQueue:
    """First in, first out between threads, bounded by bytes and count; one item always fits. ``queue.Queue`` bounds
    only the count, and pictures differ a thousandfold in size."""

    def __init__(self, bytes: int = _QUEUE_BYTES, count: int = _QUEUE_ITEMS) -> None:
        self._bytes, self._count = bytes, count
        self._items: deque[tuple[Any, int]] = deque()
        self._used = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            return self._closed and not self._items

    def put(self, item: Any, size: int = 0) -> bool:
        """Wait for room and append an item of so many bytes; False when the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._items or self._fits(size))
            if not self._closed:
                self._items.append((item, size))
                self._used += size
                self._changed.notify_all()
            return not self._closed

    def get(self, wait: bool = True) -> Any:
        """The next item; None when the queue is closed and empty or, without ``wait``, just empty."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                return None
            item, size = self._items.popleft()
            self._used -= size
            self._changed.notify_all()
            return item

    def close(self, drop: bool = False) -> None:
        """Accept no more items; with ``drop`` discard those in the queue."""
        with self._changed:
            self._closed = True
            if drop:
                self._items.clear()
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return len(self._items) < self._count and self._used + size <= self._bytes


class Pipeline:
    """One run over items; an executor is a subclass.

    Args:
        record: receives the outcome of each item.
        stop: an event; once set, the run ends before the next picture.

    Attributes:
        started: receives each item before it is painted.
        progress: receives the steps of the picture that is being painted; executors of other machines do not call it.
    """

    def __init__(self, record: Record, stop: threading.Event) -> None:
        self._record, self._stop = record, stop
        self._ready, self._done = BoundedQueue(), BoundedQueue()
        self._error: BaseException | None = None
        self.started: Callable[[WorkItem], None] = lambda _: None
        self.progress: Callable[[Step], None] = lambda _: None

    def run(self, items: Iterable[WorkItem]) -> None:
        """Paint all items; whatever ends the run, the pictures painted by then are written.

        Raises:
            OSError: no more output can be written.
            KeyboardInterrupt, SystemExit: by signals, after the painted pictures were written.
        """
        reader = threading.Thread(target=self._guarded, args=(self._read, items), daemon=True)
        count = max(1, min(_WRITERS, os.cpu_count() or 1))
        writers = [threading.Thread(target=self._guarded, args=(self._write,), daemon=True) for _ in range(count)]
        for thread in (reader, *writers):
            thread.start()
        try:
            self._work()
        finally:
            self._ready.close(drop=True)
            self._done.close()
            _join(writers)
        if self._error is not None:
            raise self._error

    def _open(self, data: bytes, path: str) -> tuple[Any, int]:
        """What the reading thread makes of a file's bytes, and its size in bytes."""
        raise NotImplementedError

    def _work(self) -> None:
        """Take (item, content, opened or Failure) from ``_ready`` until it is empty or ``_stop`` is set. Put (item,
        content, function that returns the PaintedFile) into ``_done``; record failures at once."""
        raise NotImplementedError

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run a thread; if it fails, the run ends and raises its error."""
        try:
            work(*arguments)
        except BaseException as error:
            self._error = self._error or error
            self._stop.set()
            self._ready.close(drop=True)
            self._done.close(drop=True)

    def _read(self, items: Iterable[WorkItem]) -> None:
        source: str | None = None
        for item in items:
            if self._stop.is_set():
                break
            if source != item.source:  # several styles use one content
                source, content, opened, size = item.source, Content(item.source), None, 0
                try:
                    data, content = read_content(source)
                    opened, size = self._open(data, source)
                except Exception as error:
                    opened = Failure.of(error)
            if not self._ready.put((item, content, opened), size):
                return
        self._ready.close()

    def _write(self) -> None:
        while (done := self._done.get()) is not None:
            item, content, finish = done
            outcome: PaintedFile | Failure
            try:
                outcome = finish()
            except Exception as error:
                outcome = Failure.of(error)
            self._record(item, content, outcome)


class LocalExecutor(Pipeline):
    """Paints on this machine; ``styles`` returns an encoded style by its number, see :func:`style_encoder`."""

    def __init__(
        self, job: PaintJob, model: Any, styles: Callable[[int], Any], record: Record, stop: threading.Event
    ) -> None:
        super().__init__(record, stop)
        self._job, self._model, self._styles = job, model, styles

    def _open(self, data: bytes, path: str) -> tuple[Any, int]:
        picture = self._job.decode(data, path)
        return picture, picture.rgb.nbytes

    def _work(self) -> None:
        while not self._stop.is_set() and (ready := self._ready.get()) is not None:
            item, content, picture = ready
            self.started(item)
            if isinstance(picture, Failure):
                self._record(item, content, picture)
                continue
            try:
                style = self._styles(item.style)
                painted, seconds = self._job.paint(self._model, picture, style, self.progress, item.masks)
            except Exception as error:
                self._record(item, content, Failure.of(error))
            else:
                encode = partial(self._job.encode, picture, painted, seconds, item.format)
                self._done.put((item, content, encode), picture.rgb.nbytes)


@contextmanager
def local_executor(
    job: PaintJob,
    styles: Sequence[tuple[str, ...]],
    record: Record,
    stop: threading.Event,
    tell: Tell,
) -> Iterator[Pipeline]:
    """An executor on this machine, with its model loaded and the only style encoded.

    Args:
        job: how to paint.
        record, stop: see :class:`Pipeline`.
        tell: receives one line about anything unusual.

    Raises:
        QuantArtError: the model cannot be loaded, or the only style cannot be read.
    """
    model = job.load_model(tell)
    encoded = style_encoder(job, model, styles)
    if len(styles) == 1:
        encoded(0)
    yield LocalExecutor(job, model, encoded, record, stop)


def style_encoder(job: PaintJob, model: Any, styles: Sequence[tuple[str, ...]]) -> Callable[[int], Any]:
    """A function that returns the encoded style of a number, and raises QuantArtError if it cannot be read.

    The last 32 are kept, errors included.
    """

    @lru_cache(STYLES_AT_ONCE)
    def encode(number: int) -> Any:
        try:
            return job.encode_style(model, styles[number])
        except QuantArtError as error:
            return style_error(error, styles)

    def encoded(number: int) -> Any:
        found = encode(number)
        if isinstance(found, QuantArtError):
            raise found
        return found

    return encoded


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads to end; a signal received meanwhile is raised afterwards."""
    received: BaseException | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except (KeyboardInterrupt, SystemExit) as error:
                received = error
    if received is not None:
        raise received
