"""Running stages over the tiles of a picture: cut, compute, crop, store, and add up. Does not import torch.

A method calls the runner once for each stage::

    c = run(ENCODE, image=content.image, weight=content.weight)
    run(DECODE, z=c["z"], slope=slope, shift=shift)

Every tile is computed with a halo as wide as the network looks, and the halo is cut off afterwards. Reflection padding
happens at the true borders of the picture only. So the tiles do not change the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantart_cli.scratch import alloc_scratch
from quantart_cli.stages import Map, Pixels, Stage, Summed, Sums
from quantart_cli.tiling import Tile, Tiler

SMALLEST_SIDE = 16
"""relu4_1 has stride 8, and its reflection padding needs two positions a side."""


class NotFinite(ArithmeticError):
    """A network returned numbers that are not finite: the precision overflowed."""


class Backend(Protocol):
    """Computes networks; see backends/."""

    def tile_of_image(self, pixels: np.ndarray) -> Any:
        """(h, w, 3) uint8 or float32 -> (1, 3, h, w) float32 in [0, 1], as the networks of this backend take it."""

    def array(self, values: np.ndarray) -> Any:
        """A float32 or int32 array as the networks of this backend take it."""

    def numpy(self, values: Any) -> np.ndarray:
        """What a network returned as a float32 or integer array."""

    def to_map(self, values: np.ndarray) -> Any:
        """(1, C, h, w) float32 or int32 as a map of this backend, in its precision."""

    def allocate(self, like: Any, height: int, width: int) -> Any:
        """Memory for a whole map, (1, C, height, width), of the type and the channels of one tile's."""

    def prepare(self, stage: Stage) -> Callable[..., tuple[Any, ...]]:
        """The network of a stage. Called with its inputs in order; what it returns may be overwritten by the next
        call."""

    def keep(self, values: Any) -> Any:
        """A result that stays valid after the next call."""

    def finished(self, stage: Stage, tiled: bool) -> None:
        """A stage has been run over all tiles of a picture."""


