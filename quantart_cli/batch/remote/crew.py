"""The workers of a run on a Ray cluster: who does what, and what happens when one is lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from quantart_cli import __version__
from quantart_cli.batch.ledger import Content
from quantart_cli.batch.remote.cluster import Place, import_ray, places
from quantart_cli.batch.remote.worker import AT_ONCE, Loaded, Worker
from quantart_cli.batch.stages import Recent, style_error
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable
from quantart_cli.images.reading import read_file

if TYPE_CHECKING:
    from quantart_cli.batch.run import Run

_EACH = 2  # pictures a worker has at a time: while one is painted, the next one is on its way
_BYTES = 512 << 20  # of contents at all workers together, or one picture
_TRIES = 3  # of a picture, or of loading a model in a place, before it counts as the cause of losing workers
_TICK = 0.2
_SILENCE, _PATIENCE = 30, 600  # seconds without any worker before that is told, and before it ends the run
_CANNOT_IMPORT = f"cannot import quantart: pip install quantart-cli=={__version__} on every machine"


@dataclass(eq=False)
class Piece:
    """What a worker is asked for: to paint a picture or, without a task, to encode a style."""

    style: int
    task: Task | None = None
    content: Content | None = None
    given: list[Any] = field(default_factory=list)
    """For a picture: where its file's bytes lie in the object store, and its style. For a style: path and bytes of each
    of its files."""
    weight: int = 0
    lost: int = 0
    """How many workers were lost with it."""


@dataclass(eq=False)
class Hand:
    """A worker.

    Attributes:
        actor: it, as Ray knows it.
        place: where it was asked for.
        losses: how many were lost before it in this place, none of which had loaded its model.
        loaded: whether it has.
        pieces: at hand.
    """

    actor: Any
    place: Place
    losses: int = 0
    loaded: bool = False
    pieces: list[Piece] = field(default_factory=list)


Outcomes = list[tuple[Piece, "Finished | Failed"]]


class Crew:
    """All workers of a run, and the styles they share.

    Args:
        run: the run.
        file: the model given with ``--model``.
        values: of the command's options.
        tell: told one line of what the run goes on in spite of.

    Attributes:
        flights: what is going on, by the reference to what it will give; without a piece, a model is being loaded.

    Raises:
        QuantArtError: the cluster has nothing to paint with.
    """

    def __init__(self, run: Run, file: ModelFile | None, values: dict[str, Any], tell: Callable[[str], None]) -> None:
        self._ray = import_ray()
        self._worker = self._ray.remote(Worker)
        self._plan, self._tell = run.plan.styles, tell
        if file is not None:
            file = replace(file, path=file.path.absolute())
        self._arguments = values, file, run.recipe
        self.flights: dict[Any, tuple[Hand, Piece | None]] = {}
        self._due: deque[Piece] = deque()
        self._waiting: dict[int, list[Piece]] = {}  # pictures by the style that is being encoded
        self._styles = Recent()  # where it lies in the object store, or Failed
        self._how: Loaded | None = None
        self._since, self._told = time.monotonic(), False
        self._hands: list[Hand] = []
        for place in places(values["workers"], values["device"]):
            self._hire(place)

    def begin(self) -> None:
        """Wait for a worker, and have the only style encoded.

        Raises:
            QuantArtError: no worker can paint, or the style cannot be read.
        """
        while not any(hand.loaded for hand in self._hands):
            self.collect(_TICK)
        if len(self._plan) > 1:
            return
        self._encode(0)
        while 0 not in self._styles:
            self.hand_out()
            self.collect(_TICK)
        found = self._styles[0]
        if isinstance(found, Failed):
            raise QuantArtError(found.reason) if found.trace is None else RuntimeError(found.trace)

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        for hand in self._hands:
            self._end(hand)

    @property
    def connected(self) -> bool:
        """Whether the cluster is there."""
        return self._ray.is_initialized()

    @property
    def busy(self) -> bool:
        """Whether a picture or a style is still to come."""
        return bool(self._due or self._waiting or any(hand.pieces for hand in self._hands))

    @property
    def room(self) -> bool:
        """Whether another picture would be worked on at once, or as soon as its style is known."""
        at_hand = [piece for hand in self._hands for piece in hand.pieces]
        waiting = sum(map(len, self._waiting.values()))
        if self._due or waiting >= _EACH * len(self._hands) or sum(piece.weight for piece in at_hand) >= _BYTES:
            return False
        return self._free(alone=False) is not None

    def store(self, data: bytes) -> Any:
        """Where the bytes lie in the object store, for as long as this is kept."""
        return self._ray.put(data)

    def take(self, piece: Piece) -> Outcomes:
        """Have a picture painted, its style encoded before if it is not yet; whatever fails of that at once."""
        if piece.style in self._styles:
            return self._ready([piece], self._styles[piece.style])
        new = piece.style not in self._waiting
        self._waiting.setdefault(piece.style, []).append(piece)
        return self._encode(piece.style) if new else []

    def hand_out(self, now: Callable[[Task], None] = lambda _: None) -> None:
        """Give what is due to workers with room; what a worker was lost with, to one that has nothing else.

        Args:
            now: told each picture.
        """
        while self._due and (hand := self._free(alone=self._due[0].lost > 0)) is not None:
            piece = self._due.popleft()
            hand.pieces.append(piece)
            if piece.task is None:
                flight = hand.actor.encode_style.remote(piece.given)
            else:
                now(piece.task)
                flight = hand.actor.paint.remote(piece.task, piece.given)
            self.flights[flight] = hand, piece

    def collect(self, seconds: float) -> Outcomes:
        """Wait for anything to come back, so long at most; the pictures among it.

        Raises:
            QuantArtError: no worker is left, or none comes.
        """
        self._mind_the_time()
        flights, found = list(self.flights), []
        if not flights:
            return []
        ready, _ = self._ray.wait(flights, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(flights, num_returns=len(flights), timeout=0)
        for flight in ready:
            hand, piece = self.flights.pop(flight)
            try:
                value = self._ray.get(flight)
            except self._ray.exceptions.RayError as error:
                found += self._lost(hand, piece, error)
                continue
            if piece is None:
                self._loaded(hand, value)
                continue
            hand.pieces.remove(piece)
            found += self._encoded(piece.style, value) if piece.task is None else [(piece, value)]
        return found

    def _hire(self, place: Place, losses: int = 0) -> None:
        """Ask for a worker; when that machine is gone it may come on any other with as much room."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {"num_cpus": place.cpus, "num_gpus": place.gpus, "max_concurrency": AT_ONCE, "max_restarts": 0}
        near = NodeAffinitySchedulingStrategy(place.node, soft=True)
        worker = self._worker.options(scheduling_strategy=near, **options)
        try:
            actor = worker.remote(*self._arguments, place.threads, __version__)
        except ModuleNotFoundError as error:  # Ray's client asks its server
            raise QuantArtError(f"the Ray cluster {_CANNOT_IMPORT} ({_gist(error)})") from error
        hand = Hand(actor, place, losses)
        self._hands.append(hand)
        self.flights[hand.actor.load.remote(self._how)] = hand, None

    def _loaded(self, hand: Hand, value: Loaded | Failed) -> None:
        """A worker has its model, or cannot have it. One that paints otherwise than the first loads it again."""
        if isinstance(value, Failed):
            self._without(hand, value.trace or value.reason)
            return
        self._how = self._how or value
        if value == self._how:
            hand.loaded, hand.losses = True, 0
        else:
            self.flights[hand.actor.load.remote(self._how)] = hand, None

    def _lost(self, hand: Hand, piece: Piece | None, error: Exception) -> Outcomes:
        """Something did not come back. The worker is replaced, and what it had is done again, or fails for good."""
        in_call = piece is not None and isinstance(error, self._ray.exceptions.RayTaskError)
        if hand in self._hands and not in_call:  # else the worker is as it was, or was replaced already
            self._replace(hand, error)
        if piece is None:
            return []
        hand.pieces.remove(piece)
        piece.lost += 1
        if piece.lost < _TRIES:
            self._due.appendleft(piece)
            return []
        failed = Failed(f"its worker was lost {_TRIES} times, which may be for want of memory ({_gist(error)})")
        return self._encoded(piece.style, failed) if piece.task is None else [(piece, failed)]

    def _replace(self, hand: Hand, error: Exception) -> None:
        losses = 0 if hand.loaded else hand.losses + 1
        if not hand.loaded and ("ModuleNotFoundError" in str(error) or "failed to import" in str(error)):
            self._without(hand, f"it {_CANNOT_IMPORT} ({_gist(error)})")
        elif losses >= _TRIES:
            self._without(hand, f"it ended {_TRIES} times while its model was loaded ({_gist(error)})")
        else:
            if hand.loaded:
                self._tell(f"the Ray worker on {hand.place.host} was lost ({_gist(error)}): what it had is done again")
            self._end(hand)
            self._hands.remove(hand)
            self._hire(hand.place, losses)

    def _without(self, hand: Hand, why: str) -> None:
        """Go on without a worker that cannot paint, as long as there are others.

        Raises:
            QuantArtError: there are none.
        """
        self._end(hand)
        self._hands.remove(hand)
        line = f"the Ray worker on {hand.place.host} cannot paint: {why}"
        if not self._hands:
            raise QuantArtError(line)
        self._tell(f"{line}; going on without it")

    def _end(self, hand: Hand) -> None:
        with suppress(Exception):  # it may be gone, and the cluster with it
            self._ray.kill(hand.actor)

    def _free(self, alone: bool) -> Hand | None:
        """The worker that has least to do; with ``alone`` one that has nothing to do."""
        most = 1 if alone else _EACH
        able = [
            hand
            for hand in self._hands
            if hand.loaded and len(hand.pieces) < most and not any(piece.lost for piece in hand.pieces)
        ]
        return min(able, key=lambda hand: len(hand.pieces), default=None)

    def _encode(self, number: int) -> Outcomes:
        """Have a style encoded; whatever fails because its files cannot be read."""
        try:
            files = [(path, read_file(path)[0]) for path in self._plan[number]]
        except QuantArtError as error:
            return self._encoded(number, Failed.of(error))
        self._due.appendleft(Piece(number, given=files))
        return []

    def _encoded(self, number: int, value: bytes | Failed) -> Outcomes:
        """A style is there, or never will be: on with the pictures that waited for it."""
        if isinstance(value, Failed):
            found: Any = Failed(str(style_error(QuantArtError(value.reason), self._plan)), value.trace)
        else:
            found = self.store(value)
        self._styles[number] = found
        return self._ready(self._waiting.pop(number, []), found)

    def _ready(self, pieces: list[Piece], style: Any) -> Outcomes:
        if isinstance(style, Failed):
            return [(piece, style) for piece in pieces]
        for piece in pieces:
            piece.given.append(style)
            self._due.append(piece)
        return []

    def _mind_the_time(self) -> None:
        """Having no worker at all is told after a while, and ends the run after long."""
        if any(hand.loaded for hand in self._hands):
            self._since, self._told = time.monotonic(), False
            return
        waited, place = time.monotonic() - self._since, self._hands[0].place
        wants = f"{place.gpus:g} GPU" if place.gpus else f"{place.cpus:g} CPU"
        if waited > _PATIENCE:
            raise QuantArtError(f"the Ray cluster gave no worker in {_PATIENCE // 60} minutes: each takes {wants}")
        if waited > _SILENCE and not self._told:
            self._told = True
            self._tell(f"waiting for the Ray cluster: no worker is up yet, each takes {wants}")


def _gist(error: Exception) -> str:
    """What Ray says of the cause: the first sentence of its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return printable(last.rpartition("exit detail: ")[2].partition(". ")[0], 160)
