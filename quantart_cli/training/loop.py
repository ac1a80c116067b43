"""The loop of every training by gradients: checkpoints, a log, preview sheets, and what to do when it goes wrong.

Everything random in an update depends on the seed and the update's number alone, and a checkpoint holds all state
there is: so that a training that was stopped goes on to the very weights it would have had.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from quantart_cli.errors import QuantArtError
from quantart_cli.images.encoding import encode_picture
from quantart_cli.images.output import write_atomically
from quantart_cli.images.picture import Picture

# Updates in a row without finite losses and gradients after which a training is given up.
_PATIENCE = 20


class NotFinite(ArithmeticError):
    """A loss or gradient that is not finite; the update was left out, nothing has changed."""


class Stopped(KeyboardInterrupt):
    """A training was asked to stop. ``done`` updates are in its checkpoint."""

    def __init__(self, done: int) -> None:
        super().__init__(f"stopped after {done} updates")
        self.done = done


class Trainee(Protocol):
    """What is trained."""

    def update(self, number: int) -> dict[str, float]:
        """One update, the ``number``-th from 0; its losses by name. Raises NotFinite, having changed nothing."""

    def state(self) -> dict[str, Tensor]:
        """All there is to go on from, by name."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave."""

    def sheet(self) -> Tensor:
        """A preview, (3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Plan:
    """How many updates, and after how many of them what is done."""

    steps: int
    log_every: int
    checkpoint_every: int
    sheet_every: int


@dataclass(frozen=True)
class Places:
    """Where a training of ``target`` keeps what.

    ``TARGET.partial/`` holds the checkpoint and goes when the training is done, ``TARGET.training/`` the log and the
    preview sheets, which stay.
    """

    target: Path

    @property
    def partial(self) -> Path:
        return self.target.with_name(self.target.name + ".partial")

    @property
    def kept(self) -> Path:
        return self.target.with_name(self.target.name + ".training")

    @property
    def checkpoint(self) -> Path:
        return self.partial / "checkpoint.safetensors"

    @property
    def log(self) -> Path:
        return self.kept / "log.jsonl"

    def open(self, identity: Mapping[str, Any], restart: bool) -> None:
        """Make the folders, and check that an unfinished training there is this very one.

        Raises:
            QuantArtError: it is another, or the folders cannot be made.
        """
        if restart:
            shutil.rmtree(self.partial, ignore_errors=True)
        ledger = self.partial / "training.json"
        try:
            self.partial.mkdir(exist_ok=True)
            self.kept.mkdir(exist_ok=True)
        except OSError as error:
            raise QuantArtError(f"{self.partial} cannot be made: {error.strerror}") from None
        if not ledger.exists():
            write_atomically(str(ledger), json.dumps(identity, indent=1).encode())
            return
        before = json.loads(ledger.read_text())
        other = [name for name in {**before, **identity} if before.get(name) != identity.get(name)]
        if other:
            raise QuantArtError(
                f"{self.partial} holds an unfinished training with another {', '.join(other)}: "
                "give the same as then, or --restart"
            )


def run(
    trainee: Trainee,
    places: Places,
    plan: Plan,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
) -> int:
    """Train to the end of the plan, from the checkpoint if there is one.

    Args:
        trainee: in the state it begins in.
        places: opened.
        stop: asked after every update; if it says so the training is kept and left.
        progress: called with (updates done, updates in all, losses).

    Returns:
        How many updates were left out as not finite.

    Raises:
        Stopped: when asked to; the checkpoint is as of the last update.
        QuantArtError: nothing is finite any more, or the disk is full.
    """
    done, skipped = _resume(trainee, places)
    in_a_row = 0
    log = _Log(places.log, done)
    while done < plan.steps:
        try:
            losses = trainee.update(done)
            in_a_row = 0
        except NotFinite as error:
            losses, skipped, in_a_row = {}, skipped + 1, in_a_row + 1
            if in_a_row == _PATIENCE:
                raise QuantArtError(
                    f"{_PATIENCE} updates in a row were not finite ({error}): train at a lower --rate or with "
                    f"--precision fp32; the last checkpoint is in {places.partial}"
                ) from error
        done += 1
        log.add(losses)
        progress(done, plan.steps, losses)
        asked = stop()
        if done % plan.log_every == 0:
            log.write(done, skipped)
        if done % plan.sheet_every == 0 or done == plan.steps:
            _write_sheet(places.kept / f"{done:06}.png", trainee.sheet())
        if done % plan.checkpoint_every == 0 or asked or done == plan.steps:
            _keep(trainee, places, done, skipped)
        if asked and done < plan.steps:
            raise Stopped(done)
    return skipped


def updates_done(places: Places) -> int:
    """How many updates are in the checkpoint."""
    if not places.checkpoint.exists():
        return 0
    with safetensors.safe_open(places.checkpoint, "pt") as file:
        return int(file.get_tensor("loop")[0])


def _resume(trainee: Trainee, places: Places) -> tuple[int, int]:
    """Updates done and left out before."""
    if not places.checkpoint.exists():
        return 0, 0
    state = safetensors.torch.load_file(places.checkpoint)
    done, skipped = state.pop("loop").tolist()
    trainee.restore(state)
    return done, skipped


def _keep(trainee: Trainee, places: Places, done: int, skipped: int) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trainee.state().items()}
    state["loop"] = torch.tensor([done, skipped])
    write_atomically(str(places.checkpoint), safetensors.torch.save(state))


def _write_sheet(path: Path, sheet: Tensor) -> None:
    pixels = (sheet.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    write_atomically(str(path), encode_picture(Picture(pixels), "png"))


class _Log:
    """Lines of JSON: the means of the losses since the line before."""

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        # What was written after the checkpoint is done again.
        kept = [line for line in lines if done and json.loads(line)["step"] <= done]
        write_atomically(str(path), "".join(f"{line}\n" for line in kept).encode())
        self._clear()

    def _clear(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)
        self._since = time.perf_counter()
        self._updates = 0

    def add(self, losses: Mapping[str, float]) -> None:
        self._updates += 1
        for name, value in losses.items():
            self._values[name].append(value)

    def write(self, done: int, skipped: int) -> None:
        seconds = (time.perf_counter() - self._since) / self._updates
        means = {name: float(f"{math.fsum(values) / len(values):.5g}") for name, values in self._values.items()}
        line = {"step": done, **means, "skipped": skipped, "seconds": round(seconds, 3)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._clear()


@contextmanager
def numbers_of(seed: int, number: int) -> Iterator[None]:
    """Torch's global random numbers as they are for this update of this seed, within the body."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        yield
