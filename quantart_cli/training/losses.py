"""Losses of the art autoencoder, each a function of a batch: (B, ...) -> a scalar, float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

Moments = tuple[Tensor, Tensor]
_EPSILON = 1e-5  # of the AdaIN reference, added to the variance
_FLAT = 1e-2  # added to the variance in a window, whose root has no slope at 0
_DIRECTIONS, _POSITIONS = 32, 2304  # of the sliced Wasserstein distance


def moments(z: Tensor) -> Moments:
    """Mean and standard deviation of every sample and channel: (B, C, h, w) -> 2 × (B, C, 1, 1) float32."""
    return _Moments.apply(z)


class _Moments(torch.autograd.Function):
    """With its gradient by hand: one pass over the features, where autograd takes five, a tenth of every update."""

    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor) -> Moments:
        exact = z.float()
        mean = exact.mean((2, 3), keepdim=True)
        centred = exact - mean if exact is z else exact.sub_(mean)
        count = z.shape[2] * z.shape[3]
        std = (torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True).square() / (count - 1) + _EPSILON).sqrt()
        ctx.save_for_backward(z, mean, std)
        return mean, std

    @staticmethod
    def backward(ctx: FunctionCtx, of_mean: Tensor, of_std: Tensor) -> Tensor:
        # d mean / dz = 1 / n; d std / dz = (z - mean) / ((n - 1) std)
        z, mean, std = ctx.saved_tensors
        count = z.shape[2] * z.shape[3]
        slope = of_std / ((count - 1) * std)
        return torch.addcmul((of_mean / count - slope * mean).to(z.dtype), z, slope.to(z.dtype))


def style_loss(painted: Mapping[str, Tensor], wanted: Mapping[str, Moments]) -> Tensor:
    """Σ over layers of the mean squared differences of means and of deviations (Huang and Belongie 2017, equation 13,
    there a norm: a sum under a root)."""
    total = 0
    for layer, (mean, std) in wanted.items():
        own_mean, own_std = moments(painted[layer])
        total = total + F.mse_loss(own_mean, mean) + F.mse_loss(own_std, std)
    return total


def gram(z: Tensor) -> Tensor:
    """Correlations of the channels of every sample, a mean over positions: (B, C, h, w) -> (B, C, C) float32."""
    rows = z.float().flatten(2)  # (B, C, n)
    return rows @ rows.mT / rows.shape[2]


def gram_loss(painted: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
    """|G - G*|² / |G*|², a mean over samples and layers (Gatys et al. 2016, equation 4, there not relative)."""
    total = 0
    for layer, theirs in wanted.items():
        off = (gram(painted[layer]) - theirs).square().sum((1, 2)) / theirs.square().sum((1, 2))
        total = total + off.mean() / len(wanted)
    return total


def sliced_wasserstein(painted: Mapping[str, Tensor], wanted: Mapping[str, Tensor], layers: Sequence[str]) -> Tensor:
    """Squared Wasserstein distance of the features' distributions over positions, along random directions, over the
    mean square along them; a mean over layers (Heitz et al. 2021, equations 4 and 5, there not relative).

    Moments and correlations leave the tails to the picture, and tails are what blurring cuts. By torch's global random
    numbers: 32 directions a layer, and of a large layer some positions.
    """
    total = 0
    for layer in layers:
        channels = painted[layer].shape[1]
        directions = F.normalize(torch.randn(channels, _DIRECTIONS), dim=0).to(painted[layer].device)
        own, theirs = (_along(each[layer], directions) for each in (painted, wanted))  # (B, n, directions)
        total = total + F.mse_loss(own, theirs) / theirs.square().mean() / len(layers)
    return total


def _along(z: Tensor, directions: Tensor) -> Tensor:
    """Features of at most so many random positions along some directions, sorted."""
    rows = z.permute(0, 2, 3, 1).flatten(1, 2)  # (B, n, C)
    if rows.shape[1] > _POSITIONS:
        rows = rows.index_select(1, torch.randperm(rows.shape[1])[:_POSITIONS].to(z.device))
    return (rows.float() @ directions).sort(1).values


def perceptual_loss(painted: Mapping[str, Tensor], wanted: Mapping[str, Tensor], layers: Sequence[str]) -> Tensor:
    """Mean absolute difference of features (Johnson et al. 2016, equation 2, there squared), summed over layers."""
    return sum(F.l1_loss(painted[layer].float(), wanted[layer].float()) for layer in layers)


def texture_loss(painted: Mapping[str, Tensor], wanted: Mapping[str, Tensor], windows: Mapping[str, int]) -> Tensor:
    """Mean absolute differences of features' means and deviations in windows, summed over layers.

    As much texture of the same kind in about the same place, whichever way it falls: a difference place by place is
    least where what cannot be known is blurred. Of the statistics that Ding et al. 2020 (Image Quality Assessment:
    Unifying Structure and Texture Similarity, section 3) compare over whole pictures.

    Args:
        painted, wanted: layers by name, (B, C, h, w).
        windows: sides of the windows, which overlap by half, by layer.
    """
    total = 0
    for layer, side in windows.items():
        own, theirs = (_in_windows(each[layer].float(), side) for each in (painted, wanted))
        total = total + sum(F.l1_loss(a, b) for a, b in zip(own, theirs, strict=True))
    return total


def _in_windows(z: Tensor, side: int) -> Moments:
    """Means and deviations, 2 × (B, C, h', w')."""
    mean, square = (F.avg_pool2d(x, side, side // 2) for x in (z, z.square()))
    return mean, ((square - mean.square()).clamp(min=0) + _FLAT).sqrt()


def hinge_discriminator(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)), a mean over heads (Lim and Ye 2017)."""
    return sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)) / len(real)


def hinge_generator(fake: Sequence[Tensor]) -> Tensor:
    """-mean D(fake), a mean over heads."""
    return -sum(f.mean() for f in fake) / len(fake)
