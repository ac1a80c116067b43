"""Roman sea floor: fish, weed and coral in cut stones that follow every contour, inside a border of twisted rope.

The stones settle as in Hausner, "Simulating Decorative Mosaics" (2001): centres move to the middle of their cells in a
metric whose cells are squares turned along the nearest contour; pixels of contours belong to no cell.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Scene, scatter
from .noise import WORK, blur, cloud, grid, hexes, polygon_mask, smoothstep, spline, to_image

SHAPE = (1152, WORK)
SEA, CREST, FISH, FIN, FISH2, FIN2, WHITE, PUPIL, CORAL, WEED, STAR, SAND, CREAM, NAVY, ROPE, ROPE2 = range(16)
RAMPS = [
    hexes("0f3a5c", "14597a", "1f7f94", "3aa3a6", "74c2b4", "a9d6c2"),
    hexes("8fc9c4", "d4e6d4", "f2efdc"),
    hexes("7a1c14", "b0351c", "d8622a", "eb9a3e", "f3c873", "f8e9c0"),
    hexes("54140f", "94281a", "cf5f2c", "eda348"),
    hexes("17324f", "2a5680", "5b8fae", "9fc0c4", "dcd9bd", "f6ecd0"),
    hexes("122844", "34567c", "7f8fa0", "c9a860"),
    hexes("f4ead0", "fffaf0"),
    hexes("0c0d14", "1a1a24"),
    hexes("6a1224", "a8203a", "d84a4a", "ee8c78"),
    hexes("173a24", "2a6236", "5a8f3e", "9cb552", "d0cf7a"),
    hexes("a8571c", "d98a2c", "f0bf58", "f9e2a0"),
    hexes("9c7a4e", "bd9a66", "d8bd8c", "ecdab4"),
    hexes("d9c9a4", "efe3c6", "f8f0dc"),
    hexes("10182c", "1c2c48", "2c4262"),
    hexes("7c1e16", "b83c24", "e08a4c", "f6dcae"),
    hexes("143a44", "2a6a6c", "74ac9c", "e4ead0"),
]
ACCENTS = [
    hexes("0a2844", "2a8f86", "c8e4d0", "1a4c8a"), hexes("ffffff", "a8dcd0"), hexes("f8d890", "8c1c2c", "e8b04a"),
    hexes("f6c878", "3c0f14"), hexes("f8f2dc", "74b0c0", "b8863c"), hexes("e8cf8c", "0f1c34"), hexes("ffffff"),
    hexes("14141c"), hexes("f4b0a0", "4a0c1c"), hexes("e8e49a", "10301f", "78b070"), hexes("c06a24", "fff0c0"),
    hexes("8c6a44", "f4e8cc", "b0703c"), hexes("e4c890", "fbf8ec"), hexes("0a1020", "30507a"),
    hexes("f8e8c8", "5c1410"), hexes("f4f4e0", "0f2c38"),
]  # fmt: skip
LIGHT = np.float32([-0.6, -0.8])


class Floor:
    """Region and ramp position of every pixel, drawn back to front."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.region = np.zeros(SHAPE, dtype=np.uint8)
        self.value = np.zeros(SHAPE, dtype=np.float32)
        self.warp = cloud(SHAPE, rng, 110, 1.3)

    def fill(self, inside: np.ndarray, number: int, light) -> None:
        self.region[inside] = number
        self.value[inside] = np.broadcast_to(light, SHAPE)[inside]

    def blob(self, points, number: int, light) -> None:
        outline = spline([*points, points[0]], 160) * WORK
        self.fill(polygon_mask(SHAPE, outline, 1) > 0.5, number, light)

    def fish(self, cx, cy, length, thick, turn, bend, body, fin) -> None:
        """A fish whose head points along ``turn``: tail, fins, scales in rows, a striped flank and a round eye."""
        dx, dy = self.x - cx, self.y - cy
        u = (dx * np.cos(turn) + dy * np.sin(turn)) / length
        v = (-dx * np.sin(turn) + dy * np.cos(turn)) / length
        v = v - bend * (u * u - 0.3)
        side = np.sign(np.cos(turn))  # the back stays above
        up = -v * side
        half = thick * np.sqrt(np.clip(1 - u * u, 0, 1)) * (0.78 + 0.34 * u - 0.10 * u * u)
        half = np.where(u < -0.78, np.maximum(half, thick * 0.20), half)
        tail = (u < -0.84) & (u > -1.42 + 0.9 * np.abs(v)) & (np.abs(v) < 0.10 + 0.85 * (-0.84 - u))
        self.fill(tail, fin, 0.35 + 0.3 * np.sin(np.arctan2(v, -u - 0.5) * 30) + 0.5 * (-0.84 - u))
        crest = (
            (up > 0) & (up < half + 0.20 * np.clip(np.sin((u + 0.62) / 1.02 * np.pi), 0, 1)) & (u > -0.62) & (u < 0.4)
        )
        self.fill(crest, fin, 0.35 + 0.35 * np.sin((u + 0.4 * up) * 46) + 1.2 * (up - half))
        for at, reach in ((0.12, 0.20), (-0.45, 0.13)):
            below = (up < 0) & (-up < half + reach * np.clip(1 - np.abs(u - at + 0.5 * (-up - half)) / 0.14, 0, 1))
            self.fill(below & (np.abs(u - at) < 0.3), fin, 0.5 + 0.3 * np.sin((u - 0.5 * up) * 50))
        inside = (np.abs(v) < half) & (np.abs(u) < 1)
        share = up / np.maximum(half, 1e-4)
        rows = np.sin((u * 13 + 0.5 * (np.floor(share * 4.5) % 2)) * 2 * np.pi) * np.sin(share * 4.5 * np.pi)
        light = 0.52 - 0.42 * share + 0.13 * rows
        light = np.where(np.abs(share - 0.1) < 0.09, 0.12, light)
        light = np.where(u > 0.56 - 0.25 * share**2, 0.62 - 0.3 * share + 0.1 * np.sin(u * 40), light)
        self.fill(inside, body, light)
        gill = inside & (np.abs(u - 0.55 + 0.25 * share**2) < 0.025)
        self.fill(gill, fin, 0.1)
        ex, ey = u - 0.74, up - 0.32 * half
        ring = np.hypot(ex, ey) / (0.36 * thick)
        self.fill(ring < 1.0, WHITE, 0.6)
        self.fill(ring < 0.55, PUPIL, 0.3)


