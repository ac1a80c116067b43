"""Principal components and k-means of features on disk, one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Features = np.ndarray[Any, np.dtype[np.float16]]
"""(N, C) float16, memory-mapped."""
_BATCH = 16384
# Rows that k-means++ chooses from: each of its K steps reads all of them.
_SEEDING_ROWS = 65536


def batches(features: Features, device: torch.device) -> Iterator[Tensor]:
    """(N, C) float16 on disk -> (≤ 16384, C) float32 on the device, in order."""
    for start in range(0, len(features), _BATCH):
        yield torch.from_numpy(features[start : start + _BATCH].astype(np.float32)).to(device)


@dataclass(frozen=True)
class Components:
    """Principal components of weighted rows: ``weight`` (C,), ``mean`` (C,), ``basis`` (D, C) orthonormal, float32."""

    weight: Tensor
    mean: Tensor
    basis: Tensor
    explained: float
    """Share of the variance in the D components, 0 to 1."""
    variance: float
    """Total variance: the mean squared distance of a weighted row from the mean."""

    def project(self, rows: Tensor) -> Tensor:
        """(N, C) -> (N, D)."""
        return (rows * self.weight - self.mean) @ self.basis.T


def principal_components(features: Features, weight: Tensor, width: int) -> Components:
    """The ``width`` directions of largest variance of rows weighted by channel, on the device of the weight."""
    device = weight.device
    channels = features.shape[1]
    total = torch.zeros(channels, dtype=torch.float64, device=device)
    products = torch.zeros(channels, channels, dtype=torch.float64, device=device)
    for batch in batches(features, device):
        rows = batch * weight
        total += rows.double().sum(0)
        products += (rows.T @ rows).double()
    mean = total / len(features)
    covariance = (products / len(features) - mean.outer(mean)).cpu()
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    values = values.clamp(min=0)
    basis = vectors[:, -width:].flip(1).T.float().contiguous().to(device)
    explained = (values[-width:].sum() / values.sum()).item() if values.sum() > 0 else 1.0
    return Components(weight, mean.float(), basis, explained, values.sum().item())


def plus_plus(rows: Tensor, count: int, generator: torch.Generator, progress: Callable[[int], None]) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): centres drawn in proportion to the squared distance to the nearest.

    Args:
        rows: (N, D), N at least ``count``.
        generator: on the CPU.
        progress: called with the number of centres drawn.

    Returns:
        (count, D).
    """
    chosen = [int(torch.randint(len(rows), (), generator=generator))]
    norms = rows.square().sum(1)
    nearest = (norms - 2 * rows @ rows[chosen[0]] + norms[chosen[0]]).clamp_(min=0)
    for number in range(1, count):
        cumulated = nearest.double().cumsum(0)
        point = torch.rand((), generator=generator, dtype=torch.float64).item() * cumulated[-1]
        pick = int(torch.searchsorted(cumulated, point).clamp(max=len(rows) - 1))
        chosen.append(pick)
        nearest = torch.minimum(nearest, (norms - 2 * rows @ rows[pick] + norms[pick]).clamp_(min=0))
        progress(number + 1)
    return rows[chosen].clone()


@dataclass(frozen=True)
class Iteration:
    """The result of one iteration of k-means."""

    centres: Tensor
    """(K, D), the means of their rows; centres without rows are restarted."""
    residual: float
    """Mean squared distance of the rows to their centres before the update."""
    used: int
    """Centres with at least one row."""
    entropy: float
    """Entropy of the use of the centres, in nats; its exponential is the perplexity."""


def lloyd(
    features: Features, components: Components, centres: Tensor, progress: Callable[[int, int], None]
) -> Iteration:
    """Assign every row to its nearest centre, then move every centre to the mean of its rows (Lloyd 1982).

    Centres without rows are restarted on the rows farthest from their centres.
    """
    count, width = centres.shape
    device = centres.device
    sums = torch.zeros(count, width, dtype=torch.float64, device=device)
    sizes = torch.zeros(count, dtype=torch.int64, device=device)
    far_rows, far_distances, total, done = torch.empty(0, width, device=device), torch.empty(0, device=device), 0.0, 0
    half_norms = centres.square().sum(1) / 2
    for rows in batches(features, device):
        points = components.project(rows)
        scores = points @ centres.T - half_norms
        best, index = scores.max(1)
        distances = (points.square().sum(1) - 2 * best).clamp_(min=0)
        sums.index_add_(0, index, points.double())
        sizes += torch.bincount(index, minlength=count)
        total += distances.double().sum().item()
        far_rows, far_distances = torch.cat([far_rows, points]), torch.cat([far_distances, distances])
        far_distances, order = far_distances.topk(min(count, len(far_distances)))
        far_rows = far_rows[order]
        done += len(rows)
        progress(done, len(features))
    dead = sizes == 0
    moved = (sums / sizes.clamp(min=1)[:, None]).float()
    restarts = min(int(dead.sum()), len(far_rows))
    moved[dead.nonzero()[:restarts, 0]] = far_rows[:restarts]
    share = sizes[~dead].double() / len(features)
    entropy = -(share * share.log()).sum().item()
    return Iteration(moved, total / len(features), int((~dead).sum()), entropy)


def seeding_rows(
    features: Features, components: Components, generator: torch.Generator, device: torch.device
) -> Tensor:
    """65536 random rows, projected, for k-means++ to choose from."""
    chosen = torch.randperm(len(features), generator=generator)[:_SEEDING_ROWS].sort().values.numpy()
    return torch.cat([components.project(rows) for rows in batches(features[chosen], device)])
