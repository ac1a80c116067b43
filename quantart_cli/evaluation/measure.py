"""Outputs measured pair by pair, and the scores of each system."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.confidence import Estimate, halves
from quantart_cli.evaluation.distances import Products, artfid, fid, kid
from quantart_cli.evaluation.inception import FEATURES
from quantart_cli.evaluation.networks import MetricNetworks
from quantart_cli.evaluation.painted import PaintedStyle, Samples, high_band_energy, sample, self_similarity
from quantart_cli.evaluation.pictures import Pair, Source, square
from quantart_cli.evaluation.style import LAYERS, StyleStatistics
from quantart_cli.evaluation.systems import System

Progress = Callable[[int, int], None]
"""Called with (units done, units in all)."""
Watch = Callable[[Pair, str, np.ndarray], None]
"""Called with every output: its pair, the system's name, and (size, size, 3) uint8."""

_STYLES = 64  # kept, about 5 MB each


@dataclass
class Measured:
    """Measurements of one system on n pictures.

    Attributes:
        count: n.
        values: metric -> (n,), nan where it does not exist.
        seconds: (n,), to paint; None for pictures without pairs.
        features: (n, 2048) of Inception; None without it.
    """

    name: str
    count: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: np.ndarray | None = None
    features: np.ndarray | None = None


@dataclass(frozen=True)
class _Content:
    """A content and what outputs are compared with."""

    rgb: np.ndarray
    samples: Samples
    structure: Tensor
    lpips: Mapping[str, list[Tensor]]


@dataclass(frozen=True)
class _Style:
    """What outputs are compared with in a style."""

    statistics: StyleStatistics
    painted: PaintedStyle
    high_band: float


