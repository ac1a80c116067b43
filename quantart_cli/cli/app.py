"""The Typer application. Commands are imported when they are used; those that paint come from the registry."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from quantart_cli import __version__
from quantart_cli.cli.console import USER_ERROR, say, write_line
from quantart_cli.cli.defaults import Defaults
from quantart_cli.errors import QuantArtError
from quantart_cli.registry import Method, methods

# Typer keeps click inside itself in newer versions and beside itself in older ones; this reaches its classes in both.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]


@dataclass(frozen=True)
class _Command:
    """A command that is not a method: ``register`` of its module adds it, or it is the function ``run``.

    Attributes:
        module: in quantart_cli/cli/.
        summary: one line of the list of commands.
    """

    module: str
    summary: str
    panel: str


_PAINT, _MANY, _MODELS, _ABOUT = "Paint a picture", "Paint and measure many", "Models", "About this installation"
_COMMANDS = {
    "ui": _Command("ui", "Paint in the browser, with sliders and a preview.", _PAINT),
    "repaint": _Command("repaint", "Paint again by the recipe in a picture, with changes.", _PAINT),
    "batch": _Command("batch", "Paint many pictures: folders, globs, a list.", _MANY),
    "video": _Command("video", "Paint films, GIFs and folders of frames, without flicker.", _MANY),
    "compare": _Command("compare", "Lay methods and settings side by side in one picture.", _MANY),
    "evaluate": _Command("evaluate", "Measure methods: style, content, distance to real artworks.", _MANY),
    "study": _Command("study", "Make a blind study as one HTML file, and score its votes.", _MANY),
    "download-weights": _Command("download_weights", "List, download and verify weights.", _MODELS),
    "convert": _Command("convert", "Convert a checkpoint to safetensors, without running code in it.", _MODELS),
    "train": _Command("train", "Train models of your own.", _MODELS),
    "styles": _Command("styles", "List the styles that come along, for example @ink-wash.", _ABOUT),
    "methods": _Command("methods", "Show the methods: papers, uses, weights.", _ABOUT),
    "info": _Command("info", "Show versions, device, precision, weights and cache.", _ABOUT),
    "config": _Command("config", "Show your own defaults, and where they are from.", _ABOUT),
    "cache": _Command("cache", "Show or clear the cache.", _ABOUT),
}


class _Commands(MutableMapping[str, Any]):
    """Click commands by name, made when they are asked for."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, Method | None], Any] = {}

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*(method.command_name for method in methods().values()), *_COMMANDS])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> Any:
        method = _method(name)
        if method is None and name not in _COMMANDS:
            raise KeyError(name)
        if (name, method) not in self._made:
            self._made[name, method] = _make(name, method)
        return self._made[name, method]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name, _method(name)] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name, _method(name)]


def _method(command: str) -> Method | None:
    """The method that a command paints with; None: it is not such a command. A built-in command is never replaced."""
    if command in _COMMANDS:
        return None
    return next((method for method in methods().values() if method.command_name == command), None)


def _make(name: str, method: Method | None) -> Any:
    group = typer.Typer(callback=lambda: None, context_settings=_CONTEXT, rich_markup_mode="rich")
    if method is None:
        module = import_module(f"quantart_cli.cli.{_COMMANDS[name].module}")
        if hasattr(module, "register"):
            module.register(group)
        else:
            from quantart_cli.cli.command import add_command

            add_command(group, name, get_type_hints(module.run)["options"], module.run)
    else:
        from quantart_cli.cli.painting import register

        register(group, method)
    command = typer.main.get_group(group).commands[name]
    _prepare_help(command)
    return command


def _prepare_help(command: Any) -> None:
    """Join the lines of paragraphs, which are wrapped anew, and escape brackets, which rich takes for markup."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(_escaped(" ".join(part.split())) for part in paragraphs)
    for parameter in command.params:
        if getattr(parameter, "help", None):
            default = None if parameter.required else parameter.default
            if default not in (None, False, [], "") and parameter.show_default is True:  # Typer cuts long ones off
                parameter.help, parameter.show_default = f"{parameter.help} [default: {default}]", False
            parameter.help = _escaped(parameter.help)
    all_params, show = command.get_params, getattr(command.callback, "show_settings", None)

    def shown(ctx: Any) -> list[Any]:
        found = [_without_types(each) for each in all_params(ctx)]
        if show is not None:
            show(found, ctx.params.get("method"))
            for each in found:
                each.help = _escaped(each.help or "")
        return found

    command.get_params = shown
    for inner in getattr(command, "commands", {}).values():
        _prepare_help(inner)


def _without_types(parameter: Any) -> Any:
    """A parameter that the help shows without the types and brackets of Typer's parser: <list[str]>, {STYLE}..."""
    if parameter.param_type_name == "argument":
        name = f"{parameter.metavar or parameter.name.upper()}{'...' if parameter.nargs != 1 else ''}"
        parameter.display_type_rich = lambda ctx: None
        parameter._usage_display_name = lambda: name if parameter.required else f"[{name}]"
    elif parameter.is_flag:
        parameter.metavar = ""
    return parameter


def _escaped(text: str) -> str:
    return text.replace("[", "\\[") if "\\[" not in text else text


class _Group(TyperGroup):
    """The list of commands is shown without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": {}})
        self.commands = _Commands()
        self._for_help = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def get_params(self, ctx: Any) -> list[Any]:
        return [_without_types(each) for each in super().get_params(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._for_help:
            method = _method(cmd_name)
            summary = _COMMANDS[cmd_name].summary if method is None else method.summary
            panel = _COMMANDS[cmd_name].panel if method is None else _PAINT
            return TyperCommand(cmd_name, help=_escaped(summary), rich_help_panel=panel)
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._for_help = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._for_help = False

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            from quantart_cli.cli.mistakes import unknown_command

            raise QuantArtError(unknown_command(args, list(self.commands)))
        return super().resolve_command(ctx, args)


_CONTEXT = {"help_option_names": ["--help", "-h"]}
app = typer.Typer(
    name="quantart",
    cls=_Group,
    help="Neural style transfer that paints: a photograph, a painting, and how far towards real art to go.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=_CONTEXT,
)


def _version(wanted: bool) -> None:
    if wanted:
        write_line(f"quantart {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status. A mistake is one line on stderr and status 2."""
    try:
        words = sys.argv[1:] if arguments is None else arguments
        helps = not {"--help", "-h"}.isdisjoint(words)  # help is there also where the file is wrong
        defaults = {} if helps else Defaults(_Commands())
        status = app(arguments, prog_name="quantart", standalone_mode=False, default_map=defaults)
    except _ClickException as error:
        from quantart_cli.cli.mistakes import is_help, message

        if is_help(error):
            return 0
        say(f"quantart: {message(error)}")
        return USER_ERROR
    except QuantArtError as error:
        say(f"quantart: {error}")
        return USER_ERROR
    return status if isinstance(status, int) else 0
