"""The loop of every training by gradients: checkpoints, log, preview sheets and the guard against non-finite values.

All random numbers of an update depend on the seed and the update's number only, and a checkpoint holds the whole state.
So a resumed training reaches the same weights as one that was never stopped.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import PIL.Image
import safetensors.torch
import torch
from torch import Tensor
from torchvision.utils import make_grid

from quantart_cli.errors import QuantArtError
from quantart_cli.files import reason, write_atomically
from quantart_cli.training.optimizer import below, prefixed
from quantart_cli.training.options import GradientOptions

# A training is given up after this many updates in a row without finite losses and gradients.
_PATIENCE = 20


class NotFinite(ArithmeticError):
    """A loss or a gradient is not finite. The update was skipped and changed nothing."""


class TrainingStopped(KeyboardInterrupt):
    """A training was asked to stop. Its checkpoint holds ``done`` updates."""

    def __init__(self, done: int) -> None:
        super().__init__(f"stopped after {done} updates")
        self.done = done


class Part(Protocol):
    """A part of a training with a state to save: an optimizer, an adversary, a codebook."""

    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...


class Trainable:
    """What is trained.

    Attributes:
        parts: everything with a state, by name.
    """

    parts: dict[str, Part]

    def update(self, number: int) -> dict[str, float]:
        """Run update ``number``, counted from 0, and return its losses by name.

        Raises:
            NotFinite: a loss or a gradient is not finite; nothing has changed.
        """
        raise NotImplementedError

    def sheet(self) -> list[list[Tensor]]:
        """The rows of a preview sheet, pictures (3, H, W) in about [0, 1] of one size."""
        raise NotImplementedError

    def model(self) -> Mapping[str, Tensor]:
        """The tensors of the model file."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """The state of all parts."""
        return {key: value for name, part in self.parts.items() for key, value in prefixed(name, part.state()).items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`state` returned."""
        for name, part in self.parts.items():
            part.load_state(below(name, state))


def backward(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Backpropagate the sum of losses. Returns their values."""
    each = torch.stack(list(losses.values()))
    each.sum().backward()
    return dict(zip(losses, each.tolist(), strict=True))


def check_finite(losses: Mapping[str, float]) -> None:
    """Raise NotFinite unless all values are finite."""
    if not all(math.isfinite(value) for value in losses.values()):
        raise NotFinite(", ".join(f"{name} {value:g}" for name, value in losses.items()))


class TrainingFiles:
    """The files of a training of ``target``.

    ``TARGET.partial/`` holds the checkpoint and is removed when the training is complete. ``TARGET.training/`` holds
    the log and the preview sheets, which stay.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial = target.with_name(target.name + ".partial")
        self.results = target.with_name(target.name + ".training")
        self.checkpoint = self.partial / "checkpoint.safetensors"
        self.log = self.results / "log.jsonl"

    def open(self, identity: Mapping[str, Any], restart: bool, results: bool = True) -> None:
        """Make the folders, and check that an unfinished training in them is the same one.

        Args:
            identity: what must be equal to resume, as JSON.
            restart: delete an unfinished training first.
            results: whether to make ``TARGET.training/``.

        Raises:
            QuantArtError: another training is unfinished, or the folders cannot be made.
        """
        if restart:
            shutil.rmtree(self.partial, ignore_errors=True)
        try:
            self.partial.mkdir(exist_ok=True)
            if results:
                self.results.mkdir(exist_ok=True)
        except OSError as error:
            raise QuantArtError(f"{self.partial} cannot be made: {reason(error)}") from None
        saved = self.partial / "training.json"
        if not saved.exists():
            write_atomically(str(saved), json.dumps(identity, indent=1).encode())
            return
        before = json.loads(saved.read_text())
        changed = [name for name in {**before, **identity} if before.get(name) != identity.get(name)]
        if changed:
            raise QuantArtError(
                f"{self.partial} holds an unfinished training with another {', '.join(changed)}: "
                "use the same as before, or restart"
            )


def run(
    trainable: Trainable,
    files: TrainingFiles,
    options: GradientOptions,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
    deadline: float = math.inf,
) -> tuple[int, int]:
    """Train for ``options.steps`` updates, from the checkpoint if there is one.

    Args:
        trainable: in its first state.
        stop: called after every update; when it returns True the training is saved and stopped.
        progress: called with (updates done, updates in all, losses).
        deadline: of :func:`time.monotonic`; the training is saved and ends there.

    Returns:
        How many updates are done, and how many of them were skipped because they were not finite.

    Raises:
        TrainingStopped: ``stop`` returned True; the last update is in the checkpoint.
        QuantArtError: no update is finite any more, or the disk is full.
    """
    done, skipped = _resume(trainable, files)
    in_a_row = 0
    log = _Log(files.log, done)
    saved = time.monotonic()
    while done < options.steps and (time.monotonic() < deadline or not done):
        try:
            losses = trainable.update(done)
            in_a_row = 0
        except NotFinite as error:
            losses, skipped, in_a_row = {}, skipped + 1, in_a_row + 1
            if in_a_row == _PATIENCE:
                raise QuantArtError(
                    f"{_PATIENCE} updates in a row were not finite ({error}): use a lower rate or precision fp32; "
                    f"the last checkpoint is in {files.partial}"
                ) from error
        done += 1
        log.add(losses)
        progress(done, options.steps, losses)
        asked, now = stop(), time.monotonic()
        last = asked or done == options.steps or now >= deadline
        if done % options.log_every == 0:
            log.write(done, skipped)
        if done % options.sheet_every == 0 or done == options.steps or now >= deadline:
            _write_sheet(files.results / f"{done:06}.png", trainable)
        due = options.checkpoint_seconds and now - saved >= options.checkpoint_seconds
        if done % options.checkpoint_every == 0 or last or due:
            _save(trainable, files, done, skipped)
            saved = now
        if asked and done < options.steps:
            raise TrainingStopped(done)
    return done, skipped


def _resume(trainable: Trainable, files: TrainingFiles) -> tuple[int, int]:
    """Load the checkpoint. Returns updates done and skipped."""
    if not files.checkpoint.exists():
        return 0, 0
    state = safetensors.torch.load_file(files.checkpoint)
    done, skipped = state.pop("loop").tolist()
    trainable.load_state(state)
    return done, skipped


def _save(trainable: Trainable, files: TrainingFiles, done: int, skipped: int) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trainable.state().items()}
    state["loop"] = torch.tensor([done, skipped])
    write_atomically(str(files.checkpoint), safetensors.torch.save(state))


@torch.no_grad()
def _write_sheet(path: Path, trainable: Trainable) -> None:
    rows = trainable.sheet()
    pictures = [picture.cpu().clamp(0, 1) for row in rows for picture in row]
    sheet = make_grid(pictures, nrow=len(rows[0]), padding=4, pad_value=1.0)
    pixels = (sheet * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    data = io.BytesIO()
    PIL.Image.fromarray(pixels).save(data, "png")
    write_atomically(str(path), data.getvalue())


class _Log:
    """Lines of JSON: the means of the losses since the previous line."""

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        # Updates after the checkpoint are run again.
        valid = [line for line in lines if done and json.loads(line)["step"] <= done]
        write_atomically(str(path), "".join(f"{line}\n" for line in valid).encode())
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
def random_numbers(seed: int, number: int) -> Iterator[None]:
    """Seed torch's global CPU generator for one update; the previous state returns after the block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        yield
