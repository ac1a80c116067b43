"""Losses of the trainings. Each takes batches (B, ...) and returns a scalar, float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Moments = tuple[Tensor, Tensor]
Features = Mapping[str, Tensor]
"""Feature maps (B, C, h, w) by layer."""
_EPSILON = 1e-5  # added to the variance, as in the AdaIN reference
_PLAIN = 1e-4  # added to the energy of detail: where there is less, nothing is seen
_FLAT = 1e-2  # added to the variance in a window: the square root has no gradient at 0


def moments(z: Tensor) -> Moments:
    """Mean and standard deviation of each sample and channel: (B, C, h, w) -> 2 x (B, C, 1, 1) float32."""
    mean, deviation = _Moments.apply(z)
    return mean, deviation


class _Moments(torch.autograd.Function):
    """The gradient in one pass over the features. Autograd takes five, a tenth of an update's time."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Moments:
        exact = z.float()
        mean = exact.mean((2, 3), keepdim=True)
        centred = exact - mean if exact is z else exact.sub_(mean)
        count = z.shape[2] * z.shape[3]
        std = (torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True).square() / (count - 1) + _EPSILON).sqrt()
        ctx.save_for_backward(z, mean, std)
        return mean, std

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # d mean / dz = 1 / n; d std / dz = (z - mean) / ((n - 1) std)
        z, mean, std = ctx.saved_tensors
        of_mean, of_std = gradients
        count = z.shape[2] * z.shape[3]
        slope = of_std / ((count - 1) * std)
        return torch.addcmul((of_mean / count - slope * mean).to(z.dtype), z, slope.to(z.dtype))


def standardise(z: Tensor) -> Tensor:
    """(z - mean) / deviation of each sample and channel, (B, C, h, w)."""
    mean, deviation = moments(z)
    return (z - mean) / deviation


def renormalise(z: Tensor, own: Moments, other: Moments) -> Tensor:
    """AdaIN with given moments, (B, C, h, w)."""
    return (z - own[0]) * (other[1] / own[1]) + other[0]


def style_loss(output: Features, target: Mapping[str, Moments]) -> Tensor:
    """Mean squared differences of means and of deviations, summed over layers.

    Huang and Belongie 2017, equation 13, which has a norm instead of the mean of squares.
    """
    losses = []
    for layer, (mean, deviation) in target.items():
        own_mean, own_deviation = moments(output[layer])
        losses += [F.mse_loss(own_mean, mean), F.mse_loss(own_deviation, deviation)]
    return torch.stack(losses).sum()


def gram(z: Tensor) -> Tensor:
    """Gram matrix of the channels, averaged over positions: (B, C, h, w) -> (B, C, C) float32."""
    rows = z.float().flatten(2)  # (B, C, n)
    return rows @ rows.mT / rows.shape[2]


def gram_loss(output: Features, target: Mapping[str, Tensor]) -> Tensor:
    """|G - G*|^2 / |G*|^2, a mean over samples and layers (Gatys et al. 2016, equation 4, there not relative)."""
    losses = []
    for layer, theirs in target.items():
        off = (gram(output[layer]) - theirs).square().sum((1, 2)) / theirs.square().sum((1, 2))
        losses.append(off.mean())
    return torch.stack(losses).mean()


def perceptual_loss(output: Features, target: Features, layers: Sequence[str]) -> Tensor:
    """Mean absolute difference of features (Johnson et al. 2016, equation 2, there squared), summed over layers."""
    return torch.stack([F.l1_loss(output[layer].float(), target[layer].float()) for layer in layers]).sum()


def texture_loss(output: Features, target: Features, windows: Mapping[str, int]) -> Tensor:
    """Mean absolute differences of the features' means and deviations in windows, summed over layers.

    It compares the amount and kind of texture near a place. A difference position by position would be least for a
    blurred picture. The statistics are those that Ding et al. 2020 (section 3) compare over whole pictures.

    Args:
        output, target: (B, C, h, w) by layer.
        windows: side of the windows by layer; they overlap by half.
    """
    losses = []
    for layer, side in windows.items():
        own, theirs = (_in_windows(each[layer].float(), side) for each in (output, target))
        losses += [F.l1_loss(a, b) for a, b in zip(own, theirs, strict=True)]
    return torch.stack(losses).sum()


