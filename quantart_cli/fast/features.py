"""methods/features.py and the quantization of methods/quantart.py for arrays of numpy; the papers are told there.

What is arithmetic they share, in methods/arithmetic.py. Here is what an array does differently from a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import product

import numpy as np

from quantart_cli.engine.tiling import GRAIN, Tiles, Window
from quantart_cli.fast.networks import Network
from quantart_cli.fast.search import Search
from quantart_cli.fast.widths import floats, halves, rounded
from quantart_cli.methods.arithmetic import EPSILON, dress, transferring
from quantart_cli.pages import apart, let_go

# As in nets/ and methods/features.py, which import torch.
REACH, DECODER_REACH, SMALLEST = 32, 4, 16
_DEPTH = 512  # channels of relu4_1
_POSITIONS, _CHANNELS = 4096, 64  # worked on at a time
_SCORES = 2**21  # similarities of positions and entries at a time: 8 MB, which stay in the cache

Put = Callable[[Window, np.ndarray], None]
"""Takes the pixels of a window, (1, 3, h, w) float32, about [0, 1]."""


@dataclass(frozen=True)
class Statistics:
    """Channel-wise mean and standard deviation over positions, each (1, C, 1, 1) float32."""

    mean: np.ndarray
    std: np.ndarray

    @staticmethod
    def of(z: np.ndarray, coverage: np.ndarray | None = None) -> Statistics:
        """Statistics of (1, C, h, w) features; unbiased variance plus 1e-5, summed in float64.

        Args:
            z: float32, or bf16 as :func:`halves` keeps it.
            coverage: (h, w), how much of each position counts; None counts all alike.
        """
        flat = z.reshape(z.shape[1], -1)  # (C, n)
        count = flat.shape[1]
        weights = np.ones(count) if coverage is None else coverage.reshape(-1).astype(np.float64)
        sums = np.zeros((2, len(flat), 1))
        for left, top in product(range(0, count, _POSITIONS), range(0, len(flat), _CHANNELS)):
            rows, columns = slice(top, top + _CHANNELS), slice(left, left + _POSITIONS)
            part = floats(flat[rows, columns]).astype(np.float64)
            sums[0, rows, 0] += part @ weights[columns]
            sums[1, rows, 0] += np.square(part, out=part) @ weights[columns]
            if rows.stop >= len(flat):
                let_go()
        total = weights.sum()
        mean = sums[0] / total
        return Statistics.from_moments(mean, (sums[1] - total * np.square(mean)) / max(total - 1, 0.5))

    @staticmethod
    def from_moments(mean: np.ndarray, variance: np.ndarray) -> Statistics:
        """Of means and variances, C each; rounding may have left some of these below 0."""
        std = np.sqrt(variance.clip(min=0) + EPSILON)
        return Statistics(*(part.astype(np.float32).reshape(1, -1, 1, 1) for part in (mean, std)))

    def __getitem__(self, channels: slice) -> Statistics:
        """Those of some channels."""
        return Statistics(self.mean[:, channels], self.std[:, channels])

    @staticmethod
    def blend(parts: Sequence[Statistics], weights: Sequence[float]) -> Statistics:
        """Weighted mean of statistics."""
        pairs = list(zip(np.float32(weights), parts, strict=True))
        return Statistics(sum(w * part.mean for w, part in pairs), sum(w * part.std for w, part in pairs))


@dataclass(frozen=True)
class Features:
    """relu4_1 of a picture: ``z`` (1, 512, h, w), float32 or halves, ``coverage`` (h, w) or None: all is opaque."""

    z: np.ndarray
    coverage: np.ndarray | None = None

    @cached_property
    def statistics(self) -> Statistics:
        return Statistics.of(self.z, self.coverage)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)."""
        return self.z.shape[2], self.z.shape[3]

    def at(self, window: Window, channels: slice) -> np.ndarray:
        """Those of a window of positions and some channels, (1, C', h', w') float32."""
        return floats(self.z[(slice(None), channels, *window.slices)])