def _water(floor: Floor) -> None:
    """Deep water above, lighter below, with crests in long arcs; the sandy bottom with pebbles."""
    x, y = floor.x, floor.y
    level = y + 0.018 * np.sin(x * 15 + 0.6) + 0.010 * floor.warp
    floor.value[:] = 0.06 + 1.15 * level + 0.10 * np.sin(level * 120) + 0.10 * cloud(SHAPE, floor.rng, 60)
    for k, height in enumerate((0.125, 0.205, 0.30, 0.40, 0.49, 0.565)):
        line = height + 0.016 * np.sin(x * (15 + k) + 1.7 * k) + 0.010 * floor.warp
        gap = np.sin(x * (11 + 2 * k) + 2.3 * k) > -0.35
        floor.fill((np.abs(y - line) < 0.0052) & gap, CREST, 0.6)
    bottom = y > 0.605 + 0.014 * np.sin(x * 9 + 1) + 0.006 * floor.warp
    floor.fill(bottom, SAND, 0.75 - 1.6 * (y - 0.61) + 0.14 * cloud(SHAPE, floor.rng, 30))


def _growth(floor: Floor) -> None:
    """Weed in ribbons, branched coral, a starfish and a few bubbles."""
    x, y, rng = floor.x, floor.y, floor.rng
    for cx, tall, sway, phase in (
        (0.125, 0.36, 0.030, 0.0), (0.165, 0.27, 0.024, 1.6), (0.205, 0.20, 0.020, 3.1), (0.72, 0.13, 0.016, 0.5),
    ):  # fmt: skip
        top = 0.70 - tall
        middle = cx + sway * np.sin((y - top) * 19 + phase) * smoothstep(0.72, top, y)
        half = 0.0135 * np.sqrt(np.clip((y - top) / 0.06, 0, 1))
        ribbon = (np.abs(x - middle) < half) & (y > top) & (y < 0.70)
        floor.fill(ribbon, WEED, 0.45 + 22 * (x - middle) + 0.2 * np.sin(y * 140))
    branches = [((0.845, 0.70), -1.62, 0.115, 0.017)]
    while branches:
        (bx, by), heading, reach, half = branches.pop()
        tip = (bx + reach * np.cos(heading), by + reach * np.sin(heading))
        t = np.clip(((x - bx) * (tip[0] - bx) + (y - by) * (tip[1] - by)) / reach**2, 0, 1)
        away = np.hypot(x - bx - t * (tip[0] - bx), y - by - t * (tip[1] - by))
        floor.fill(away < half * (1 - 0.25 * t), CORAL, 0.75 - 0.55 * away / half + 0.1 * np.sin(t * 12))
        if reach > 0.045:
            for turn in (-0.55, 0.12, 0.62):
                if turn != 0.12 or rng.random() < 0.6:
                    branches.append((tip, heading + turn + rng.normal(0, 0.08), reach * 0.72, half * 0.74))
    angle = np.arctan2(y - 0.645, x - 0.47)
    away = np.hypot(x - 0.47, (y - 0.645) * 1.15)
    arms = 0.062 * (0.52 + 0.48 * np.cos(angle * 5 + 0.9)) + 0.012
    floor.fill(away < arms, STAR, 0.85 - 9 * away + 0.25 * np.cos(angle * 5 + 0.9))
    for bx, by, radius in ((0.905, 0.16, 0.017), (0.925, 0.235, 0.011), (0.89, 0.29, 0.008), (0.60, 0.11, 0.010)):
        ring = np.hypot(x - bx, y - by)
        floor.fill(ring < radius, CREST, 0.9 - 0.5 * (ring < radius * 0.5))


