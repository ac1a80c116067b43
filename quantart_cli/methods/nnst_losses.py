"""What NNST compares: matches of hypercolumns, their loss (steps 3 and 4), and feature splitting (step 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from quantart_cli.methods.hypercolumns import LAYERS, STRIDE, Candidates, columns, nearest, rows, taken
from quantart_cli.methods.nnst_regions import Details, Grid
from quantart_cli.methods.objective import TiledExtractor
from quantart_cli.nets.layers import stride
from quantart_cli.tiling import Tile

_SAMPLES = 64  # positions a side in step 5
_STRENGTH = 1.0  # λ

Loss = Callable[[Tile, dict[str, Tensor]], Tensor]
"""Of a window and its features: its part of the loss."""


def matches_of(extractor: TiledExtractor, query: Tensor, grid: Grid, candidates: Sequence[Candidates]) -> Tensor:
    """For each hypercolumn of the query, (1, 3, H, W), the candidate of its region that is nearest, (h, w) int64."""
    keys = query.new_zeros(*grid.region.shape, candidates[0].keys.shape[1])

    def work(window: Tile, _: Tile, __: Tensor, found: dict[str, Tensor]) -> None:
        own, at = columns(found), window.shrunk(STRIDE)
        down, across = at.slices
        part = keys[down, across].flatten(0, 1)
        for r, each in enumerate(candidates):
            index, _w = grid.at(at, r)
            part[index] = each.project(taken(own, index))
        keys[down, across] = part.view(at.height, at.width, -1)

    extractor.over(query, work, slopes=False)
    matches = torch.zeros_like(grid.region)
    for r, each in enumerate(candidates):
        members = grid.region == r
        if members.any():
            queries, weight = keys[members], grid.weight[members][:, None]
            queries -= (queries * weight).sum(0) / weight.sum()
            matches[members] = nearest(queries, each.keys)
    return matches


def hypercolumn_loss(grid: Grid, matches: Tensor, candidates: Sequence[Candidates]) -> Loss:
    """The loss of step 4: the distances of hypercolumns to their matches."""

    def loss(window: Tile, found: dict[str, Tensor]) -> Tensor:
        own, at = columns(found), window.shrunk(STRIDE)
        down, across = at.slices
        chosen, total = matches[down, across].flatten(), torch.zeros((), device=matches.device)
        for r, each in enumerate(candidates):
            index, weight = grid.at(at, r)
            some = own if len(index) == len(chosen) else taken(own, index)
            total = total + (weight * each.distances(some, chosen[index], _STRENGTH)).sum()
        return total

    return loss


def splitting_loss(
    extractor: TiledExtractor, image: Tensor, grids: Mapping[str, Grid], details: Sequence[Details]
) -> Loss:
    """The loss of step 5: layer by layer, the distances of features to the nearest of the style's.

    Args:
        image: the picture, (1, 3, H, W).
        grids: layer -> the positions that count.
        details: of the style, for each region.
    """
    means = {} if extractor.is_whole(image) else _means(extractor, image, grids, len(details))

    def loss(window: Tile, found: dict[str, Tensor]) -> Tensor:
        total = torch.zeros((), device=image.device)
        for layer, grid in grids.items():
            for r, each in enumerate(details):
                index, weight = grid.at(window.shrunk(stride(layer)), r)
                if len(index) == 0:
                    continue
                z = rows(found[layer]).index_select(0, index).float()
                mean = means[r, layer] if means else z.detach().mean(0)
                z = z - mean
                with torch.no_grad():
                    chosen = nearest(z, each.keys[layer])
                dot = (z * each.keys[layer].index_select(0, chosen)).sum(1)
                cosine = dot / z.square().sum(1).clamp(min=1e-12).sqrt()
                total = total + (weight * (1 - cosine)).sum() / len(LAYERS)
        return total

    return loss


def _means(
    extractor: TiledExtractor, image: Tensor, grids: Mapping[str, Grid], regions: int
) -> dict[tuple[int, str], Tensor]:
    """Of the features at positions that count, by region and layer."""
    sums: dict[tuple[int, str], Tensor] = {}
    counts: dict[tuple[int, str], int] = {}

    def work(window: Tile, _: Tile, __: Tensor, found: dict[str, Tensor]) -> None:
        for layer, grid in grids.items():
            for r in range(regions):
                index, _w = grid.at(window.shrunk(stride(layer)), r)
                part = rows(found[layer]).index_select(0, index).float().sum(0)
                sums[r, layer] = sums[r, layer] + part if (r, layer) in sums else part
                counts[r, layer] = counts.get((r, layer), 0) + len(index)

    extractor.over(image, work, slopes=False)
    return {key: part / max(1, counts[key]) for key, part in sums.items()}


def sampled(grid: Grid, generator: torch.Generator) -> Grid:
    """A grid of which only every n-th row and column counts, from places drawn at random."""
    every = max(1, -(-max(grid.region.shape) // _SAMPLES))
    if every == 1:
        return grid
    top, left = (int(torch.randint(every, (), generator=generator)) for _ in range(2))
    region = torch.full_like(grid.region, -1)
    region[top::every, left::every] = grid.region[top::every, left::every]
    weight = grid.weight * (region >= 0)
    return Grid(region, weight / weight.sum().clamp(min=1e-12))
