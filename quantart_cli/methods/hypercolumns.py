"""Hypercolumns of VGG-19, and the nearest of a style's by centred cosine (Kolkin et al. 2022, sections 3.2 and 3.3).

A hypercolumn holds all that a network sees at one position: here the nine layers relu1_1 … relu4_1, brought to a
quarter of the picture's sides, 1920 numbers. Layers are divided by their mean norm over the style, so that all count
alike; the paper's code divides by the number of channels, which suits its VGG-16 that is not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.nets.layers import LAYERS as ALL_LAYERS
from quantart_cli.nets.layers import stride

LAYERS = ALL_LAYERS[: ALL_LAYERS.index("relu4_1") + 1]
STRIDE = 4
"""Pixels a side of one hypercolumn."""

_DIMENSIONS = 256  # of the keys that are compared
_BASIS_ROWS = 4096  # hypercolumns from which their basis is computed
_COSINES = 1 << 24  # computed at a time, 64 MB
_EPSILON = 1e-8

Rows = dict[str, Tensor]
"""Layer -> (n, C) features at n positions."""


def columns(found: Mapping[str, Tensor]) -> Rows:
    """The layers of hypercolumns at all positions, in row order.

    Args:
        found: features by layer, (1, C, ceil(H / stride), ceil(W / stride)).

    Returns:
        layer -> (ceil(H / 4) · ceil(W / 4), C).
    """
    height, width = found["relu3_1"].shape[2:]
    return {layer: rows(_at_a_quarter(z, stride(layer), (height, width))) for layer, z in found.items()}


def rows(z: Tensor) -> Tensor:
    """(1, C, h, w) -> (h w, C). Without z[0], whose gradient would be copied into another layout of memory."""
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])


def _at_a_quarter(z: Tensor, step: int, size: tuple[int, int]) -> Tensor:
    if step < STRIDE:
        return F.avg_pool2d(z, STRIDE // step, ceil_mode=True, count_include_pad=False)
    if step > STRIDE:
        z = F.interpolate(z, scale_factor=step // STRIDE, mode="bilinear")
    return z if z.shape[2:] == size else z[:, :, : size[0], : size[1]]


@dataclass(frozen=True)
class Candidates:
    """A style's hypercolumns.

    Attributes:
        scales: layer -> what its features are multiplied by.
        units: layer -> (m, C), hypercolumns of unit length, all layers scaled.
        lengths: (m,), which they had.
        basis: layer -> (C, 256), principal directions of the centred hypercolumns.
        keys: (m, 256), centred hypercolumns in that basis, over their length; in the precision of the features.
    """

    scales: dict[str, float]
    units: Rows
    lengths: Tensor
    basis: Rows
    keys: Tensor

    @classmethod
    def of(cls, raw: Rows, generator: torch.Generator) -> Candidates:
        """From hypercolumns as the network has them, (m, C) by layer."""
        scales = {layer: 1 / max(lengths(z).mean().item(), _EPSILON) for layer, z in raw.items()}
        first, channels = next(iter(raw.values())), [z.shape[1] for z in raw.values()]
        whole = first.new_empty(len(first), sum(channels), dtype=torch.float32)  # (m, 1920)
        for part, (layer, z) in zip(torch.split(whole, channels, 1), raw.items(), strict=True):
            part.copy_(z).mul_(scales[layer])
        length = lengths(whole)
        units = {layer: (z.float() * (scales[layer] / length)).to(z.dtype) for layer, z in raw.items()}
        whole -= whole.mean(0)
        basis = principal_directions(whole, generator)
        keys = ((whole @ basis) / lengths(whole)).to(first.dtype)
        parts = torch.split(basis, channels)
        return cls(scales, units, length[:, 0], dict(zip(raw, parts, strict=True)), keys)

    def project(self, found: Rows) -> Tensor:
        """Hypercolumns of another picture in the basis, not centred, (n, 256)."""
        total = None
        for layer, z in found.items():
            part = z.float() @ (self.basis[layer] * self.scales[layer])
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def distances(self, found: Rows, chosen: Tensor, strength: float = 0.0) -> Tensor:
        """1 - cos(column, target) + ½ λ (|column| / |target| - 1)², (n,) float32.

        Args:
            found: n hypercolumns.
            chosen: the candidate that is the target of each, (n,) int64.
            strength: λ; 0 for the paper's.
        """
        dot = square = torch.zeros((), device=chosen.device)
        for layer, z in found.items():
            target = self.units[layer].index_select(0, chosen)
            dot = dot + (z * target).sum(1, dtype=torch.float32) * self.scales[layer]
            square = square + (z * z).sum(1, dtype=torch.float32) * self.scales[layer] ** 2
        length = square.clamp(min=_EPSILON).sqrt()
        ratio = length / self.lengths[chosen]
        return 1 - dot / length + strength / 2 * (ratio - 1).square()


def principal_directions(centred: Tensor, generator: torch.Generator) -> Tensor:
    """The directions in which rows vary most, (C, min(256, C)), by subspace iteration.

    Args:
        centred: (m, C) float32; 4096 rows of them are looked at.
        generator: draws the rows and where the iteration starts.
    """
    count, channels = centred.shape
    if count > _BASIS_ROWS:
        drawn = torch.randperm(count, generator=generator)[:_BASIS_ROWS]
        centred = centred[drawn.to(centred.device)]
    basis = torch.randn(channels, min(_DIMENSIONS, channels), generator=generator).to(centred.device)
    for _ in range(2):
        basis = torch.linalg.qr(centred.T @ (centred @ basis))[0]
    return basis


def nearest(queries: Tensor, keys: Tensor) -> Tensor:
    """For each query the key with the greatest cosine, (n,) int64.

    Args:
        queries: (n, d), centred. Their lengths make no difference.
        keys: (m, d), centred, over their length. Cosines are computed in their precision.
    """
    step = max(1, _COSINES // len(keys))
    # max is twice as fast as argmax on a CPU.
    parts = [(part @ keys.T).max(1).indices for part in torch.split(queries.to(keys.dtype), step)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=keys.device)


def lengths(vectors: Tensor) -> Tensor:
    """Of rows, (n, C) -> (n, 1) float32."""
    found: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True, dtype=torch.float32)
    return found.clamp(min=_EPSILON)


def joined(parts: Sequence[Rows]) -> Rows:
    """Several sets of rows as one."""
    return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}


def taken(found: Rows, index: Tensor) -> Rows:
    """Some of the rows."""
    return {layer: z.index_select(0, index) for layer, z in found.items()}
