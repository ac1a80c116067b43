"""What a mistake on the command line is called, and the nearest right words: one line each."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from quantart_cli.cli.console import write_line
from quantart_cli.cli.defaults import with_places
from quantart_cli.errors import suggest
from quantart_cli.files import printable
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.registry import methods
from quantart_cli.settings import Settings, rule_of

_ALIKE = 0.72  # share of letters that two words must have in common, in order, for one to be a misspelling of the other
_FEW = 3
_EXAMPLES = {"PIXELS": ("pixels, one number", "512"), "N": ("a whole number", "3"), "X": ("a number", "0.5")}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The word that this is probably a misspelling of; None: it is like none."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=_ALIKE)
    return found[0] if found else None


def unknown_command(args: list[str], known: list[str]) -> str:
    """What to say of ``quantart ARGS`` where the first is not a command."""
    given = args[0]
    if os.path.exists(given) or re.search(r"\.\w{3,4}$", given):
        first = next(iter(methods().values())).command_name
        return f"{printable(given)} is not a command: did you mean quantart {first} {printable(given)} …?"
    near = nearest(given, known)
    guess = f"did you mean {near}?" if near else f"use one of {', '.join(known)}"
    return f"{printable(given)} is not a command: {guess}"


def is_help(error: Any) -> bool:
    """Whether the error is the help, which a command without arguments shows; prints what is not printed yet."""
    if type(error).__name__ != "NoArgsIsHelpError":
        return False
    if text := error.format_message().strip():
        write_line(text)
    return True


def message(error: Any) -> str:
    """One line about an error of click's parser."""
    name = type(error).__name__
    if name == "NoSuchOption":
        return _unknown_option(error.option_name, error.ctx)
    parameter = getattr(error, "param", None)
    if name == "MissingParameter" and parameter is not None:
        # -o was forgotten before the last picture, which was taken for a style.
        last = (error.ctx.params.get("styles") or [""])[-1] if _name(parameter) == "--output" else ""
        is_new = last.lower().endswith(tuple(SUFFIXES)) and not os.path.lexists(last)
        guess = f": give -o before {printable(last)}" if is_new else ""
        return f"{_name(parameter)} is missing{guess}. {_usage(error.ctx)}"
    if name == "BadParameter" and parameter is not None:
        return _bad_value(error, parameter)
    text = " ".join(error.format_message().split())
    if name == "BadOptionUsage":
        takes = "a value: write it after" if "requires" in text else "no value: write nothing after"
        return f"{error.option_name} takes {takes} {error.option_name}"
    if name != "UsageError" or error.ctx is None:
        return text
    if unknown := re.fullmatch(r"No such command '(.*?)'\..*", text):
        return f"{printable(unknown[1])} is not a command: {suggest(unknown[1], error.ctx.command.commands)}"
    for method in methods().values():
        if method.command_name == error.ctx.command.name and not method.needs_style and "extra argument" in text:
            own = f"its styles are in its weights, see quantart {method.command_name} --help"
            return f"{method.command_name} takes one picture and no pictures of styles: {own}"
    if extra := re.fullmatch(r"Got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)\.?", text):
        flags = [flag for each in error.ctx.command.params for flag in each.opts if flag == f"--{extra[1]}"]
        guess = f": did you mean {flags[0]}?" if flags else f". {_usage(error.ctx)}"
        return f"{printable(extra[1])}: more than {error.ctx.command_path} takes{guess}"
    return f"{text.rstrip('.')}. {_usage(error.ctx)}"


def _unknown_option(option: str, ctx: Any) -> str:
    typed, command = _typed(ctx), ctx.command.name
    subject, see = command, f"see {ctx.command_path} --help"
    if typed is not ctx.command:
        subject = f"the picture was painted by {command}, which"
        see = f"{subject.removesuffix(' which')} see quantart {command} --help"
    owners = [
        method.command_name
        for method in methods().values()
        if method.command_name != command and option in _flags(method.settings)
    ]
    if owners:
        here = next((method for method in methods().values() if method.command_name == command), None)
        own = [] if here is None else [f"--{item.name.replace('_', '-')}" for item in fields(here.settings)]
        has = f"{subject} has {', '.join(own)}" if 0 < len(own) <= _FEW else see
        return f"{option} is an option of {_listed(owners)}; {has}"
    known = [flag for each in (typed, ctx.command) for parameter in each.params for flag in parameter.opts]
    near = nearest(option.lstrip("-"), [flag[2:] for flag in known if flag.startswith("--")])
    guess = f"did you mean --{near}?" if near else see
    return f"{printable(option)} is not an option of {ctx.info_name}: {guess}"


def _typed(ctx: Any) -> Any:
    """The command that was typed. For repaint, the context is that of the method's command."""
    commands = getattr(getattr(ctx.parent, "command", None), "commands", {})
    return commands.get(ctx.info_name, ctx.command)


def _flags(settings: type[Settings]) -> set[str]:
    """All flags of the settings of a method."""
    names = [name for item in fields(settings) for name in (item.name, *rule_of(item).aliases)]
    return {f"--{name.replace('_', '-')}" for name in names}


def _bad_value(error: Any, parameter: Any) -> str:
    """Of a value that is not of the type of its parameter."""
    given = re.search(r"'([^']*)'", error.message)
    value = given[1] if given else error.__cause__.errors()[0]["input"] if hasattr(error.__cause__, "errors") else None
    shown = "" if value is None else f", not '{printable(value)}'"
    metavar = parameter.metavar or ""
    unknown = "true or false" if getattr(parameter, "is_flag", False) else "a value"
    other = f"a number in {metavar}" if ".." in metavar else metavar or unknown
    wanted, example = _EXAMPLES.get(metavar, (other, ""))
    said = f"{_name(parameter)} takes {wanted}{f': {example}' if example else ''}{shown}"
    return with_places(said, error.ctx) if error.ctx is not None else said


def _name(parameter: Any) -> str:
    """The flag of an option, the name of an argument."""
    long = [flag for flag in parameter.opts if flag.startswith("--")]
    return long[0] if long else str(parameter.metavar or parameter.name).upper()


def _usage(ctx: Any) -> str:
    """The usage line: ``Usage: quantart stylize [OPTIONS] CONTENT STYLE...``"""
    return " ".join(ctx.get_usage().split()) if ctx is not None else ""


def _listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
