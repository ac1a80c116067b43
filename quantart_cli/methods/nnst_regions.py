"""Where NNST looks for what: regions of the content, and samples of the style pictures that may be matched there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.methods.gatys import fitted, resized
from quantart_cli.methods.hypercolumns import LAYERS, STRIDE, Candidates, Rows, columns, joined, lengths, rows, taken
from quantart_cli.methods.inputs import OptimisationInputs
from quantart_cli.methods.objective import SMALLEST, TiledExtractor
from quantart_cli.methods.optimising import MaskedImage, Styles
from quantart_cli.methods.tensors import extend, floats
from quantart_cli.nets.layers import stride
from quantart_cli.tiling import Tile

MOST_CANDIDATES = 32768
"""Hypercolumns of the styles that are searched at a scale, drawn at random where there are more."""
MOST_DETAILS = 2048
"""Features of the styles that are searched in the final pass, by layer."""


@dataclass(frozen=True)
class Grid:
    """Positions of a stride: which region each belongs to, and how much it counts.

    Attributes:
        region: (h, w) int64; -1 where nothing is painted.
        weight: (h, w) float32, sums to 1.
    """

    region: Tensor
    weight: Tensor

    def at(self, window: Tile, number: int) -> tuple[Tensor, Tensor]:
        """Positions of a region within a window, (n,) int64 in its row order, and their weights (n,)."""
        down, across = window.slices
        index = (self.region[down, across].flatten() == number).nonzero()[:, 0]
        return index, self.weight[down, across].flatten()[index]


class Regions:
    """The regions of the content, each with the style it takes.

    Args:
        style: all style pictures.
        opacity: of the content, (1, 1, H, W), or None.
    """

    def __init__(self, style: Styles, inputs: OptimisationInputs, opacity: Tensor | None, device: torch.device) -> None:
        self.style, self.opacity, self.device = style, opacity, device
        self.pairs = inputs.styles_of_regions(style.shares)
        self.masks = [torch.from_numpy(mask)[None, None].to(device) for mask in inputs.masks]
        self.style_masks = [torch.from_numpy(mask)[None, None].to(device) for mask in inputs.style_masks]

    @property
    def count(self) -> int:
        """How many; one without masks."""
        return max(1, len(self.masks))

    def grid(self, size: tuple[int, int], step: int) -> Grid:
        """The positions of this stride in the content at (width, height), extended to the network's least size."""
        width, height = size
        shape = (1, 1, height, width)
        seen = torch.ones(shape, device=self.device) if self.opacity is None else fitted(self.opacity, size)
        if not seen.any():
            seen = torch.ones(shape, device=self.device)
        parts = [fitted(mask, size) * seen for mask in self.masks] or [seen]
        shares = torch.cat([_pooled(part, step) for part in parts], 1)[0]  # (regions, h, w)
        weight, region = shares.max(0)
        region = region.where(weight > 0, -1)
        return Grid(region, weight / weight.sum().clamp(min=1e-12))

    def painted(self) -> Tensor | None:
        """How far each pixel of the content is painted, (1, 1, H, W) in [0, 1]; None: all wholly."""
        return sum(self.masks, torch.zeros_like(self.masks[0])).clamp(0, 1) if self.masks else None

    def styles_of(self, number: int, side: int, scale: float) -> list[tuple[MaskedImage, float]]:
        """The pictures that a region takes, at the size of a scale of the pyramid, with shares.

        Args:
            side: long side of the content at this scale.
            scale: long side of a style over it.
        """
        chosen = [self.pairs[number]] if self.masks else range(len(self.style.pictures))
        found = []
        for i in chosen:
            picture, opacity = self.style.pictures[i]
            height, width = picture.shape[2:]
            share = min(1.0, scale * side / max(height, width))
            size = (max(1, round(width * share)), max(1, round(height * share)))
            visible = None if opacity is None or not opacity.any() else fitted(opacity, size)
            if self.style_masks:
                mask = fitted(self.style_masks[number], size)
                visible = mask if visible is None else mask * visible
            share = 1.0 if self.masks else self.style.shares[i]
            if share > 0:
                found.append(((resized(floats(picture, self.device), size), visible), share))
        return found


@dataclass(frozen=True)
class Details:
    """A style's features for the final pass: layer -> (m, C) float32, centred, over their length."""

    keys: Rows

    @classmethod
    def of(cls, raw: Rows) -> Details:
        """From features as the network has them."""
        centred = {layer: z.float() - z.float().mean(0) for layer, z in raw.items()}
        return cls({layer: z / lengths(z) for layer, z in centred.items()})


