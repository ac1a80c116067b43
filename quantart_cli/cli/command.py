"""Commands whose options are a dataclass: its fields are the parameters, its docstring is the help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from quantart_cli.cli.options import with_parameters
from quantart_cli.engine.choices import DEVICES, PRECISIONS
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.systems import System, SystemSpec, load_systems

Options = TypeVar("Options")


def option(help: str, *flags: str, metavar: str | None = None) -> Any:
    """A Typer option for an annotation; a None metavar shows the type."""
    return typer.Option(*flags, help=help, metavar=metavar)


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Options of commands that run networks and print a report."""

    model: Annotated[
        str | None, option("Other weights for methods that take them and name none of their own.", metavar="MODEL")
    ] = None
    download: Annotated[bool, option("Download what is needed and not here yet.", "--download")] = False
    device: Annotated[str, option("Where to compute.", metavar="|".join(DEVICES))] = DEVICES[0]
    precision: Annotated[
        str, option("auto is bf16 where the hardware has it, else fp32.", metavar="|".join(PRECISIONS))
    ] = PRECISIONS[0]
    seed: Annotated[int, option("Seed of all random numbers.", metavar="N")] = 0
    json: Annotated[bool, option("Print one JSON object about the run on stdout.", "--json")] = False
    quiet: Annotated[bool, option("Print errors and the result only.", "--quiet")] = False


def add_command(app: typer.Typer, name: str, options: type[Options], run: Callable[[Options], int | None]) -> None:
    """Add a command that calls ``run`` with the options."""
    hints = get_type_hints(options, include_extras=True)
    parameters: dict[str, tuple[Any, Any]] = {}
    for field in fields(options):  # type: ignore[arg-type]
        default = field.default if field.default is not MISSING else inspect.Parameter.empty
        if field.default_factory is not MISSING:
            default = field.default_factory()
        parameters[field.name] = hints[field.name], default
    app.command(name)(with_parameters(lambda values: run(options(**values)), options.__doc__ or "", parameters))


def load(specs: Sequence[SystemSpec], options: DeviceOptions, model: str | None = None) -> list[System]:
    """Load the compared methods; errors as in :func:`quantart_cli.evaluation.systems.load_systems`."""
    return load_systems(
        specs,
        model=model,
        device=options.device,
        precision=options.precision,
        download=options.download,
        seed=options.seed,
    )


def check_range(name: str, value: int | float, low: float, high: float | None = None) -> None:
    """Raises QuantArtError unless low <= value <= high."""
    if high is not None and not low <= value <= high:
        raise QuantArtError(f"--{name} must be between {low:g} and {high:g}, not {value:g}")
    if value < low:
        raise QuantArtError(f"--{name} must be at least {low:g}, not {value:g}")
