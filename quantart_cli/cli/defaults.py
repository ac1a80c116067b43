"""Defaults of one's own: from the configuration file and the environment; the command line goes over both.

The file is TOML. A key at the top is an option of every command that has it, a table holds options of one command::

    size = 1024

    [stylize]
    fidelity = 0.8

The environment goes over the file: ``QUANTART_SIZE=1024``, ``QUANTART_STYLIZE_FIDELITY=0.8``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.files import printable, reason
from quantart_cli.registry import methods
from quantart_cli.settings import rule_of

FOLDERS = {"styles_folder": "QUANTART_STYLES", "cache_folder": "QUANTART_CACHE"}
"""Keys that are no options: they stand for these variables of the environment."""
_PREFIX = "QUANTART_"


@dataclass(frozen=True)
class Default:
    """A default of one's own.

    Attributes:
        source: the file, the table in it, or the variable that it is from.
        place: what to correct: ``size in [adain] of /home/me/.config/quantart/config.toml``, or the variable.
    """

    value: Any
    source: str
    place: str = ""


def config_path() -> Path:
    """The configuration file, whether it exists or not: ``QUANTART_CONFIG``, or the platform's place for it."""
    if given := os.environ.get("QUANTART_CONFIG"):
        return Path(given).expanduser()
    import platformdirs

    try:
        return platformdirs.user_config_path("quantart", appauthor=False) / "config.toml"
    except RuntimeError:  # no home folder
        return Path("config.toml").absolute()


