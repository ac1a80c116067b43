"""Painted score: how far an output is on the way from the photograph to the painting, 0 to 1.

    s = (d_photo - d_out) / (d_photo - d_self)

d is the relaxed earth mover's distance (REMD, Kolkin et al. 2019, section 2.1) to the style's features at relu2_1,
relu3_1 and relu4_1 of the normalised VGG-19, the mean of the three layers. Departures: the mean of the style's features
is subtracted first (Kolkin et al. 2022), as otherwise all cosines are close to 1. d_self is the distance between two
halves of the painting. All distances compare equally many positions, as d falls with their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LAYERS = ("relu2_1", "relu3_1", "relu4_1")
_POSITIONS = 1024
_SMALLEST = 0.01  # of d_photo - d_self: below it the photograph is as close to the style as the painting is

Samples = Mapping[str, Tensor]
"""Layer -> (n, C) float32 features at random positions, the same positions in pictures of one size."""


def sample(features: Mapping[str, Tensor], seed: int) -> Samples:
    """Features of one picture at random positions.

    Args:
        features: layer -> (1, C, H, W), H and W at least 2.
        seed: of the positions; n is at most 1,024 and at most the positions of half a picture.
    """
    return {layer: _rows(features[layer], _count(features[layer]), seed) for layer in LAYERS}


def _count(feature: Tensor) -> int:
    height, width = feature.shape[2:]
    return min(_POSITIONS, height * (width // 2), (height // 2) * width)


def _rows(feature: Tensor, count: int, seed: int) -> Tensor:
    rows = feature[0].flatten(1).T.float()  # (H W, C)
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    return rows[chosen.to(rows.device)]


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos of all rows: (n, C), (m, C) -> (n, m)."""
    return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


def remd(a: Tensor, b: Tensor) -> float:
    """Relaxed earth mover's distance with cosine cost: the larger mean of row minima and of column minima."""
    distance = cosine_distance(a, b)
    return max(distance.amin(1).mean().item(), distance.amin(0).mean().item())


@dataclass(frozen=True)
class PaintedStyle:
    """A painting that outputs are compared with.

    Attributes:
        means: layer -> (C,), of all positions.
        self_distance: d_self, the mean of left against right and top against bottom.
    """

    means: Mapping[str, Tensor]
    samples: Samples
    self_distance: float

    @staticmethod
    def of(features: Mapping[str, Tensor], seed: int) -> PaintedStyle:
        """Of one painting; arguments as for :func:`sample`."""
        means = {layer: features[layer][0].float().mean((1, 2)) for layer in LAYERS}
        distances = []
        for layer in LAYERS:
            feature, count = features[layer], _count(features[layer])
            height, width = feature.shape[2:]
            for one, other in (
                (feature[..., : width // 2], feature[..., width // 2 :]),
                (feature[..., : height // 2, :], feature[..., height // 2 :, :]),
            ):
                halves = (_rows(half, count, seed) - means[layer] for half in (one, other))
                distances.append(remd(*halves))
        return PaintedStyle(means, sample(features, seed), float(np.mean(distances)))

    def distance(self, samples: Samples) -> float:
        """d between a picture and the painting: mean REMD of the layers, 0 to 2."""
        return float(np.mean([remd(*self._centred(samples, layer)) for layer in LAYERS]))

    def score(self, photo: float, output: float) -> float:
        """s from d_photo and d_out; nan where the photograph is as close to the style as the painting itself."""
        span = photo - self.self_distance
        return (photo - output) / span if span >= _SMALLEST else float("nan")

    def positions_used(self, samples: Samples) -> float:
        """Share of the style's sampled positions that are nearest to some position of the picture at relu3_1.

        Random matches give 1 - 1/e = 0.63; one patch repeated everywhere gives nearly 0.
        """
        nearest = cosine_distance(*self._centred(samples, "relu3_1")).argmin(1)
        return len(torch.unique(nearest)) / len(self.samples["relu3_1"])

    def _centred(self, samples: Samples, layer: str) -> tuple[Tensor, Tensor]:
        return samples[layer] - self.means[layer], self.samples[layer] - self.means[layer]


def self_similarity(samples: Samples) -> Tensor:
    """Structure of a picture (Kolkin et al. 2019, equation 6): cosine distances of its relu4_1, (n, n).

    Each column is divided by its mean. The mean absolute difference of two of them is the self-similarity distance.
    """
    distance = cosine_distance(samples["relu4_1"], samples["relu4_1"])
    return distance / distance.mean(0).clamp(min=1e-6)


def high_band_energy(rgb: np.ndarray) -> float:
    """Energy of luminance above half the Nyquist frequency (0.25 cycles a pixel), a pixel: brush marks and noise.

    Args:
        rgb: (H, W, 3) uint8; a Hann window keeps the border out.
    """
    luma = rgb @ np.array([0.299, 0.587, 0.114]) / 255
    window = np.hanning(luma.shape[0])[:, None] * np.hanning(luma.shape[1])
    spectrum = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(luma.shape[0])[:, None], np.fft.fftfreq(luma.shape[1]))
    return float(spectrum[frequency > 0.25].sum() / luma.size**2)
