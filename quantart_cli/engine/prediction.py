"""What painting a picture will take, found out without painting it. No torch unless it is there."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from quantart_cli.engine.choices import parse_tile
from quantart_cli.engine.memory import (
    BORDER,
    WIDE_BORDER,
    choose_tile,
    choose_tile_to_optimise,
    needed_in_tiles,
    needed_to_optimise,
)
from quantart_cli.engine.tiling import GRAIN, Tiles
from quantart_cli.images import Picture
from quantart_cli.methods.pyramid import levels

# A sample as large as this is painted, twice: the first time everything is prepared for its size.
_SAMPLE, _SLOW_SAMPLE = 512, 256
_STEPS = 3


@dataclass(frozen=True)
class Prediction:
    """What it will take.

    Attributes:
        bytes: of memory at the peak, the program and its networks included; of the GPU's where there is one.
        seconds: from the picture read to the picture painted.
        tile: side of the tiles in pixels; None: the whole picture.
    """

    bytes: int
    seconds: float
    tile: int | None


def predict(
    model: Any,
    content: Picture,
    style: Any,
    controls: Any,
    tile: str | int | None = "auto",
    preserve_color: str = "none",
) -> Prediction:
    """Memory by the tables of engine/memory.py, time by painting a sample from the middle of the picture.

    Args:
        model: that will paint.
        content: the picture, at the size to be painted.
        style: encoded by the model.
        controls: of its method.
        tile: as :func:`quantart_cli.engine.choices.parse_tile` takes it.
        preserve_color: as of :meth:`quantart_cli.engine.painter.Painter.paint`.
    """
    width, height = content.size
    choose = choose_tile_to_optimise if model.optimises else partial(choose_tile, backbone=model.backbone)
    side = choose(width, height, parse_tile(tile), model.machine)
    known = model.remembers and preserve_color != "match"  # now that it was encoded to say this
    looked_at = (content,) if known else (content, *style.pictures)
    room = max(_room(model, picture, tile, picture is content) for picture in looked_at)
    taken = _taken(model.machine.device)
    sample = _middle(content, _SAMPLE if model.tileable else _SLOW_SAMPLE)
    if model.optimises:
        return Prediction(taken + room, _seconds_to_optimise(model, content, sample, style, controls, side), side)
    first = _seconds(model, sample, style, controls)
    seconds = _seconds(model, sample, style, controls)
    total = seconds * _area(width, height, side, BORDER[model.backbone]) / (sample.width * sample.height)
    if model.backbone == "vqgan":  # whose styles are encoded when the first picture is painted
        total += max(0.0, first - seconds)
    return Prediction(taken + room, total, side)


def _room(model: Any, picture: Picture, tile: str | int | None, is_content: bool) -> int:
    """Bytes that work on one picture takes; gradients are of the content alone, and only it is cut by hand."""
    width, height = picture.size
    if model.optimises:
        side = choose_tile_to_optimise(width, height, parse_tile(tile) if is_content else "auto", model.machine)
        if is_content:
            return needed_to_optimise(width, height, side, model.machine)
        return needed_in_tiles(width, height, side, model.machine)
    tile = tile if is_content else "auto"
    side = choose_tile(width, height, parse_tile(tile), model.machine, model.backbone)
    return needed_in_tiles(width, height, side, model.machine, model.backbone)


def _seconds_to_optimise(
    model: Any, content: Picture, sample: Picture, style: Any, controls: Any, side: int | None
) -> float:
    """Of all levels, by some steps on the sample; in windows everything is looked at three times instead of twice."""
    some = replace(controls, steps=_STEPS, pyramid="none", tolerance=0.0)
    seconds = _seconds(model, sample, style, some) / _STEPS / (sample.width * sample.height)
    total = 0.0
    for level in levels(*content.size, controls.steps, controls.pyramid):
        cut = side is not None and side < level.side
        area = 1.5 * _area(*level.size, side, WIDE_BORDER) if cut else level.width * level.height
        total += seconds * area * level.steps
    return total


def _seconds(model: Any, sample: Picture, style: Any, controls: Any) -> float:
    start = time.perf_counter()
    model.paint(sample, style, controls)
    return time.perf_counter() - start


def _middle(content: Picture, side: int) -> Picture:
    top, left = (max(0, (length - side) // 2) for length in (content.height, content.width))
    part = (slice(top, top + side), slice(left, left + side))
    return replace(content, rgb=content.rgb[part].copy(), alpha=None)


def _area(width: int, height: int, side: int | None, border: int) -> int:
    """Pixels that are computed, the borders of the tiles included."""
    pixels = 0

    def add(window: Any) -> None:
        nonlocal pixels
        outer = window.grown(border, height, width, GRAIN)
        pixels += outer.height * outer.width

    Tiles(side).run(height, width, add)
    return pixels


def _taken(device: str) -> int:
    """Bytes in use now: of the GPU by torch, else of this process."""
    if device == "cuda":
        return sys.modules["torch"].cuda.memory_allocated()
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024
    with contextlib.suppress(ImportError):  # neither is on Windows, where the program itself is left out
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0
