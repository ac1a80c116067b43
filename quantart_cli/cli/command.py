"""Typer commands from dataclasses: fields are parameters, their annotations say how, the docstring is the help.

A field ``settings`` stands for the settings of a method, which are options like the others.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.models import ArgumentInfo

from quantart_cli.cli.defaults import is_own_default, with_places
from quantart_cli.cli.options import METHOD, OUTPUT, PICTURE, SPEED, STYLE, one_of
from quantart_cli.cli.startup import ended
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.settings import Rule, Settings, rule_of

Options = TypeVar("Options")
_LARGEST = 2**63 - 1  # of a whole number, also where no option says so
_WIDE = 20  # characters of a form of values; longer ones would be broken in 80 columns
Parameters = dict[str, tuple[Any, Any]]
"""Name -> annotation and default; ``inspect.Parameter.empty`` where it is required."""

# Order of the panels of the help, after the arguments and what is in none.
_PANELS = (None, PICTURE, STYLE, METHOD, OUTPUT, SPEED)


def add_command(
    app: typer.Typer,
    name: str,
    options: type[Options],
    run: Callable[[Options], int | None],
    *,
    settings: type[Settings] | Mapping[str, type[Settings]] | None = None,
    help: str | None = None,
) -> None:
    """Add a command that calls ``run`` with the options.

    Args:
        options: a dataclass; a classmethod ``adjust`` of it may change the values by name before it is constructed.
        run: returns the exit status.
        settings: of the method whose settings are the field ``settings``; of several methods by name, where the field
            is a dict of those that were given.
        help: default: the docstring of ``options``.
    """
    if isinstance(settings, Mapping):
        own = parameters_of_all(settings, taken=parameters_of(options))
    else:
        own = {} if settings is None else parameters_of_settings(settings)
    shared = parameters_of(options)
    if both := sorted(own.keys() & shared.keys()):
        raise QuantArtError(f"{name}: the setting {both[0]} has the name of an option: rename it")
    adjust = getattr(options, "adjust", lambda values: None)

    def call(values: dict[str, Any], ctx: typer.Context) -> int | None:
        adjust(values)
        if settings is not None:
            chosen = {key: values.pop(key) for key in own if values.get(key) is not None}
            if isinstance(settings, Mapping) and values.get("method") in settings:
                # A default of one's own for the setting of another method is not for this run.
                its = _by_name(settings[values["method"]])
                chosen = {key: each for key, each in chosen.items() if key in its or not is_own_default(ctx, key)}
            values["settings"] = chosen if isinstance(settings, Mapping) else settings.of(chosen)
            values = {key: value for key, value in values.items() if key not in own}
        return run(options(**values))

    command = with_parameters(call, help or options.__doc__ or "", {**shared, **own})
    if isinstance(settings, Mapping):
        command.show_settings = lambda parameters, method: show_settings(  # type: ignore[attr-defined]
            (each for each in parameters if each.name in own), settings, method
        )
    app.command(name)(command)


def parameters_of(options: type[Any]) -> Parameters:
    """The fields of a dataclass that are ``Annotated`` as parameters, in the panels of the classes that have them."""
    hints = get_type_hints(options, include_extras=True)
    found: Parameters = {}
    for item in fields(options):
        if not hasattr(hints[item.name], "__metadata__"):
            continue
        default = inspect.Parameter.empty if item.default is MISSING else item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        found[item.name] = _parameter(item.name, hints[item.name], default, _panel(options, item.name)), default
    return found


def _panel(options: type[Any], name: str) -> str | None:
    owner = next(each for each in options.__mro__ if name in inspect.get_annotations(each))
    panel: str | None = vars(owner).get("PANEL")
    return panel


def _parameter(name: str, annotation: Any, default: Any, panel: str | None) -> Any:
    """The annotation with its panel, and with a flag without a negative for a bool."""
    value_type, info = annotation.__origin__, copy.copy(annotation.__metadata__[0])
    if isinstance(info, typer.models.OptionInfo):
        info.rich_help_panel = info.rich_help_panel or panel
        if value_type is bool and not _declared(info):
            info.param_decls = (_flag(name),)
    return Annotated[value_type, info]


def parameters_of_settings(settings: type[Settings]) -> Parameters:
    """The settings of a method as parameters, with aliases, ranges and defaults."""
    hints = get_type_hints(settings)
    return {item.name: _of_setting(item, hints[item.name], settings.STRENGTH) for item in fields(settings)}


def _of_setting(item: Field[Any], value_type: Any, strength: str | None) -> tuple[Any, Any]:
    rule = rule_of(item)
    names = dict.fromkeys((item.name, *rule.aliases, *(["strength"] if item.name == strength else [])))
    flags, metavar = map(_flag, names), _metavar(rule, value_type)
    info = typer.Option(*flags, help=_help(rule, metavar), metavar=metavar, rich_help_panel=METHOD)
    return Annotated[value_type, info], item.default


def _help(rule: Rule, metavar: str) -> str:
    """The help of a setting, after its choices where these are too long for a column."""
    return f"{', '.join(rule.choices)}. {rule.help}" if rule.choices and metavar == "NAME" else rule.help


def _metavar(rule: Rule, value_type: Any) -> str:
    if rule.metavar:
        return rule.metavar
    if rule.choices:
        choices = one_of(rule.choices)
        return choices if len(choices) <= _WIDE else "NAME"
    if rule.low is not None and rule.high is not None:
        return f"{rule.low:g}..{rule.high:g}"
    return "N" if value_type is int else "X"


def parameters_of_all(methods: Mapping[str, type[Settings]], taken: Container[str] = ()) -> Parameters:
    """The settings of several methods as one set of parameters, under every name; None is not given.

    Args:
        methods: name -> settings. ``settings.of`` takes those that were given.
        taken: names of other parameters: no alias of a setting.
    """
    found: Parameters = {}
    for settings in methods.values():
        hints = get_type_hints(settings)
        for name, item in _by_name(settings).items():
            if name in taken and name != item.name:
                continue
            # Two methods may have a setting of one name and of two types: it is text until the method is known.
            value_type, before = hints[item.name], found.get(name)
            shared = value_type if before is None or before[0].__origin__ == value_type | None else str
            found[name] = Annotated[shared | None, typer.Option(_flag(name), rich_help_panel=METHOD)], None
    return found


def show_settings(parameters: Iterable[Any], methods: Mapping[str, type[Settings]], method: str | None) -> None:
    """Let the help show the settings of one method only.

    Args:
        parameters: those of :func:`parameters_of_all`, as click has them. They are changed.
        methods: name -> settings.
        method: its name; None, or no name: the default method.
    """
    settings = methods.get(method or "", next(iter(methods.values())))
    own, hints = _by_name(settings), get_type_hints(settings)
    for parameter in parameters:
        item = own.get(parameter.name)
        parameter.hidden = item is None
        if item is not None:
            rule = rule_of(item)
            parameter.metavar = _metavar(rule, hints[item.name])
            default = "" if item.default is None else f" [default: {item.default}]"
            said = f"{_help(rule, parameter.metavar)}{default}"
            parameter.help = said if parameter.name == item.name else f"The same as {_flag(item.name)}."


def _by_name(settings: type[Settings]) -> dict[str, Field[Any]]:
    """The settings of a method by their names and aliases."""
    return {name: item for item in fields(settings) for name in (item.name, *rule_of(item).aliases)}


def typed(settings: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of :func:`parameters_of_all` in the types of one method's settings.

    Raises:
        QuantArtError: a setting of another method, or a text where the method takes a number.
    """
    hints = get_type_hints(settings)
    types = {name: hints[item.name] for name, item in _by_name(settings).items()}
    found = dict(values)
    for name, value in values.items():
        if name not in types:
            own = ", ".join(_flag(item.name) for item in fields(settings))
            raise QuantArtError(f"{_flag(name)} is not a setting of this method: use one of {own}")
        value_type = types[name]
        if isinstance(value, str) and value_type in (int, float):
            try:
                found[name] = value_type(value)
            except ValueError:
                raise QuantArtError(f"{name} takes a number, not {value!r}") from None
    return found


