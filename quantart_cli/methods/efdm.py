"""EFDM: Exact Feature Distribution Matching (Zhang et al., CVPR 2022).

    t     = the i-th smallest value of f(c) becomes the i-th smallest value of f(s), channel by channel   equation 4
    image = g((1 - α) f(c) + α t)

AdaIN matches two moments of each channel, EFDM its whole distribution. f is VGG-19 to relu4_1, g the decoder of AdaIN:
``quantart adain --transfer efdm``. Several styles are blended by their shares: the average of their transferred
features is that of their quantiles.

Departures from the reference program:

* It takes features of equal size. Here the quantiles of the style are interpolated at those of the content.
* More than half of the features are 0, and the reference gives equal values an order that depends on where they are:
  with it, a picture upside down is painted differently. Here equal values are ordered by the sum of all channels.
* Channels that do not vary have no order: they take the style's mean, as in AdaIN.
* Transparent positions do not count; theirs are interpolated between the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quantiles:
    """Styles: pairs of a share and the sorted values of each channel, (C, n) float32; shares sum to 1."""

    parts: tuple[tuple[float, np.ndarray], ...]

    @staticmethod
    def of(values: np.ndarray, visible: np.ndarray | None = None) -> Quantiles:
        """Of values (C, n) at all positions; ``visible`` (n,) are those that count."""
        rows = np.array(values if visible is None else values[:, visible], np.float32, order="C")
        rows.sort(axis=1)
        return Quantiles(((1.0, rows),))

    @staticmethod
    def lerp(styles: list[Quantiles], shares: list[float]) -> Quantiles:
        """The weighted mean of several."""
        pairs = zip(shares, styles, strict=True)
        return Quantiles(tuple((w * own, rows) for w, style in pairs for own, rows in style.parts if w > 0))

    def at(self, channel: int, levels: np.ndarray) -> np.ndarray:
        """The value of a channel below which a share of the positions lies, for shares in [0, 1]."""
        found = [share * np.interp(levels, _levels(part.shape[1]), part[channel]) for share, part in self.parts]
        total: np.ndarray = np.sum(found, axis=0)
        return total

    def mean(self, channel: int) -> float:
        """Of a channel."""
        return sum(share * float(part[channel].mean(dtype=np.float64)) for share, part in self.parts)


def matched_to(values: np.ndarray, style: Quantiles, channel: int, positions: np.ndarray) -> np.ndarray:
    """The values of a channel with the distribution of the style's.

    Args:
        values: (n,).
        channel: which of its channels.
        positions: indices of the values that count, in the order that equal values get.
    """
    own = values[positions]
    if own.max() - own.min() <= 1e-5 * np.abs(own).max():
        return np.full_like(values, style.mean(channel))
    order = np.argsort(own, kind="stable")
    targets = style.at(channel, _levels(len(own))).astype(np.float32)
    if len(own) == len(values):
        found = np.empty_like(values)
    else:
        found = np.interp(values, own[order], targets).astype(np.float32)
    found[positions[order]] = targets
    return found


def _levels(count: int) -> np.ndarray:
    """The quantiles that sorted values stand for."""
    return np.linspace(0.5, count - 0.5, count) / count