@dataclass(frozen=True)
class Quantized:
    """ẑ as the entries it is made of.

    Attributes:
        indices: (h, w, G), of part g in [g·K, (g + 1)·K).
        entries: (G·K, D / G) float32, of all parts.
        weight, bias: from codes to ẑ, (512, D) and (1, 512, 1, 1) float32.
        statistics: of ẑ.
    """

    indices: np.ndarray
    entries: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    statistics: Statistics
    _codes: dict[Window, np.ndarray] = field(default_factory=dict)  # of the last window

    def at(self, window: Window, channels: slice) -> np.ndarray:
        """Those of a window of positions and some channels, (1, C', h', w') float32."""
        if window not in self._codes:
            self._codes.clear()
            self._codes[window] = codes(self.entries, self.indices[window.slices])
        found = self.weight[channels] @ self._codes[window]
        found = found.reshape(1, -1, window.height, window.width)
        found += self.bias[:, channels]
        return found

    def transferred(self, style: Statistics, beta: float) -> Quantized:
        """AdaIN(ẑ, s) ⊕β ẑ, whose statistics nobody asks for."""
        return self.changed(*transferring(self.statistics, style, beta))

    def changed(self, slope: np.ndarray | float, shift: np.ndarray | float) -> Quantized:
        """Every channel of ẑ multiplied and moved, (1, C, 1, 1) each; the statistics are those of before."""
        weight = self.weight * (slope.reshape(-1, 1) if isinstance(slope, np.ndarray) else slope)
        return replace(self, weight=weight, bias=self.bias * slope + shift, _codes={})


