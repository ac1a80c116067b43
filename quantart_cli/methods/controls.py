"""What a person can set on each method: names, defaults, ranges and help, written here and nowhere else.

The command line reads these dataclasses to make its options and its help, the Python API takes their fields as
keyword arguments, ``--json`` reports them. No torch in here: ``quantart --help`` must be quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeVar

from quantart_cli.errors import QuantArtError, check_choice, suggest
from quantart_cli.methods.layers import parse_layers
from quantart_cli.methods.pyramid import parse_pyramid

Chosen = TypeVar("Chosen", bound="Controls")


def control(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    aliases: tuple[str, ...] = (),
    parse: Callable[[str], Any] | None = None,
    metavar: str | None = None,
) -> Any:
    """A field of a controls dataclass: its default, its help, and what values it takes.

    Text that ``choices`` do not list is checked by ``parse``, which raises QuantArtError; ``metavar`` shows its form.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "aliases": aliases}
    metadata |= {"parse": parse, "metavar": metavar}
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
    if rules["parse"] is not None:
        if not isinstance(value, str):
            raise QuantArtError(f"{name} must be text, not {value!r}")
        rules["parse"](value)
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


STYLE_LOSSES = ("gram", "linear", "poly", "gaussian", "bn", "wasserstein")
OPTIMIZERS = ("auto", "lbfgs", "adam")
POOLING = ("max", "average")
INITS = ("content", "style", "noise", "gray")


@dataclass(frozen=True)
class GatysControls(Controls):
    """Gatys, Ecker and Bethge 2016, and those after them."""

    steps: int = control(300, "Steps in all, most of them where the picture is small.", low=1)
    content_weight: float = control(1.0, "Weight of the content loss.", low=0)
    style_weight: float = control(5.0, "Weight of the style loss; 2 to 20 do.", low=0)
    tv_weight: float = control(15.0, "Weight of the total variation, which smooths noise away.", low=0)
    style_loss: str = control(
        "gram",
        "What is compared: Gram matrices, means (linear), both (poly), means and deviations (bn), samples under a "
        "Gaussian kernel, or means and covariances by the Wasserstein-2 distance.",
        choices=STYLE_LOSSES,
    )
    content_layers: str = control(
        "relu3_2,relu4_2:2",
        "Layers of VGG-19 that keep the content, with weights; relu4_2 alone, as in the paper, holds no faces.",
        parse=partial(parse_layers, "content-layers"),
        metavar="LAYER[:W],…",
    )
    style_layers: str = control(
        "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",
        "Layers that take the style, with weights: relu1_1,relu2_1:0.5.",
        parse=partial(parse_layers, "style-layers"),
        metavar="LAYER[:W],…",
    )
    style_scale: float = control(
        2.0,
        "Size of the brush: long side of the style over that of the picture; never enlarged, see --style-size.",
        low=0.05,
        high=20,
    )
    pooling: str = control(
        "max",
        "How VGG-19 pools: max as it was trained, or average as in the paper, which leaves a weave on flat areas.",
        choices=POOLING,
    )
    pyramid: str = control(
        "auto",
        "Long sides to go through from small to large; auto: doubling from 128 or more; none: the last alone.",
        parse=parse_pyramid,
        metavar="auto|none|N,N,…",
    )
    optimizer: str = control(
        "auto",
        "L-BFGS, or Adam with averaged iterates; auto: L-BFGS, but Adam for the Gaussian kernel's samples.",
        choices=OPTIMIZERS,
    )
    init: str = control("content", "What to start from.", choices=INITS)
    tolerance: float = control(
        0.002, "A size is left when 20 steps bring less than this share of the loss; 0: never.", low=0, high=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style_loss == "gaussian" and self.optimizer == "lbfgs":
            raise QuantArtError("style-loss gaussian draws samples, which L-BFGS cannot follow: use optimizer adam")


CONTROLS: dict[str, type[Controls]] = {
    "quantart": QuantArtControls,
    "adain": AdaINControls,
    "gatys": GatysControls,
}
"""Method name -> its controls, for those who must not import torch."""
