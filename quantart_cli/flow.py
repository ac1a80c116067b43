"""Motion between two frames: optical flow, where it holds, and warping by it.

The flow is DIS (Kroeger et al. 2016, Fast Optical Flow using Dense Inverse Search) of OpenCV, which needs no weights,
or what another function computes, see :func:`estimate`. Without both nothing counts as moving, and the flow holds where
the picture stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
Between = Callable[[Array, Array], Array]
"""The flow that leads from each pixel of one picture to another, both (H, W, 3) uint8: (H, W, 2) float32."""

_LONG_SIDE, _LEAST_SIDE = 640, 320  # flow is computed at half the size of a frame, within these long sides
_LOW, _HIGH = 10.0, 28.0  # levels of 8 bits by which a frame differs from the warped last one: all holds, nothing holds
_AVERAGED = 7  # pixels a side over which that difference is averaged, so that noise does not count
_CACHED = 1 << 15  # numbers that are interpolated at a time: with more, memory would be the limit


def available() -> bool:
    """Whether OpenCV is installed, which computes the flow."""
    return find_spec("cv2") is not None


@cache
def _cv2() -> Any:
    module = import_module("cv2")
    module.setNumThreads(1)  # painting uses all cores at the same time
    return module


@dataclass(frozen=True)
class Motion:
    """How a frame came out of the last one.

    Attributes:
        flow: (H, W, 2) float32, x and y. The pixel at p was at p + flow[p] in the last frame.
        holds: (H, W) float32 in [0, 1]: 1 where the last frame shows the same, 0 where it was occluded, outside of the
            frame, or looked otherwise.
    """

    flow: Array
    holds: Array

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.holds.shape[0], self.holds.shape[1]


def estimate(last: Array, now: Array, between: Between | None = None, exact: bool = False) -> Motion:
    """The motion between two frames, (H, W, 3) uint8 each.

    Args:
        last: one frame.
        now: another.
        between: computes the flow; None: :func:`dis`, where OpenCV is installed.
        exact: compute the flow at the size of the frames, up to 640 pixels a side, not at half of it.
    """
    height, width = now.shape[:2]
    side = max(height, width)
    scale = min(1.0, _LONG_SIDE / side, 1.0 if exact else max(0.5, _LEAST_SIDE / side))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = [np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BOX)) for each in (last, now)]
    flow = np.zeros((size[1], size[0], 2), np.float32)
    holds = np.ones((size[1], size[0]), np.float32)
    if between is not None or available():
        flow, back = (between or dis)(small[1], small[0]), (between or dis)(small[0], small[1])
        holds = consistent(flow, back)
    difference = np.abs(small[1] - warp(small[0].astype(np.float32), flow)).mean(2)
    difference = blurred(difference, _AVERAGED)
    holds *= ((_HIGH - difference) / (_HIGH - _LOW)).clip(0, 1)
    if size == (width, height):
        return Motion(flow, holds)
    flow *= np.array([width / size[0], height / size[1]], np.float32)
    found = enlarged(np.dstack([flow, holds]), (width, height))
    return Motion(np.ascontiguousarray(found[..., :2]), np.ascontiguousarray(found[..., 2]))


def dis(one: Array, other: Array) -> Array:
    """The flow as of :data:`Between`."""
    grey = [np.asarray(Image.fromarray(each).convert("L")) for each in (one, other)]
    method = _cv2().DISOpticalFlow_create(_cv2().DISOPTICAL_FLOW_PRESET_FAST)
    method.setFinestScale(1)  # half the size of the pictures, which are small
    found: Array = method.calc(*grey, None)
    return found


def consistent(flow: Array, back: Array) -> Array:
    """Where the flow there and back ends where it began, (H, W) float32 of 0 and 1; 0 outside of the frame.

    Sundaram, Brox and Keutzer 2010, equation 5; as in Ruder, Dosovitskiy and Brox 2016, section 3.4.
    """
    height, width = flow.shape[:2]
    x, y = np.moveaxis(ends(flow), 2, 0)
    inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
    returned = warp(back, flow)
    error, lengths = _squares(flow + returned), _squares(flow) + _squares(returned)
    found: Array = (inside & (error <= 0.01 * lengths + 0.5)).astype(np.float32)
    return found


def _squares(flow: Array) -> Array:
    found: Array = flow[..., 0] ** 2 + flow[..., 1] ** 2
    return found


def ends(flow: Array) -> Array:
    """Where each pixel was in the last frame, x and y, (H, W, 2) float32."""
    found = flow.copy()
    found[..., 0] += np.arange(flow.shape[1], dtype=np.float32)
    found[..., 1] += np.arange(flow.shape[0], dtype=np.float32)[:, None]
    return found


def warp(last: Array, flow: Array) -> Array:
    """The last frame, (H, W, C) float32, moved to where its pixels are in this one."""
    if not flow.any():
        return last
    if available() and last.shape[2] <= 4:
        cv2 = _cv2()
        moved: Array = cv2.remap(last, ends(flow), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return moved
    return sample(last, ends(flow))


def sample(values: Array, places: Array) -> Array:
    """Values (H, W, C) float32 at places (..., 2), x and y, by bilinear interpolation; the border goes on outside."""
    height, width, channels = values.shape
    rows = values.reshape(-1, channels)
    x, y = places[..., 0].ravel().clip(0, width - 1), places[..., 1].ravel().clip(0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    corners = np.stack([top * width + left, top * width + right, bottom * width + left, bottom * width + right], 1)
    weights = np.stack(
        [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down], 1, dtype=np.float32
    )
    found = np.empty((len(corners), channels), np.float32)
    at_a_time = max(1, _CACHED // channels)
    for first in range(0, len(found), at_a_time):
        part = slice(first, first + at_a_time)
        np.matmul(weights[part, None], rows[corners[part]], out=found[part, None])
    return found.reshape(*places.shape[:-1], channels)


def blurred(values: Array, side: int) -> Array:
    """The mean over squares, (H, W) or (H, W, C) float32; the border goes on outside."""
    if available():
        mean: Array = _cv2().blur(values, (side, side), borderType=_cv2().BORDER_REPLICATE)
        return mean
    before, after = side // 2, side - 1 - side // 2
    around = ((before + 1, after), (before + 1, after), (0, 0))[: values.ndim]
    sums = np.pad(values, around, mode="edge").astype(np.float64)
    sums[0] = sums[:, 0] = 0
    sums = sums.cumsum(0).cumsum(1)
    total: Array = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (total / side**2).astype(np.float32)


def enlarged(values: Array, size: tuple[int, int]) -> Array:
    """(h, w, C) float32 at another (width, height)."""
    if available():
        found: Array = _cv2().resize(values, size, interpolation=_cv2().INTER_LINEAR)
        return found
    planes = (Image.fromarray(values[..., i]) for i in range(values.shape[2]))
    return np.dstack([np.asarray(each.resize(size, Image.Resampling.BILINEAR)) for each in planes])
