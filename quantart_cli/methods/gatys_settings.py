"""Settings of methods/gatys.py, in a module that does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from quantart_cli.errors import QuantArtError
from quantart_cli.methods.pyramid import parse_pyramid
from quantart_cli.nets.layers import parse_layers
from quantart_cli.settings import Settings, setting

STYLE_LOSSES = ("gram", "linear", "poly", "gaussian", "bn", "wasserstein")
OPTIMIZERS = ("auto", "lbfgs", "adam")
POOLING = ("max", "average")
INITS = ("content", "style", "noise", "gray")


@dataclass(frozen=True)
class GatysSettings(Settings):
    """Settings of Gatys, Ecker and Bethge 2016, and of later work on it."""

    steps: int = setting(300, "Steps in all, most of them where the picture is small.", low=1)
    content_weight: float = setting(1.0, "Weight of the content loss.", low=0)
    style_weight: float = setting(5.0, "Weight of the style loss; 2 to 20 do.", low=0)
    tv_weight: float = setting(15.0, "Weight of the total variation, which smooths noise away.", low=0)
    style_loss: str = setting(
        "gram",
        "What is compared: Gram matrices, means (linear), both (poly), means and deviations (bn), samples under a "
        "Gaussian kernel, or means and covariances by the Wasserstein-2 distance.",
        choices=STYLE_LOSSES,
    )
    content_layers: str = setting(
        "relu3_2,relu4_2:2",
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
    pooling: str = setting(
        "max",
        "How VGG-19 pools: max as it was trained, or average as in the paper, which leaves a weave on flat areas.",
        choices=POOLING,
    )
    pyramid: str = setting(
        "auto",
        "Long sides to go through from small to large; auto: doubling from 128 or more; none: the last alone.",
        parse=parse_pyramid,
        metavar="auto|none|N,N,…",
    )
    optimizer: str = setting(
        "auto",
        "L-BFGS, or Adam with averaged iterates; auto: L-BFGS, but Adam for the Gaussian kernel's samples.",
        choices=OPTIMIZERS,
    )
    init: str = setting("content", "What to start from.", choices=INITS)
    tolerance: float = setting(
        0.002, "A size ends early when 20 steps lower the loss by less than this share; 0: never.", low=0, high=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style_loss == "gaussian" and self.optimizer == "lbfgs":
            raise QuantArtError("style-loss gaussian draws samples, which L-BFGS cannot follow: use optimizer adam")
