"""What a person can set on each method: names, defaults, ranges and help, written here and nowhere else.

The command line reads these dataclasses to make its options and its help, the Python API takes their fields as
keyword arguments, ``--json`` reports them. No torch in here: ``quantart --help`` must be quick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from quantart_cli.errors import QuantArtError, check_choice, suggest

Chosen = TypeVar("Chosen", bound="Controls")


def control(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A field of a controls dataclass: its default, its help, and what values it takes."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "aliases": aliases}
    return field(default=default, metadata=metadata)


class Controls:
    """Base of the frozen controls dataclasses: construction checks every field.

    Raises:
        QuantArtError: a value out of its range, or a choice that does not exist (the nearest is named).
    """

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            _check(item.name.replace("_", "-"), getattr(self, item.name), item.metadata)

    @classmethod
    def of(cls: type[Chosen], values: Mapping[str, Any]) -> Chosen:
        """Controls from keyword arguments, aliases such as ``alpha`` included.

        Raises:
            QuantArtError: an argument this method does not have; the nearest is suggested.
        """
        names = {}
        for item in fields(cls):  # type: ignore[arg-type]
            names[item.name] = item.name
            names.update({alias: item.name for alias in item.metadata["aliases"]})
        chosen: dict[str, Any] = {}
        for given, value in values.items():
            if given not in names:
                raise QuantArtError(f"{given} is not a setting of this method: {suggest(given, names)}")
            if names[given] in chosen:
                raise QuantArtError(f"{given} is another name of {names[given]}: give one of them")
            chosen[names[given]] = value
        return cls(**chosen)


def _check(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    if rules["choices"] is not None:
        check_choice(name, value, rules["choices"])
        return
    low, high = rules["low"], rules["high"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise QuantArtError(f"{name} must be a number, not {value!r}")
    if low is not None and high is not None and not low <= value <= high:
        raise QuantArtError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")
    if low is not None and value < low:
        raise QuantArtError(f"{name} must be at least {low:g}, not {value:g}")


@dataclass(frozen=True)
class AdaINControls(Controls):
    """AdaIN (Huang and Belongie 2017)."""

    alpha: float = control(
        1.0, "Style strength: 0 is the content as the network reconstructs it, 1 the full style.", low=0, high=1
    )


@dataclass(frozen=True)
class QuantArtControls(Controls):
    """QuantArt (Huang et al. 2023)."""

    fidelity: float = control(
        0.7,
        "Visual fidelity: 0 stays continuous, 1 builds the picture from a codebook of real artworks.",
        low=0,
        high=1,
        aliases=("alpha",),
    )
    strength: float = control(
        1.0,
        "Style strength: 0 keeps the content's own look, 1 takes the full style.",
        low=0,
        high=1,
        aliases=("beta",),
    )


@dataclass(frozen=True)
class GatysControls(Controls):
    """Gatys, Ecker and Bethge 2016."""

    steps: int = control(300, "Iterations of L-BFGS.", low=1)
    content_weight: float = control(1.0, "Weight of the content loss (conv4_2).", low=0)
    style_weight: float = control(100.0, "Weight of the style loss (Gram matrices, conv1_1 to conv5_1).", low=0)
    tv_weight: float = control(1.0, "Weight of the total variation, which smooths noise away.", low=0)


CONTROLS: dict[str, type[Controls]] = {
    "quantart": QuantArtControls,
    "adain": AdaINControls,
    "gatys": GatysControls,
}
"""Method name -> its controls, for those who must not import torch."""
