"""Parameters that the commands of ``quantart train`` share, and how they run a training and report it."""

from __future__ import annotations

import inspect
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from quantart_cli.cli.command import parameters_of, parameters_of_settings, with_parameters
from quantart_cli.cli.console import INTERRUPTED, TERMINATED, progress_bar, say, write_json
from quantart_cli.cli.options import DeviceOptions, option
from quantart_cli.cli.startup import keep_memory
from quantart_cli.errors import QuantArtError, counted
from quantart_cli.training.options import GradientOptions, TrainingOptions

if TYPE_CHECKING:
    from quantart_cli.device import DeviceSpec
    from quantart_cli.training.folders import Training

_RESUME = "Interrupted, the same command resumes. A log and preview sheets are written to FILE.training/."
Options = TypeVar("Options", bound=TrainingOptions)


def _argument(metavar: str, help: str) -> Any:
    return typer.Argument(metavar=metavar, help=help, show_default=False)


@dataclass(frozen=True, kw_only=True)
class Request(DeviceOptions, Generic[Options]):
    """The parameters of the commands of ``quantart train``. Those that a command does not take keep their defaults.

    Attributes:
        unset: names of options that were not given, of those whose default depends on the device.
    """

    options: Options
    unset: tuple[str, ...] = ()
    photos: Annotated[str | None, _argument("PHOTO_FOLDER", "Photographs; subfolders are searched.")] = None
    art: Annotated[str | None, _argument("ART_FOLDER", "Pictures of artworks; subfolders are searched.")] = None
    folders: Annotated[list[str], _argument("FOLDER", "Two or three folders.")] = field(default_factory=list)
    styles: Annotated[list[str], _argument("STYLE", "Pictures of styles.")] = field(default_factory=list)
    detail_paintings: Annotated[str | None, option("FOLDER", "Large pictures of paintings, brush strokes visible.")] = (
        None
    )
    shards: Annotated[str | None, option("FOLDER", "Shards of train pack, instead of the folders.")] = None
    model: Annotated[str | None, option("MODEL", "The model to start from.")] = None
    download: Annotated[bool, option(None, "Download LPIPS if it is wanted and not installed.")] = False
    output: Annotated[str, option("FILE", "Where to write.", "--output", "-o")]
    restart: Annotated[bool, option(None, "Delete an unfinished training and start again.")] = False

    def target(self) -> Path:
        """The model file to write; QuantArtError if it cannot be written."""
        target = Path(self.output)
        if target.suffix != ".safetensors":
            raise QuantArtError(f"{target} must end in .safetensors, the only format written")
        if not target.parent.is_dir():
            raise QuantArtError(f"folder {target.parent} does not exist: make it first")
        return target

    def machine(self, trains: bool = True) -> DeviceSpec:
        """The device and precision; QuantArtError for gradients in fp16. Checks the target first."""
        self.target()
        from quantart_cli.device import choose_device

        machine = choose_device(self.device, self.precision)
        if trains and machine.precision == "fp16":
            raise QuantArtError("gradients do not fit into fp16: train with --precision bf16 or fp32")
        if trains:
            keep_memory()
        if trains and machine.device_type == "cuda":
            import torch

            torch.backends.cudnn.benchmark = True  # all crops have one size
        return machine

    def both(self) -> dict[str, Path]:
        """The folders of photographs and of paintings."""
        return {"photographs": Path(self.photos or ""), "paintings": Path(self.art or "")}


def add_training(
    group: typer.Typer,
    name: str,
    options: type[Options],
    run: Callable[[Request[Options]], int],
    *required: str,
    optional: Collection[str] = (),
    model: str = "",
    unset: Collection[str] = (),
) -> None:
    """Add a command to a group.

    Args:
        options: dataclass whose fields become options.
        run: the command; its docstring is the help.
        required: its own parameters that must be given, fields of :class:`Request`.
        optional: its own parameters that may be given.
        model: help of ``--model``, which this command takes.
        unset: options that are None unless given; see :attr:`Request.unset`.
    """
    shared = {item.name for item in fields(DeviceOptions)} | {"output", "restart"}
    every = parameters_of(Request)
    if model:
        every["model"] = Annotated[str if "model" in required else str | None, option("MODEL", model)], None
    taken = {*optional, "model"} if model else set(optional)
    parameters = {key: every[key] for key in every if key in taken}
    parameters |= {key: (every[key][0], inspect.Parameter.empty) for key in required}
    own = parameters_of_settings(options)
    for key in unset:
        own[key] = Annotated[int | None, own[key][0].__metadata__[0]], None

    def command(values: dict[str, Any], ctx: typer.Context) -> int:
        given = {item.name: values.pop(item.name) for item in fields(options)}
        missing = tuple(key for key in unset if given[key] is None)
        chosen = options.of({key: value for key, value in given.items() if key not in missing})
        return run(Request(options=chosen, unset=missing, **values))

    text = inspect.cleandoc(run.__doc__ or "")
    start, example = text.rsplit("\n\n", 1)
    if issubclass(options, GradientOptions):
        start = f"{start} {_RESUME}"
    text = "\n\n".join([start, example, f"{example} --restart", f"{example} --quiet --json"])
    common = {key: each for key, each in every.items() if key in shared}
    group.command(name)(with_parameters(command, text, {**parameters, **own, **common}))


def run_training(
    request: Request[Any], options: Any, training: Training, folders: Mapping[str, Path], losses: tuple[str, ...]
) -> int:
    """Run a training, show its progress with some of its losses, and report it. Returns the exit status."""
    from quantart_cli.training.folders import RunControl, train
    from quantart_cli.training.loop import TrainingStopped

    target, start = request.target(), time.perf_counter()
    try:
        with stop_signals() as received, progress_bar("pictures", request.quiet) as bar:

            def progress(stage: str, done: int, total: int, values: dict[str, float]) -> None:
                text = "  ".join(f"{name} {values[name]:.3g}" for name in losses if name in values)
                bar(done, total, text, stage=stage)

            control = RunControl(request.restart, lambda: received() is not None, progress)
            report = train(training, folders, target, options, control)
    except TrainingStopped as stopped:
        say(
            f"quantart: stopped after {counted(stopped.done, 'update')}; the same command resumes from {target}.partial"
        )
        return TERMINATED if received() == signal.SIGTERM else INTERRUPTED
    seen = " and ".join(counted(count, name.removesuffix("s")) for name, count in report.pictures.items())
    updates, seconds = counted(report.updates, "update"), time.perf_counter() - start
    lines = [
        *report.unreadable,
        f"{target}: {updates} on {seen}, {report.skipped} skipped as not finite, in {seconds:.0f} s",
    ]
    if not report.complete:
        left = counted(options.steps - report.updates, "update")
        lines.append(f"{left} left: the same command resumes from {target}.partial")
    return finish(request, options, target, report, lines)


def finish(request: Request[Any], options: TrainingOptions, target: Path, report: Any, lines: list[str]) -> int:
    """Print the lines, and with --json one object. Returns the exit status."""
    if not request.quiet:
        for line in lines:
            say(line)
    if request.json:
        write_json({"output": str(target), "options": asdict(options), "report": asdict(report)})
    return 0


@contextmanager
def stop_signals() -> Iterator[Callable[[], int | None]]:
    """Record Ctrl-C and SIGTERM, so that the update can be completed; the second one interrupts at once.

    Yields:
        a function that returns the signal received, or None.
    """
    received: list[int] = []

    def record(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(TERMINATED)
        received.append(number)
        say("quantart: stopping after this update; once more stops at once, and keeps the last checkpoint")

    before = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