class StyleSampler:
    """Draws hypercolumns, and features of single layers, from the pictures of a region.

    Args:
        rotations: whether pictures turned by 90, 180 and 270 degrees are used as well.
    """

    def __init__(self, extractor: TiledExtractor, rotations: bool) -> None:
        self.extractor, self.turns = extractor, range(4) if rotations else range(1)

    @torch.no_grad()
    def candidates(self, pictures: Sequence[tuple[MaskedImage, float]], generator: torch.Generator) -> Candidates:
        """Hypercolumns for a scale."""
        found = self._drawn(pictures, {"": STRIDE}, MOST_CANDIDATES, generator)
        return Candidates.of(joined(found.pop("")), generator)  # popped: the parts are not needed in memory any more

    @torch.no_grad()
    def details(self, pictures: Sequence[tuple[MaskedImage, float]], generator: torch.Generator) -> Details:
        """Features of single layers for the final pass."""
        found = self._drawn(pictures, {layer: stride(layer) for layer in LAYERS}, MOST_DETAILS, generator)
        return Details.of({layer: joined(found[layer])[layer] for layer in LAYERS})

    def _drawn(
        self,
        pictures: Sequence[tuple[MaskedImage, float]],
        strides: Mapping[str, int],
        most: int,
        generator: torch.Generator,
    ) -> dict[str, list[Rows]]:
        """At most so many rows by name, a layer or "" for hypercolumns, of all pictures and turns."""
        shown = [(extend(image, SMALLEST), _visible(image, opacity), share) for (image, opacity), share in pictures]
        turns = len(self.turns)
        counts = {name: _shares(shown, step, most / turns, turns) for name, step in strides.items()}
        found: dict[str, list[Rows]] = {name: [] for name in strides}
        for i, (image, visible, _) in enumerate(shown):
            for turn in self.turns:
                chosen = {
                    name: _drawn(torch.rot90(visible, turn, (2, 3)), step, counts[name][i], generator)
                    for name, step in strides.items()
                }
                self._look(torch.rot90(image, turn, (2, 3)).contiguous(), chosen, found)
        return found

    def _look(self, image: Tensor, chosen: dict[str, Tensor], found: dict[str, list[Rows]]) -> None:
        """Append what one picture has at the chosen positions."""

        def work(window: Tile, _: Tile, __: Tensor, z: dict[str, Tensor]) -> None:
            for name, grid in chosen.items():
                down, across = window.shrunk(stride(name) if name else STRIDE).slices
                index = grid[down, across].flatten().nonzero()[:, 0]
                found[name].append(taken(columns(z) if not name else {name: rows(z[name])}, index))

        self.extractor.over(image, work, slopes=False)


def _visible(image: Tensor, opacity: Tensor | None) -> Tensor:
    visible = image.new_ones(1, 1, *image.shape[2:]) if opacity is None else opacity
    return extend(visible if visible.any() else torch.ones_like(visible), SMALLEST)


def _pooled(values: Tensor, step: int) -> Tensor:
    """(1, 1, H, W) -> means over positions of a stride, after extension to the network's least size."""
    values = extend(values, SMALLEST)
    return values if step == 1 else F.avg_pool2d(values, step, ceil_mode=True, count_include_pad=False)


def _open(visible: Tensor, step: int) -> Tensor:
    """Which positions may be drawn, (h, w) bool: those that are half visible, or as visible as any."""
    shares = _pooled(visible, step)[0, 0]
    return shares >= min(0.5, shares.max().item())


def _shares(shown: Sequence[tuple[Tensor, Tensor, float]], step: int, most: float, turns: int) -> list[int]:
    """How many positions of each picture and turn are drawn: in proportion to the shares, as many as there are."""
    free = [int(_open(visible, step).sum()) for _, visible, _ in shown]
    shares = [share for *_, share in shown]
    total = min(most, *(count * sum(shares) / share for count, share in zip(free, shares, strict=True)))
    return [max(1, round(total * share / sum(shares))) for share in shares]


def _drawn(visible: Tensor, step: int, count: int, generator: torch.Generator) -> Tensor:
    """Positions drawn at random, (h, w) bool."""
    free = _open(visible, step)
    places = free.flatten().nonzero()[:, 0]
    drawn = torch.randperm(len(places), generator=generator)[:count].to(places.device)
    chosen = torch.zeros_like(free).flatten()
    chosen[places[drawn]] = True
    return chosen.view(free.shape)