def with_parameters(
    run: Callable[[dict[str, Any], typer.Context], int | None], doc: str, parameters: Parameters
) -> Callable[..., int | None]:
    """A function Typer can read: it has these parameters, and calls ``run`` with their values by name."""

    def command(ctx: typer.Context, **values: Any) -> int | None:
        try:
            for name, value in values.items():
                if isinstance(value, int) and abs(value) > _LARGEST:
                    raise QuantArtError(f"{name} {printable(value, 40)} is too large a number")
            return run(values, ctx)
        except QuantArtError as error:
            raise QuantArtError(with_places(as_flags(str(error), flags), ctx)) from error
        except KeyboardInterrupt:  # caught here: Typer would end without a word
            return ended([])

    ordered = sorted(parameters.items(), key=lambda each: _PANELS.index(_panel_of(each[1][0])))
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
                for name, (hint, default) in ordered
            ),
        ]
    )
    command.__annotations__ = {"ctx": typer.Context, **{name: hint for name, (hint, _) in ordered}}
    command.__doc__ = doc
    flags = set(_flags(parameters))
    return command


def _panel_of(annotation: Any) -> str | None:
    panel = getattr(annotation.__metadata__[0], "rich_help_panel", None)
    return panel if panel in _PANELS else None


def _flags(parameters: Parameters) -> Iterable[str]:
    for name, (annotation, _) in parameters.items():
        if not isinstance(annotation.__metadata__[0], ArgumentInfo):
            yield from _declared(annotation.__metadata__[0]) or (_flag(name),)


def _declared(info: Any) -> tuple[str, ...]:
    """The flags given to ``typer.Option``; in an annotation the first of them is in the place of a default."""
    first = (info.default,) if isinstance(info.default, str) else ()
    return (*first, *(info.param_decls or ()))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def as_flags(message: str, flags: set[str]) -> str:
    """A message of the library, which names options as Python does, in the words of the command line.

    >>> as_flags("size=9000 makes 66 megapixels: raise max_pixels", {"--size", "--max-pixels"})
    '--size 9000 makes 66 megapixels: raise --max-pixels'
    """
    names = sorted({flag[2:] for flag in flags if flag.startswith("--")}, key=len, reverse=True)
    any_name = "|".join(re.escape(name).replace(r"\-", "[-_]") for name in names)

    def flag(found: re.Match[str]) -> str:
        before, name, after = found.groups()
        return f"{before}--{name.replace('_', '-')}{' ' if after == '=' else after}"

    # Where a message names an option: at its beginning, as name=value (but not in adain:alpha=0.5), and after a verb.
    for pattern in (
        rf"(^)({any_name})([ :])",
        rf"((?<![\w:,]))({any_name})(=)",
        rf"(\b(?:with|raise|set) )({any_name})(\b)",
    ):
        message = re.sub(pattern, flag, message)
    return message
