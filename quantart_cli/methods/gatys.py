"""Gatys: Image Style Transfer Using Convolutional Neural Networks (Gatys, Ecker and Bethge, CVPR 2016).

The image x itself is optimised, by L-BFGS, from the content p towards the Gram matrices of the style a:

    L_content = 1/2 mean (F(x) - F(p))²                          equation 1, at conv4_2
    L_style   = Σ_l w_l 1/4 mean (G_l(x) - G_l(a))²              equations 3 to 5, conv1_1 … conv5_1, w_l = 1/5
    G_l       = F_l F_lᵀ / M_l                                   equation 3, over M_l positions
    L         = α L_content + β L_style + γ L_tv                 equation 7

Normalised VGG-19, average pooling and features after their rectifier are the paper's. It departs from the paper in
means where equation 1 sums, so that the same weights look alike at every size; in a total variation (Mahendran and
Vedaldi 2015), which smooths noise away; and in weights of transparency: what cannot be seen does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.methods.controls import GatysControls
from quantart_cli.methods.features import coverage_of, extend, floats
from quantart_cli.methods.lbfgs import LBFGS
from quantart_cli.nets.vgg import VGG19

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
# relu5_1 has stride 16 and its reflection padding needs two positions a side.
_SMALLEST = 32


@dataclass(frozen=True)
class Record:
    """Where an optimisation stands: the iteration, and the losses with their weights applied."""

    step: int
    steps: int
    losses: dict[str, float] = field(default_factory=dict)


class Stopped(KeyboardInterrupt):
    """Ctrl-C during an optimisation. ``image`` is what it had reached, (1, 3, H, W)."""

    def __init__(self, image: Tensor, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.image = image
        self.step = step


class Gatys:
    """Style transfer by optimisation."""

    optimises = True
    backbone = "vgg19"
    tileable = False

    def __init__(self, vgg: VGG19) -> None:
        self.vgg = vgg
        vgg.pool = F.avg_pool2d  # the paper finds it more appealing for synthesis (section 2)

    @torch.no_grad()
    def encode_style(
        self, styles: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float]
    ) -> dict[str, Tensor]:
        """Gram matrices of the blended styles: layer -> (C, C) float32.

        Args:
            styles: pictures (1, 3, H, W) float32 in [0, 1], each with its opacity (1, 1, H, W) or None.
            weights: one a style, summing to 1.
        """
        blended: dict[str, Tensor] = {}
        for weight, (image, coverage) in zip(weights, styles, strict=True):
            features = self.vgg(extend(floats(image, self.vgg.conv1_1.weight.device), _SMALLEST), STYLE_LAYERS)
            for layer, z in features.items():
                own = weight * gram(z.float(), coverage_of(coverage, z, _SMALLEST))
                blended[layer] = blended[layer] + own if layer in blended else own
        return blended

    def stylize(
        self,
        content: Tensor,
        style: dict[str, Tensor],
        controls: GatysControls,
        coverage: Tensor | None = None,
        progress: Callable[[Record], None] = lambda _: None,
    ) -> Tensor:
        """(1, 3, H, W) float32 in [0, 1] -> the same shape, not clamped; nan where the precision overflows.

        Raises:
            Stopped: on Ctrl-C, with the image reached.
        """
        height, width = content.shape[2:]
        content = floats(content, self.vgg.conv1_1.weight.device)
        start = extend(content, _SMALLEST)
        with torch.no_grad():
            target = self.vgg(start, [CONTENT_LAYER])[CONTENT_LAYER].float()
        losses = _Losses(self.vgg, target, style, controls, coverage)
        step, descent = 0, None
        try:
            descent = LBFGS(start, losses.evaluate)
            if not math.isfinite(descent.value):
                return content * math.nan  # as any network that overflows: the caller computes again in fp32
            for step in range(1, controls.steps + 1):
                if not descent.step():
                    break
                progress(Record(step, controls.steps, losses.latest))
        except KeyboardInterrupt:
            reached = start if descent is None else descent.x
            raise Stopped(reached[:, :, :height, :width], step) from None
        return descent.x[:, :, :height, :width]


class _Losses:
    """The weighted losses of an image, by name; ``latest`` keeps those of the last image evaluated."""

    def __init__(
        self,
        vgg: VGG19,
        target: Tensor,
        style: dict[str, Tensor],
        controls: GatysControls,
        coverage: Tensor | None,
    ) -> None:
        self.vgg, self.target, self.style, self.controls, self.coverage = vgg, target, style, controls, coverage
        self.latest: dict[str, float] = {}

    def evaluate(self, image: Tensor) -> tuple[float, Tensor]:
        """The total and its gradient."""
        image = image.detach().requires_grad_()
        losses = self(image)
        total = sum(losses.values())
        (gradient,) = torch.autograd.grad(total, image)
        self.latest = {name: loss.item() for name, loss in losses.items()}
        return total.item(), gradient.contiguous()

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        features = self.vgg(image, [*STYLE_LAYERS, CONTENT_LAYER])
        at = {layer: coverage_of(self.coverage, z, _SMALLEST) for layer, z in features.items()}
        style = sum(
            (gram(features[layer].float(), at[layer]) - self.style[layer]).square().mean() / 4 for layer in STYLE_LAYERS
        )
        content = weighted_mean((features[CONTENT_LAYER].float() - self.target).square(), at[CONTENT_LAYER]) / 2
        return {
            "content": self.controls.content_weight * content,
            "style": self.controls.style_weight * style / len(STYLE_LAYERS),
            "tv": self.controls.tv_weight * total_variation(image),
        }


def gram(z: Tensor, coverage: Tensor | None = None) -> Tensor:
    """G = F Fᵀ / M, a mean over positions: (1, C, h, w) float32 -> (C, C).

    Args:
        z: features.
        coverage: (1, 1, h, w) in [0, 1], how much of each position counts; None counts all alike.
    """
    rows = z[0].flatten(1)  # (C, M)
    if coverage is None:
        return rows @ rows.T / rows.shape[1]
    weights = coverage[0].flatten(1)  # (1, M)
    return (rows * weights) @ rows.T / weights.sum()


def weighted_mean(values: Tensor, coverage: Tensor | None) -> Tensor:
    """Mean of (1, C, h, w), positions weighted by (1, 1, h, w) in [0, 1]."""
    if coverage is None:
        return values.mean()
    return (values * coverage).sum() / (coverage.sum() * values.shape[1])


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, to the right plus below: a checkerboard of 0 and 1 has 2.

    (1, C, H, W) -> a scalar. Mahendran and Vedaldi 2015, section 2.2, with exponent 2; a mean where they sum.
    """
    return image.diff(dim=3).square().mean() + image.diff(dim=2).square().mean()
