"""Settings of methods/gatys.py, in a module that does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.methods.pyramid import parse_pyramid
from quantart_cli.nets.layers import parse_layers
from quantart_cli.settings import Settings, setting

STYLE_LOSSES = ("gram", "linear", "poly", "gaussian", "remd", "bn", "wasserstein")
_SAMPLED = ("gaussian", "remd")
OPTIMIZERS = ("auto", "lbfgs", "adam")
POOLING = ("max", "average")
INITS = ("content", "style", "noise", "gray")
_GENTLE = {
    "style_weight": 5.0,
    "tv_weight": 15.0,
    "content_layers": "relu3_2,relu4_2:2",
    "pooling": "max",
    "pyramid": "auto",
    "optimizer": "auto",
    "init": "content",
    "tolerance": 0.002,
}
PRESETS: dict[str, dict[str, Any]] = {
    "gentle": _GENTLE,
    "balanced": {**_GENTLE, "style_weight": 12.0, "tv_weight": 36.0},
    "strong": {**_GENTLE, "style_weight": 30.0, "tv_weight": 90.0},
    "paper": {
        "style_weight": 100.0,
        "tv_weight": 0.0,
        "content_layers": "relu4_2",
        "pooling": "average",
        "pyramid": "none",
        "optimizer": "lbfgs",
        "init": "noise",
        "tolerance": 0.0,
    },
}
"""Preset -> values of the settings that were not given."""


def _of_preset(name: str, help: str, **rule: Any) -> Any:
    """A setting that takes its value from the preset; arguments as of :func:`setting`."""
    given = [preset[name] for preset in PRESETS.values()]
    values = dict.fromkeys(f"{value:g}" if isinstance(value, float) else value for value in given)
    default, *others = values
    return setting(None, f"{help} Default: {default}; other presets: {', '.join(others)}.", **rule)


@dataclass(frozen=True)
class GatysSettings(Settings):
    """Settings of Gatys, Ecker and Bethge 2016, and of later work on it.

    A setting whose default is None takes its value from the preset.
    """

    preset: str = setting(
        "gentle",
        "Values of what is not given: gentle, textures of the style and the content clear; balanced, more of the "
        "style; strong, most of it; paper, as in the paper.",
        choices=tuple(PRESETS),
    )
    steps: int = setting(300, "Steps in all, most of them where the picture is small.", low=1)
    content_weight: float = setting(1.0, "Weight of the content loss.", low=0)
    style_weight: float = _of_preset("style_weight", "Weight of the style loss; 2 to 100 do.", low=0)
    tv_weight: float = _of_preset("tv_weight", "Weight of the total variation, which smooths noise away.", low=0)
    style_loss: str = setting(
        "gram",
        "What is compared: Gram matrices, means (linear), both (poly), means and deviations (bn), samples under a "
        "Gaussian kernel or by relaxed transport (remd, as STROTSS), or means and covariances by the Wasserstein-2 "
        "distance.",
        choices=STYLE_LOSSES,
    )
    content_layers: str = _of_preset(
        "content_layers",
        "Layers of VGG-19 for the content loss, with weights; relu4_2 alone, as in the paper, does not keep faces.",
        parse=partial(parse_layers, "content-layers"),
        metavar="LAYER[:W],…",
    )
    style_layers: str = setting(
        "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",
        "Layers for the style loss, with weights: relu1_1,relu2_1:0.5.",
        parse=partial(parse_layers, "style-layers"),
        metavar="LAYER[:W],…",
    )
    style_scale: float = setting(
        2.0,
        "Size of the brush: long side of the style over that of the picture; never enlarged, see --style-size.",
        low=0.05,
        high=20,
    )
    pooling: str = _of_preset(
        "pooling",
        "How VGG-19 pools: max as it was trained, or average as in the paper, which leaves a weave on flat areas.",
        choices=POOLING,
    )
    pyramid: str = _of_preset(
        "pyramid",
        "Long sides to go through from small to large; auto: doubling from 128 or more; none: the last alone.",
        parse=parse_pyramid,
        metavar="auto|none|N,N,…",
    )
    optimizer: str = _of_preset(
        "optimizer",
        "L-BFGS, or Adam with averaged iterates; auto: L-BFGS, but Adam for losses of samples.",
        choices=OPTIMIZERS,
    )
    init: str = _of_preset("init", "What to start from.", choices=INITS)
    tolerance: float = _of_preset(
        "tolerance", "A size ends early when 20 steps lower the loss by less than this share; 0: never.", low=0, high=1
    )

    def __post_init__(self) -> None:
        for name, value in PRESETS[check_choice("preset", self.preset, tuple(PRESETS))].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()
        if self.style_loss in _SAMPLED and self.optimizer == "lbfgs":
            raise QuantArtError(
                f"style-loss {self.style_loss} draws samples, which L-BFGS cannot follow: use optimizer adam"
            )