def _border(floor: Floor) -> None:
    """Guard bands around a rope of two strands, each dark at its rims and pale along its middle."""
    x, y = floor.x, floor.y
    height = SHAPE[0] / WORK
    edge = np.minimum.reduce([x, 1 - x, y, height - y])
    sideways = np.minimum(x, 1 - x) < np.minimum(y, height - y)
    along = np.where(sideways, y, x)
    floor.fill(edge < 0.079, CREAM, 0.6)
    floor.fill(edge < 0.070, NAVY, 0.5)
    across = (edge - 0.0385) / 0.0255
    period = np.where(sideways, (height - 0.077) / 8, (1 - 0.077) / 11)
    turn = (along - 0.0385) / period * np.pi
    wave, over = 0.52 * np.sin(turn), np.cos(turn) > 0
    strands = []
    for sign, number in ((1, ROPE), (-1, ROPE2)):
        off = np.abs(across - sign * wave) / 0.44
        strands.append((off < 1, number, 1.0 - 1.1 * off**1.5 + 0.1))
    for first in (0, 1):
        mask, number, light = strands[first]
        other = strands[1 - first][0]
        on_top = over if first == 0 else ~over
        floor.fill(mask & (on_top | ~other), number, light)
    eye = (np.abs(across) < 0.20) & (np.abs(np.sin(turn)) > 0.93)
    floor.fill(eye, CREAM, 0.8)
    floor.fill(edge < 0.0125, CREAM, 0.5)
    floor.fill(edge < 0.0045, NAVY, 0.3)