class Defaults(Mapping[str, Any]):
    """The defaults of each command, by its name: values by the names of its parameters."""

    def __init__(self, commands: Mapping[str, Any]) -> None:
        self._commands = commands

    def __getitem__(self, command: str) -> dict[str, Any]:
        self.set_folders()
        return self._of(self._commands[command], command, self._table(command))

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)

    def get(self, command: str | None, default: Any = None) -> Any:
        """The values of a command; click asks with the names of commands, and for options of the group itself."""
        return self[command] if command is not None and command in self._commands else default

    def _of(self, command: Any, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        inner = getattr(command, "commands", None)
        if inner is not None:  # a group, as train
            self._check_keys(table, inner, name)
            return {key: self._of(each, f"{name}.{key}", self._table(f"{name}.{key}")) for key, each in inner.items()}
        return {key: each.value for key, each in self.of(command, name, table).items()}

    def of(self, command: Any, name: str, table: Mapping[str, Any] | None = None) -> dict[str, Default]:
        """The defaults of a command with their sources, by the names of its parameters.

        Args:
            name: of the command, as its table is called: ``stylize``, ``train.painter``.
            table: default: that of the file.

        Raises:
            QuantArtError: the file cannot be read, or its table of the command has a key that is no option.
        """
        table = self._table(name) if table is None else table
        known = {key: each for each in command.params if configurable(each) for key in keys_of(each)}
        self._check_keys(table, known, name)
        general = _general(known) if "." in name else known
        found: dict[str, Default] = {}
        path, shown = config_path(), printable(config_path())
        top = {key: each for key, each in self.file.items() if key in general and key not in self._commands}
        for source, where, values in ((str(path), shown, top), (f"{path} [{name}]", f"[{name}] of {shown}", table)):
            for key, parameter in known.items():
                if key in values:
                    place = f"{key} in {where}"
                    found[parameter.name] = Default(_checked(values[key], place, parameter.is_flag), source, place)
        for prefix, keys in ((_PREFIX, general), (f"{_PREFIX}{_upper(name)}_", known)):
            for key, parameter in keys.items():
                variable = prefix + _upper(key)
                if value := os.environ.get(variable):
                    found[parameter.name] = Default(value, variable, variable)
        return found

    def _check_keys(self, table: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
        for key in table:
            if key not in known:
                where = f"[{name}] of {printable(config_path())}"
                see = f"see quantart {name.replace('.', ' ')} --help"
                raise QuantArtError(f"{printable(key)} in {where} is not known: {suggest(key, known, see)}")

    def _table(self, command: str) -> Mapping[str, Any]:
        found: Any = self.file
        for part in command.split("."):
            found = found.get(part, {})
            if not isinstance(found, dict):
                raise QuantArtError(
                    f"{command} in {printable(config_path())} is a command: write [{command}], then options"
                )
        return found  # type: ignore[no-any-return]

    @cached_property
    def file(self) -> dict[str, Any]:
        """What the file says; empty when there is none.

        Raises:
            QuantArtError: it cannot be read, is no TOML, or has a key at the top that is no option and no command.
        """
        path = config_path()
        if not os.path.exists(path):
            return {}
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise QuantArtError(f"{printable(path)} cannot be read: {reason(error)}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise QuantArtError(f"{printable(path)} is no TOML file: {printable(error)}; correct it") from error
        known = {*_options_of_many(), *FOLDERS, *self._commands}
        for key in values:
            if key not in known:
                nearest = suggest(key, sorted(known), "see quantart stylize --help")
                raise QuantArtError(f"{printable(key)} in {printable(path)} is not known: {nearest}")
        return values

    def set_folders(self) -> None:
        """Set the variables of :data:`FOLDERS` as the file says, unless the environment has them."""
        for key, variable in FOLDERS.items():
            if key in self.file:
                place = f"{key} in {printable(config_path())}"
                os.environ.setdefault(variable, str(_checked(self.file[key], place)))


def is_own_default(ctx: Any, parameter: str) -> bool:
    """Whether the value of a parameter is a default of one's own."""
    return getattr(ctx.get_parameter_source(parameter), "name", "") == "DEFAULT_MAP"


def with_places(message: str, ctx: Any) -> str:
    """A message about options, and which defaults of one's own it speaks of.

    Args:
        message: with the flags of options, or the text that was given for one at its beginning.
        ctx: click's context of the command.
    """
    defaults = ctx.find_root().default_map
    if not isinstance(defaults, Defaults):
        return message
    places = [
        f"{key} in {printable(config_path())}"
        for key, variable in FOLDERS.items()
        if variable in message and str(defaults.file.get(key)) == os.environ.get(variable)
    ]
    for parameter in ctx.command.params:
        if not is_own_default(ctx, parameter.name):
            continue
        own = defaults.of(ctx.command, ".".join(ctx.command_path.split()[1:]))[parameter.name]
        about = rf"({'|'.join(map(re.escape, parameter.opts))})(?![\w-])"
        if "_" in parameter.name:  # in words: 2 style weights for 1 style
            about += rf"|\b{parameter.name.replace('_', ' ').removesuffix('s')}"
        if re.search("[a-z]", str(own.value)):  # a text, not a number
            about += rf"|^'?{re.escape(str(own.value))}(?!\w)"
        if re.search(about, message):
            places.append(own.place)
    return f"{message}; see {' and '.join(places)}" if places else message


def configurable(parameter: Any) -> bool:
    """Whether a parameter may have a default of one's own: an option that is not required, with one value."""
    if parameter.param_type_name != "option" or parameter.required or parameter.multiple:
        return False
    return parameter.name != "help" and f"{_PREFIX}{_upper(parameter.name)}" not in FOLDERS.values()


def keys_of(parameter: Any) -> list[str]:
    """The names of an option without dashes, as they are in the file: ``style_size``, ``style-size``."""
    flags = [flag[2:] for flag in parameter.opts if flag.startswith("--")]
    return list(dict.fromkeys(name for flag in flags for name in (flag.replace("-", "_"), flag)))


def _general(known: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a training that mean the same in every command; its weights and sizes do not."""
    from quantart_cli.cli.options import DeviceOptions

    names = {item.name for item in fields(DeviceOptions)}
    return {key: parameter for key, parameter in known.items() if parameter.name in names}


def _options_of_many() -> set[str]:
    """Options that may be at the top of the file: those that all painting commands share, and settings of methods."""
    from quantart_cli.cli.options import SharedOptions

    names = {item.name for item in fields(SharedOptions)}
    for method in methods().values():
        for item in fields(method.settings):
            names |= {item.name, *rule_of(item).aliases}
        if method.settings.STRENGTH:
            names.add("strength")
    return names | {name.replace("_", "-") for name in names}


def _checked(value: Any, place: str, is_flag: bool = False) -> Any:
    """A value of the file as the command line would give it; true and false are values of flags only."""
    if isinstance(value, (str, int, float)) and (is_flag or not isinstance(value, bool)):
        return value
    if isinstance(value, list) and all(isinstance(each, (str, int, float)) for each in value):
        return ",".join(map(str, value))
    shown = str(value).lower() if isinstance(value, bool) else printable(value, 60)
    raise QuantArtError(f"{place} takes a number or a text, not {shown}")


def _upper(name: str) -> str:
    return re.sub(r"\W", "_", name.upper())
