"""Neoplastic composition: uneven black bars, primaries and several whites, with brushwork, weave and craquelure."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas, Scene, paint_layer, underpaint, weave
from .noise import WORK, blur, cloud, grid, hexes, smoothstep, to_image

SHAPE = (WORK, WORK)
RED, BLUE, YELLOW, WARM, COOL, PEARL, GREY, BLACK = range(8)
RAMPS = [
    hexes("8f1410", "b51d14", "cc2a1a", "dc3c22"),
    hexes("0e1f5e", "15307f", "1d3f99", "2f58b0"),
    hexes("cf9a10", "e3b114", "f0c322", "f7d548"),
    hexes("d5cab2", "e2d9c4", "ebe4d2", "f3eee0"),
    hexes("c3c9cc", "d2d7d8", "dfe3e2", "e9ecea"),
    hexes("d9d2c6", "e4dfd6", "edeae3", "f6f4ee"),
    hexes("8e9499", "a0a6a8", "b2b6b6", "c2c4c0"),
    hexes("0a090b", "151416", "211f22", "322f32"),
]
# Fields as left, top, right, bottom shares of the canvas, with their paint and brush angle.
FIELDS = [
    (0.000, 0.000, 0.215, 0.140, WARM, 0.05), (0.000, 0.140, 0.215, 0.330, YELLOW, 1.50),
    (0.000, 0.330, 0.215, 0.690, COOL, 1.62), (0.000, 0.690, 0.215, 0.875, PEARL, 0.02),
    (0.000, 0.875, 0.215, 1.000, BLUE, 0.10), (0.215, 0.000, 0.700, 0.140, PEARL, -0.04),
    (0.215, 0.140, 0.700, 0.690, RED, 1.52), (0.215, 0.690, 0.455, 1.000, WARM, 1.60),
    (0.455, 0.690, 0.700, 0.875, GREY, 0.03), (0.455, 0.875, 0.700, 1.000, COOL, -0.06),
    (0.700, 0.000, 0.905, 0.330, COOL, 1.55), (0.905, 0.000, 1.000, 0.330, BLUE, 1.50),
    (0.700, 0.330, 1.000, 0.560, WARM, 0.04), (0.700, 0.560, 0.905, 0.875, PEARL, 1.60),
    (0.905, 0.560, 1.000, 0.875, WARM, 1.50), (0.700, 0.875, 0.905, 1.000, YELLOW, 0.05),
    (0.905, 0.875, 1.000, 1.000, BLACK, 0.30),
]  # fmt: skip
# Bars as x0, y0, x1, y1 along their middle, and their width.
BARS = [
    (0.215, -0.02, 0.215, 1.02, 0.026), (0.700, -0.02, 0.700, 1.02, 0.034), (0.455, 0.690, 0.455, 1.02, 0.017),
    (0.905, -0.02, 0.905, 0.330, 0.015), (0.905, 0.560, 0.905, 1.02, 0.022), (-0.02, 0.140, 0.700, 0.140, 0.020),
    (-0.02, 0.330, 0.215, 0.330, 0.030), (0.700, 0.330, 1.02, 0.330, 0.024), (-0.02, 0.690, 0.700, 0.690, 0.030),
    (0.700, 0.560, 1.02, 0.560, 0.042), (-0.02, 0.875, 0.215, 0.875, 0.017), (0.455, 0.875, 1.02, 0.875, 0.024),
]  # fmt: skip


def _scene(rng: np.random.Generator) -> Scene:
    x, y = grid(SHAPE)
    x, y = x / WORK, y / WORK
    wobble_x = np.clip(x + 0.0016 * cloud(SHAPE, rng, 90, 1.2), 0, 0.9999)
    wobble_y = np.clip(y + 0.0016 * cloud(SHAPE, rng, 90, 1.2), 0, 0.9999)
    region = np.zeros(SHAPE, dtype=np.uint8)
    angle = np.zeros(SHAPE, dtype=np.float32)
    value = 0.55 + 0.16 * cloud(SHAPE, rng, 260, 1.2) + 0.06 * cloud(SHAPE, rng, 40, 1.0)
    sway = 0.10 * cloud(SHAPE, rng, 160, 1.2)
    for left, top, right, bottom, paint_number, direction in FIELDS:
        inside = (wobble_x >= left) & (wobble_x < right) & (wobble_y >= top) & (wobble_y < bottom)
        region[inside] = paint_number
        angle[inside] = direction + sway[inside]
        middle = ((x - left) / (right - left) - 0.5) * 0.16 + ((y - top) / (bottom - top) - 0.5) * -0.12
        value[inside] += middle[inside] + rng.normal(0, 0.04)
    jitter = [0.10, 0.10, 0.09, 0.08, 0.08, 0.08, 0.08, 0.14]
    accents = [
        hexes("a8140c", "e4502c"), hexes("2a3a8c", "0c1648"), hexes("f2b41c", "fbe27c"), hexes("f8f0dc", "d8c8a8"),
        hexes("c8d4dc", "f0f0e8"), hexes("f4ecd8", "dcdcd8"), hexes("98a4ac", "b8b4a8"), hexes("1c2028", "2a2020"),
    ]  # fmt: skip
    return Scene(angle, region, np.clip(value, 0, 1), RAMPS, jitter, accents, 0.04, 0.006)


def _bars(canvas: Canvas, rng: np.random.Generator) -> None:
    """Each bar in several long parallel pulls: its edges wander a little, and the strokes show side by side."""
    brush = Brush(dry=0.16, thick=1.0, streak=0.22, taper=0.04, ragged=0.3, soft=1.8, ridge=0.9)
    paints = RAMPS[BLACK]
    for x0, y0, x1, y1, thick in BARS:
        start, stop = np.array([x0, y0]) * WORK, np.array([x1, y1]) * WORK
        direction = (stop - start) / np.hypot(*(stop - start))
        side = np.array([-direction[1], direction[0]])
        full = thick * WORK
        for _ in range(3):
            for lane in np.linspace(-0.5, 0.5, max(3, int(full / 9))):
                at = -rng.uniform(0, 120)
                total = np.hypot(*(stop - start))
                while at < total:
                    reach = rng.uniform(160, 420)
                    t = np.linspace(max(at, 0), min(at + reach, total), 12)
                    drift = lane * (full - 13) + np.cumsum(rng.normal(0, 0.28, 12)) + rng.normal(0, 0.6)
                    path = start + t[:, None] * direction + drift[:, None] * side
                    one, two = paints[rng.integers(0, 4, 2)]
                    canvas.stroke(path, rng.uniform(10, 15), one, two, brush)
                    at += reach * 0.9


def crackle(shape: tuple[int, int], rng: np.random.Generator, cell: float) -> np.ndarray:
    """Distance in pixels to the borders of irregular cells: the net in which old paint cracks."""
    x, y = grid(shape)
    x = x + cloud(shape, rng, cell * 0.8, 1.5) * cell * 0.13 + cloud(shape, rng, 9, 1.0) * 0.3
    y = y + cloud(shape, rng, cell * 0.8, 1.5) * cell * 0.13 + cloud(shape, rng, 9, 1.0) * 0.3
    rows, cols = int(shape[0] / cell) + 5, int(shape[1] / cell) + 5
    seeds = rng.uniform(0.02, 0.98, (rows, cols, 2)).astype(np.float32)
    gx, gy = x / cell + 2, y / cell + 2
    ix, iy = np.floor(gx).astype(np.int32), np.floor(gy).astype(np.int32)
    first = np.full(shape, 9.0, dtype=np.float32)
    second = first.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            cx, cy = np.clip(ix + dx, 0, cols - 1), np.clip(iy + dy, 0, rows - 1)
            seed = seeds[cy, cx]
            away = np.hypot(cx + seed[..., 0] - gx, cy + seed[..., 1] - gy)
            second = np.minimum(second, np.maximum(first, away))
            first = np.minimum(first, away)
    return (second - first) * cell * 0.5


def _age(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Light the relief, then let the paint film crack, gather dust and yellow unevenly."""
    wide, fine = crackle(SHAPE, rng, 104), crackle(SHAPE, rng, 40)
    where = smoothstep(-0.3, 1.2, cloud(SHAPE, rng, 330, 1.3))
    crack = smoothstep(1.5, 0.5, wide) * (0.25 + 0.75 * where)
    crack = np.maximum(crack, smoothstep(1.2, 0.4, fine) * 0.8 * smoothstep(0.35, 0.9, where))
    crack *= smoothstep(-1.2, 0.4, cloud(SHAPE, rng, 50, 0.9))
    linen = weave(SHAPE, rng, 4.4)
    canvas.relief += 0.5 * linen - 0.9 * crack
    rgb = canvas.lit(0.23, 0.12, 4.2)
    # Thin paint sinks into the linen: its threads show as faint light and dark.
    rgb *= (
        1.0 + 0.028 * (linen - linen.mean())[..., None] * smoothstep(-1.0, 1.0, cloud(SHAPE, rng, 200, 1.2))[..., None]
    )
    luma = rgb.mean(axis=2)
    # Cracks are dark in light paint and grey with dust in dark paint.
    stain = np.where((luma > 0.3)[..., None], rgb * np.float32([0.62, 0.56, 0.50]), rgb + 0.10)
    rgb = rgb + (stain - rgb) * (0.62 * crack)[..., None]
    yellowed = 0.5 + 0.16 * cloud(SHAPE, rng, 420, 1.4)
    rgb *= 1.0 - yellowed[..., None] * np.float32([0.01, 0.03, 0.09])
    grime = blur(np.clip(-canvas.relief + blur(canvas.relief, 9), 0, 2), 1.0)
    return rgb * (1.0 - 0.12 * np.clip(grime, 0, 1.5))[..., None]


def paint(seed: int = 37) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    scene = _scene(rng)
    canvas = Canvas(SHAPE, hexes("d8cdb4")[0], rng)
    underpaint(canvas, scene, rng, 0.92)
    paint_layer(canvas, scene, rng, 56, 250, 1.6, Brush(dry=0.2, thick=0.7, streak=0.06, mix=0.8))
    paint_layer(canvas, scene, rng, 40, 170, 1.8, Brush(dry=0.3, thick=0.8, streak=0.06, mix=0.8))
    paint_layer(canvas, scene, rng, 26, 120, 0.8, Brush(dry=0.5, thick=0.9, streak=0.08, mix=0.8))
    _bars(canvas, rng)
    return to_image(_age(canvas, rng), 40)
