"""Two small methods, as a package of somebody else has them: tests/test_plugins.py installs this file.

``tint`` is feed-forward, in two stages with sums and without weights. ``fade`` optimises the picture in a few steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.methods.base import FeedForward, Optimising, Step
from quantart_cli.nets.statistics import moments
from quantart_cli.registry import Method
from quantart_cli.runner import Image, Runner
from quantart_cli.settings import Settings, setting
from quantart_cli.stages import Map, Moments, Pixels, Stage, Summed


class Measure(nn.Module):
    """A mean over 9 × 9 pixels, and the moments of the picture's colours."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        kernel = torch.full((3, 1, 9, 9), 1 / 81)
        return F.conv2d(F.pad(image, (4, 4, 4, 4), mode="reflect"), kernel, groups=3), moments(image, weight)


class Tinted(nn.Module):
    """x + amount · (colour - mean), for every channel."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, x: Tensor, mean: Tensor, colour: Tensor, amount: float | Tensor) -> tuple[Tensor]:
        return (x + amount * (colour - mean).view(1, 3, 1, 1),)


MEASURE = Stage(
    "tint-measure",
    f"{__name__}:Measure",
    parts=(),
    maps={"image": (1, 3), "weight": (1, 1)},
    outputs={"x": Map(1), "moments": Summed()},
    halo=4,
)
PAINT = Stage(
    "tint-paint",
    f"{__name__}:Tinted",
    parts=(),
    maps={"x": (1, 3)},
    whole={"mean": (3,), "colour": (3,)},
    scalars=("amount",),
    outputs={"image": Pixels()},
)


@dataclass(frozen=True)
class TintSettings(Settings):
    """Settings of tint."""

    STRENGTH = "amount"

    amount: float = setting(0.5, "How far the mean colour moves to the style's.", low=0, high=1, aliases=("share",))


class Tint(FeedForward[TintSettings]):
    """A soft picture with the mean colour of the style."""

    def stages(self, settings: TintSettings | None = None) -> Sequence[Stage]:
        return MEASURE, PAINT

    def encode_style(self, runner: Runner, style: Image, form: str = "moments") -> Moments:
        found: Moments = runner(MEASURE, style)["moments"]
        return found

    def blend(self, runner: Runner, styles: Sequence[Moments], shares: Sequence[float]) -> Moments:
        return Moments.lerp(list(styles), list(shares))

    def paint(self, runner: Runner, content: Image, style: Moments, settings: TintSettings) -> np.ndarray:
        c = runner(MEASURE, content)
        mean, colour = c["moments"].mean, style.mean
        image: np.ndarray = runner(PAINT, x=c["x"], mean=mean, colour=colour, amount=settings.amount)["image"]
        return image


@dataclass(frozen=True)
class FadeSettings(Settings):
    """Settings of fade."""

    steps: int = setting(4, "Steps of the descent.", low=1, high=50)


class Fade(Optimising[FadeSettings]):
    """The picture after some steps of gradient descent towards the style's mean colour."""

    parts: ClassVar[dict[str, type[Any]]] = {}
    device = "cpu"

    def encode_style(self, styles: Sequence[tuple[Any, Any]], shares: Sequence[float]) -> Tensor:
        means = [image.float().div(255).mean((2, 3), keepdim=True) for image, _ in styles]
        return sum(mean * share for mean, share in zip(means, shares, strict=True))

    def steps(
        self,
        content: Tensor,
        style: Tensor,
        settings: FadeSettings,
        *,
        opacity: Any = None,
        tiler: Any = None,
        inputs: Any = None,
        seed: int = 0,
    ) -> Iterator[Step]:
        image = content.float() / 255
        height, width = image.shape[2:]
        for step in range(1, settings.steps + 1):
            image = image + 0.2 * (style - image)
            losses = {"style": float((style - image).square().mean())}
            yield Step(step, settings.steps, "", losses, (width, height), image=lambda reached=image: reached)


TINT = Method(
    name="tint",
    summary="Move the mean colour of a picture to a style's.",
    settings=TintSettings,
    target=f"{__name__}:Tint",
    backends=("torch", "openvino"),
)
FADE = Method(
    name="fade",
    summary="Fade a picture into the mean colour of a style.",
    settings=FadeSettings,
    target=f"{__name__}:Fade",
)