def _owners(shape, seeds, size, turn) -> np.ndarray:
    """The stone that each pixel belongs to, (h, w) int32, -1 for none: nearest in squares turned along contours."""
    near = np.full(shape, 1.25, dtype=np.float32)
    owner = np.full(shape, -1, dtype=np.int32)
    c, s = np.cos(turn), np.sin(turn)
    for k, (x, y) in enumerate(seeds):
        reach = int(size[k] * 1.8) + 1
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        rows, columns = slice(top, int(y) + reach + 1), slice(left, int(x) + reach + 1)
        part = near[rows, columns]
        if not part.size:
            continue
        dx = np.arange(left, left + part.shape[1], dtype=np.float32)[None, :] - x
        dy = np.arange(top, top + part.shape[0], dtype=np.float32)[:, None] - y
        away = np.maximum(np.abs(dx * c[k] + dy * s[k]), np.abs(dy * c[k] - dx * s[k])) / size[k]
        mine = away < part
        part[mine] = away[mine]
        owner[rows, columns][mine] = k
    return owner


def _settle(floor: Floor, side: np.ndarray, angle: np.ndarray, bars: np.ndarray, rounds: int = 22):
    """Centres, sides and angles of the stones, on the grid of every second pixel."""
    rng = floor.rng
    small, turn, open_ = side[::2, ::2] / 2, angle[::2, ::2], ~bars[::2, ::2]
    shape = small.shape
    count = int((1 / small**2).sum() * 0.97)
    x, y = scatter(3 * count, shape, rng)
    kept = np.flatnonzero(rng.random(3 * count) < (small.min() / small[y, x]) ** 2)[:count]
    seeds = np.stack([x[kept], y[kept]], axis=1).astype(np.float32)
    for _ in range(rounds):
        iy, ix = np.clip(seeds[:, 1], 0, shape[0] - 1).astype(int), np.clip(seeds[:, 0], 0, shape[1] - 1).astype(int)
        owner = _owners(shape, seeds, small[iy, ix], turn[iy, ix])
        mine = (owner >= 0) & open_
        py, px = np.nonzero(mine)
        number = owner[mine]
        total = np.bincount(number, minlength=len(seeds))
        seen = total > 0
        seeds[seen, 0] = np.bincount(number, px, len(seeds))[seen] / total[seen]
        seeds[seen, 1] = np.bincount(number, py, len(seeds))[seen] / total[seen]
        seeds = seeds[seen]
    iy, ix = np.clip(seeds[:, 1], 0, shape[0] - 1).astype(int), np.clip(seeds[:, 0], 0, shape[1] - 1).astype(int)
    return seeds * 2, small[iy, ix] * 2, turn[iy, ix]


