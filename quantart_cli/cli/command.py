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
_DEVICES, _PRECISIONS = "|".join(DEVICES), "|".join(PRECISIONS)


def option(metavar: str | None, help: str, *flags: str) -> Any:
    """A Typer option for an annotation; None is for flags without a value."""
    return typer.Option(*flags, help=help, metavar=metavar)


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Options of commands that run networks and print a report."""

    model: Annotated[str | None, option("MODEL", "Other weights for methods that take them and name none.")] = None
    download: Annotated[bool, option(None, "Download what is needed and not here yet.", "--download")] = False
    device: Annotated[str, option(_DEVICES, "Where to compute.")] = DEVICES[0]
    precision: Annotated[str, option(_PRECISIONS, "auto: bf16 where the hardware has it, else fp32.")] = PRECISIONS[0]
    seed: Annotated[int, option("N", "Seed of all random numbers.")] = 0
    json: Annotated[bool, option(None, "Print one JSON object about the run on stdout.", "--json")] = False
    quiet: Annotated[bool, option(None, "Print errors and the result only.", "--quiet")] = False


def add_command(app: typer.Typer, name: str, options: type[Options], run: Callable[[Options], int | None]) -> None:
    """Add a command that calls ``run`` with the options."""
    hints = get_type_hints(options, include_extras=True)
    parameters: dict[str, tuple[Any, Any]] = {}
    shared = DeviceOptions.__dataclass_fields__
    for each in sorted(fields(options), key=lambda each: each.name in shared):  # type: ignore[arg-type]
        default = each.default if each.default is not MISSING else inspect.Parameter.empty
        if each.default_factory is not MISSING:
            default = each.default_factory()
        parameters[each.name] = hints[each.name], default
    app.command(name)(with_parameters(lambda values: run(options(**values)), options.__doc__ or "", parameters))


def load(specs: Sequence[SystemSpec], options: DeviceOptions, model: str | None = None) -> list[System]:
    """Load the compared methods; errors as in :func:`quantart_cli.evaluation.systems.load_systems`."""
    machine = {"device": options.device, "precision": options.precision, "download": options.download}
    return load_systems(specs, model=model, seed=options.seed, **machine)


def check_range(name: str, value: int | float, low: float, high: float | None = None) -> None:
    """Raises QuantArtError unless low <= value <= high."""
    if high is not None and not low <= value <= high:
        raise QuantArtError(f"--{name} must be between {low:g} and {high:g}, not {value:g}")
    if value < low:
        raise QuantArtError(f"--{name} must be at least {low:g}, not {value:g}")
