"""Parameters that the commands of ``quantart train`` share, and how they run a training and report it."""

from __future__ import annotations

import inspect
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from quantart_cli.cli.command import Parameters, parameters_of, parameters_of_settings, with_parameters
from quantart_cli.cli.console import INTERRUPTED, TERMINATED, progress_bar, say, write_json
from quantart_cli.cli.options import DeviceOptions
from quantart_cli.cli.startup import keep_memory
from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import GradientOptions, TrainingOptions

if TYPE_CHECKING:
    from quantart_cli.device import DeviceSpec
    from quantart_cli.training.folders import Training

_RESUME = "Interrupted, the same command resumes. A log and preview sheets are written to FILE.training/."
Options = TypeVar("Options", bound=TrainingOptions)


def _folder(name: str, metavar: str, help: str, default: Any = ...) -> Parameters:
    value_type: Any = str if default is ... else str | None
    argument = typer.Argument(metavar=metavar, help=f"{help}; subfolders are searched.", show_default=False)
    return {name: (Annotated[value_type, argument], default)}


def _option(name: str, value_type: Any, metavar: str | None, help: str, default: Any = None) -> Parameters:
    flags = [f"--{name.replace('_', '-')}"]
    return {name: (Annotated[value_type, typer.Option(*flags, metavar=metavar, help=help)], default)}


PHOTOS = _folder("photos", "PHOTO_FOLDER", "Photographs")
ART = _folder("art", "ART_FOLDER", "Pictures of artworks")
OPTIONAL_PHOTOS = _folder("photos", "PHOTO_FOLDER", "Photographs", None)
OPTIONAL_ART = _folder("art", "ART_FOLDER", "Pictures of artworks", None)
FOLDERS: Parameters = {
    "folders": (Annotated[list[str], typer.Argument(metavar="FOLDER", help="Two or three folders.")], ...)
}
STYLES: Parameters = {
    "styles": (Annotated[list[str], typer.Argument(metavar="STYLE", help="Pictures of styles.")], ...)
}
DETAILS = _option("detail_paintings", str | None, "FOLDER", "Large pictures of paintings, brush strokes visible.")
SHARDS = _option("shards", str | None, "FOLDER", "Shards of train pack, instead of the folders.")
DOWNLOAD = _option("download", bool, None, "Download LPIPS if it is wanted and not installed.", False)
_SHARED: Parameters = {
    "output": (Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")], ...),
    **_option("restart", bool, None, "Delete an unfinished training and start again.", False),
    **parameters_of(DeviceOptions),
}


def model_option(help: str, required: bool = False) -> Parameters:
    return _option("model", str if required else str | None, "MODEL", help, ... if required else None)


@dataclass(frozen=True)
class Request(Generic[Options]):
    """The parameters of a command of ``quantart train``; those it does not have keep their defaults."""

    options: Options
    unset: tuple[str, ...]
    """Names of options that were not given, of those whose default depends on the device."""
    output: str
    restart: bool
    quiet: bool
    json: bool
    device: str
    precision: str
    photos: str | None = None
    art: str | None = None
    folders: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    detail_paintings: str | None = None
    shards: str | None = None
    model: str | None = None
    download: bool = False

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
    parameters: Parameters,
    run: Callable[[Request[Options]], int],
    unset: tuple[str, ...] = (),
) -> None:
    """Add a command to a group.

    Args:
        name: of the command.
        options: dataclass whose fields become options.
        parameters: its own arguments and options, by names of :class:`Request`.
        run: the command; its docstring is the help.
        unset: options that are None unless given; see :attr:`Request.unset`.
    """
    own = parameters_of_settings(options)
    for option in unset:
        annotation, _ = own[option]
        own[option] = Annotated[int | None, annotation.__metadata__[0]], None

    def command(values: dict[str, Any]) -> int:
        names = [item.name for item in fields(options)]
        given = {key: values.pop(key) for key in names}
        missing = tuple(key for key in unset if given[key] is None)
        for key in values.keys() & {"folders", "styles"}:
            values[key] = tuple(values[key])
        chosen = options.of({key: value for key, value in given.items() if key not in missing})
        return run(Request(chosen, missing, **values))

    text = inspect.cleandoc(run.__doc__ or "")
    start, example = text.rsplit("\n\n", 1)
    if issubclass(options, GradientOptions):
        start = f"{start} {_RESUME}"
    text = "\n\n".join([start, example, f"{example} --restart", f"{example} --quiet --json"])
    group.command(name)(with_parameters(command, text, {**parameters, **own, **_SHARED}))


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
        say(f"quantart: stopped after {stopped.done} updates; the same command resumes from {target}.partial")
        return TERMINATED if received() == signal.SIGTERM else INTERRUPTED
    seen = " and ".join(f"{count} {name}" for name, count in report.pictures.items())
    seconds = time.perf_counter() - start
    lines = [
        *report.unreadable,
        f"{target}: {report.updates} updates on {seen}, {report.skipped} skipped as not finite, in {seconds:.0f} s",
    ]
    if not report.complete:
        lines.append(
            f"{options.steps - report.updates} updates are left: the same command resumes from {target}.partial"
        )
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
