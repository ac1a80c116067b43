"""Distances between two sets of features: FID and KID, computed from inner products alone.

With X (n, d) and Y (m, d), rows centred, the covariances are XᵀX/(n-1) and YᵀY/(m-1), and

    tr (Σ_x Σ_y)^½ = sum of the singular values of X Yᵀ / √((n-1)(m-1)),

exactly, as Σ_x Σ_y and (X Yᵀ)(X Yᵀ)ᵀ have the same nonzero eigenvalues. So no root of a nearly singular 2048 × 2048
matrix is computed, and the products of a subset of the rows are a submatrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Products:
    """Inner products of the rows of X and Y, float64.

    Attributes:
        xx: (n, n).
        xy: (n, m).
        yy: (m, m).
        channels: d.
    """

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    channels: int

    @staticmethod
    def of(x: np.ndarray, y: np.ndarray) -> Products:
        """Of features (n, d) and (m, d), with two rows or more each."""
        x, y = x.astype(np.float64), y.astype(np.float64)
        return Products(x @ x.T, x @ y.T, y @ y.T, x.shape[1])

    def part(self, rows: np.ndarray, columns: np.ndarray) -> Products:
        """Of subsets of the rows of X and of Y, by their indices."""
        return Products(
            self.xx[np.ix_(rows, rows)],
            self.xy[np.ix_(rows, columns)],
            self.yy[np.ix_(columns, columns)],
            self.channels,
        )


def fid(products: Products) -> float:
    """Fréchet distance of the two sets as Gaussians (Heusel et al. 2017, equation 6), with unbiased covariances.

    |μ_x - μ_y|² + tr Σ_x + tr Σ_y - 2 tr (Σ_x Σ_y)^½. It is larger for fewer pictures: compare equal numbers only.
    """
    n, m = products.xy.shape
    means = products.xx.mean() + products.yy.mean() - 2 * products.xy.mean()
    traces = _spread(products.xx) + _spread(products.yy)
    centred = products.xy - products.xy.mean(0) - products.xy.mean(1, keepdims=True) + products.xy.mean()
    roots = np.linalg.svd(centred, compute_uv=False)
    return float(means + traces - 2 * roots.sum() / np.sqrt((n - 1) * (m - 1)))


def _spread(own: np.ndarray) -> float:
    """tr Σ of a set from its products with itself."""
    return float((np.trace(own) - own.mean() * len(own)) / (len(own) - 1))


def kid(products: Products) -> float:
    """Kernel distance, unbiased: squared MMD with the kernel (x·y / d + 1)³ (Bińkowski et al. 2018, section 4).

    Its expectation does not depend on the number of pictures. It can be negative when the sets are similar.
    """
    n, m = products.xy.shape
    kxx, kxy, kyy = ((part / products.channels + 1) ** 3 for part in (products.xx, products.xy, products.yy))
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def artfid(lpips: float, fid: float) -> float:
    """(1 + LPIPS to the content) · (1 + FID to the artworks) (Wright and Ommer 2022, section 3).

    Departure: the authors use an Inception trained on art, and we that of FID, so compare our numbers with each other
    only. LPIPS is on AlexNet, as in their code.
    """
    return (1 + lpips) * (1 + fid)
