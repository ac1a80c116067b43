"""The moments by which the features of a content are standardised before they are matched. Imports no torch."""

from __future__ import annotations

from typing import Any

_SMOOTH = 0.05  # variance, as a share of the style's, at which the moments of both count alike


def steadied(mean: Any, variance: Any, style_mean: Any, style_variance: Any) -> tuple[Any, Any]:
    """The content's own moments, but the style's in channels where the content hardly varies.

    A smooth gradient that is standardised by its own moments varies as much as the style: it would be painted with all
    the marks and colours that the style has. Most photographs vary as much as paintings, and keep their own moments.

    Args:
        mean, variance: of the content, (..., C) each, arrays or tensors.
        style_mean, style_variance: of the style, likewise.

    Returns:
        mean and variance.
    """
    share = 1 / (1 + (variance / style_variance / _SMOOTH) ** 2)  # of the style
    return mean + share * (style_mean - mean), variance + share * (style_variance - variance)