class _Meter:
    """Measures outputs; features of the last content and of the last styles are kept."""

    def __init__(self, networks: MetricNetworks, size: int, seed: int) -> None:
        self._networks, self._size, self._seed = networks, size, seed
        self.content = lru_cache(maxsize=1)(self._content)
        self.style = lru_cache(maxsize=_STYLES)(self._style)

    @torch.inference_mode()
    def _content(self, source: Source) -> _Content:
        rgb = square(source.path, self._size)
        image = self._tensor(rgb)
        lpips = {name: network.features(image) for name, network in self._networks.lpips.items()}
        samples = sample(self._networks.vgg(image, LAYERS), self._seed)
        return _Content(rgb, samples, self_similarity(samples), lpips)

    @torch.inference_mode()
    def _style(self, source: Source) -> _Style:
        rgb = square(source.path, self._size)
        features = self._networks.vgg(self._tensor(rgb), LAYERS)
        return _Style(StyleStatistics.of(features), PaintedStyle.of(features, self._seed), high_band_energy(rgb))

    @torch.inference_mode()
    def values(self, output: np.ndarray, content: _Content, style: _Style, photo: float) -> dict[str, float]:
        """The metrics of one output that need a content and a style; ``photo`` is the distance between these."""
        image = self._tensor(output)
        features = self._networks.vgg(image, LAYERS)
        samples, statistics = sample(features, self._seed), StyleStatistics.of(features)
        found = {
            "painted": style.painted.score(photo, style.painted.distance(samples)),
            "positions": style.painted.positions_used(samples),
            "high_band": high_band_energy(output) / style.high_band if style.high_band else float("nan"),
            "self_similarity": (self_similarity(samples) - content.structure).abs().mean().item(),
            "gram": statistics.gram_distance(style.statistics).item(),
            "moments": statistics.moment_distance(style.statistics).item(),
        }
        for name, network in self._networks.lpips.items():
            found[name] = network.distance(content.lpips[name], network.features(image)).item()
        return found

    def _tensor(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) float32 in [0, 1] on the device."""
        return torch.tensor(rgb).to(self._networks.device).permute(2, 0, 1)[None].float().div_(255)


def measure(
    systems: Sequence[System],
    pairs: Sequence[Pair],
    size: int,
    networks: MetricNetworks,
    progress: Progress,
    watch: Watch = lambda pair, name, rgb: None,
    seed: int = 0,
) -> list[Measured]:
    """Paint every pair with every system, and measure the outputs.

    Pairs are painted content by content, so that features of a content are computed once; results are in the order of
    the pairs. The first picture of each system is painted twice, and timed the second time.

    Args:
        systems: each with a name of its own.
        pairs: to paint.
        size: side of the squares, at least 32 pixels.
        networks: that measure.
        progress: counts outputs.
        watch: called with every output.
        seed: of the positions whose features are compared.

    Raises:
        QuantArtError: a picture cannot be read.
    """
    meter, count = _Meter(networks, size, seed), len(pairs)
    features = (count, FEATURES) if networks.inception else None
    found = [
        Measured(system.name, count, seconds=np.zeros(count), features=features and np.zeros(features, np.float32))
        for system in systems
    ]
    for done, index in enumerate(sorted(range(count), key=lambda index: (pairs[index].content.name, index))):
        pair = pairs[index]
        content, style = meter.content(pair.content), meter.style(pair.style)
        photo, style_rgb = style.painted.distance(content.samples), square(pair.style.path, size)
        for number, (system, into) in enumerate(zip(systems, found, strict=True), 1):
            if done == 0:
                system.output(pair, content.rgb, style_rgb)
            start = time.perf_counter()
            output = system.output(pair, content.rgb, style_rgb)
            assert into.seconds is not None
            into.seconds[index] = time.perf_counter() - start
            for name, value in meter.values(output, content, style, photo).items():
                into.values.setdefault(name, np.full(count, np.nan))[index] = value
            if networks.inception and into.features is not None:
                into.features[index] = networks.inception(output)
            watch(pair, system.name, output)
            progress(done * len(systems) + number, count * len(systems))
    return found


def inception_features(
    paths: Sequence[Path],
    size: int,
    network: Callable[[np.ndarray], np.ndarray],
    progress: Progress,
    warn: Callable[[str], None],
) -> np.ndarray:
    """Features of pictures as squares, (n, 2048) float32, without pictures that cannot be read.

    Args:
        size: side of the squares.
        network: (size, size, 3) uint8 sRGB -> (2048,) float32.
        progress: counts pictures.
        warn: called with one line for each picture that is left out.

    Raises:
        QuantArtError: fewer than two can be read.
    """
    rows = []
    for number, path in enumerate(paths, 1):
        try:
            rows.append(network(square(path, size)))
        except QuantArtError as error:
            warn(f"{error}: left out")
        progress(number, len(paths))
    if len(rows) < 2:
        raise QuantArtError(f"{paths[0].parent}: {len(rows)} of {len(paths)} pictures can be read, 2 are needed")
    return np.stack(rows)


@dataclass(frozen=True)
class Scores:
    """Scores of a system.

    Attributes:
        pictures: how many were measured.
        values: metric -> mean, or "fid", "kid" and "artfid"; without those that could not be measured.
        seconds: for one picture, the median.
    """

    name: str
    pictures: int
    values: dict[str, Estimate]
    seconds: float | None


def score(measured: Measured, reference: np.ndarray | None, seed: int, progress: Progress) -> Scores:
    """Scores of a system with their confidence.

    Args:
        reference: features of artworks, (m, 2048); None: no FID and KID.
        seed: of the random halves; systems with equally many pictures share them.
        progress: counts the halves whose FID is computed.
    """
    rows = halves(measured.count, seed)
    values = {}
    for name, each in measured.values.items():
        if np.isfinite(each).any():
            values[name] = Estimate.of(_mean(each), [_mean(each[half]) for half in rows])
    if reference is not None and measured.features is not None:
        products = Products.of(measured.features, reference)
        fids, kids = [], []
        for number, half in enumerate(zip(rows, halves(len(reference), seed + 1), strict=True), 1):
            part = products.part(*half)
            fids.append(fid(part))
            kids.append(kid(part))
            progress(number, len(rows))
        values["fid"], values["kid"] = Estimate.of(fid(products), fids), Estimate.of(kid(products), kids)
        if "lpips_alex" in values:
            near = values["lpips_alex"]
            draws = [artfid(d, f) for d, f in zip(near.draws, fids, strict=True)]
            values["artfid"] = Estimate.of(artfid(near.value, values["fid"].value), draws)
    seconds = None if measured.seconds is None else float(np.median(measured.seconds))
    return Scores(measured.name, measured.count, values, seconds)


def _mean(values: np.ndarray) -> float:
    """Of those that exist; nan without any."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
