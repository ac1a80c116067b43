"""Random fields, blurs, curves and colour ramps that every painting shares.

Noise is shaped in the frequency domain rather than on a lattice, so no grid can ever show through the paint.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Every picture is painted larger than it is saved: the final reduction removes the last jagged edge.
WORK = 1536
FINAL = 1024


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Ease from 0 at ``low`` to 1 at ``high``; ``low`` may be the larger one."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def cloud(
    shape: tuple[int, int],
    rng: np.random.Generator,
    cell: float,
    rough: float = 1.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """Noise of zero mean and unit deviation, with features of about ``cell`` pixels.

    A lower ``rough`` keeps more fine detail; ``stretch`` lengthens the features down and across.
    """
    height, width = shape
    fy = np.fft.fftfreq(height)[:, None] * cell * stretch[0]
    fx = np.fft.rfftfreq(width)[None, :] * cell * stretch[1]
    gain = (1.0 + 6.0 * (fx * fx + fy * fy)) ** (-rough)
    gain[0, 0] = 0.0
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * gain
    field = np.fft.irfft2(spectrum, s=shape)
    return ((field - field.mean()) / field.std()).astype(np.float32)


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, edges reflected (three box passes are close enough to a Gaussian for paint)."""
    radius = max(1, round(sigma))
    out = np.asarray(field, dtype=np.float32)
    for axis in (0, 1):
        for _ in range(3):
            pad = [(0, 0)] * out.ndim
            pad[axis] = (radius + 1, radius)
            total = np.cumsum(np.pad(out, pad, mode="symmetric"), axis=axis, dtype=np.float64)
            size = 2 * radius + 1
            upper = np.take(total, range(size, total.shape[axis]), axis=axis)
            lower = np.take(total, range(0, total.shape[axis] - size), axis=axis)
            out = ((upper - lower) / size).astype(np.float32)
    return out


def sample(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear lookup, clamped at the border."""
    height, width = field.shape[:2]
    x = np.clip(x, 0, width - 1.001)
    y = np.clip(y, 0, height - 1.001)
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - x0, y - y0
    if field.ndim == 3:
        fx, fy = fx[..., None], fy[..., None]
    top = field[y0, x0] * (1 - fx) + field[y0, x0 + 1] * fx
    low = field[y0 + 1, x0] * (1 - fx) + field[y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + low * fy


def grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates as float arrays, x first."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return x, y


def hexes(*names: str) -> np.ndarray:
    """Colours from six-digit hexadecimal names, as rows of 0..1 floats."""
    return np.array([[int(n[i : i + 2], 16) / 255 for i in (0, 2, 4)] for n in names], dtype=np.float32)


def ramp(colours: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colours read off a ramp at 0..1 positions, blended between neighbours."""
    place = np.clip(value, 0.0, 1.0) * (len(colours) - 1)
    low = np.minimum(place.astype(np.int32), len(colours) - 2)
    part = (place - low)[..., None]
    return colours[low] * (1 - part) + colours[low + 1] * part


def spline(points: list[tuple[float, float]], count: int = 200) -> np.ndarray:
    """Smooth curve through the points (centripetal enough for drawing), as ``count`` rows of x, y."""
    knots = np.array(points, dtype=np.float64)
    knots = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    t = np.linspace(0, len(points) - 1, count)
    k = np.minimum(t.astype(int), len(points) - 2)
    f = (t - k)[:, None]
    a, b, c, d = knots[k], knots[k + 1], knots[k + 2], knots[k + 3]
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)


def polygon_mask(shape: tuple[int, int], outline: np.ndarray, soft: int = 2) -> np.ndarray:
    """Antialiased 0..1 mask of a closed outline, drawn ``soft`` times larger and reduced."""
    big = Image.new("L", (shape[1] * soft, shape[0] * soft), 0)
    ImageDraw.Draw(big).polygon([(float(x) * soft, float(y) * soft) for x, y in outline], fill=255)
    small = big.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def to_image(rgb: np.ndarray, crisp: int = 0, final: int = FINAL) -> Image.Image:
    """Reduce a 0..1 work canvas to the final size; ``crisp`` per cent of sharpening brings the bristles back."""
    dither = np.random.default_rng(5).random(rgb.shape[:2])[..., None]
    image = Image.fromarray(np.floor(np.clip(rgb, 0, 1) * 254.0 + dither).astype(np.uint8))
    scale = final / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.LANCZOS)
    return image.filter(ImageFilter.UnsharpMask(0.8, crisp, 0)) if crisp else image
