"""What an optimisation lowers: the weighted losses of a picture, exact whatever the windows they are computed in.

    L = α L_content + β Σ_r a_r Σ_l w_l d(S_l(x), S_l(a)) + γ L_tv

over the regions r of the picture, a_r their shares of it, and layers l. Content and style are relative to what a
picture without any features would have: 1 is nothing right. So the same weights look alike at every size, for every
style, and for each of the losses. Frames of a clip have a temporal loss as well, see :class:`Temporal`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.methods.inputs import Past
from quantart_cli.methods.style_losses import PositionWeights, StyleLoss
from quantart_cli.methods.tensors import coverage_of, extend
from quantart_cli.nets.layers import COARSEST, reach, stride
from quantart_cli.nets.vgg import VGG19
from quantart_cli.scratch import trim_heap
from quantart_cli.tiling import Tile, Tiler

# relu5_1 has stride 16 and its reflection padding needs two positions a side.
SMALLEST = 2 * COARSEST
Key = tuple[int, str]
"""Number of a region, name of a layer."""
Work = Callable[[Tile, Tile, Tensor, dict[str, Tensor]], None]
"""Gets a window, that with its border, the pixels of the latter, and the features of the former, by layer."""


@dataclass(frozen=True)
class Target:
    """What a region is to look like at a layer: the loss's own, and how far a picture without features is from it."""

    prepared: Any
    scale: float


@dataclass(frozen=True)
class Region:
    """A part of the picture: its share of the style loss, and by layer the positions that count and their targets."""

    share: float
    guides: Mapping[str, PositionWeights]
    targets: Mapping[str, Target]


class TiledExtractor:
    """VGG-19, window by window.

    Args:
        layers: those that are looked at.
        tiles: how pictures are cut; windows begin at multiples of 16.
        pooling: "max" or "average".
    """

    def __init__(self, vgg: VGG19, layers: Sequence[str], tiles: Tiler, pooling: str) -> None:
        self.vgg, self.layers, self.tiles, self.pooling = vgg, list(layers), tiles, pooling
        self.reach = reach(self.layers)

    def over(self, image: Tensor, work: Work, *, slopes: bool) -> None:
        """Look at each window of (1, 3, H, W).

        Args:
            work: pastes nothing anywhere before it is done: where memory runs out it is done again, on less.
            slopes: whether the pixels take gradients.
        """
        height, width = image.shape[2:]

        def look(window: Tile) -> None:
            outer = window.grown(self.reach, height, width, COARSEST)
            rows, columns = outer.slices
            part = image[:, :, rows, columns].detach().requires_grad_(slopes)
            with torch.set_grad_enabled(slopes):
                found = self.vgg(part, self.layers, self.pooling)
                if (window.height, window.width) != (height, width):
                    inner = window.within(outer)
                    found = {layer: _cut(z, inner.shrunk(stride(layer))) for layer, z in found.items()}
                work(window, outer, part, found)

        self.tiles.run(height, width, look)
        if not self.is_whole(image):
            trim_heap()

    def is_whole(self, image: Tensor) -> bool:
        """Whether a picture is one window."""
        return self.tiles.side is None or max(image.shape[2:]) <= self.tiles.side

    def statistics(self, image: Tensor, loss: StyleLoss, guides: Mapping[Key, PositionWeights]) -> dict[Key, Tensor]:
        """The loss's statistics of the whole picture, without gradients."""
        totals: dict[Key, Tensor] = {}

        def work(window: Tile, _: Tile, __: Tensor, found: dict[str, Tensor]) -> None:
            own = {key: loss.statistic(found[key[1]], at(guide, key[1], window)) for key, guide in guides.items()}
            for key, part in own.items():
                totals[key] = totals[key] + part if key in totals else part

        self.over(image, work, slopes=False)
        return totals


