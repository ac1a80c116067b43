"""NNST: Neural Neighbor Style Transfer (Kolkin, Kucera, Paris, Sýkora, Shechtman and Shakhnarovich, 2022).

Pictures are Laplacian pyramids: c of the content, o of the output. For each scale, from coarse to fine:

    1. O′ is the output so far, enlarged, with the content's band of this scale.              section 3.1
    2. The query is a O′ + (1 - a) content, with a = 0 at the coarsest scale.                 section 3.3
    3. Each of its hypercolumns is replaced by the style's nearest in centred cosine, T.      section 3.2
    4. The bands of o from this scale down are optimised by Adam:
           L = mean of 1 - cos(hypercolumn, T) + ½ λ (|hypercolumn| / |T| - 1)²
Then, at full size,
    5. the same bands, layer by layer: the mean of the least centred cosine distance of the output's features to the
       style's, matches found anew at each update ("feature splitting").                      section 3.4
    6. Hues are moved to the mean and covariance of the style's in OkLab.                  section 3.5

It departs from the paper in

* the normalised VGG-19 to relu4_1, its layers divided by their mean norm over the style, where the authors' code has
  VGG-16 and divides by the number of channels;
* hypercolumns compared by their 256 principal directions, and at most 32,768 of the style's, for speed;
* λ = 1 in step 4, where the paper has 0: cosines alone do not see contrast, and colours drift out of the gamut;
* fewer updates, of longer steps that shrink: most where the picture is small;
* the output's mean in step 5, which is held fixed within an update;
* hues of the painted picture in step 6, where the paper takes the content's (``recolor="content"``): strokes keep
  colours of their own.

Large pictures are computed in windows, which changes the deepest layer at their borders a little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.methods.base import Step
from quantart_cli.methods.hypercolumns import LAYERS, STRIDE, Candidates
from quantart_cli.methods.inputs import Masks, OptimisationInputs, State
from quantart_cli.methods.laplacian import collapse, decompose
from quantart_cli.methods.nnst_losses import Loss, hypercolumn_loss, matches_of, sampled, splitting_loss
from quantart_cli.methods.nnst_regions import Details, Grid, Regions, StyleSampler
from quantart_cli.methods.nnst_settings import NNSTSettings, plan
from quantart_cli.methods.objective import SMALLEST, Temporal, TiledExtractor, with_slope
from quantart_cli.methods.oklab import moments, recolor, to_oklab
from quantart_cli.methods.optimising import MaskedImage, OptimisingOnVGG, Styles
from quantart_cli.methods.tensors import extend, floats
from quantart_cli.nets.layers import COARSEST, stride
from quantart_cli.nets.vgg import VGG19
from quantart_cli.runner import NotFinite
from quantart_cli.scratch import trim_heap
from quantart_cli.tiling import Tile, Tiler

_DEPTH = 8  # halvings of the pyramids
_COARSEST_SIDE = 48  # least long side of the coarsest scale
_EMPTY_BANDS = (3, 2, 1024)  # finest bands that start empty, and those of pictures from 1,024 pixels on
_WHOLE, _WINDOW = 1024, 768  # larger pictures are computed in windows, for memory
_LEAST_RATE = 0.002  # length of Adam's steps, the paper's
_PATH, _REFINING_PATH = 0.4, 0.1  # their length times their number
_FEW = 20  # steps from which on they are not longer
_FIRST_DECAY, _SECOND_DECAY = 0.9, 0.99
_PREPARING = 4.0  # a scale's samples and matches take as long as so many updates
_TEMPORAL = 100.0  # weight of the temporal loss of frames of a clip
_HUE_SIDE = 512  # long side at which a style's hues are measured

T = TypeVar("T")


class NNST(OptimisingOnVGG[NNSTSettings]):
    """Style transfer by matching hypercolumns."""

    def steps(
        self,
        content: Tensor,
        style: Styles,
        settings: NNSTSettings,
        *,
        opacity: Tensor | None = None,
        tiler: Tiler | None = None,
        inputs: OptimisationInputs | None = None,
        seed: int = 0,
    ) -> Iterator[Step]:
        """The optimisation, an update at a time; arguments as of :meth:`Gatys.steps`.

        Raises:
            NotFinite: the precision overflowed.
            QuantArtError: masks that do not fit the styles.
        """
        work = Optimisation(self.vgg, floats(content, self.device), style, settings, opacity, tiler, inputs, seed)
        updates = plan(settings.steps, work.scales)
        yield from work.over(list(zip(reversed(range(work.scales)), updates, strict=False)), updates[-1])

    def pixels_of_work(self, size: tuple[int, int], settings: NNSTSettings) -> float:
        scales = scales_of(max(size))
        *updates, final = plan(settings.steps, scales)
        pixels = [size[0] * size[1] / 4**i for i in reversed(range(scales))]
        taken_at = [*zip(pixels, updates, strict=True), (pixels[-1], final)]
        return float(sum(each * (count + _PREPARING) for each, count in taken_at if count))

    def sample_settings(self, settings: NNSTSettings) -> NNSTSettings:
        return replace(settings, steps="2,1")

    def refine(
        self,
        painted: Tensor,
        content: Tensor,
        style: Styles,
        updates: int = 30,
        settings: NNSTSettings | None = None,
        *,
        opacity: Tensor | None = None,
        tiler: Tiler | None = None,
        masks: Masks | None = None,
        seed: int = 0,
    ) -> Iterator[Step]:
        """Take updates at the two finest scales, two thirds of them at the coarser one, from a picture.

        Args:
            painted: the picture, of the content's size, (1, 3, H, W), float32 in [0, 1] or uint8.
            content: as of :meth:`steps`.
            style: from :meth:`encode_style`.
            updates: in all, at least 1.
            settings: ``steps`` does not count. Default: those of the class, but the colours stay as optimised, since
                the picture has colours of the style already.
            tiler: as of :meth:`steps`.
        """
        settings = settings or NNSTSettings(recolor="no")
        start = floats(painted, self.device)
        inputs = None if masks is None else OptimisationInputs(masks.masks, masks.style_masks)
        work = Optimisation(
            self.vgg, floats(content, self.device), style, settings, opacity, tiler, inputs, seed, start, _REFINING_PATH
        )
        first = 2 * updates // 3 if work.scales > 1 else 0
        yield from work.over([(1, first), (0, updates - first)] if first else [(0, updates)], 0)


@dataclass(frozen=True, eq=False)
class Place:
    """Where Adam is (Kingma and Ba 2015). It is replaced, never changed, so that an interrupt finds it whole.

    Attributes:
        x: the bands of a pyramid in one row, (n,) float32.
        first: mean of gradients.
        second: mean of squared gradients.
        steps: taken at this scale.
    """

    x: Tensor
    first: Tensor
    second: Tensor
    steps: int = 0

    @classmethod
    def at(cls, bands: Sequence[Tensor]) -> Place:
        x = torch.cat([band.flatten() for band in bands])
        return cls(x, torch.zeros_like(x), torch.zeros_like(x))

    def moved(self, gradient: Tensor, rate: float) -> Place:
        """One step on."""
        steps = self.steps + 1
        first = self.first.lerp(gradient, 1 - _FIRST_DECAY)
        second = (self.second * _SECOND_DECAY).addcmul_(gradient, gradient, value=1 - _SECOND_DECAY)
        scale = (second / (1 - _SECOND_DECAY**steps)).sqrt_().add_(1e-8 * gradient.abs().max() + 1e-30)
        return Place(self.x.addcdiv(first, scale, value=-rate / (1 - _FIRST_DECAY**steps)), first, second, steps)


class Optimisation:
    """One optimisation, of all scales.

    Args:
        content: (1, 3, H, W) float32.
        opacity: of the content, or None.
        tiler: how pictures are cut where memory is short.
        inputs: regions, a picture to start from, a state to continue from.
        start: a picture to start from at all scales.
        path: how far a band goes at a scale, about.
    """

    def __init__(
        self,
        vgg: VGG19,
        content: Tensor,
        style: Styles,
        settings: NNSTSettings,
        opacity: Tensor | None,
        tiler: Tiler | None,
        inputs: OptimisationInputs | None,
        seed: int,
        start: Tensor | None = None,
        path: float = _PATH,
    ) -> None:
        self.content, self.style, self.settings, self.seed, self.path = content, style, settings, seed, path
        self.inputs = inputs or OptimisationInputs()
        self.regions = Regions(style, self.inputs, opacity, content.device)
        self.extractor = TiledExtractor(vgg, LAYERS, _windows(tiler or Tiler(), content), "max")
        self.sampler = StyleSampler(self.extractor, settings.style_rotations == "yes")
        side = max(content.shape[2:])
        self.scales = scales_of(side)
        self.c = decompose(content, _DEPTH)
        self.scales = min(self.scales, len(self.c))
        if start is None and self.inputs.start is not None:
            picture = floats(torch.from_numpy(self.inputs.start).permute(2, 0, 1)[None], content.device)
            start = F.interpolate(picture, content.shape[2:], mode="bicubic", antialias=True)
        self.started = start is not None
        self.o = [band.clone() for band in self.c] if start is None else decompose(start, _DEPTH)
        if start is None:
            few, fewer, large = _EMPTY_BANDS
            for band in self.o[: min(few if side < large else fewer, self.scales - 1)]:
                band.zero_()

    def over(self, updates: Sequence[tuple[int, int]], final: int) -> Iterator[Step]:
        """All updates.

        Args:
            updates: pairs of a scale, 0 is full size, and how many updates are taken at it; from coarse to fine.
            final: updates of step 5.
        """
        done, total = 0, sum(count for _, count in updates) + final
        resume = self.inputs.resume
        self.report = Step(0, total, size=self._size(0), image=lambda: self.picture(self.o))
        # The final pass is one more scale, of full size, with a loss of its own.
        for i, count, splits in [*((i, count, False) for i, count in updates), (0, final, True)]:
            if count == 0:
                continue
            if resume is not None and resume.step > done + count:
                done += count
                continue
            taken_up, resume = resume, None
            coarsest = not self.started and i == updates[0][0]
            yield from self._scale(i, count, splits, coarsest, done, total, taken_up)
            done += count
        yield self.report

    def _scale(
        self, i: int, count: int, splits: bool, coarsest: bool, done: int, total: int, resume: State | None
    ) -> Iterator[Step]:
        """The updates of one scale, after which ``o`` is the pyramid reached."""
        place = Place.at(self.o[i:])
        if resume is not None:
            # Copies: sums are rounded otherwise where a tensor begins in the middle of a cache line.
            tensors = {name: z.to(self.content.device, copy=True) for name, z in resume.tensors.items()}
            place = Place(tensors["x"], tensors["first"], tensors["second"], resume.step - done)
            self.report = self._step(i, done, total, place, tensors["matches"].long(), {})
        matches = None if resume is None else tensors["matches"].long()
        details = self._of_style(i, self.sampler.details) if splits else []
        candidates = [] if splits else self._of_style(i, self.sampler.candidates)
        grid = self.regions.grid(self._size(i), STRIDE)
        if matches is None:
            matches = grid.region.new_zeros(0) if splits else self._matches(i, coarsest, grid, candidates)
        trim_heap()  # samples and matches need other blocks of memory than updates
        while place.steps < count:
            loss = self._splitting(i, place, details) if splits else hypercolumn_loss(grid, matches, candidates)
            value, gradient = self._gradient(i, place.x, loss)
            if not value == value or not bool(gradient.isfinite().all()):
                raise NotFinite("the loss is not finite")
            place = place.moved(
                gradient, _rate(min(self.path, _REFINING_PATH) if splits else self.path, place.steps, count)
            )
            self.report = self._step(i, done, total, place, matches, {"style": value})
            yield self.report
        self.o[i:] = decompose(collapse(self._bands(i, place.x)), len(self.c) - 1 - i)
        trim_heap()

    @torch.no_grad()
    def _matches(self, i: int, coarsest: bool, grid: Grid, candidates: Sequence[Candidates]) -> Tensor:
        """Steps 1 to 3: for each hypercolumn of the query the candidate that is nearest, (h, w) int64."""
        a = 0.0 if coarsest else 1 - self.settings.content_weight
        enlarged = collapse([self.c[i], *self.o[i + 1 :]])  # O′
        query = extend(a * enlarged + (1 - a) * collapse(self.c[i:]), SMALLEST)
        return matches_of(self.extractor, query, grid, candidates)

    def _splitting(self, i: int, place: Place, details: Sequence[Details]) -> Loss:
        """The loss of step 5."""
        image = extend(collapse(self._bands(i, place.x)), SMALLEST)
        size, generator = self._size(i), self._generator(i, 1 + place.steps)
        grids = {layer: sampled(self.regions.grid(size, stride(layer)), generator) for layer in LAYERS}
        return splitting_loss(self.extractor, image, grids, details)

    def _gradient(self, i: int, x: Tensor, loss: Loss) -> tuple[float, Tensor]:
        """The loss of the picture of these bands, and its gradient (n,)."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            image = extend(collapse(self._bands(i, leaf)), SMALLEST)
        gradient, value = torch.zeros_like(image), 0.0

        def work(window: Tile, outer: Tile, part: Tensor, found: dict[str, Tensor]) -> None:
            nonlocal value
            own = loss(window, found)
            (slope,) = torch.autograd.grad(own, part)
            down, across = outer.slices
            gradient[:, :, down, across] += slope
            value += own.item()

        self.extractor.over(image, work, slopes=True)
        if (past := self.inputs.past) is not None:
            off, slope = with_slope(image, Temporal(past, self._size(i)[::-1], _TEMPORAL, image.device))
            value, gradient = value + off, gradient.add_(slope)
        (slopes,) = torch.autograd.grad(image, leaf, gradient)
        return value, slopes

    def _of_style(self, i: int, draw: Callable[[Sequence[tuple[MaskedImage, float]], torch.Generator], T]) -> list[T]:
        """What the sampler draws from the style at a scale, for each region."""
        generator, side = self._generator(i, 0), max(self._size(i))
        pictures = (self.regions.styles_of(r, side, self.settings.style_scale) for r in range(self.regions.count))
        return [draw(each, generator) for each in pictures]

    def _bands(self, i: int, x: Tensor) -> list[Tensor]:
        """A row of numbers as the bands of scale i and coarser."""
        shapes = [band.shape for band in self.c[i:]]
        parts = torch.split(x, [shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _size(self, i: int) -> tuple[int, int]:
        """(width, height) of a scale."""
        return self.c[i].shape[3], self.c[i].shape[2]

    def _generator(self, i: int, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(((self.seed * 1_000_003 + i) * 1_000_003 + number) % 2**63)

    def _step(self, i: int, done: int, total: int, place: Place, matches: Tensor, losses: dict[str, float]) -> Step:
        finer, side, step = self.o[:i], max(self._size(i)), done + place.steps
        tensors = {"x": place.x, "first": place.first, "second": place.second, "matches": matches}
        return Step(
            step,
            total,
            "",
            losses,
            self._size(i),
            image=lambda: self.picture([*finer, *self._bands(i, place.x)]),
            state=lambda: State(side, step, "adam", tensors, {}),
        )

    @torch.no_grad()
    def picture(self, bands: Sequence[Tensor]) -> Tensor:
        """The picture of a pyramid, recoloured (step 6), within [0, 1]; outside all masks the content."""
        image = collapse(bands).clamp(0, 1)
        if self.settings.recolor != "no":
            image = self._recolored(image, self.content if self.settings.recolor == "content" else image)
        painted = self.regions.painted()
        return image if painted is None else self.content.lerp(image, painted)

    def _recolored(self, image: Tensor, source: Tensor) -> Tensor:
        result = image
        for r in range(self.regions.count):
            found = [(moments_of(*picture), w) for picture, w in self.regions.styles_of(r, _HUE_SIDE, 1.0)]
            total = sum(share for _, share in found)
            mean = torch.stack([m * (w / total) for (m, _), w in found]).sum(0)
            spread = [(v + torch.outer(m - mean, m - mean)) * (w / total) for (m, v), w in found]
            mask = self.regions.masks[r] if self.regions.masks else None
            seen = self.regions.opacity if mask is None else mask
            own = recolor(image, source, mean, torch.stack(spread).sum(0), seen)
            result = own if mask is None else result.lerp(own, mask)
        return result


def scales_of(side: int) -> int:
    """How many scales a picture with this long side is optimised at."""
    return max(1, sum(1 for i in range(_DEPTH) if side >= _COARSEST_SIDE * 2**i))


def moments_of(image: Tensor, opacity: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean (2,) and covariance (2, 2) of a picture's hues in OkLab."""
    return moments(to_oklab(image)[:, 1:], opacity)


def _rate(path: float, taken_steps: int, count: int) -> float:
    """Length of a step: longer where few are taken, and shrinking to a quarter."""
    return max(_LEAST_RATE, path / max(count, _FEW)) * (1 - 0.75 * taken_steps / count)


def _windows(tiler: Tiler, content: Tensor) -> Tiler:
    side = tiler.side
    if max(content.shape[2:]) > _WHOLE:
        side = min(side or _WINDOW, _WINDOW)
    return Tiler(side, tiler.notify, COARSEST)