def _lay(floor: Floor, seeds, size, turn, scene: Scene) -> np.ndarray:
    """Cut and colour the stones, and press them into the mortar."""
    rng = floor.rng
    owner = _owners(SHAPE, seeds, size, turn)
    height = np.zeros(SHAPE, dtype=np.float32)
    rgb = np.zeros((*SHAPE, 3), dtype=np.float32)
    iy, ix = seeds[:, 1].astype(int).clip(0, SHAPE[0] - 1), seeds[:, 0].astype(int).clip(0, SHAPE[1] - 1)
    colours = scene.colours(ix, iy, rng)
    turn = turn + rng.normal(0, 0.05, len(seeds))
    tilt = rng.normal(0, 0.13, (len(seeds), 2))
    vein = cloud(SHAPE, rng, 9, 0.8, (0.7, 1.6))
    grain = cloud(SHAPE, rng, 2.2, 0.7)
    for k, (x, y) in enumerate(seeds):
        reach = int(size[k] * 1.2)
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        rows, columns = slice(top, int(y) + reach + 1), slice(left, int(x) + reach + 1)
        mine = owner[rows, columns] == k
        dx = np.arange(left, left + mine.shape[1], dtype=np.float32)[None, :] - x
        dy = np.arange(top, top + mine.shape[0], dtype=np.float32)[:, None] - y
        u, v = dx * np.cos(turn[k]) + dy * np.sin(turn[k]), dy * np.cos(turn[k]) - dx * np.sin(turn[k])
        half = size[k] * 0.5 * rng.uniform(0.86, 1.03, 2)
        lean = rng.normal(0, 0.07, 2)  # no cut is square
        margin = np.minimum(half[0] - np.abs(u + lean[0] * v), half[1] - np.abs(v + lean[1] * u))
        corner = (half.sum() * rng.uniform(0.80, 0.98) - np.abs(u) - np.abs(v)) * 0.7
        margin = np.minimum(margin, corner) + 0.35 * grain[rows, columns]
        cut = mine & (margin > 0)
        face = 1.0 + (tilt[k, 0] * u + tilt[k, 1] * v) / size[k] + (tilt[k] @ LIGHT) * 0.9
        stone = colours[k] * (face + 0.045 * vein[rows, columns] + 0.03 * grain[rows, columns])[..., None]
        rgb[rows, columns][cut] = stone[cut]
        height[rows, columns][cut] = smoothstep(0, 3.2, margin)[cut] * (0.9 + 0.2 * rng.random())
    mortar = hexes("6f6250")[0] * (0.92 + 0.10 * cloud(SHAPE, rng, 3, 0.6) + 0.10 * cloud(SHAPE, rng, 70))[..., None]
    laid = smoothstep(0.02, 0.30, height)[..., None]
    rgb = mortar * (1 - laid) + rgb * laid
    gy, gx = np.gradient(blur(height, 1.0))
    slope = np.tanh(-(gx * LIGHT[0] + gy * LIGHT[1]) * -3.2)
    sunk = smoothstep(1.0, 0.2, blur(height, 2))
    return rgb * (1 + 0.32 * slope - 0.22 * sunk * (1 - laid[..., 0]))[..., None]


def paint(seed: int = 31) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    floor = Floor(rng)
    _water(floor)
    _growth(floor)
    floor.fish(0.40, 0.275, 0.215, 0.36, 0.10, 0.10, FISH, FIN)
    floor.fish(0.585, 0.475, 0.150, 0.40, np.pi - 0.16, -0.12, FISH2, FIN2)
    floor.fish(0.74, 0.215, 0.095, 0.38, np.pi + 0.25, 0.14, FISH, FIN)
    floor.fish(0.30, 0.50, 0.085, 0.40, -0.2, 0.1, FISH2, FIN2)
    _border(floor)
    bars = np.zeros(SHAPE, dtype=bool)
    bars[1:] |= floor.region[1:] != floor.region[:-1]
    bars[:, 1:] |= floor.region[:, 1:] != floor.region[:, :-1]
    # Far from contours the rows follow ever broader blurs of them.
    pull = sum(blur(bars, sigma) * sigma * sigma for sigma in (5, 12, 28, 60))
    gy, gx = np.gradient(np.log(blur(pull, 3) + 1e-3))
    # A square looks the same after a quarter turn: directions are smoothed as four times their angle.
    four = 4 * np.arctan2(gy, gx)
    angle = np.arctan2(blur(np.sin(four), 9), blur(np.cos(four), 9)) / 4
    figure = ~np.isin(floor.region, (SEA, SAND))
    side = 19.0 - 5.5 * smoothstep(0.02, 0.75, blur(figure, 10))
    thick = blur(bars, 1) > 0.08
    jitter = [0.075, 0.1, 0.07, 0.1, 0.06, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.13, 0.14, 0.14, 0.09, 0.09]
    scene = Scene(angle, floor.region, np.clip(floor.value, 0, 1), RAMPS, jitter, ACCENTS, 0.055, tint=0.012)
    seeds, size, turn = _settle(floor, side, angle, thick)
    return to_image(_lay(floor, seeds, size, turn, scene), 25)
