"""What the commands of ``quantart train`` share: their parameters, how they are stopped, and what they tell."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli.cli.console import INTERRUPTED, TERMINATED, progress_bar, say
from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import FolderOptions

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.engine.machine import Machine
    from quantart_cli.nets.autoencoder import ArtCodebook
    from quantart_cli.training.folders import Report


def _folder(metavar: str, help: str) -> tuple[Any, Any]:
    return Annotated[str, typer.Argument(metavar=metavar, help=f"{help}, searched with its subfolders.")], ...


ART = _folder("ART_FOLDER", "Pictures of artworks")
PHOTOS = _folder("PHOTO_FOLDER", "Photographs")
OUTPUT: tuple[Any, Any] = (
    Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
    ...,
)
OWN: dict[str, tuple[Any, Any]] = {
    "restart": (
        Annotated[bool, typer.Option("--restart", help="Forget an unfinished training and begin anew.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")], False),
}


def target_of(values: dict[str, Any]) -> Path:
    """The file to write; QuantArtError where it cannot be."""
    target = Path(values["output"])
    if target.suffix != ".safetensors":
        raise QuantArtError(f"{target} must end in .safetensors, the only format written")
    if not target.parent.is_dir():
        raise QuantArtError(f"folder {target.parent} does not exist: make it first")
    return target


def machine_of(values: dict[str, Any]) -> Machine:
    """Where it learns; QuantArtError for fp16."""
    from quantart_cli.engine.allocator import keep_memory
    from quantart_cli.engine.device import choose

    machine = choose(values["device"], values["precision"])
    if machine.precision == "fp16":
        raise QuantArtError("gradients do not fit into fp16: train with --precision bf16 or fp32")
    keep_memory()
    return machine


def codebook_of(file: ModelFile) -> ArtCodebook:
    """A codebook, float32, and its decoder if the file has one."""
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.nets.autoencoder import ArtCodebook

    return fill_strictly(ArtCodebook.like, open_tensors(file.path), file.name)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int | None]]:
    """Ctrl-C and SIGTERM are noted, and told by a call, so that an update is done before one leaves; the second time
    they interrupt at once."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(TERMINATED)
        asked.append(number)
        say("quantart: stopping after this update; once more stops at once, and keeps the last checkpoint")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked[0] if asked else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell(
    values: dict[str, Any],
    target: Path,
    options: FolderOptions,
    names: tuple[str, ...],
    train: Callable[..., Report],
) -> int:
    """Train, and tell people how it goes and what came of it; returns the exit status.

    Args:
        names: losses that are shown on the way.
        train: takes ``restart``, ``stop`` and ``progress``.
    """
    from quantart_cli.training.loop import Stopped

    start = time.perf_counter()
    quiet = values["quiet"]
    try:
        with asked_to_stop() as asked, progress_bar("pictures", quiet) as bar:

            def progress(stage: str, done: int, total: int, losses: dict[str, float]) -> None:
                words = "  ".join(f"{name} {losses[name]:.3g}" for name in names if name in losses)
                bar(done, total, words, stage=stage)

            report = train(restart=values["restart"], stop=lambda: asked() is not None, progress=progress)
    except Stopped as stopped:
        say(f"quantart: stopped after {stopped.done} updates; the same command goes on from {target}.partial")
        return TERMINATED if asked() == signal.SIGTERM else INTERRUPTED
    if not quiet:
        for line in report.unreadable:
            say(line)
        seen = " and ".join(f"{count} {name}" for name, count in report.pictures.items())
        seconds = time.perf_counter() - start
        say(
            f"{target}: {report.updates} updates on {seen}, {report.skipped} left out as not finite, in {seconds:.0f} s"
        )
    if values["json"]:
        print(json.dumps({"output": str(target), "options": asdict(options), "report": asdict(report)}))
    return 0
