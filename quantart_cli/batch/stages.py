"""What executors share: pictures are read ahead, worked on and written at the same time, in memory that stays flat.

One thread reads ahead, the main thread works, a few finish and write. Pictures wait between them in buffers bounded by
their bytes.
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
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.errors import QuantArtError

Record = Callable[[Task, Content, "Finished | Failed"], None]
"""Takes what became of a picture: writes it, notes it in the ledger, reports it; an OSError when it cannot go on."""

# Between two threads lie at most so many bytes of pictures, or one picture, and so many pictures.
_BYTES = 96 << 20
_PICTURES = 8
_WRITERS = 4


class Recent(dict[int, Any]):
    """What is known of styles by their numbers; the oldest is forgotten when it will not be asked for again."""

    def __setitem__(self, number: int, found: Any) -> None:
        while number not in self and len(self) >= STYLES_AT_ONCE:
            del self[next(iter(self))]
        super().__setitem__(number, found)


def style_error(error: QuantArtError, styles: Sequence[tuple[str, ...]]) -> QuantArtError:
    """Why a style cannot be used, as it is told of the run that has no other, or of each of its pictures."""
    return error if len(styles) == 1 else QuantArtError(f"its style: {error}")


class Buffer:
    """First in, first out between threads, bounded by the weight of what lies in it; one thing always fits."""

    def __init__(self, weight: int = _BYTES, count: int = _PICTURES) -> None:
        self._most, self._count = weight, count
        self._items: deque[tuple[Any, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def ended(self) -> bool:
        """Whether there is nothing left and no more will come."""
        with self._changed:
            return self._closed and not self._items

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

    def get(self, wait: bool = True) -> Any:
        """Wait for the next; None when there is nothing left and no more will come, or nothing to be had at once."""
        with self._changed:
            while wait and not self._items and not self._closed:
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


class Stages:
    """One run over tasks; an executor is a subclass.

    Args:
        record: takes what became of each picture, in any thread.
        stop: ends the run before the next picture, by whoever sets it.
    """

    def __init__(self, record: Record, stop: threading.Event) -> None:
        self._record, self._stop = record, stop
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
            self._work()
        finally:
            self._ready.close(drop=True)
            self._done.close()
            _join(writers)
        if self._fatal is not None:
            raise self._fatal

    def _open(self, data: bytes, path: str) -> Any:
        """What is made of a file's bytes ahead of the work."""
        raise NotImplementedError

    def _weigh(self, opened: Any) -> int:
        """Bytes in memory of what :meth:`_open` gave."""
        raise NotImplementedError

    def _work(self) -> None:
        """Take (task, content, opened or Failed) out of ``_ready`` until nothing is left or ``_stop`` is set; put
        (task, content, ...) into ``_done``, and what failed to ``_record`` at once."""
        raise NotImplementedError

    def _finish(self, task: Task, *worked: Any) -> Finished:
        """What becomes of what was put into ``_done`` after the content."""
        raise NotImplementedError

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
                before = task.source, *self._opened(task)
            _, content, opened = before
            if not self._ready.put((task, content, opened), 0 if isinstance(opened, Failed) else self._weigh(opened)):
                return
        self._ready.close()

    def _opened(self, task: Task) -> tuple[Content, Any]:
        content = Content(task.source)
        try:
            data, content = work.load(task.source)
            return content, self._open(data, task.source)
        except Exception as error:
            return content, Failed.of(error)

    def _write(self) -> None:
        while (item := self._done.get()) is not None:
            task, content, *worked = item
            outcome: Finished | Failed
            try:
                outcome = self._finish(task, *worked)
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
