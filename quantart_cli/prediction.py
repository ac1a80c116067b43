"""What painting a picture will take, predicted without painting it. Imports torch only if the model does."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, replace

from quantart_cli.images import Picture
from quantart_cli.memory import (
    HALO,
    WIDE_HALO,
    choose_tile,
    choose_tile_to_optimise,
    needed_in_tiles,
    needed_to_optimise,
)
from quantart_cli.methods.base import WholePicture
from quantart_cli.model import Model, refines
from quantart_cli.settings import Settings, parse_tile
from quantart_cli.style import Style
from quantart_cli.tiling import GRAIN, Tile, Tiler

# Long side of the sample in pixels; of methods that are slow a pixel, the second.
_SAMPLE, _SLOW_SAMPLE = 512, 256
_TILED_STEPS = 1.5  # an optimisation in tiles encodes each picture once more


@dataclass(frozen=True)
class Prediction:
    """What painting will take.

    Attributes:
        bytes: memory at the peak, the program and its networks included; of the GPU where there is one.
        seconds: from the picture read to the picture painted.
        tile: side of the tiles in pixels; None: the whole picture.
    """

    bytes: int
    seconds: float
    tile: int | None


def predict(
    model: Model,
    content: Picture,
    style: Style,
    settings: Settings,
    tile: str | int | None = "auto",
    preserve_color: str = "none",
    regions: int = 0,
) -> Prediction:
    """Predict memory by the tables of memory.py, and time by painting a sample from the middle of the picture.

    Args:
        content: the picture, at the size to be painted.
        tile: as :func:`quantart_cli.settings.parse_tile` takes it.
        preserve_color: as of :meth:`quantart_cli.model.Model.paint`.
        regions: number of masks; each region is painted by itself, except by methods that optimise.
    """
    parsed = parse_tile(tile)
    side, peak = _tile_and_bytes(model, content, parsed, model.needed_beside(content, settings, regions))
    if not model.caches() or preserve_color == "match":  # the style is encoded when painting
        peak = max([peak, *(_tile_and_bytes(model, picture, "auto")[1] for picture in style.pictures)])
    if refines(settings):
        width, height = content.size
        refining_side = choose_tile_to_optimise(width, height, parsed, model.spec)
        peak = max(peak, needed_to_optimise(width, height, refining_side, model.spec))
    slow = model.optimises or model.changes_with_tiles or refines(settings) > 0
    sample = _middle(content, _SLOW_SAMPLE if slow else _SAMPLE)
    size, sample_size = (content.height, content.width), (sample.height, sample.width)
    if model.optimises:
        few = model.program.sample_settings(settings)
        seconds = _seconds(model, sample, style, few) / model.program.pixels_of_work(sample_size, few)
        seconds *= model.program.pixels_of_work(size, settings)
        if side is not None and side < max(size):
            seconds *= _TILED_STEPS * _overhead(size, side, WIDE_HALO)
        return Prediction(_resident(model.spec.device_type) + peak, seconds, side)
    first = _seconds(model, sample, style, settings)
    second = _seconds(model, sample, style, settings)  # the first prepares everything for its size
    seconds = second * _work(model, size, settings) / _work(model, sample_size, settings)
    seconds *= max(1, regions) * _overhead(size, side, HALO[model.network])
    if model.changes_with_tiles:  # its styles are encoded with the first picture
        seconds += max(0.0, first - second)
    return Prediction(_resident(model.spec.device_type) + peak, seconds, side)


def _work(model: Model, size: tuple[int, int], settings: Settings) -> float:
    if isinstance(model.program, WholePicture):
        return float(size[0] * size[1])
    work: float = model.program.pixels_of_work(size, settings)
    return work


def _tile_and_bytes(model: Model, picture: Picture, tile: int | str | None, beside: int = 0) -> tuple[int | None, int]:
    """The side of the tiles of the content, and the peak of painting it."""
    width, height = picture.size
    if model.optimises:
        side = choose_tile_to_optimise(width, height, tile, model.spec)
        return side, needed_to_optimise(width, height, side, model.spec)
    side = choose_tile(width, height, tile, model.spec, model.network, beside)
    return side, needed_in_tiles(width, height, side, model.spec, model.network, beside)


def _seconds(model: Model, sample: Picture, style: Style, settings: Settings) -> float:
    start = time.perf_counter()
    model.paint(sample, style, settings)
    return time.perf_counter() - start


def _middle(content: Picture, side: int) -> Picture:
    top, left = (max(0, (length - side) // 2) for length in (content.height, content.width))
    part = (slice(top, top + side), slice(left, left + side))
    return replace(content, rgb=content.rgb[part].copy(), alpha=None)


def _overhead(size: tuple[int, int], side: int | None, halo: int) -> float:
    """Pixels computed, the halos of the tiles included, over the pixels of the picture."""
    height, width = size
    pixels = 0

    def add(tile: Tile) -> None:
        nonlocal pixels
        outer = tile.grown(halo, height, width, GRAIN)
        pixels += outer.height * outer.width

    Tiler(side).run(height, width, add)
    return pixels / (height * width)


def _resident(device_type: str) -> int:
    """Bytes in use now: of the GPU by torch, else of this process."""
    if device_type == "cuda":
        return int(sys.modules["torch"].cuda.memory_allocated())
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024
    with contextlib.suppress(ImportError):  # neither is on Windows, where the program itself is left out
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0
