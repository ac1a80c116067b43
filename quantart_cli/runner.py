"""The runner: runs stages over the tiles of a picture. This module does not import torch.

A method calls the runner once for each stage::

    c = runner(ENCODE, content)  # {"z": MapOf, "moments": Moments}
    image = runner(DECODE, z=c["z"], slope=slope, shift=shift)["image"]

For each tile the runner cuts the inputs with a halo around the tile, computes the network, crops the halo from the
outputs, and stores them. The halo is as wide as the receptive field requires. Padding inside the networks changes the
halo only, except at the borders of the picture. So the result does not depend on the tiles.

A position is a pixel of a feature map: a map of stride 8 has one for each 8 × 8 pixels of the picture. The input
``weight`` of a stage says how much each position counts in moments: its opacity. The backend has the weights of the
networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantart_cli.memo import Memo
from quantart_cli.scratch import alloc_scratch
from quantart_cli.stages import Map, Pixels, Stage, Summed, Sums
from quantart_cli.tiling import Tile, Tiler

SMALLEST_SIDE = 16
"""Least height and width of a picture in pixels: relu4_1 has stride 8, and reflection padding needs two positions."""


class NotFinite(ArithmeticError):
    """A network returned numbers that are not finite: the precision overflowed."""


class Backend(Protocol):
    """Computes networks, with array types of its own. The implementations are in backends/."""

    def tile_of_image(self, pixels: np.ndarray) -> Any:
        """Convert pixels (h, w, 3), uint8 or float32 in [0, 1], to a network input (1, 3, h, w), float32 in [0, 1]."""

    def array(self, values: np.ndarray) -> Any:
        """Convert a float32 or int32 array to a network input."""

    def numpy(self, values: Any) -> np.ndarray:
        """Convert an output of a network to a float32 or integer array."""

    def pixels(self, values: Any) -> np.ndarray | None:
        """Clip, scale and round a picture (1, 3, h, w) in about [0, 1] to (h, w, 3) uint8; None if it is not finite."""

    def to_map(self, values: np.ndarray, like: Any) -> Any:
        """Convert (1, C, h, w) float32 or int32 to a map, floats in the precision of the map ``like``."""

    def allocate(self, like: Any, height: int, width: int) -> Any:
        """Allocate the map of a whole picture, (1, C, height, width), with C and the dtype of the tile ``like``."""

    def channels_last(self, values: Any) -> Any:
        """Convert a map (1, C, h, w) to (1, h, w, C): what is copied position by position is read in one piece."""

    def empty(self, like: Any, shape: tuple[int, ...]) -> Any:
        """Allocate an array of this shape, with the dtype of ``like``."""

    def prepare(self, stage: Stage) -> Callable[..., tuple[Any, ...]]:
        """Return the network of a stage, a function of the inputs in the order ``maps``, ``whole``, ``scalars``. Its
        next call may overwrite its outputs; see :meth:`keep`."""

    def keep(self, values: Any) -> Any:
        """Return an output of a network, or a copy, that the next call does not overwrite."""

    def finished(self, stage: Stage, tiles: int) -> None:
        """Called when a stage has run over all tiles of a picture, so many, so that memory can be freed."""

    def make_room(self) -> None:
        """Called before a picture is painted in tiles: what encoding its style took can be freed."""


@dataclass(frozen=True)
class MapOf:
    """A feature map of a whole picture.

    Attributes:
        values: (1, C, h, w), in the array type of the backend.
        stride: height and width of one position in pixels.
    """

    values: Any
    stride: int

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in positions."""
        return self.values.shape[2], self.values.shape[3]


