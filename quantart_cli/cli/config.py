"""``quantart config``: which defaults hold, and where they are from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from quantart_cli.cli.console import write_json, write_line
from quantart_cli.cli.defaults import FOLDERS, Default, Defaults, config_path, configurable
from quantart_cli.cli.options import ReportOptions
from quantart_cli.errors import check_choice
from quantart_cli.files import printable


@dataclass(frozen=True, kw_only=True)
class ConfigOptions(ReportOptions):
    """Show the defaults of your own, and where each is from: the configuration file or the environment.

    With a command: all of its options. Lines can be copied into the file. The command line goes over the environment,
    and that over the file.

    quantart config

    quantart config stylize

    QUANTART_DEVICE=cpu quantart config --json
    """

    command: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND", help="Show all options of this command, or of train.painter.", show_default=False
        ),
    ] = None


def run(options: ConfigOptions) -> int:
    """Print the defaults; returns the exit status."""
    from quantart_cli.cli.app import app

    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    defaults = Defaults(groups)
    path = config_path()
    commands = dict(_commands(groups))
    names = list(commands)
    if options.command is not None:
        check_choice("command", options.command, names if "." in options.command else list(groups))
        names = [name for name in names if f"{name}.".startswith(f"{options.command}.")]
    for name in {each.partition(".")[0] for each in names}:
        defaults[name]  # raises for what is not known
    rows = {
        name: _all(commands[name], found) if options.command else found
        for name in names
        if (found := defaults.of(commands[name], name)) or options.command
    }
    folders = {
        key: Default(os.environ[variable], variable) for key, variable in FOLDERS.items() if os.environ.get(variable)
    }
    if options.json:
        shown = {
            name: {key: {"value": each.value, "source": each.source} for key, each in found.items()}
            for name, found in {**rows, "folders": folders}.items()
        }
        write_json({"file": str(path), "exists": path.exists(), "defaults": shown})
        return 0
    state = "" if path.exists() else " does not exist: write lines like these into it"
    lines = [f"# {path}{state}", *(_line(key, default) for key, default in folders.items())]
    for name, found in rows.items():
        lines += [f"[{name}]", *(_line(key, default) for key, default in found.items())]
    if not path.exists() and not rows:
        lines += ["size = 1600", "[stylize]", "fidelity = 0.8"]
    write_line("\n".join(map(printable, lines)))
    return 0


def _commands(commands: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All commands by the names of their tables in the file; those of a group as ``train.painter``."""
    for name, command in commands.items():
        if inner := getattr(command, "commands", None):
            yield from ((f"{name}.{key}", each) for key, each in inner.items())
        else:
            yield name, command


def _line(key: str, default: Default) -> str:
    """A line that can be copied into the file."""
    if default.value is None:
        return f"# {key} is not set"
    text = str(default.value)
    with suppress(ValueError):
        float(text)
        return f"{key} = {text}  # from {default.source}"
    quoted = text.lower() if isinstance(default.value, bool) else json.dumps(text, ensure_ascii=False)
    return f"{key} = {quoted}  # from {default.source}"


def _all(command: Any, found: dict[str, Default]) -> dict[str, Default]:
    """All options of a command, those of one's own among them."""
    built_in = {each.name: Default(each.default, "quantart") for each in command.params if configurable(each)}
    return {**built_in, **found}
