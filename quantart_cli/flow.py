"""Motion between two frames: optical flow, where it holds, and warping by it.

The flow is DIS (Kroeger et al. 2016, Fast Optical Flow using Dense Inverse Search) of OpenCV, which needs no weights.
Without OpenCV nothing counts as moving, and the flow holds where the picture stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

_LONG_SIDE = 640  # flow of larger frames is computed at this size
_LOW, _HIGH = 10.0, 28.0  # levels of 8 bits by which a frame differs from the warped last one: all holds, nothing holds
_AVERAGED = 7  # pixels a side over which that difference is averaged, so that noise does not count


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


def estimate(last: Array, now: Array) -> Motion:
    """The motion between two frames, (H, W, 3) uint8 each."""
    height, width = now.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = [np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BOX)) for each in (last, now)]
    flow = np.zeros((size[1], size[0], 2), np.float32)
    holds = np.ones((size[1], size[0]), np.float32)
    if available():
        grey = [np.asarray(Image.fromarray(each).convert("L")) for each in small]
        flow, back = dis(grey[1], grey[0]), dis(grey[0], grey[1])
        holds = consistent(flow, back)
    difference = np.abs(small[1] - warp(small[0].astype(np.float32), flow)).mean(2)
    difference = blurred(difference, _AVERAGED)
    holds *= ((_HIGH - difference) / (_HIGH - _LOW)).clip(0, 1)
    if size == (width, height):
        return Motion(flow, holds)
    flow = np.stack(
        [enlarged(flow[..., i], (width, height)) * (each / size[i]) for i, each in enumerate((width, height))], 2
    )
    return Motion(flow, enlarged(holds, (width, height)))


def dis(one: Array, other: Array) -> Array:
    """The flow that leads from each pixel of one picture to the other, (H, W, 2) float32; both (H, W) uint8."""
    found: Array = _cv2().DISOpticalFlow_create(_cv2().DISOPTICAL_FLOW_PRESET_FAST).calc(one, other, None)
    return found


def consistent(flow: Array, back: Array) -> Array:
    """Where the flow there and back ends where it began, (H, W) float32 of 0 and 1; 0 outside of the frame.

    Sundaram, Brox and Keutzer 2010, equation 5; as in Ruder, Dosovitskiy and Brox 2016, section 3.4.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + flow[..., 0], y + flow[..., 1]
    inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
    returned = warp(back, flow)
    error = ((flow + returned) ** 2).sum(2)
    found: Array = (inside & (error <= 0.01 * ((flow**2).sum(2) + (returned**2).sum(2)) + 0.5)).astype(np.float32)
    return found


def warp(last: Array, flow: Array) -> Array:
    """The last frame, (H, W, C) float32, moved to where its pixels are in this one."""
    if not flow.any():
        return last
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if find_spec("cv2") is not None and last.shape[2] <= 4:
        cv2 = _cv2()
        moved: Array = cv2.remap(
            last, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return moved
    return sample(last, np.stack([x + flow[..., 0], y + flow[..., 1]], 2))


def sample(values: Array, places: Array) -> Array:
    """Values (H, W, C) float32 at places (..., 2), x and y, by bilinear interpolation; the border goes on outside."""
    height, width, channels = values.shape
    rows = values.reshape(-1, channels)
    x, y = places[..., 0].clip(0, width - 1), places[..., 1].clip(0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None].astype(np.float32), (y - top)[..., None].astype(np.float32)
    found: Array = rows.take(top * width + left, 0) * ((1 - across) * (1 - down))
    found += rows.take(top * width + right, 0) * (across * (1 - down))
    found += rows.take(bottom * width + left, 0) * ((1 - across) * down)
    found += rows.take(bottom * width + right, 0) * (across * down)
    return found


def blurred(values: Array, side: int) -> Array:
    """The mean over squares, (H, W) float32."""
    before, after = side // 2, side - 1 - side // 2
    sums = np.pad(values, ((before + 1, after), (before + 1, after)), mode="edge").astype(np.float64)
    sums[0] = sums[:, 0] = 0
    sums = sums.cumsum(0).cumsum(1)
    total: Array = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (total / side**2).astype(np.float32)


def enlarged(values: Array, size: tuple[int, int]) -> Array:
    """(h, w) float32 at another (width, height)."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