class Objective:
    """The weighted losses of a picture.

    Args:
        eyes: VGG-19 as it is looked through.
        style_layers: with weights that sum to 1.
        regions: with their targets.
        content: the picture whose content is kept, (1, 3, H, W).
        visible: (1, 1, H, W) in [0, 1], the picture's opacity, or None.
        weights: α, β and γ.

    Attributes:
        latest: the weighted losses of the picture evaluated last, by name.
    """

    def __init__(
        self,
        eyes: TiledExtractor,
        loss: StyleLoss,
        style_layers: Mapping[str, float],
        content_layers: Mapping[str, float],
        regions: Sequence[Region],
        content: Tensor,
        visible: Tensor | None,
        weights: tuple[float, float, float],
        seed: int = 0,
        temporal: Temporal | None = None,
    ) -> None:
        self.temporal = temporal
        self.eyes, self.loss, self.style_layers, self.content_layers = eyes, loss, style_layers, content_layers
        self.regions, self.seed, self.device = regions, seed, content.device
        self.alpha, self.beta, self.gamma = weights
        self.latest: dict[str, float] = {}
        self.content = self._features(content) if self.alpha else {}
        self.seen = {layer: weights_at(visible, content, layer) for layer in self.content}
        self.scales = {
            layer: (z.float().square() * self.seen[layer]).sum().clamp(min=1e-12) for layer, z in self.content.items()
        }

    def evaluate(self, image: Tensor, step: int = 0) -> tuple[float, Tensor]:
        """The total and its gradient, (1, 3, H, W) float32.

        Args:
            image: (1, 3, H, W).
            step: number of the sample, for a loss that draws one.
        """
        guides = self._guides(step)
        whole = self._at_once(image, guides) if self.eyes.is_whole(image) else None
        content, style, gradient = whole or self._in_windows(image, guides)
        rough, slope = with_slope(image, lambda x: self.gamma * total_variation(x))
        self.latest.update(content=content, style=style, tv=rough)
        total, gradient = content + style + rough, gradient.add_(slope)
        if self.temporal is not None:
            self.latest["temporal"], slope = with_slope(image, self.temporal)
            total, gradient = total + self.latest["temporal"], gradient.add_(slope)
        return total, gradient

    def _at_once(self, image: Tensor, guides: Mapping[Key, PositionWeights]) -> tuple[float, float, Tensor] | None:
        """In one pass; None where memory ran out, after which the picture is cut."""
        result: list[tuple[float, float, Tensor]] = []

        def work(window: Tile, _: Tile, part: Tensor, found: dict[str, Tensor]) -> None:
            if (window.height, window.width) != tuple(image.shape[2:]):
                return
            own = {key: self.loss.statistic(found[key[1]], guide) for key, guide in guides.items()}
            content, style = self._content(found, window), self._style(own)
            (gradient,) = torch.autograd.grad(content + style, part)
            result.append((content.item(), style.item(), gradient.contiguous()))

        self.eyes.over(image, work, slopes=True)
        return result[0] if result else None

    def _in_windows(self, image: Tensor, guides: Mapping[Key, PositionWeights]) -> tuple[float, float, Tensor]:
        """In two passes: statistics of the whole, then gradients through them, window by window."""
        totals = {key: t.requires_grad_() for key, t in self.eyes.statistics(image, self.loss, guides).items()}
        with torch.enable_grad():
            style = self._style(totals)
        slopes = dict(zip(totals, torch.autograd.grad(style, list(totals.values())), strict=True))
        gradient = torch.zeros_like(image)
        content = 0.0

        def work(window: Tile, outer: Tile, part: Tensor, found: dict[str, Tensor]) -> None:
            nonlocal content
            own = self._content(found, window)
            pulled = own
            for (i, layer), guide in guides.items():
                statistic = self.loss.statistic(found[layer], at(guide, layer, window))
                pulled = pulled + (statistic * slopes[i, layer]).sum()
            (slope,) = torch.autograd.grad(pulled, part)
            rows, columns = outer.slices
            gradient[:, :, rows, columns] += slope
            content += own.item()

        self.eyes.over(image, work, slopes=True)
        return content, style.item(), gradient

    def _style(self, own: Mapping[Key, Tensor]) -> Tensor:
        total = torch.zeros((), device=self.device)
        for i, region in enumerate(self.regions):
            for layer, weight in self.style_layers.items():
                target = region.targets[layer]
                distance = self.loss.distance(own[i, layer], target.prepared)
                total = total + region.share * weight / target.scale * distance
        return self.beta * total

    def _content(self, found: Mapping[str, Tensor], window: Tile) -> Tensor:
        """The part of the content loss that lies in a window."""
        total = torch.zeros((), device=self.device)
        for layer, z in self.content.items():
            positions = window.shrunk(stride(layer))
            off = (found[layer].float() - _cut(z, positions).float()).square() * _cut(self.seen[layer], positions)
            total = total + self.content_layers[layer] / self.scales[layer] * off.sum()
        return self.alpha * total

    def _guides(self, step: int) -> dict[Key, PositionWeights]:
        guides = {(i, layer): guide for i, each in enumerate(self.regions) for layer, guide in each.guides.items()}
        if not self.loss.sample:
            return guides
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        return {key: guide.drawn(self.loss.sample, generator) for key, guide in guides.items()}

    @torch.no_grad()
    def _features(self, content: Tensor) -> dict[str, Tensor]:
        """Those of the content layers, of the whole picture, in the network's precision."""
        height, width = content.shape[2:]
        kept: dict[str, Tensor] = {}

        def work(window: Tile, _: Tile, __: Tensor, found: dict[str, Tensor]) -> None:
            for layer in self.content_layers:
                z, step = found[layer], stride(layer)
                if layer not in kept:
                    kept[layer] = z.new_empty(1, z.shape[1], -(-height // step), -(-width // step)).contiguous(
                        memory_format=torch.channels_last
                    )
                rows, columns = window.shrunk(step).slices
                kept[layer][:, :, rows, columns] = z

        self.eyes.over(content, work, slopes=False)
        return kept


class Temporal:
    """The temporal loss of Ruder, Dosovitskiy and Brox 2016, equation 6: the mean over pixels and channels of
    c (x - ω)², with ω the past, and c its weights. It is called with x, (1, 3, h, w).

    Args:
        past: ω and c.
        size: (h, w) that the picture has.
    """

    def __init__(self, past: Past, size: tuple[int, int], weight: float, device: torch.device) -> None:
        picture = torch.from_numpy(past.picture).to(device).permute(2, 0, 1)[None]
        c = torch.from_numpy(past.weight).to(device)[None, None]
        found = (F.interpolate(each, size, mode="bilinear", antialias=True) for each in (picture, weight * c))
        self.past, self.weight = (extend(each, SMALLEST) for each in found)

    def __call__(self, image: Tensor) -> Tensor:
        return (self.weight * (image - self.past).square()).mean()


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, to the right plus below: a checkerboard of 0 and 1 has 2.

    (1, C, H, W) -> a scalar. Johnson et al. 2016, section 3.2, after Mahendran and Vedaldi 2015, section 2.2, with
    exponent 2; a mean where they sum.
    """
    return image.diff(dim=3).square().mean() + image.diff(dim=2).square().mean()


def weights_at(visible: Tensor | None, image: Tensor, layer: str) -> Tensor:
    """How much each position of a layer counts, (1, 1, h, w) float32 of sum 1.

    Args:
        visible: (1, 1, H, W) in [0, 1], of the picture before it was extended; None, or 0 all over: all count alike.
        image: the picture, (1, 3, H', W').
    """
    h, w = (-(-length // stride(layer)) for length in image.shape[2:])
    weights = coverage_of(visible, image.new_empty(1, 1, 1, 1).expand(1, 1, h, w), SMALLEST)
    weights = image.new_ones(1, 1, h, w) if weights is None or not weights.any() else weights.float()
    return weights / weights.sum()


def at(guide: PositionWeights, layer: str, window: Tile) -> PositionWeights:
    """A layer's guide within a window of pixels."""
    return guide.at(window.shrunk(stride(layer)))


def _cut(z: Tensor, window: Tile) -> Tensor:
    rows, columns = window.slices
    return z[:, :, rows, columns]


def with_slope(image: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[float, Tensor]:
    """A loss of a picture, and its gradient."""
    with torch.enable_grad():
        x = image.detach().requires_grad_()
        value = function(x)
        (slope,) = torch.autograd.grad(value, x)
    return value.item(), slope
