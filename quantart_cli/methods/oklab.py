"""Recolouring in OkLab: hues moved to those of the style, under the lightness that was painted.

Kolkin et al. 2022, section 3.5, with the covariance moved by optimal transport.
OkLab: Björn Ottosson, "A perceptual color space for image processing", 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_PASSES = 5  # of the bilateral filter over 3 × 3 pixels
_EDGE = 10.0  # its weight of a neighbour is exp(-10 |difference of L|)
_MOST = 4.0  # times hues are spread at most
_LEAST = 1e-8  # variance of a or b that counts; greys have less


def to_oklab(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1] to L, a, b, (B, 3, H, W) float32; L in [0, 1], a and b within about ±0.4."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4)
    return _mix(_mix(linear, rgb.new_tensor(_TO_LMS)).clamp(min=0) ** (1 / 3), rgb.new_tensor(_TO_LAB))


def from_oklab(lab: Tensor) -> Tensor:
    """L, a, b to sRGB, clamped to [0, 1]."""
    linear = _linear(lab).clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)


def recolor(painted: Tensor, source: Tensor, mean: Tensor, covariance: Tensor, weights: Tensor | None = None) -> Tensor:
    """The painted picture's L with the a and b of a source, moved to a mean and covariance, smoothed along L.

    Args:
        painted: (1, 3, H, W) in [0, 1], sRGB.
        source: of the same shape: the content, as in the paper, or the painted picture.
        mean: of the style's a and b, (2,).
        covariance: of the style's a and b, (2, 2).
        weights: how much each pixel of the source counts, (1, 1, H, W); None: all alike.

    Returns:
        (1, 3, H, W) in [0, 1], sRGB.
    """
    chroma = to_oklab(source.clamp(0, 1))[:, 1:]
    own_mean, own_covariance = moments(chroma, weights)
    # Hues are spread at most four times, and stay within three deviations of the style's: those of a nearly grey
    # picture, or of one with a single bright spot, would become colours that neither picture has.
    values, vectors = torch.linalg.eigh(transport(own_covariance, covariance))
    matrix = (vectors * values.clamp(0, _MOST)) @ vectors.T
    limit = 3 * covariance.diagonal().clamp(min=0).sqrt().view(1, 2, 1, 1)
    moved = _mix(chroma - own_mean.view(1, 2, 1, 1), matrix.to(chroma.dtype)).clamp(-limit, limit)
    chroma = moved + mean.view(1, 2, 1, 1)
    lightness = to_oklab(painted.clamp(0, 1))[:, :1]
    return from_oklab(within_gamut(torch.cat([lightness, smooth(chroma, lightness)], 1)))


def within_gamut(lab: Tensor) -> Tensor:
    """Colours beyond sRGB with less chroma, of the same lightness and hue, (B, 3, H, W)."""
    low = torch.zeros_like(lab[:, :1])
    high = torch.ones_like(low)
    for _ in range(6):
        share = (low + high) / 2
        linear = _linear(torch.cat([lab[:, :1], lab[:, 1:] * share], 1))
        fits = ((linear >= -1e-3) & (linear <= 1.001)).all(1, keepdim=True)
        low, high = torch.where(fits, share, low), torch.where(fits, high, share)
    linear = _linear(lab)
    fits = ((linear >= -1e-3) & (linear <= 1.001)).all(1, keepdim=True)
    return torch.cat([lab[:, :1], lab[:, 1:] * torch.where(fits, 1.0, low)], 1)


def transport(own: Tensor, covariance: Tensor) -> Tensor:
    """The linear map from one covariance to another that moves points least, (2, 2) float64.

    A = C^-½ (C^½ D C^½)^½ C^-½ (Pitié and Kokaram 2007): unlike other maps it does not turn hues further than it must.
    """
    root, inverse = _power(own, 0.5), _power(own, -0.5)
    return inverse @ _power(root @ covariance.double() @ root, 0.5, _LEAST**2) @ inverse


def moments(chroma: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean (2,) and covariance (2, 2) of a and b, (1, 2, H, W)."""
    rows = chroma[0].flatten(1).T  # (n, 2)
    counts = rows.new_ones(len(rows), 1) if weights is None or not weights.any() else weights.reshape(-1, 1)
    counts = counts / counts.sum()
    mean = (rows * counts).sum(0)
    centred = rows - mean
    return mean, (centred * counts).T @ centred


def smooth(values: Tensor, guide: Tensor) -> Tensor:
    """A bilateral filter: means over 3 × 3 pixels, five times, of neighbours as light as the pixel.

    Args:
        values: (1, C, H, W).
        guide: (1, 1, H, W), the lightness.
    """
    height, width = guide.shape[2:]
    shifts = [(slice(y, y + height), slice(x, x + width)) for y in range(3) for x in range(3)]
    lightness = F.pad(guide, (1, 1, 1, 1), mode="replicate")
    for _ in range(_PASSES):
        padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
        total, found = torch.zeros_like(guide), torch.zeros_like(values)
        for rows, columns in shifts:
            weight = torch.exp(-_EDGE * (lightness[:, :, rows, columns] - guide).abs())
            found.addcmul_(padded[:, :, rows, columns], weight)
            total += weight
        values = found / total
    return values


def _linear(lab: Tensor) -> Tensor:
    """L, a, b to linear RGB, not clamped."""
    to_lms, to_lab = (lab.new_tensor(matrix).double().inverse().to(lab.dtype) for matrix in (_TO_LMS, _TO_LAB))
    return _mix(_mix(lab, to_lab) ** 3, to_lms)


def _mix(image: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", matrix, image)


def _power(symmetric: Tensor, exponent: float, least: float = _LEAST) -> Tensor:
    values, vectors = torch.linalg.eigh(symmetric.double())
    # A picture without hue stays so: the inverse of no variance is none.
    powers = torch.where(values > least, values.clamp(min=least) ** exponent, 0.0)
    result: Tensor = (vectors * powers) @ vectors.T
    return result
