"""Distances between the features of a picture and those of a style: a small class a loss, one signature for all.

Li, Wang, Liu and Hou: Demystifying Neural Style Transfer (IJCAI 2017) read the Gram matrices of Gatys et al. as one
member of a family: the maximum mean discrepancy (MMD) between two sets of feature vectors, under some kernel.

A loss sees a picture through a *statistic*, a sum over positions: those of its windows add up to that of the whole, so
that a picture cut into windows has the same losses, and, window by window, the same gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.methods.tensors import bands
from quantart_cli.tiling import Tile

_POSITIONS = 16384  # taken to float32 at a time
_EPSILON = 1e-5
_SAMPLE = 1024


@dataclass(frozen=True)
class PositionWeights:
    """Which positions of a layer count, and how much.

    Attributes:
        weights: (1, 1, h, w) float32, of the whole picture sum 1.
        rows: (n,) int64, with ``columns`` the positions of a sample, drawn with these probabilities; None: all count.
        columns: (n,) int64.
        kept: (n,) float32, 1 where a position of the sample lies within the window, else 0.
    """

    weights: Tensor
    rows: Tensor | None = None
    columns: Tensor | None = None
    kept: Tensor | None = None

    def drawn(self, count: int, generator: torch.Generator) -> PositionWeights:
        """With a sample of its positions, with replacement."""
        sums = self.weights.flatten().cpu().double().cumsum(0)
        chances = torch.rand(count, generator=generator, dtype=torch.float64) * sums[-1]
        places = torch.searchsorted(sums, chances).clamp(max=len(sums) - 1).to(self.weights.device)
        width = self.weights.shape[3]
        kept = self.weights.new_ones(count)
        return replace(self, rows=places // width, columns=places % width, kept=kept)

    def at(self, window: Tile) -> PositionWeights:
        """That of a window of positions."""
        rows, columns = window.slices
        weights = self.weights[:, :, rows, columns]
        if self.rows is None or self.columns is None:
            return PositionWeights(weights)
        down, right = self.rows - window.top, self.columns - window.left
        inside = (down >= 0) & (down < window.height) & (right >= 0) & (right < window.width)
        return PositionWeights(weights, down.where(inside, 0), right.where(inside, 0), inside.to(weights.dtype))


class StyleLoss:
    """Base of the losses.

    Attributes:
        sample: how many positions it draws anew at each step; 0: it looks at all of them.
    """

    sample = 0

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        """A sum over the positions of features (1, C, h, w), float32; over windows it adds up."""
        raise NotImplementedError

    def blend(self, parts: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
        """The statistic of several pictures as one: that of their mixture."""
        return sum((share * part for share, part in zip(shares, parts, strict=True)), torch.zeros_like(parts[0]))

    def prepare(self, target: Tensor) -> Any:
        """What :meth:`distance` takes of a statistic that stays, computed once."""
        return target

    def distance(self, own: Tensor, target: Any) -> Tensor:
        """Between a statistic and a prepared one: a scalar, differentiable."""
        raise NotImplementedError


class Gram(StyleLoss):
    """MMD under (xᵀy)², which is the Gram loss of Gatys et al. 2016, equation 4; a mean where they sum."""

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        return second_moment(z, guide.weights)

    def distance(self, own: Tensor, target: Tensor) -> Tensor:
        return (own - target).square().mean()


class Linear(StyleLoss):
    """MMD under xᵀy: means alone (Li et al. 2017, section 4.1); a mean over channels where they sum."""

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        return first_moment(z, guide.weights)

    def distance(self, own: Tensor, target: Tensor) -> Tensor:
        return (own - target).square().mean()


class Polynomial(StyleLoss):
    """MMD under (xᵀy / C + 1)²: Gram matrices and means. Li et al. 2017 take no constant, which is Gram, above."""

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        return both_moments(z, guide.weights)

    def distance(self, own: Tensor, target: Tensor) -> Tensor:
        squared = (own - target).square()
        return squared[:-1].mean() + 2 * squared[-1].mean()


class Gaussian(StyleLoss):
    """MMD under exp(-|x - y|² / 2σ²), σ² the mean |y - y'|² within the style (Li et al. 2017, section 4.1).

    Unbiased, over all pairs of 1,024 positions drawn anew at each step; they take consecutive pairs alone. The style's
    positions are drawn once.
    """

    sample = _SAMPLE

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        assert guide.rows is not None
        assert guide.columns is not None
        assert guide.kept is not None
        places = guide.rows * z.shape[3] + guide.columns
        drawn = _exact(z[0].permute(1, 2, 0).reshape(-1, z.shape[1]).index_select(0, places))  # (n, C)
        return drawn * guide.kept.to(drawn.dtype)[:, None]

    def blend(self, parts: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
        ends = [round(sum(shares[: i + 1]) * len(parts[0])) for i in range(len(shares))]
        return torch.cat([part[a:b] for part, a, b in zip(parts, [0, *ends], ends, strict=False)])

    def prepare(self, target: Tensor) -> Any:
        distances = _squared_distances(target, target)
        scale = 2 * _off_diagonal_mean(distances).clamp(min=1e-12)
        return target, scale, _off_diagonal_mean(torch.exp(-distances / scale))

    def distance(self, own: Tensor, target: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        rows, scale, within = target
        x, xy = (_off_diagonal_mean(torch.exp(-_squared_distances(own, other) / scale)) for other in (own, rows))
        return x + within - 2 * xy


class RelaxedTransport(Gaussian):
    """The style loss of STROTSS (Kolkin, Salavon and Shakhnarovich 2019, section 2.2), of samples of each layer.

    max(mean_i min_j c(x_i, y_j), mean_j min_i c(x_i, y_j)) + |μ_x - μ_y|₁ / C + |Σ_x - Σ_y|₁ / C²

    with c the cosine distance: the relaxed earth mover's distance, and moments, which see the lengths that cosines do
    not. They compare hypercolumns of all layers.
    """

    sample = 512

    def prepare(self, target: Tensor) -> Any:
        return F.normalize(target), *_spread(target)

    def distance(self, own: Tensor, target: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        rows, mean, covariance = target
        units = F.normalize(own)
        with torch.no_grad():
            cosines = units @ rows.T
        there, back = (units * rows[cosines.argmax(1)]).sum(1), (units[cosines.argmax(0)] * rows).sum(1)
        transport = 1 - torch.minimum(there.mean(), back.mean())
        own_mean, own_covariance = _spread(own)
        return transport + (own_mean - mean).abs().mean() + (own_covariance - covariance).abs().mean()


class BatchNorm(StyleLoss):
    """Means and deviations of the channels (Li et al. 2017, section 4.2); a mean over channels where they sum."""

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        return torch.stack([first_moment(z, guide.weights), first_moment(z, guide.weights, power=2)])

    def distance(self, own: Tensor, target: Tensor) -> Tensor:
        return (own[0] - target[0]).square().mean() + (self._deviation(own) - self._deviation(target)).square().mean()

    @staticmethod
    def _deviation(moments: Tensor) -> Tensor:
        return ((moments[1] - moments[0].square()).clamp(min=0) + _EPSILON).sqrt()


class Wasserstein(StyleLoss):
    """Squared Wasserstein-2 distance between Gaussians of the same means and covariances, over the channels.

    |μ - m|² + tr(Σ + S - 2 (S^½ Σ S^½)^½) (Dowson and Landau 1982). Robust: it grows with the square of features
    where Gram's grows with their fourth power. The root is smoothed near 0, where its slope is infinite. In double
    precision: eigenvalues of features, of which most are 0, do not always converge in single.
    """

    def statistic(self, z: Tensor, guide: PositionWeights) -> Tensor:
        return both_moments(z, guide.weights)

    def prepare(self, target: Tensor) -> Any:
        mean, covariance = _central(target)
        values, vectors = torch.linalg.eigh(covariance)
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T  # S^½
        smooth = _EPSILON * covariance.diagonal().mean().square().clamp(min=1e-20)
        prepared = mean, root, smooth, torch.zeros_like(smooth)
        return *prepared[:3], self.distance(target.double(), prepared)

    def distance(self, own: Tensor, target: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        mean, root, smooth, least = target
        own_mean, covariance = _central(own)
        values = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0)
        overlap = ((values + smooth).sqrt() - smooth.sqrt()).sum()
        trace = covariance.diagonal().sum() + root.square().sum()
        found: Tensor = ((own_mean - mean).square().sum() + trace - 2 * overlap) / len(mean) - least
        return found.to(own)


STYLE_LOSSES: dict[str, type[StyleLoss]] = {
    "gram": Gram,
    "linear": Linear,
    "poly": Polynomial,
    "gaussian": Gaussian,
    "remd": RelaxedTransport,
    "bn": BatchNorm,
    "wasserstein": Wasserstein,
}


def first_moment(z: Tensor, weights: Tensor, power: int = 1) -> Tensor:
    """Σ_p w_p z_p^power, (1, C, h, w) and (1, 1, h, w) -> (C,) float32."""
    return (_exact(z).pow(power) * weights.to(_exact(z).dtype)).sum((0, 2, 3))


def second_moment(z: Tensor, weights: Tensor) -> Tensor:
    """Σ_p w_p z_p z_pᵀ, (1, C, h, w) and (1, 1, h, w) -> (C, C) float32."""
    found: Tensor = _SecondMoment.apply(z, weights)
    return found


def both_moments(z: Tensor, weights: Tensor) -> Tensor:
    """The second moment, (C, C), with the first as one more row: (C + 1, C)."""
    return torch.cat([second_moment(z, weights), first_moment(z, weights)[None]])


class _SecondMoment(torch.autograd.Function):
    """Band by band, so that features of half precision are at no time in float32 as a whole."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(z, weights)
        total = _exact(z.new_zeros(z.shape[1], z.shape[1]))
        for rows in bands(z, _POSITIONS):
            part, own = _positions(z, rows), _positions(weights, rows)  # (n, C), (n, 1)
            total += (part * own).T @ part
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        z, weights = ctx.saved_tensors
        both = slopes[0] + slopes[0].T
        exact = z.dtype != torch.bfloat16  # which has the range of float32; what comes of it is rounded to it anyway
        both = both if exact else both.to(z.dtype)
        gradient = torch.empty_like(z)
        for rows in bands(z, _POSITIONS):
            part = _positions(z, rows, exact) @ both * _positions(weights, rows)
            gradient[:, :, rows] = part.view(-1, z.shape[3], z.shape[1]).permute(2, 0, 1).to(z.dtype)
        return gradient, None


def _positions(z: Tensor, rows: slice, exact: bool = True) -> Tensor:
    """Rows of (1, C, h, w) as (n, C)."""
    found = z[0, :, rows].permute(1, 2, 0).reshape(-1, z.shape[1])
    return _exact(found) if exact else found


def _exact(z: Tensor) -> Tensor:
    return z if z.dtype == torch.float64 else z.float()


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, C) and (m, C) -> (n, m)."""
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def _off_diagonal_mean(values: Tensor) -> Tensor:
    n = len(values)
    return (values.sum() - values.diagonal().sum()) / (n * (n - 1))


def _spread(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C, C) of rows (n, C)."""
    centred = rows - rows.mean(0)
    return rows.mean(0), centred.T @ centred / len(rows)


def _central(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C, C) of both moments, float64; on the CPU where the device has no such numbers."""
    moments = (moments.cpu() if moments.device.type == "mps" else moments).double()
    mean = moments[-1]
    return mean, moments[:-1] - mean[:, None] * mean