@dataclass(frozen=True)
class MapOf:
    """A map of features of a whole picture.

    Attributes:
        values: (1, C, h, w), of the backend.
        stride: pixels a side of one position.
    """

    values: Any
    stride: int

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in positions."""
        return self.values.shape[2], self.values.shape[3]


@dataclass(frozen=True)
class Image:
    """A picture as stages take it.

    Attributes:
        pixels: (H, W, 3) uint8, or float32 in about [0, 1]; mirrored to at least 16 pixels a side.
        size: (height, width) before that.
        opacity: (H, W) uint8, or None where all is opaque.
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
            smallest: least height and width; smaller pictures are mirrored.
            multiple: height and width are mirrored up to a multiple of it.
        """
        size = pixels.shape[0], pixels.shape[1]
        if opacity is not None:
            opacity = extend(opacity, smallest, multiple) if opacity.any() else None
        return cls(extend(pixels, smallest, multiple), size, opacity)

    def weight(self, stride: int) -> np.ndarray | None:
        """Opacity at the positions of features, (h, w) float32 in [0, 1]: means over their areas; None: all opaque."""
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
    """

    def __init__(
        self, backend: Backend, tiler: Tiler, progress: Callable[[str, int, int], None] = lambda *_: None
    ) -> None:
        self.backend = backend
        self.tiler = tiler
        self.progress = progress

    def __call__(self, stage: Stage, image: Image | None = None, **inputs: Any) -> dict[str, Any]:
        """Run a stage over a whole picture.

        Args:
            stage: the stage.
            image: the picture, for stages with an input ``image``; its opacity is their input ``weight``.
            **inputs: :class:`MapOf` for the inputs that are cut, arrays or maps for the others, floats.

        Returns:
            the outputs by name: :class:`MapOf`, :class:`~quantart_cli.stages.Moments` or ``Covariance``, and for
            pixels (H, W, 3) uint8.

        Raises:
            NotFinite: a pixel or a moment is not finite.
        """
        run = _Run(self.backend, stage, image, inputs)
        height, width = run.size
        tiler = self.tiler if stage.tiled else Tiler()
        grain, tiler.grain = tiler.grain, math.lcm(stage.grain, tiler.grain)
        done, total = 0, tiler.count(height, width)

        def work(tile: Tile) -> None:
            nonlocal done, total
            run.tile(tile)
            done += 1
            total = max(total, done)
            self.progress(stage.name, done, total)

        try:
            tiler.run(height, width, work)
        finally:
            tiler.grain = grain
        self.backend.finished(stage, tiler.side is not None)
        return run.results()

    def select(self, source: MapOf, places: np.ndarray) -> MapOf:
        """A map of some positions of another.

        Args:
            source: (1, C, h, w).
            places: (a, b) integers, positions of the source in row order.

        Returns:
            (1, C, a, b).
        """
        columns = source.size[1]
        rows = self.backend.numpy(source.values[0][:, places // columns, places % columns][None])
        return MapOf(self.backend.to_map(np.ascontiguousarray(rows)), source.stride)

    def change_channels(
        self, z: MapOf, change: Callable[[np.ndarray, slice], np.ndarray], at_a_time: int = 32
    ) -> MapOf:
        """A new map, computed by numpy: for what needs all positions of a channel at once, such as ranks.

        Args:
            z: a map, (1, C, h, w).
            change: called with (c, h·w) float32 and the channels these are; returns as many numbers.
            at_a_time: c, for the memory.

        Returns:
            a map of the same size and type.
        """
        channels, (height, width) = z.values.shape[1], z.size
        found = self.backend.allocate(z.values, height, width)
        for first in range(0, channels, at_a_time):
            part = slice(first, min(first + at_a_time, channels))
            values = self.backend.numpy(z.values[:, part]).reshape(-1, height * width)
            changed = change(values, part).reshape(1, -1, height, width)
            found[:, part] = self.backend.to_map(np.ascontiguousarray(changed, np.float32))
        return MapOf(found, z.stride)

    def mean_of(self, maps: Sequence[MapOf], weights: Sequence[float]) -> MapOf:
        """The weighted mean of maps of one size; weights sum to 1."""
        if len(maps) == 1:
            return maps[0]

        def mix(values: np.ndarray, part: slice) -> np.ndarray:
            total = values * np.float32(weights[0])
            for each, weight in zip(maps[1:], weights[1:], strict=True):
                total += self.backend.numpy(each.values[:, part]).reshape(total.shape) * np.float32(weight)
            return total

        return self.change_channels(maps[0], mix)


class _Run:
    """One stage over one picture."""

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
        """(height, width) in pixels of what is run over."""
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
        for name, part in sums.items():  # last: a tile that runs out of memory is computed again
            self.stored.setdefault(name, Sums()).add(part)

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
        part = self.backend.numpy(values[:, :, rows, columns])[0]
        rgb = np.ascontiguousarray(part.transpose(1, 2, 0))  # (h, w, 3)
        if not np.isfinite(rgb).all():
            raise NotFinite(f"{self.stage.name}: a pixel is not finite")
        rgb.clip(0, 1, out=rgb)
        rgb *= 255
        self.stored[name][tile.slices] = np.rint(rgb, out=rgb)

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
    """Mirror an array, (H, W[, C]), to the right and below.

    Args:
        pixels: the array; returned as it is where nothing is missing.
        smallest: least height and width.
        multiple: height and width become multiples of it as well.
    """
    for axis in (0, 1):
        size = pixels.shape[axis]
        wanted = -(-max(size, smallest) // multiple) * multiple
        if size < wanted:
            wave = np.arange(wanted) % (2 * size)
            pixels = np.take(pixels, np.minimum(wave, 2 * size - 1 - wave), axis)
    return pixels


def _areas(size: int, count: int) -> list[slice]:
    """``count`` parts of ``size`` positions, those of adaptive average pooling."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
