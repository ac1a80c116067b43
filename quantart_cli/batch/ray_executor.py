"""The executor of several machines: workers on a Ray cluster paint, this process reads and writes everything.

No file system is shared: contents travel to workers as bytes, and outputs travel back. A style is encoded by one worker
and shared through Ray's object store. A worker has at most two pictures at a time, so memory stays flat. If a worker
is lost, its pictures are painted again by others; a picture that loses its worker three times fails.

Workers are replaced here and not by Ray's max_restarts: Ray would charge a picture for its neighbour on the same
worker, would hold its pictures until a lost machine returns, and would restart a worker forever whose model does not
fit into memory.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from quantart_cli import __version__
from quantart_cli.batch.job import Computation, Failure, PaintJob
from quantart_cli.batch.ledger import Content
from quantart_cli.batch.pipeline import Pipeline, Record, Tell
from quantart_cli.batch.plan import STYLES_AT_ONCE, WorkItem
from quantart_cli.batch.ray_cluster import Place, cluster_lost, connected, import_ray, places
from quantart_cli.batch.ray_worker import CONCURRENT_CALLS, Worker
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images import read_picture
from quantart_cli.images.reading import read_file

_PER_WORKER = 2  # pictures: while one is painted, the next one travels
_BYTES = 512 << 20  # of contents at all workers, or one picture
_TRIES = 3  # of a picture, or of loading a model, before it counts as the cause of losing workers
_POLL = 0.2  # seconds
_PATIENCE = 600  # seconds without any worker before the run ends
_CANNOT_IMPORT = f"cannot import quantart: pip install quantart-cli=={__version__} on every machine"


@dataclass(eq=False)
class _Call:
    """A picture for a worker, the bytes of its file, and how many workers were lost with it."""

    item: WorkItem
    content: Content
    data: bytes
    losses: int = 0


@dataclass(eq=False)
class _Actor:
    """A worker as this process sees it; ``losses`` counts those lost before it while they loaded their models."""

    handle: Any
    place: Place
    losses: int = 0
    ready: bool = False
    calls: list[_Call] = field(default_factory=list)


@contextmanager
def ray_executor(
    job: PaintJob,
    styles: Sequence[tuple[str, ...]],
    record: Record,
    stop: threading.Event,
    tell: Tell,
    address: str | None = None,
    workers: int | None = None,
) -> Iterator[Pipeline]:
    """An executor on a Ray cluster, which is joined or started for the body; a worker is ready when it begins.

    Args:
        job, styles, record, stop, tell: see :func:`quantart_cli.batch.pipeline.local_executor`.
        address: of the cluster, see :func:`quantart_cli.batch.ray_cluster.connected`.
        workers: their number; None: as many as suit the cluster.

    Raises:
        QuantArtError: no Ray, no cluster, no worker that can paint, the only style cannot be read, the cluster is lost.
    """
    import_ray()
    if len(styles) == 1:
        for path in styles[0]:
            read_picture(path, max_pixels=job.max_pixels)
    with connected(address):
        executor = RayExecutor(job, styles, record, stop, tell)
        try:
            with cluster_lost():
                executor.start(places(workers, job.device))
            yield executor
        finally:
            executor.close()


class RayExecutor(Pipeline):
    """Paints on workers of a Ray cluster; made by :func:`ray_executor`."""

    def __init__(
        self, job: PaintJob, styles: Sequence[tuple[str, ...]], record: Record, stop: threading.Event, tell: Tell
    ) -> None:
        super().__init__(record, stop)
        self._ray = import_ray()
        file = job.model_file
        self._job = job if file is None else replace(job, model_file=replace(file, path=file.path.absolute()))
        self._files, self._tell = styles, tell
        self._class = self._ray.remote(Worker)
        self._actors: list[_Actor] = []
        self._calls: dict[Any, tuple[_Actor, _Call | None]] = {}  # by reference to the result; None: loads its model
        self._queue: deque[_Call] = deque()
        self._styles: dict[int, Any] = {}  # references to bytes or a Failure
        self._computation: Computation | None = None
        self._last_ready = time.monotonic()

    def start(self, where: Sequence[Place]) -> None:
        """Start the workers, and wait for the first of them."""
        for place in where:
            self._start_worker(place)
        while not any(actor.ready for actor in self._actors):
            self._collect(_POLL)

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for actor in list(self._actors):
            self._end(actor)

    def _open(self, data: bytes, path: str) -> tuple[Any, int]:
        return data, len(data)

    def _work(self) -> None:
        with cluster_lost():
            self._dispatch()

    def _dispatch(self) -> None:
        try:
            while not self._stop.is_set() and not (self._ready.ended and not self._busy):
                while not self._stop.is_set() and self._has_room:
                    if (ready := self._ready.get(wait=not self._busy)) is None:
                        break
                    self._submit(*ready)
                self._collect(_POLL)
        finally:
            if self._ray.is_initialized():
                self._collect(0)  # results that are here already are written, whatever ended the run

    @property
    def _busy(self) -> bool:
        return bool(self._queue or any(actor.calls for actor in self._actors))

    @property
    def _has_room(self) -> bool:
        used = sum(len(call.data) for actor in self._actors for call in actor.calls)
        return not self._queue and used < _BYTES and self._free(_PER_WORKER) is not None

    def _submit(self, item: WorkItem, content: Content, data: bytes | Failure) -> None:
        if isinstance(data, Failure):
            self._record(item, content, data)
            return
        self.started(item)
        self._queue.append(_Call(item, content, data))
        self._hand_out()

    def _hand_out(self) -> None:
        """Give queued pictures to workers with room; one that lost a worker before gets a worker for itself."""
        while self._queue and (actor := self._free(1 if self._queue[0].losses else _PER_WORKER)) is not None:
            call = self._queue.popleft()
            actor.calls.append(call)
            style = self._style(call.item.style, actor)
            self._calls[actor.handle.paint.remote(call.item, call.data, style)] = actor, call

    def _free(self, most: int) -> _Actor | None:
        """The worker with the fewest pictures, and fewer than ``most``."""
        able = [actor for actor in self._actors if actor.ready and len(actor.calls) < most]
        able = [actor for actor in able if not any(call.losses for call in actor.calls)]
        return min(able, key=lambda actor: len(actor.calls), default=None)

    def _style(self, number: int, actor: _Actor) -> Any:
        """A reference to the encoded style; the worker given encodes it if none has."""
        if number not in self._styles:
            while len(self._styles) >= STYLES_AT_ONCE:
                del self._styles[next(iter(self._styles))]
            try:
                files = [(path, read_file(path)[0]) for path in self._files[number]]
                self._styles[number] = actor.handle.encode_style.remote(files)
            except QuantArtError as error:
                self._styles[number] = self._ray.put(Failure.of(error))
        return self._styles[number]

    def _collect(self, seconds: float) -> None:
        """Wait at most so long for results, and pass them on.

        Raises:
            QuantArtError: no worker is left, or none has started.
        """
        if any(actor.ready for actor in self._actors):
            self._last_ready = time.monotonic()
        elif time.monotonic() - self._last_ready > _PATIENCE:
            place = self._actors[0].place
            wants = f"{place.gpus:g} GPU" if place.gpus else f"{place.cpus:g} CPU"
            raise QuantArtError(f"the Ray cluster gave no worker in {_PATIENCE // 60} minutes: each takes {wants}")
        ready, _ = self._ray.wait(list(self._calls), timeout=seconds) if self._calls else ([], None)
        if ready:
            ready, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for reference in ready:
            actor, call = self._calls.pop(reference)
            try:
                value = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._lost(actor, call, error)
                continue
            if call is None:
                self._has_loaded(actor, value)
                continue
            actor.calls.remove(call)
            if isinstance(value, Failure):
                self._record(call.item, call.content, value)
            else:
                self._done.put((call.item, call.content, lambda value=value: value), len(value.data))
        self._hand_out()

    def _lost(self, actor: _Actor, call: _Call | None, error: Exception) -> None:
        """Replace a lost worker; its picture is painted again, or fails after some tries."""
        in_call = call is not None and isinstance(error, self._ray.exceptions.RayTaskError)
        if actor in self._actors and not in_call:
            self._replace(actor, error)
        if call is None:
            return
        actor.calls.remove(call)
        style = self._styles.get(call.item.style)
        try:
            if style is not None and self._ray.wait([style], timeout=0)[0]:
                self._ray.get(style)
        except self._ray.exceptions.RayError:  # the style was lost with the worker
            del self._styles[call.item.style]
        call.losses += 1
        if call.losses < _TRIES:
            self._queue.appendleft(call)
        else:
            why = f"its worker was lost {_TRIES} times, perhaps for lack of memory ({_gist(error)})"
            self._record(call.item, call.content, Failure(why))

    def _replace(self, actor: _Actor, error: Exception) -> None:
        losses = 0 if actor.ready else actor.losses + 1
        if not actor.ready and ("ModuleNotFoundError" in str(error) or "failed to import" in str(error)):
            self._give_up(actor, f"it {_CANNOT_IMPORT} ({_gist(error)})")
        elif losses >= _TRIES:
            self._give_up(actor, f"it ended {_TRIES} times while its model was loaded ({_gist(error)})")
        else:
            if actor.ready:
                self._tell(f"the Ray worker on {actor.place.host} was lost ({_gist(error)}): its work is done again")
            self._end(actor)
            self._start_worker(actor.place, losses)

    def _start_worker(self, place: Place, losses: int = 0) -> None:
        """Start a worker on a machine or, if that machine is lost, on any other with room."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        near = NodeAffinitySchedulingStrategy(place.node, soft=True)
        worker = self._class.options(
            scheduling_strategy=near, num_cpus=place.cpus, num_gpus=place.gpus, max_concurrency=CONCURRENT_CALLS
        )
        try:
            handle = worker.remote(replace(self._job, threads=place.threads or self._job.threads), __version__)
        except ModuleNotFoundError as error:  # Ray's client asks its server
            raise QuantArtError(f"the Ray cluster {_CANNOT_IMPORT} ({_gist(error)})") from error
        self._actors.append(_Actor(handle, place, losses))
        self._calls[handle.load.remote(self._computation)] = self._actors[-1], None

    def _has_loaded(self, actor: _Actor, value: Computation | Failure) -> None:
        """A worker has its model, or cannot load it. If it computes unlike the first, it loads the model again."""
        if isinstance(value, Failure):
            self._give_up(actor, value.trace or value.reason)
            return
        self._computation = self._computation or value
        actor.ready = value == self._computation
        if not actor.ready:
            self._calls[actor.handle.load.remote(self._computation)] = actor, None

    def _give_up(self, actor: _Actor, why: str) -> None:
        """Continue without a worker that cannot paint. Raises QuantArtError if there is no other."""
        self._end(actor)
        line = f"the Ray worker on {actor.place.host} cannot paint: {why}"
        if not self._actors:
            raise QuantArtError(line)
        self._tell(f"{line}; continuing without it")

    def _end(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with suppress(Exception):  # it may be gone, and the cluster with it
            self._ray.kill(actor.handle)


def _gist(error: Exception) -> str:
    """Ray's words for the cause: the first sentence of its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return printable(last.rpartition("exit detail: ")[2].partition(". ")[0], 160)