@dataclass(frozen=True)
class Image:
    """A picture as input of stages.

    Attributes:
        pixels: (H, W, 3) uint8, or float32 in about [0, 1]. Small pictures are extended by mirroring, see :meth:`of`.
        size: (height, width) before the extension. The model crops the painted picture to the size of the content.
        opacity: (H, W) uint8; None if all pixels are opaque.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    opacity: np.ndarray | None = None

    @classmethod
    def of(
        cls, pixels: np.ndarray, opacity: np.ndarray | None = None, smallest: int = SMALLEST_SIDE, multiple: int = 1
    ) -> Image:
        """Prepare a picture.

        Args:
            pixels: (H, W, 3).
            opacity: (H, W) uint8, or None. A picture without any visible pixel counts as opaque.
            smallest: least height and width. Smaller pictures are extended by mirroring.
            multiple: height and width are extended to a multiple of it.
        """
        size = pixels.shape[0], pixels.shape[1]
        if opacity is not None:
            opacity = extend(opacity, smallest, multiple) if opacity.any() else None
        return cls(extend(pixels, smallest, multiple), size, opacity)

    def weight(self, stride: int) -> np.ndarray | None:
        """Opacity of each position of a map, (h, w) float32 in [0, 1]: the mean of its pixels. None: all opaque."""
        if self.opacity is None:
            return None
        height, width = (-(-length // stride) for length in self.opacity.shape)
        rows = np.stack(
            [self.opacity[part].mean(0, dtype=np.float32) for part in _areas(self.opacity.shape[0], height)]
        )
        return np.stack([rows[:, part].mean(1) for part in _areas(rows.shape[1], width)], axis=1) / np.float32(255)

    def visible(self, stride: int) -> np.ndarray | None:
        """Which positions of features are mostly opaque, (h, w) bool, at least one; None: all."""
        weight = self.weight(stride)
        return None if weight is None else weight >= min(0.5, float(weight.max()))


class Runner:
    """Runs stages over the tiles of pictures.

    Args:
        backend: computes the networks.
        tiler: cuts the pictures.
        progress: called with (stage name, tiles done, tiles in all).
        memo: keeps outputs for the next run with the same inputs; None: nothing is kept.
    """

    def __init__(
        self,
        backend: Backend,
        tiler: Tiler,
        progress: Callable[[str, int, int], None] = lambda *_: None,
        memo: Memo | None = None,
    ) -> None:
        self.backend = backend
        self.tiler = tiler
        self.progress = progress
        self.memo = memo

    def __call__(self, stage: Stage, image: Image | None = None, **inputs: Any) -> dict[str, Any]:
        """Run a stage over a whole picture.

        Args:
            image: the picture, if the stage has the input ``image``. The input ``weight`` is its opacity inside each
                tile, and 0 in the halo.
            **inputs: the other inputs by name: :class:`MapOf` for ``stage.maps``, arrays or :class:`MapOf` for
                ``stage.whole``, floats for ``stage.scalars``.

        Returns:
            the outputs by name. A ``Map`` is a :class:`MapOf`, ``Summed`` is
            :class:`~quantart_cli.stages.Moments` or :class:`~quantart_cli.stages.Covariance`, ``Pixels`` is an array
            (H, W, 3) uint8. H and W are those of ``image``, else those of the first map times its stride: they may be
            larger than the picture.

        Raises:
            NotFinite: a pixel or a moment is not finite.
        """
        if self.memo is None:
            return self._compute(stage, image, inputs)
        return self.memo.get_or_compute(stage, image, inputs, lambda: self._compute(stage, image, inputs))

    def _compute(self, stage: Stage, image: Image | None, inputs: dict[str, Any]) -> dict[str, Any]:
        run = _Run(self.backend, stage, image, inputs)
        height, width = run.size
        tiler = self.tiler if stage.tiled else Tiler()
        grain, tiler.grain = tiler.grain, math.lcm(stage.grain, tiler.grain)
        done, total = 0, tiler.count(height, width)

        def work(tile: Tile) -> None:
            nonlocal done, total
            run.tile(tile)
            done += 1
            total = max(total, done)  # tiles may have been halved
            self.progress(stage.name, done, total)

        try:
            tiler.run(height, width, work)
        finally:
            tiler.grain = grain
        self.backend.finished(stage, done)
        return run.results()

    def select(self, source: MapOf, places: np.ndarray) -> MapOf:
        """Make a new map whose values are taken from given positions of a map.

        Args:
            source: a map, (1, C, h, w).
            places: (a, b) integers, the position in the source for each position of the new map: row · w + column.

        Returns:
            the new map, (1, C, a, b).
        """
        columns = source.size[1]
        rows = self.backend.numpy(source.values[0][:, places // columns, places % columns][None])
        return MapOf(self.backend.to_map(np.ascontiguousarray(rows), source.values), source.stride)

    def change_channels(
        self, z: MapOf, change: Callable[[np.ndarray, slice], np.ndarray], at_a_time: int = 32
    ) -> MapOf:
        """Compute a new map by numpy, a few channels at a time, for what needs all positions of a channel, as ranks do.

        Args:
            z: a map, (1, C, h, w).
            change: called with the values of c channels, (c, h·w) float32, and the slice of these channels; returns
                their new values, (c, h·w).
            at_a_time: c. Smaller values take less memory.

        Returns:
            a map of the same size and type.
        """
        channels, (height, width) = z.values.shape[1], z.size
        found = self.backend.allocate(z.values, height, width)
        for first in range(0, channels, at_a_time):
            part = slice(first, min(first + at_a_time, channels))
            values = self.backend.numpy(z.values[:, part]).reshape(-1, height * width)
            changed = change(values, part).reshape(1, -1, height, width)
            found[:, part] = self.backend.to_map(np.ascontiguousarray(changed, np.float32), z.values)
        return MapOf(found, z.stride)

    def mean_of(self, maps: Sequence[MapOf], weights: Sequence[float]) -> MapOf:
        """The weighted mean of maps of the same size. The weights, one for each map, sum to 1."""
        if len(maps) == 1:
            return maps[0]

        def mix(values: np.ndarray, part: slice) -> np.ndarray:
            total = values * np.float32(weights[0])
            for each, weight in zip(maps[1:], weights[1:], strict=True):
                total += self.backend.numpy(each.values[:, part]).reshape(total.shape) * np.float32(weight)
            return total

        return self.change_channels(maps[0], mix)


class _Run:
    """One run of a stage over one picture."""

    def __init__(self, backend: Backend, stage: Stage, image: Image | None, inputs: dict[str, Any]) -> None:
        self.backend, self.stage, self.image, self.inputs = backend, stage, image, inputs
        self.size = self._size()
        self.network = backend.prepare(stage)
        self.whole = [self._whole(inputs[name]) for name in stage.whole]
        self.scalars = [float(inputs[name]) for name in stage.scalars]
        self.weight: np.ndarray | None = None
        if "weight" in stage.maps:
            given = inputs.get("weight")
            self.weight = image.weight(stage.maps["weight"][0]) if image is not None and given is None else given
        self.stored: dict[str, Any] = {}

    def _size(self) -> tuple[int, int]:
        """(height, width) in pixels of the area that is cut into tiles."""
        if self.image is not None:
            return self.image.pixels.shape[0], self.image.pixels.shape[1]
        name, (stride, _) = next((name, spec) for name, spec in self.stage.maps.items() if name != "weight")
        height, width = self.inputs[name].size
        return height * stride, width * stride

    def _whole(self, value: Any) -> Any:
        if isinstance(value, MapOf):
            return value.values
        return self.backend.array(value) if isinstance(value, np.ndarray) else value

    def tile(self, tile: Tile) -> None:
        """Compute a tile and store its results."""
        grain, sums = self.stage.grain, {}
        outer = tile.grown(-(-self.stage.halo // grain) * grain, *self.size, grain)
        cut = [self._cut(name, stride, tile, outer) for name, (stride, _) in self.stage.maps.items()]
        found = self.network(*cut, *self.whole, *self.scalars)
        for (name, output), values in zip(self.stage.outputs.items(), found, strict=True):
            if isinstance(output, Summed):
                part = self.backend.numpy(values)
                if not np.isfinite(part).all():
                    raise NotFinite(f"{self.stage.name}: {name} is not finite")
                sums[name] = part
            elif isinstance(output, Pixels):
                self._put_pixels(name, output, values, tile, outer)
            else:
                self._put_map(name, output, values, tile, outer)
        for name, part in sums.items():  # last: if memory runs out above, the tile is computed again
            output = self.stage.outputs[name]
            assert isinstance(output, Summed)
            self.stored.setdefault(name, Sums(output.unbiased)).add(part)

    def _cut(self, name: str, stride: int, tile: Tile, outer: Tile) -> Any:
        rows, columns = outer.shrunk(stride).slices
        if name == "image":
            assert self.image is not None
            return self.backend.tile_of_image(self.image.pixels[rows, columns])
        if name == "weight":
            own = tile.within(outer).shrunk(stride)
            weight = np.zeros((1, 1, rows.stop - rows.start, columns.stop - columns.start), np.float32)
            inside = (0, 0, *own.slices)
            weight[inside] = 1.0 if self.weight is None else self.weight[tile.shrunk(stride).slices]
            return self.backend.array(weight)
        return self.inputs[name].values[:, :, rows, columns]

    def _put_map(self, name: str, output: Map, values: Any, tile: Tile, outer: Tile) -> None:
        if (tile.height, tile.width) == self.size:
            self.stored[name] = self.backend.keep(values)
            return
        tile = tile.rounded(output.multiple)
        if name not in self.stored:
            whole = Tile(0, 0, *self.size).rounded(output.multiple).shrunk(output.stride)
            self.stored[name] = self.backend.allocate(values, whole.height, whole.width)
        rows, columns = tile.shrunk(output.stride).slices
        own_rows, own_columns = tile.within(outer).shrunk(output.stride).slices
        self.stored[name][:, :, rows, columns] = values[:, :, own_rows, own_columns]

    def _put_pixels(self, name: str, output: Pixels, values: Any, tile: Tile, outer: Tile) -> None:
        if name not in self.stored:
            self.stored[name] = alloc_scratch((*self.size, 3), np.uint8)
        rows, columns = tile.within(outer).slices
        pixels = self.backend.pixels(values[:, :, rows, columns])
        if pixels is None:
            raise NotFinite(f"{self.stage.name}: a pixel is not finite")
        self.stored[name][tile.slices] = pixels

    def results(self) -> dict[str, Any]:
        """The outputs by name."""
        found: dict[str, Any] = {}
        for name, output in self.stage.outputs.items():
            values = self.stored[name]
            if isinstance(output, Summed):
                found[name] = values.result()
            elif isinstance(output, Pixels):
                found[name] = values
            else:
                found[name] = MapOf(values, output.stride)
        return found


def extend(pixels: np.ndarray, smallest: int, multiple: int = 1) -> np.ndarray:
    """Extend an array, (H, W[, C]), by mirroring it to the right and downwards.

    Args:
        pixels: the array; returned unchanged if it is large enough.
        smallest: least height and width.
        multiple: height and width are rounded up to a multiple of it.
    """
    for axis in (0, 1):
        size = pixels.shape[axis]
        wanted = -(-max(size, smallest) // multiple) * multiple
        if size < wanted:
            wave = np.arange(wanted) % (2 * size)
            pixels = np.take(pixels, np.minimum(wave, 2 * size - 1 - wave), axis)
    return pixels


def _areas(size: int, count: int) -> list[slice]:
    """Divide ``size`` positions into ``count`` slices that may overlap, as adaptive average pooling does."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
