"""Formulas that are plain arithmetic, the same for tensors of torch and arrays of numpy. No torch in here."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

EPSILON = 1e-5
"""Of the AdaIN reference, added to the variance."""

Array = TypeVar("Array", bound=Any)
"""(1, C, h, w) float32, of torch or numpy."""


class Moments(Protocol):
    """Channel-wise mean and standard deviation, each (1, C, 1, 1) float32."""

    @property
    def mean(self) -> Any: ...

    @property
    def std(self) -> Any: ...


def adaptive_instance_norm(z: Array, own: Moments, other: Moments) -> Array:
    """AdaIN(x, y) = σ(y) (x - μ(x)) / σ(x) + μ(y)  (Huang and Belongie 2017, equation 8)."""
    return transfer(z, own, other, 1)


def transfer(z: Array, own: Moments, style: Moments, alpha: float) -> Array:
    """(1 - α) f(c) + α AdaIN(f(c), f(s)), (1, C, h, w), where f(c) has the statistics ``own``.

    Of each channel that is a multiple of f(c) and a constant: two passes over memory, where the formula has six.
    """
    if alpha == 0:
        return z
    slope, shift = transferring(own, style, alpha)
    t = z * slope
    t += shift
    return t


def transferring(own: Moments, style: Moments, alpha: float) -> tuple[Any, Any]:
    """What :func:`transfer` multiplies each channel with, and what it adds, (1, C, 1, 1) each."""
    ratio = style.std / own.std
    return 1 + alpha * (ratio - 1), alpha * (style.mean - own.mean * ratio)


def mix(a: Array, b: Array, p: float) -> Array:
    """a ⊕p b = p·a + (1 - p)·b."""
    t = a - b
    t *= p
    t += b
    return t


def dress(weight: Array, bias: Array, found: Moments, own: Moments) -> tuple[Array, Array, Array]:
    """The linear map to ẑ, changed so that ẑ has the statistics of z: AdaIN, channel by channel, of what it makes.

    Args:
        weight: (C, D), from codes to ẑ.
        bias: (1, C, 1, 1).
        found: statistics of what these make.
        own: of z.

    Returns:
        the weight, the bias, and σ(ẑ): σ(z) but for channels that hardly vary.
    """
    slope = own.std / found.std
    std = ((found.std**2 - EPSILON) * slope**2 + EPSILON) ** 0.5
    return weight * slope.reshape(-1, 1), adaptive_instance_norm(bias, found, own), std
