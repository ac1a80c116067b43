"""Settings: the options of a method, with defaults, ranges and help, written once as a frozen dataclass.

The command line makes its options from the fields, the Python API takes them as keyword arguments, ``--json`` reports
them. This module does not import torch: ``quantart --help`` must be quick.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from quantart_cli.errors import QuantArtError, check_choice, counted, suggest

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BACKENDS = ("auto", "torch", "openvino")
PRESERVE_COLOR = ("none", "luma", "match")
STYLE_SIZE = 1024
"""Long side in pixels to which larger styles are reduced by default."""
MIN_TILE = 64
"""Smallest tile in pixels a side; smaller tiles would be all halo."""

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Rule:
    """What a setting accepts.

    Attributes:
        help: one or two sentences.
        low: smallest number, or None.
        high: largest number, or None.
        choices: the accepted texts; None for any.
        aliases: other names of the setting.
        parse: checks a text, raises QuantArtError.
        metavar: the form of the value in the help.
    """

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None

    def check(self, name: str, value: Any) -> Any:
        """Return the value as a plain Python number or text.

        Raises:
            QuantArtError: the value is of another type, out of range, or not one of the choices.
        """
        if self.choices is not None:
            return check_choice(name, value, self.choices)
        if self.parse is not None:
            if isinstance(value, numbers.Integral) and not isinstance(value, bool):
                value = str(value)  # brush=384 is as good as brush="384"
            if not isinstance(value, str):
                raise QuantArtError(f"{name} must be text, not {value!r}")
            self.parse(value)
            return value
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise QuantArtError(f"{name} must be a number, not {value!r}")
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
        if self.low is not None and self.high is not None and not self.low <= number <= self.high:
            raise QuantArtError(f"{name} must be between {self.low:.12g} and {self.high:.12g}, not {number:.12g}")
        if self.low is not None and number < self.low:
            raise QuantArtError(f"{name} must be at least {self.low:.12g}, not {number:.12g}")
        return number


def setting(default: Any, help: str, **rule: Any) -> Any:
    """A field of a settings dataclass; keyword arguments as the attributes of :class:`Rule`."""
    return field(default=default, metadata={"rule": Rule(help, **rule)})


def rule_of(item: Field[Any]) -> Rule:
    """The rule of a field made by :func:`setting`."""
    rule = item.metadata["rule"]
    assert isinstance(rule, Rule)
    return rule


@dataclass(frozen=True)
class Settings:
    """Base of all settings dataclasses. Construction checks every field.

    Raises:
        QuantArtError: a value out of range, or a choice that does not exist (the nearest is named).
    """

    STRENGTH: ClassVar[str | None] = None
    """Name of the setting that goes from the content (0) to the full style (1); None: there is none."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = rule_of(item).check(item.name.replace("_", "-"), getattr(self, item.name))
            object.__setattr__(self, item.name, value)

    @classmethod
    def of(cls: type[S], values: Mapping[str, Any]) -> S:
        """Settings from keyword arguments; aliases such as ``alpha`` are accepted.

        Raises:
            QuantArtError: an argument that this method does not have; the nearest is suggested.
        """
        names = {}
        for item in fields(cls):
            names.update(dict.fromkeys((item.name, *rule_of(item).aliases), item.name))
        chosen: dict[str, Any] = {}
        for given, value in values.items():
            if given not in names:
                raise QuantArtError(f"{given} is not a setting of this method: {suggest(given, names)}")
            if names[given] in chosen:
                raise QuantArtError(f"{given} is another name of {names[given]}: give one of them")
            chosen[names[given]] = value
        return cls(**chosen)


@dataclass(frozen=True)
class StrengthSettings(Settings):
    """Settings of a method with one knob from the content to the full style."""

    STRENGTH = "alpha"

    alpha: float = setting(
        1.0,
        "Style strength: 0 is the content as the network reconstructs it, 1 the full style.",
        low=0,
        high=1,
        aliases=("strength",),
    )


def parse_tile(tile: str | int | None) -> int | str | None:
    """A tile size: "auto", "none" (or None), or a number of pixels a side.

    Returns:
        "auto", None, or pixels, a multiple of 8.

    Raises:
        QuantArtError: anything else, or fewer than 64 pixels.
    """
    if tile in ("auto", "none", None):
        return "auto" if tile == "auto" else None
    if not str(tile).isascii() or not str(tile).isdigit() or int(tile) < MIN_TILE:
        raise QuantArtError(f"tile must be auto, none or at least {MIN_TILE} pixels, not {tile}")
    return int(tile) // 8 * 8


def normalise_shares(shares: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Style shares that sum to 1; equal shares when none are given.

    Raises:
        QuantArtError: the number of shares is not the number of styles, a share is negative or not finite, or all
            are 0.
    """
    if shares is None:
        shares = (1.0,) * count
    if len(shares) != count:
        raise QuantArtError(
            f"{counted(len(shares), 'style weight')} for {counted(count, 'style')}: give one for each style"
        )
    if not count:
        return ()
    if any(not math.isfinite(share) or share < 0 for share in shares) or sum(shares) == 0:
        raise QuantArtError("style weights must be numbers of at least 0, and not all of them 0")
    return tuple(float(share) / sum(shares) for share in shares)
