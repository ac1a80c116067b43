"""Gatys: Image Style Transfer Using Convolutional Neural Networks (Gatys, Ecker and Bethge, CVPR 2016).

The image x itself is optimised, from the content p towards the Gram matrices of the style a:

    L_content = Σ_l v_l |F_l(x) - F_l(p)|² / |F_l(p)|²                equation 1, at relu3_2 and relu4_2
    L_style   = Σ_l w_l |G_l(x) - G_l(a)|² / |G_l(a)|²                equations 3 to 5, relu1_1 … relu5_1, w_l = 1/5
    G_l       = F_l F_lᵀ / M_l                                        equation 3, over M_l positions
    L         = α L_content + β L_style + γ L_tv                      equation 7

Normalised VGG-19 and features after their rectifier are the paper's. It departs from the paper in

* max pooling, as VGG was trained: averages of 2×2 pixels do not see a checkerboard, and leave a weave on flat areas
  (``pooling`` brings the paper's back); relu3_2 beside relu4_2, which alone does not hold a face;
* losses relative to what there is to be reached, where equations 1 and 4 sum (methods/objective.py), so that the same
  weights look alike at every size;
* other distances of style beside Gram's (methods/style_losses.py), and regions that take other styles, by Gram
  matrices of weighted positions (Gatys et al. 2017, Controlling Perceptual Factors, section 5.1; they also hold
  the layers' views apart at the borders of regions, which are soft here);
* a pyramid from coarse to fine, at each level of which content and style are as small (methods/pyramid.py), and the
  content's own detail of that level is added to what was painted before;
* a total variation, which smooths noise away; colours that stay within the gamut; weights of transparency: what cannot
  be seen does not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.methods.adam import Adam, Plateau
from quantart_cli.methods.base import Step
from quantart_cli.methods.gatys_settings import GatysSettings
from quantart_cli.methods.inputs import OptimisationInputs, State
from quantart_cli.methods.lbfgs import LBFGS
from quantart_cli.methods.objective import SMALLEST, Objective, Region, Target, Temporal, TiledExtractor, weights_at
from quantart_cli.methods.optimising import OptimisingOnVGG, Styles
from quantart_cli.methods.pyramid import Level, levels
from quantart_cli.methods.style_losses import STYLE_LOSSES, PositionWeights, StyleLoss
from quantart_cli.methods.tensors import extend, floats
from quantart_cli.nets.layers import COARSEST, parse_layers
from quantart_cli.nets.vgg import VGG19
from quantart_cli.runner import NotFinite
from quantart_cli.tiling import Tiler

_TEMPORAL = 100.0  # weight of the temporal loss


class Gatys(OptimisingOnVGG[GatysSettings]):
    """Style transfer by optimisation."""

    def pixels_of_work(self, size: tuple[int, int], settings: GatysSettings) -> float:
        plan = levels(size[1], size[0], settings.steps, settings.pyramid)
        return float(sum(level.width * level.height * level.steps for level in plan))

    def sample_settings(self, settings: GatysSettings) -> GatysSettings:
        return replace(settings, steps=3, pyramid="none", tolerance=0.0)

    def steps(
        self,
        content: Tensor,
        style: Styles,
        settings: GatysSettings,
        *,
        opacity: Tensor | None = None,
        tiler: Tiler | None = None,
        inputs: OptimisationInputs | None = None,
        seed: int = 0,
    ) -> Iterator[Step]:
        """The optimisation, a step at a time.

        Args:
            content: the picture, (1, 3, H, W), float32 in [0, 1] or uint8.
            style: from :meth:`encode_style`.
            opacity: (1, 1, H, W) in [0, 1], or None.
            tiler: how pictures are cut where memory is short; changes the result by rounding only.
            inputs: regions, a picture to start from, a state to continue from.
            seed: of the noise to start from, and of samples.

        Raises:
            NotFinite: the loss is not finite at the beginning of a level.
            QuantArtError: masks that do not fit the styles.
        """
        work = Optimisation(self.vgg, style, settings, opacity, tiler or Tiler(), inputs or OptimisationInputs(), seed)
        yield from work.over(floats(content, self.device))


class Optimisation:
    """One optimisation, of all levels of its pyramid."""

    def __init__(
        self,
        vgg: VGG19,
        style: Styles,
        settings: GatysSettings,
        opacity: Tensor | None,
        tiler: Tiler,
        inputs: OptimisationInputs,
        seed: int,
    ) -> None:
        self.style, self.settings, self.opacity, self.inputs, self.seed = style, settings, opacity, inputs, seed
        self.device = vgg.conv1_1.weight.device
        self.loss: StyleLoss = STYLE_LOSSES[settings.style_loss]()
        self.style_layers = parse_layers("style-layers", settings.style_layers)
        self.content_layers = parse_layers("content-layers", settings.content_layers)
        self.optimizer = settings.optimizer
        if self.optimizer == "auto":
            self.optimizer = Adam.name if self.loss.sample else LBFGS.name
        layers = dict.fromkeys([*self.style_layers, *(self.content_layers if settings.content_weight else ())])
        self.extractor = TiledExtractor(vgg, list(layers), Tiler(tiler.side, tiler.notify, COARSEST), settings.pooling)
        self.pairs = inputs.styles_of_regions(style.shares)
        self.masks = [self._tensor(mask) for mask in inputs.masks]
        self.style_masks = [self._tensor(mask) for mask in inputs.style_masks]
        self.latest: dict[str, float] = {}

    def over(self, content: Tensor) -> Iterator[Step]:
        """From the first level to the last, a step at a time."""
        height, width = content.shape[2:]
        plan = levels(width, height, self.settings.steps, self.settings.pyramid)
        resume, image, done, at = self.inputs.resume, content, 0, None
        for level in plan:
            if resume is not None and level.side < resume.side:
                done += level.steps
                continue
            image = self.start(content, level) if level is plan[0] else self.enlarged(image, content, level)
            if level.steps == 0:
                continue
            descent = self.descent(content, image, level)
            if not math.isfinite(descent.value):
                raise NotFinite("the loss is not finite")
            plateau, taken = Plateau(self.settings.tolerance), 0
            if resume is not None:
                descent.restore(*self._restored(resume))
                plateau.values, taken, resume = resume.numbers["recent"], resume.step - done, None
                image = cropped(descent.x, level)
            while taken < level.steps and not plateau.reached and descent.step():
                taken += 1
                image = cropped(descent.x, level)
                plateau.note(descent.value)
                at = Moment(done + taken, self.settings.steps, level, (width, height))
                yield _step(at, descent, plateau, image, self.latest)
            done += level.steps
        if at is None or at.level is not plan[-1]:  # the last level has no steps left: its picture is the result
            size, reached = (width, height), image
            yield Step(done, self.settings.steps, "", dict(self.latest), size, image=lambda: resized(reached, size))

    def start(self, content: Tensor, level: Level) -> Tensor:
        """The picture that the first level begins with, (1, 3, h, w)."""
        if (start := self.given()) is not None:
            return resized(start, level.size)
        shape = (1, 3, level.height, level.width)
        if self.settings.init == "style":
            return _covering(floats(self.style.pictures[0][0], self.device), level.size)
        if self.settings.init == "noise":
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(self.seed))
            return (0.5 + 0.2 * noise).clamp(0, 1).to(self.device)
        if self.settings.init == "gray":
            return torch.full(shape, 0.5, device=self.device)
        return resized(content, level.size)

    def enlarged(self, image: Tensor, content: Tensor, level: Level) -> Tensor:
        """What was painted at one level, as the next begins, (1, 3, h, w).

        Where the content was the start it is a start again: its detail that the smaller level could not show is added.
        The steps of a large level are too few to find it, eyes above all. The same for frames of a clip, which start
        from the last one.
        """
        found, start = resized(image, level.size), self.given()
        source = start if self.inputs.past is not None else content
        if source is None or (source is content and (start is not None or self.settings.init != "content")):
            return found
        height, width = image.shape[2:]
        coarse = resized(resized(source, (width, height)), level.size)
        return (found - coarse + resized(source, level.size)).clamp(0, 1)

    def given(self) -> Tensor | None:
        """The picture that was given to start from, (1, 3, H, W)."""
        start = self.inputs.start
        return None if start is None else floats(torch.from_numpy(start).permute(2, 0, 1)[None], self.device)

    def descent(self, content: Tensor, image: Tensor, level: Level) -> LBFGS | Adam:
        """An optimiser at the beginning of a level."""
        content = extend(resized(content, level.size), SMALLEST)
        visible = None if self.opacity is None else fitted(self.opacity, level.size)
        settings, past = self.settings, self.inputs.past
        objective = Objective(
            self.extractor,
            self.loss,
            self.style_layers,
            self.content_layers,
            self._regions(content, visible, level),
            content,
            visible,
            (settings.content_weight, settings.style_weight, settings.tv_weight),
            self.seed * 1_000_003 + level.side,
            None if past is None else Temporal(past, (level.height, level.width), _TEMPORAL, self.device),
        )
        self.latest = objective.latest
        optimizer = {each.name: each for each in (LBFGS, Adam)}[self.optimizer]
        return optimizer(extend(image, SMALLEST).contiguous(), objective.evaluate, 0.0, 1.0)

    def _regions(self, content: Tensor, visible: Tensor | None, level: Level) -> list[Region]:
        """What parts of the picture are to look like, at a level."""
        looks = range(len(self.style.pictures))
        if not self.masks:
            own = {layer: PositionWeights(weights_at(visible, content, layer)) for layer in self.style_layers}
            parts = [self.statistics(i, None, level) for i in looks]
            return [Region(1.0, own, self._targets(parts, self.style.shares))]
        found = []
        everything = float(level.width * level.height) if visible is None else visible.sum().item()
        for r, (mask, look) in enumerate(zip(self.masks, self.pairs, strict=True)):
            inside = fitted(mask, level.size)
            inside = inside if visible is None else inside * visible
            if not inside.any():  # all of it is transparent
                continue
            share = inside.sum().item() / everything
            if len(looks) > 1:
                share *= self.style.shares[look] * len(looks)
            guides = {layer: PositionWeights(weights_at(inside, content, layer)) for layer in self.style_layers}
            part = self.statistics(look, self.style_masks[r] if self.style_masks else None, level)
            found.append(Region(share, guides, self._targets([part], [1.0])))
        return found

    def statistics(self, look: int, mask: Tensor | None, level: Level) -> dict[str, Tensor]:
        """Those of a style by layer, as large as it is at a level; of a part of it where there is a mask."""
        picture, opacity = self.style.pictures[look]
        height, width = picture.shape[2:]
        share = min(1.0, self.settings.style_scale * level.side / max(height, width))
        size = (max(1, round(width * share)), max(1, round(height * share)))
        image = extend(resized(floats(picture, self.device), size), SMALLEST)
        visible = None if opacity is None else fitted(opacity, size)
        if mask is not None:
            visible = fitted(mask, size) if visible is None else fitted(mask, size) * visible
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + level.side)
        guides = {}
        for layer in self.style_layers:
            guide = PositionWeights(weights_at(visible, image, layer))
            guides[0, layer] = guide.drawn(self.loss.sample, generator) if self.loss.sample else guide
        return {layer: found for (_, layer), found in self.extractor.statistics(image, self.loss, guides).items()}

    @torch.no_grad()
    def _targets(self, parts: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Target]:
        """By layer, of a blend of styles."""
        targets = {}
        for layer in self.style_layers:
            blended = self.loss.blend([part[layer] for part in parts], shares)
            prepared = self.loss.prepare(blended)
            nothing = self.loss.distance(torch.zeros_like(blended), prepared).item()
            targets[layer] = Target(prepared, max(nothing, 1e-12))
        return targets

    def _restored(self, state: State) -> tuple[dict[str, Tensor], dict[str, float]]:
        # Copies: products of vectors are rounded otherwise where these begin in the middle of a cache line, as they do
        # in a file that was read as a whole.
        return {name: tensor.to(self.device, copy=True) for name, tensor in state.tensors.items()}, state.numbers

    def _tensor(self, mask: np.ndarray) -> Tensor:
        return torch.from_numpy(mask)[None, None].to(self.device)


@dataclass(frozen=True)
class Moment:
    """A step of a level, counted over all; ``size`` is (width, height) of the picture."""

    step: int
    steps: int
    level: Level
    size: tuple[int, int]


def _step(at: Moment, descent: LBFGS | Adam, plateau: Plateau, image: Tensor, losses: dict[str, float]) -> Step:
    tensors, numbers_of_optimizer = descent.state()
    numbers: dict[str, Any] = {**numbers_of_optimizer, "recent": list(plateau.values)}
    return Step(
        at.step,
        at.steps,
        "",
        dict(losses),
        at.level.size,
        image=lambda: resized(image, at.size).clone(),  # the caller may change it
        state=lambda: State(at.level.side, at.step, descent.name, tensors, numbers),
    )


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture (1, 3, H, W) at another (width, height), in [0, 1]; itself where it has that size."""
    width, height = size
    if tuple(image.shape[2:]) == (height, width):
        return image
    return F.interpolate(image, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def fitted(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (1, 1, H, W) at another (width, height)."""
    return F.interpolate(mask, (size[1], size[0]), mode="area")


def cropped(image: Tensor, level: Level) -> Tensor:
    """Without what made it large enough for the network."""
    return image[:, :, : level.height, : level.width]


def _covering(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of a picture, as large as fits, at (width, height)."""
    height, width = image.shape[2:]
    scale = max(size[0] / width, size[1] / height)
    across, down = (max(length, round(own * scale)) for length, own in zip(size, (width, height), strict=True))
    left, top = (across - size[0]) // 2, (down - size[1]) // 2
    return resized(image, (across, down))[:, :, top : top + size[1], left : left + size[0]]