def codes(entries: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """What entries stand for: (G·K, D / G) and (…, G) -> (D, n) float32."""
    return entries[indices.reshape(-1, indices.shape[-1])].reshape(-1, indices.shape[-1] * entries.shape[1]).T


def by_channels(some: Callable[[Window, slice], np.ndarray]) -> Callable[[Window], np.ndarray]:
    """All channels at a window from some at a time: what is made on the way to them stays in the processor's cache."""

    def z(window: Window) -> np.ndarray:
        found = np.empty((1, _DEPTH, window.height, window.width), np.float32)
        for top in range(0, _DEPTH, _CHANNELS):
            channels = slice(top, top + _CHANNELS)
            found[:, channels] = some(window, channels)
        return found

    return z


def quantize(networks: Mapping[str, Network], features: Features) -> Quantized:
    """VQ(z): nearest entries of the standardised features, with the statistics of z."""
    own = features.statistics
    flat = features.z.reshape(1, features.z.shape[1], 1, -1)
    searches, entries, expand = _book(networks["codes"], networks["expand"])
    size, width = searches[0].entries.shape
    indices = np.empty((flat.shape[3], len(searches)), np.int32)
    weights = None if features.coverage is None else features.coverage.reshape(-1)
    sums = _Sums(entries.shape[1] * len(searches))
    step = _rows(size)
    for left in range(0, flat.shape[3], step):
        some = slice(left, left + step)
        points = networks["project"](np.ascontiguousarray(floats(flat[..., some])), own.mean, own.std)
        for i, search in enumerate(searches):
            indices[some, i] = search(points[:, i * width : (i + 1) * width]) + i * size
        sums.add(codes(entries, indices[some]), None if weights is None else weights[some])
        let_go()
    weight, bias = expand[:, :-1], expand[:, -1].reshape(1, -1, 1, 1)
    weight, bias, std = dress(weight, bias, sums.statistics(weight, bias.ravel()), own)
    return Quantized(indices.reshape(*features.grid, -1), entries, weight, bias, Statistics(own.mean, std))


class _Sums:
    """Of codes and of their products over positions: whence the statistics of whatever is linear in codes.

    Args:
        width: D, channels of a code.
    """

    def __init__(self, width: int) -> None:
        self._total, self._codes, self._products = 0.0, np.zeros(width), np.zeros((width, width))

    def add(self, codes: np.ndarray, weights: np.ndarray | None) -> None:
        """(D, n) float32, and how much each counts, (n,), or None: all alike."""
        weighted = codes if weights is None else codes * weights
        self._total += codes.shape[1] if weights is None else weights.sum(dtype=np.float64)
        self._codes += weighted.sum(1, dtype=np.float64)
        self._products += codes @ weighted.T

    def statistics(self, weight: np.ndarray, bias: np.ndarray) -> Statistics:
        """Those of weight·code + bias, (C, D) and (C,)."""
        mean, weight = self._codes / self._total, weight.astype(np.float64)
        covariance = (self._products - self._total * np.outer(mean, mean)) / max(self._total - 1, 0.5)
        return Statistics.from_moments(weight @ mean + bias, np.einsum("cd,cd->c", weight @ covariance, weight))


@lru_cache(maxsize=1)
def _book(codes: Network, expand: Network) -> tuple[list[Search], np.ndarray, np.ndarray]:
    """Of a codebook a search for each part, the entries of all, and the way back; set up once a model."""
    zero = np.zeros(1, np.float32)
    tables = codes(zero).copy()
    return [Search(table, _rows(len(table))) for table in tables], np.concatenate(tables), expand(zero).copy()


def _rows(entries: int) -> int:
    """Positions compared with so many entries at a time."""
    return max(1, _SCORES // entries)


def encode(vgg: Network, image: np.ndarray, alpha: np.ndarray | None, tiles: Tiles, bf16: bool = False) -> Features:
    """E(image): relu4_1 of a picture of any size from 1×1 up; valid until the network is called again.

    Args:
        vgg: the encoder.
        image: (H, W, 3), sRGB, uint8 or float32 in about [0, 1].
        alpha: (H, W) uint8, the picture's opacity, or None.
        tiles: the windows it is computed in.
        bf16: whether to round to that, as torch does, which takes half the memory.
    """
    image = extend(image, SMALLEST)
    height, width = image.shape[:2]
    grid = -(-height // GRAIN), -(-width // GRAIN)
    z: np.ndarray | None = None

    def work(window: Window) -> None:
        nonlocal z
        outer = window.grown(REACH, height, width, GRAIN)
        part = vgg(_planes(image[outer.slices]))
        if (window.height, window.width) == (height, width):
            z = rounded(part) if bf16 else part
            return
        if z is None:
            z = apart((1, part.shape[1], *grid), np.uint16 if bf16 else np.float32)
        rows, columns = window.shrunk(GRAIN).slices
        inner_rows, inner_columns = window.within(outer).shrunk(GRAIN).slices
        inner = part[:, :, inner_rows, inner_columns]
        z[:, :, rows, columns] = halves(inner) if bf16 else inner

    tiles.run(height, width, work)
    assert z is not None
    if tiles.side is not None:
        vgg.release()  # as much as the decoder needs now
    return Features(z, _coverage(alpha, grid))


def decode(
    decoder: Network,
    latent: Callable[[Window], np.ndarray],
    grid: tuple[int, int],
    size: tuple[int, int],
    tiles: Tiles,
    put: Put,
) -> None:
    """D(z): a picture from its latents.

    Args:
        decoder: the decoder.
        latent: gives z at a window of positions, (1, 512, h', w') float32.
        grid: (h, w) of all positions.
        size: (H, W) of the picture, at most 8 times the grid.
        tiles: the windows it is computed in.
        put: takes each window of the picture.
    """

    def work(window: Window) -> None:
        outer = window.shrunk(GRAIN).grown(DECODER_REACH, *grid)
        part = decoder(latent(outer))
        top, left = window.top - outer.top * GRAIN, window.left - outer.left * GRAIN
        put(window, part[:, :, top : top + window.height, left : left + window.width])

    tiles.run(*size, work)
    if tiles.side is not None:
        decoder.release()


def extend(image: np.ndarray, least: int) -> np.ndarray:
    """Mirror a picture, (H, W[, 3]), to the right and below until both sides have ``least`` pixels or more."""
    for axis in (0, 1):
        size = image.shape[axis]
        if size < least:
            image = np.take(image, list(_mirrored(size, least)), axis)
    return image


def _mirrored(size: int, wanted: int) -> Iterator[int]:
    for position in range(wanted):
        yield min(position % (2 * size), 2 * size - 1 - position % (2 * size))


def _planes(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) as the network takes it, (1, 3, h, w) float32 in [0, 1]."""
    planes = np.array(image.transpose(2, 0, 1)[None], np.float32, order="C")
    return np.divide(planes, 255, out=planes) if image.dtype == np.uint8 else planes


def _coverage(alpha: np.ndarray | None, grid: tuple[int, int]) -> np.ndarray | None:
    """Opacity of a picture (H, W) uint8 at the positions of its features: (h, w) float32, means over their areas.

    None where all is opaque, and where nothing is: a picture with nothing visible counts as a whole.
    """
    if alpha is None or not alpha.any():
        return None
    alpha = extend(alpha, SMALLEST)
    rows = np.stack([alpha[part].mean(0, dtype=np.float32) for part in _areas(alpha.shape[0], grid[0])])
    return np.stack([rows[:, part].mean(1) for part in _areas(alpha.shape[1], grid[1])], axis=1) / 255


def _areas(size: int, count: int) -> Iterator[slice]:
    for i in range(count):
        yield slice(i * size // count, -(-(i + 1) * size // count))