def _in_windows(z: Tensor, side: int) -> Moments:
    """Means and deviations, 2 x (B, C, h', w')."""
    mean, square = (F.avg_pool2d(x, side, side // 2) for x in (z, z.square()))
    return mean, ((square - mean.square()).clamp(min=0) + _FLAT).sqrt()


def cosine_distances(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine between all positions: (B, C, n), (B, C, m) -> (B, n, m)."""
    return 1 - torch.bmm(F.normalize(a, dim=1).transpose(1, 2), F.normalize(b, dim=1))


def relaxed_emd(output: Tensor, target: Tensor, positions: int) -> Tensor:
    """Relaxed earth mover's distance of features under the cosine distance (Kolkin et al. 2019, equation 6).

    (B, C, h, w) each; uses torch's global generator to choose that many positions at most.
    """
    d = cosine_distances(_choose(output, positions), _choose(target, positions))
    return torch.maximum(d.amin(2).mean(1), d.amin(1).mean(1)).mean()


def _choose(z: Tensor, count: int) -> Tensor:
    """(B, C, h, w) -> (B, C, up to count) float32 at random positions."""
    z = z.float().flatten(2)
    return z[:, :, torch.randperm(z.shape[2])[:count].to(z.device)]


def self_similarity(output: Tensor, content: Tensor, positions: int) -> Tensor:
    """Difference of the matrices of cosine distances within each picture (Kolkin et al. 2019, equation 7).

    The columns are normalised to sum 1, as there; the mean over entries is multiplied by ``positions``. Uses torch's
    global generator to choose that many positions, the same in both.
    """
    chosen = torch.randperm(output[0, 0].numel())[:positions].to(output.device)
    a, b = (z.float().flatten(2)[:, :, chosen] for z in (output, content))
    own, wanted = cosine_distances(a, a), cosine_distances(b, b)
    relative = [d / d.sum(1, keepdim=True).clamp(min=1e-6) for d in (own, wanted)]
    return (relative[0] - relative[1]).abs().mean() * positions


def grid_loss(image: Tensor, period: int = 8, window: int = 6) -> Tensor:
    """How much of the detail of pictures repeats on a grid, about 0 to 1: networks that upsample leave such a pattern.

    The detail is what a mean over 9 x 9 pixels removes. Added are the share of its energy that blocks of ``period``
    pixels a side have in common in a window, a mean over windows, and the relative variance of its energy over the
    places in a block.

    Args:
        image: (B, 3, H, W), H and W multiples of ``period``, of three periods at least.
        period: of the grid in pixels.
        window: side of the windows in blocks, less in small pictures; they overlap by half.
    """
    detail = (image - F.avg_pool2d(image, 9, 1, 4, count_include_pad=False))[:, :, period:-period, period:-period]
    blocks = F.pixel_unshuffle(detail, period).unflatten(1, (3, -1))  # (B, 3, period², rows, columns)
    energy = blocks.square()
    of_places = energy.mean((3, 4))
    whole = of_places.mean(2) + _PLAIN  # (B, 3)
    side = min(window, *blocks.shape[3:])
    repeated, around = (F.avg_pool2d(x.flatten(1, 2), side, max(1, side // 2)) for x in (blocks, energy))
    repeated, around = (x.unflatten(1, (3, -1)).mean(2) for x in (repeated.square(), around))  # (B, 3, rows, columns)
    loss: Tensor = (repeated / (around + _PLAIN)).mean() + (of_places.var(2) / whole.square()).mean()
    return loss


def hinge_discriminator(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)), a mean over heads (Lim and Ye 2017)."""
    return torch.stack([F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]).mean()


def hinge_generator(fake: Sequence[Tensor]) -> Tensor:
    """-mean D(fake), a mean over heads."""
    return -torch.stack([f.mean() for f in fake]).mean()
