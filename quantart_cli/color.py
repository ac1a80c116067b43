"""Keeping a photograph's colours: luminance-only transfer, and the style's colours matched to the content's.

Gatys, Bethge, Hertzmann, Shechtman: "Preserving color in neural artistic style transfer", arXiv:1606.05897, 2016;
Sun, Feng, Saenko: "Return of frustratingly easy domain adaptation" (CORAL), AAAI 2016.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # the Y of YIQ and of YCbCr (BT.601)
_BAND_PIXELS = 1 << 20
_FLAT = 1e-6  # a channel that varies less than this has no contrast to match


def keep_chroma(stylized: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The luminance of the stylized picture with the chroma of the content (Gatys et al. 2016, section 3.2).

    In YIQ, as in any space that is a luminance and two linear colour differences, exchanging Y is adding the same
    number to red, green and blue: y = c + (Y(s) - Y(c)). Where that leaves the gamut the colour is drawn towards the
    grey of the same luminance until it fits: clipping would change the luminance instead.

    Args:
        stylized: s, (H, W, 3) float32 in [0, 1], sRGB.
        content: c, (H, W, 3) float32 in [0, 1], sRGB.

    Returns:
        y, (H, W, 3) float32 in [0, 1], sRGB.

    Raises:
        ValueError: the shapes differ or are not (H, W, 3).
    """
    if stylized.shape != content.shape or stylized.ndim != 3 or stylized.shape[2] != 3:
        raise ValueError(f"need two pictures (H, W, 3) of one size, got {stylized.shape} and {content.shape}")
    result = np.empty(stylized.shape, np.float32)
    for rows in _bands(stylized.shape):
        chroma = np.asarray(content[rows], np.float32)
        luminance = (np.asarray(stylized[rows], np.float32) @ _LUMA)[..., None].clip(0, 1)
        chroma = chroma - (chroma @ _LUMA)[..., None]  # r - Y, g - Y, b - Y
        above = chroma.max(axis=2, keepdims=True)
        below = -chroma.min(axis=2, keepdims=True)
        tiny = np.float32(1e-12)
        fit = np.minimum((1 - luminance) / np.maximum(above, tiny), luminance / np.maximum(below, tiny))
        result[rows] = (luminance + np.minimum(fit, 1) * chroma).clip(0, 1)  # only rounding is clipped
    return result


def restore_chroma(stylized: np.ndarray, content: np.ndarray) -> None:
    """Give stylized pixels, (H, W, 3) uint8, the chroma of the content, in place and a band at a time."""
    for rows in _bands(stylized.shape):
        stylized[rows] = np.rint(keep_chroma(unit(stylized[rows]), unit(content[rows])) * 255)


def unit(values: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [0, 1]."""
    return values.astype(np.float32) / 255


def match_color(
    style: np.ndarray,
    content: np.ndarray,
    style_weight: np.ndarray | None = None,
    content_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Give a style picture the colours of a content picture: its mean, deviations and correlations (CORAL).

    With Z the pixels less their mean over their standard deviation, channel by channel, and C = (Z Zᵀ + I) / N:
    y = σ_c · C_c^½ C_s^-½ Z_s + μ_c.

    The reference implementation of AdaIN in PyTorch takes C = Z Zᵀ + I *without* the 1 / N, so that with pictures of
    different pixel counts its contrast is wrong by √(N_c / N_s). We divide; for N_c = N_s the two are the same.

    Args:
        style: (H, W, 3) float32 in [0, 1], sRGB.
        content: (H', W', 3) float32 in [0, 1], sRGB, of any size.
        style_weight: (H, W) in [0, 1], how much each pixel counts (its alpha); None: all alike. When all are 0 they
            count alike.
        content_weight: (H', W') likewise.

    Returns:
        (H, W, 3) float32, sRGB, NOT clamped to [0, 1]. A channel of the style without any contrast stays without; a
        content of a single colour gives that colour everywhere.

    Raises:
        ValueError: a picture is not (H, W, 3) or a weight is not of its picture's size.
    """
    mean_s, deviation_s, correlation_s = _statistics(style, style_weight)
    mean_c, deviation_c, correlation_c = _statistics(content, content_weight)
    inverse = np.divide(1, deviation_s, out=np.zeros(3), where=deviation_s > _FLAT)
    transfer = _power(correlation_c, 0.5) @ _power(correlation_s, -0.5)
    matrix = deviation_c[:, None] * transfer * inverse  # applied to columns: y = A (x - μ_s) + μ_c
    result = np.empty(style.shape, np.float32)
    for rows in _bands(style.shape):
        # in double: with a grey style C_s is nearly singular and A cancels large numbers
        result[rows] = (np.asarray(style[rows], np.float64) - mean_s) @ matrix.T + mean_c
    return result


def _statistics(picture: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (3,), unbiased standard deviation (3,) and correlation (Z Zᵀ + I) / N (3, 3), float64."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"need a picture (H, W, 3), got {picture.shape}")
    if weight is not None and weight.shape != picture.shape[:2]:
        raise ValueError(f"need a weight {picture.shape[:2]}, got {weight.shape}")
    if weight is not None and not weight.any():
        weight = None
    count, total = 0.0, np.zeros(3)
    for pixels, weights in _weighted_bands(picture, weight):
        count += weights.sum()
        total += weights @ pixels
    mean = total / count
    scatter = np.zeros((3, 3))
    for pixels, weights in _weighted_bands(picture, weight):
        centred = pixels - mean
        scatter += (centred * weights[:, None]).T @ centred
    deviation = np.sqrt(scatter.diagonal() / (count - 1 if count > 1 else count))
    inverse = np.divide(1, deviation, out=np.zeros(3), where=deviation > _FLAT)
    return mean, deviation, (scatter * np.outer(inverse, inverse) + np.eye(3)) / count


def _weighted_bands(picture: np.ndarray, weight: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for rows in _bands(picture.shape):
        pixels = np.asarray(picture[rows], np.float64).reshape(-1, 3)
        weights = np.ones(len(pixels)) if weight is None else np.asarray(weight[rows], np.float64).reshape(-1)
        yield pixels, weights


def _power(symmetric: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric positive definite matrix, by its eigenvectors."""
    values, vectors = np.linalg.eigh(symmetric)
    power: np.ndarray = (vectors * np.maximum(values, np.finfo(np.float64).tiny) ** exponent) @ vectors.T
    return power


def _bands(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows of about a million pixels, so that temporary arrays stay small beside the picture."""
    rows = max(1, _BAND_PIXELS // max(1, shape[1]))
    return [slice(top, top + rows) for top in range(0, shape[0], rows)]
