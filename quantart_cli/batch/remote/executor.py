"""One run on a Ray cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from quantart_cli.batch.ledger import Content
from quantart_cli.batch.remote.cluster import cluster_lost, connected
from quantart_cli.batch.remote.crew import Crew, Piece
from quantart_cli.batch.stages import Record, Stages
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.checkpoints.models import ModelFile

if TYPE_CHECKING:
    from quantart_cli.batch.run import Run

_TICK = 0.2  # seconds at most before what was read meanwhile is handed out


def remote_executor(
    run: Run, file: ModelFile | None, values: dict[str, Any], tell: Callable[[str], None]
) -> Callable[..., None]:
    """A function ``execute(tasks, record, stop, now)`` that paints on a Ray cluster; to be called once.

    Before it is returned the cluster is joined or started, a worker has its model, and a plan's only style is encoded.

    Args:
        run: the run.
        file: the model given with ``--model``.
        values: of the command's options: address, workers, and what loading a model asks for.
        tell: told one line of what the run goes on in spite of.

    Raises:
        QuantArtError: no Ray, no cluster, no worker that can paint, or the only style cannot be read.
    """
    with ExitStack() as stack:
        stack.enter_context(connected(values["address"]))
        stack.enter_context(cluster_lost())
        crew = Crew(run, file, values, tell)
        stack.callback(crew.dismiss)
        crew.begin()
        leaving = stack.pop_all()

    def execute(
        tasks: Iterable[Task],
        record: Record,
        stop: threading.Event,
        now: Callable[[Task], None] = lambda _: None,
    ) -> None:
        with leaving:
            Dispatch(crew, record, stop, now).run(tasks)

    return execute


class Dispatch(Stages):
    """One run over tasks.

    Args:
        crew: that paints.
        record: takes what became of each picture, in any thread.
        stop: ends the run before the next picture, by whoever sets it.
        now: told each picture when it is handed to a worker.
    """

    def __init__(self, crew: Crew, record: Record, stop: threading.Event, now: Callable[[Task], None]) -> None:
        super().__init__(record, stop)
        self._crew, self._now = crew, now
        self._stored: tuple[bytes, Any] | None = None

    def _open(self, data: bytes, path: str) -> bytes:
        return data

    def _weigh(self, opened: bytes) -> int:
        return len(opened)

    def _work(self) -> None:
        crew = self._crew
        try:
            while not self._stop.is_set() and not (self._ready.ended and not crew.busy):
                crew.hand_out(self._now)
                while self._more() and (item := self._ready.get(wait=not crew.flights)) is not None:
                    self._take(*item)
                    crew.hand_out(self._now)
                self._back(_TICK)
        finally:
            if crew.connected:
                self._back(0)  # what has come back already is written, whatever ended the run

    def _more(self) -> bool:
        return not self._stop.is_set() and self._crew.room

    def _take(self, task: Task, content: Content, data: bytes | Failed) -> None:
        if isinstance(data, Failed):
            self._record(task, content, data)
            return
        if self._stored is None or self._stored[0] is not data:  # one content in several styles is stored once
            self._stored = data, self._crew.store(data)
        self._settle(self._crew.take(Piece(task.style, task, content, [self._stored[1]], len(data))))

    def _back(self, seconds: float) -> None:
        self._settle(self._crew.collect(seconds))

    def _settle(self, found: Iterable[tuple[Piece, Finished | Failed]]) -> None:
        for piece, outcome in found:
            assert piece.task is not None
            assert piece.content is not None
            if isinstance(outcome, Failed):
                self._record(piece.task, piece.content, outcome)
            else:
                self._done.put((piece.task, piece.content, outcome), len(outcome.data))

    def _finish(self, task: Task, *worked: Any) -> Finished:
        return worked[0]
