"""How much painted clips flicker: the warping error (Ruder et al. 2016; Lai et al. 2018, section 5).

    E = (mean over frames and pixels p of h(p) ‖x_t(p) - x_s(p + w(p))‖²)^½ / 3^½

x is the painted clip, w the flow from frame t to frame s of the clip itself, and h whether it holds. s is the frame
before for the short-term error, and the frame :data:`FAR` before for the long-term one. E is in levels of 8 bits. The
same for the clip itself is what noise and an inexact flow leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from quantart_cli import flow
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.networks import MetricNetworks
from quantart_cli.evaluation.painted import LAYERS, PaintedStyle, sample
from quantart_cli.flow import Array

FAR = 10
_HOLDS = 0.99
_SCORED = 10  # frames of which the painted score is that of the last

Frames = Iterable[list[Array]]
"""For each time the frame of the clip and those of the painted clips, (H, W, 3) uint8, of one size."""


@dataclass
class Flicker:
    """Measurements of one clip.

    Attributes:
        short, long: warping errors; None: no two frames so far apart have motion that can be followed.
        painted: mean painted score, see evaluation/painted.py; None without a style.
    """

    short: float | None = None
    long: float | None = None
    painted: float | None = None


@dataclass
class _Sums:
    squares: Array
    pixels: float = 0.0

    def add(self, now: list[Array], before: list[Array]) -> None:
        motion = flow.estimate(before[0], now[0], exact=True)
        holds = motion.holds > _HOLDS
        self.pixels += float(holds.sum())
        for i, (one, other) in enumerate(zip(now, before, strict=True)):
            difference = one - flow.warp(other.astype(np.float32), motion.flow)
            self.squares[i] += float((difference[holds] ** 2).mean(1).sum())

    def errors(self) -> list[float | None]:
        if self.pixels == 0:
            return [None] * len(self.squares)
        return [float(each) for each in np.sqrt(self.squares / self.pixels)]


@dataclass
class _Scores:
    """Painted scores of frames."""

    networks: MetricNetworks
    style: PaintedStyle
    values: list[list[float]] = field(default_factory=list)

    def add(self, now: list[Array]) -> None:
        distances = [self.style.distance(sample(features_of(self.networks, each), 0)) for each in now]
        self.values.append([self.style.score(distances[0], each) for each in distances])


def features_of(networks: MetricNetworks, rgb: Array) -> dict[str, torch.Tensor]:
    """The features that the painted score compares, of (H, W, 3) uint8."""
    image = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].to(networks.device).float() / 255
    with torch.inference_mode():
        return networks.vgg(image, LAYERS)  # type: ignore[no-any-return]


def measure(
    frames: Frames,
    count: int,
    style: Array | None = None,
    networks: MetricNetworks | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Flicker]:
    """Measure the clip itself and ``count`` painted clips.

    Args:
        frames: read once; a few are kept.
        count: number of painted clips.
        style: the painting, (H, W, 3) uint8, for the painted score; None: it is not measured.
        networks: for the painted score.
        progress: called with the number of frames done.

    Raises:
        QuantArtError: OpenCV is not installed, or there is no frame.
    """
    if not flow.available():
        raise QuantArtError("flicker is measured with OpenCV: pip install 'quantart-cli[video]'")
    short, long = (_Sums(np.zeros(count + 1)) for _ in range(2))
    scores = None
    if style is not None and networks is not None:
        scores = _Scores(networks, PaintedStyle.of(features_of(networks, style), 0))
    kept: deque[list[Array]] = deque(maxlen=FAR)
    for number, now in enumerate(frames):
        if kept:
            short.add(now, kept[-1])
        if len(kept) == FAR:
            long.add(now, kept[0])
        if scores is not None and number % _SCORED == _SCORED - 1:
            scores.add(now)
        kept.append(now)
        progress(number + 1)
    if not kept:
        raise QuantArtError("no frame can be read of all clips: nothing can be measured")
    if scores is not None and not scores.values:
        scores.add(kept[-1])
    painted = [None] * (count + 1) if scores is None else [float(each) for each in np.mean(scores.values, 0)]
    return [Flicker(*each) for each in zip(short.errors(), long.errors(), painted, strict=True)]
