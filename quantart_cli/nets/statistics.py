"""Moments of a tile's features, as the runner merges them over tiles (see stages.py)."""

from __future__ import annotations

import torch
from torch import Tensor


def moments(z: Tensor, weight: Tensor) -> Tensor:
    """Weighted moments over positions.

    Args:
        z: (1, C, h, w) features of any precision; computed in float32.
        weight: (1, 1, h, w), how much each position counts.

    Returns:
        (3, C) float32: the total weight in every column, the mean, and the sum of squared deviations from the mean.
    """
    rows, w = z[0].flatten(1).float(), weight.flatten()  # (C, n), (n,)
    total = w.sum()
    # Not as products of matrices: OpenVINO would round those to bf16 in a network of that precision.
    mean = (rows * w).sum(1) / total.clamp(min=1e-6)
    squares = ((rows - mean[:, None]).square() * w).sum(1)
    return torch.stack([total.expand_as(mean), mean, squares])


def mean_and_deviation(z: Tensor) -> tuple[Tensor, Tensor]:
    """Of each sample and channel of whole maps, (B, C, h, w) -> 2 × (B, C, 1, 1) float32, as :class:`Moments` has them:
    the deviation is the square root of the unbiased variance plus 1e-5."""
    variance, mean = torch.var_mean(z.float(), (2, 3), keepdim=True)
    return mean, (variance + 1e-5).sqrt()


def normalised(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(z - mean) / std channel by channel, (B, C, h, w) float32.

    Args:
        z: (B, C, h, w) of any precision.
        mean, std: (C,), of one picture, or (B, C, 1, 1).
    """
    shape = -1, z.shape[1], 1, 1
    found: Tensor = (z.float() - mean.view(shape)) / std.view(shape)
    return found


def products(z: Tensor, weight: Tensor) -> Tensor:
    """Mean and products of deviations, for a covariance; arguments as of :func:`moments`.

    Returns:
        (2 + C, C) float32: the total weight in every column, the mean, and the sums of products of the deviations.
    """
    rows, w = z[0].flatten(1).float(), weight.flatten()  # (C, n), (n,)
    total = w.sum()
    mean = rows @ w / total.clamp(min=1e-6)
    centred = rows - mean[:, None]
    return torch.cat([total.expand_as(mean)[None], mean[None], (centred * w) @ centred.T])


def moments_of_linear(x: Tensor, weight: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """Moments of matrix · x + bias, from the products of x: cheaper where x has fewer channels.

    Args:
        x: (n, D) float32.
        weight: (1, 1, h, w) with h·w = n.
        matrix: (C, D).
        bias: (C,).

    Returns:
        (3, C) float32, as of :func:`moments`.
    """
    w = weight.flatten()
    total = w.sum()
    mean = w @ x / total.clamp(min=1e-6)
    centred = x - mean
    products = (centred.T * w) @ centred  # (D, D)
    squares = ((matrix @ products) * matrix).sum(1)
    return torch.stack([total.expand_as(bias), matrix @ mean + bias, squares])
