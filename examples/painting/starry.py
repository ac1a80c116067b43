"""Impasto night: a swirling sky with moon and stars over hills, a wheat field and two dark cypresses."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas, Scene, paint_layer, underpaint
from .noise import WORK, cloud, grid, hexes, polygon_mask, sample, smoothstep, to_image

SHAPE = (1152, WORK)
SKY, FAR, NEAR, FIELD, TREE, GLOW, MOONGLOW, WALL, ROOF = range(9)
# x, y and halo radius as shares of the width.
STARS = [
    (0.06, 0.07, 0.040), (0.345, 0.075, 0.052), (0.485, 0.295, 0.028), (0.575, 0.055, 0.026), (0.655, 0.185, 0.056),
    (0.93, 0.075, 0.050), (0.965, 0.29, 0.028), (0.05, 0.315, 0.036), (0.245, 0.355, 0.032), (0.40, 0.385, 0.022),
]  # fmt: skip
MOON = (0.185, 0.155, 0.098)
# Big vortices: x, y, radius and spin.
SWIRLS = [
    (0.462, 0.165, 0.100, 3.8),
    (0.335, 0.255, 0.078, -3.2),
    (0.84, 0.20, 0.085, 2.6),
    (0.615, 0.335, 0.062, -2.4),
]
RAMPS = [
    hexes("0b1440", "14226b", "1b3a97", "2459b4", "3a80c4", "74b3cf", "bcdcd0", "eeeecb"),
    hexes("121c4f", "1c3472", "2a5390", "4a78a8", "7d8fc0", "a6b6d4"),
    hexes("0c2a33", "12484a", "1e6a58", "3f8a5e", "7aa862", "b8c471"),
    hexes("5a3a12", "8f5f17", "c08a1f", "e0b030", "f2cf57", "f8e793"),
    hexes("060b14", "0b1d1d", "10301f", "1f4a26", "3c5f25", "6d5a20"),
    hexes("2f6fb8", "62a9c9", "a9d8c0", "e9e58a", "f8d53c", "f6a820", "fdf6cf"),
    hexes("2f6fb8", "5aa0c8", "8cc8cc", "b8dcc4", "d8e8b0", "f0eca0", "f8e678"),
    hexes("2a4a86", "4a6fa8", "8aa0c4", "c4c8c8", "e8dcb0"),
    hexes("1a1440", "3a2050", "702f4a", "a8503c"),
]
ACCENTS = [
    hexes("5a4fb0", "2c9aa6", "dfe8d8", "0a0f33"),
    hexes("6a4f9c", "2c8a9a"),
    hexes("d8b23c", "1b3a97", "d7dfa0"),
    hexes("3f7a3c", "b5471f", "2f5aa0", "fff3c0"),
    hexes("8a4a1c", "2a3f7a", "4f8a4a"),
    hexes("f2f6e4", "f08a24", "6ac0c8"),
    hexes("f2f6e4", "f6c84a", "4a90c8"),
    hexes("f8d84a", "f0a030"),
    hexes("1b3a97", "d8a040"),
]


def _flow(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sky current: a wavy stream from left to right, wound up by the swirls, the stars and the moon."""
    drift = cloud(x.shape, rng, 320, 1.6)
    u = 1.0 + 0.0 * x
    v = 0.45 * np.sin(x * 9.0 + y * 3.0) + 0.35 * drift
    spinners = SWIRLS + [(sx, sy, r * 0.95, 4.0) for sx, sy, r in STARS] + [(*MOON[:2], MOON[2] * 1.0, 5.0)]
    for cx, cy, radius, spin in spinners:
        dx, dy = x - cx, y - cy
        r = np.hypot(dx, dy) + 1e-4
        pull = spin * np.exp(-((r / radius) ** 2) * 0.8)
        # Swirls draw the current inwards, so that they read as spirals; halos stay closed rings.
        inward = 0.42 * pull * np.sign(spin) if (cx, cy, radius, spin) in SWIRLS else 0.0
        u = u * (1 - np.exp(-((r / radius) ** 2)) * 0.9) - dy / r * pull - dx / r * inward
        v = v * (1 - np.exp(-((r / radius) ** 2)) * 0.9) + dx / r * pull - dy / r * inward
    return u, v


def _streaks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise smeared along the current, at quarter size: the light and dark bands the strokes will follow."""
    small = tuple(s // 4 for s in u.shape)
    us, vs = u[2::4, 2::4][: small[0], : small[1]], v[2::4, 2::4][: small[0], : small[1]]
    norm = np.hypot(us, vs) + 1e-6
    us, vs = us / norm, vs / norm
    noise = cloud(small, rng, 11, 1.0)
    total = np.zeros(small, dtype=np.float32)
    for sign in (1.0, -1.0):
        x, y = grid(small)
        for _ in range(26):
            total += sample(noise, x, y)
            x, y = x + sign * sample(us, x, y) * 1.6, y + sign * sample(vs, x, y) * 1.6
    total /= total.std()
    big = Image.fromarray(total).resize((u.shape[1], u.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(big, dtype=np.float32)


def _cypress(base: float, foot: float, tip: float, half: float, lean: float) -> np.ndarray:
    """Flame outline of a tree, in shares of the width."""
    up = np.linspace(0, 1, 90)
    body = half * (np.sin(np.pi * np.clip(up * 0.93 + 0.07, 0, 1)) ** 0.75) * (1.1 - 0.55 * up)
    body = body * (1 + 0.16 * np.sin(up * 23.0) + 0.1 * np.sin(up * 41.0 + 1.3))
    spine = base + lean * up + 0.012 * np.sin(up * 7.0)
    y = foot + (tip - foot) * up
    right = np.stack([spine + body, y], axis=1)
    left = np.stack([spine - body * (0.9 + 0.15 * np.cos(up * 31)), y], axis=1)
    return np.vstack([right, left[::-1]])


def _hamlet(x, y, region, value, angle) -> None:
    """A few small houses in the valley, with lit windows."""
    for cx, foot, wide, tall in (
        (0.40, 0.578, 0.030, 0.022),
        (0.452, 0.570, 0.036, 0.028),
        (0.50, 0.575, 0.028, 0.020),
        (0.555, 0.566, 0.034, 0.024),
        (0.605, 0.572, 0.026, 0.020),
    ):
        inside = (np.abs(x - cx) < wide / 2) & (y < foot) & (y > foot - tall)
        region[inside] = WALL
        value[inside] = (0.45 + 9 * (x - cx))[inside]
        gable = (y <= foot - tall) & (y > foot - tall * 1.9 + np.abs(x - cx) * 0.75) & (np.abs(x - cx) < wide * 0.62)
        region[gable] = ROOF
        value[gable] = (0.5 + 12 * (x - cx))[gable]
        angle[inside | gable] = np.pi / 2
    spire = (np.abs(x - 0.478) < 0.008 * np.clip((y - 0.475) / 0.06, 0, 1)) & (y < 0.572)
    region[spire] = ROOF
    value[spire] = 0.25
    angle[spire] = np.pi / 2


def _scene(rng: np.random.Generator) -> Scene:
    px, py = grid(SHAPE)
    x, y = px / WORK, py / WORK
    u, v = _flow(x, y, rng)
    angle = np.arctan2(v, u)
    region = np.full(SHAPE, SKY, dtype=np.uint8)
    value = 0.36 + 0.15 * _streaks(u, v, rng) + 0.16 * smoothstep(0.2, 0.47, y)
    for cx, cy, radius, spin in SWIRLS:
        # Light and dark arms wind into every swirl.
        r = np.hypot(x - cx, y - cy) / radius
        arms = np.sin(2 * np.arctan2(y - cy, x - cx) - np.sign(spin) * 4.6 * np.log(r + 0.15))
        value += (0.15 * arms + 0.06) * np.exp(-((r / 1.15) ** 4))
    haze = cloud(SHAPE, rng, 26, 1.0)
    for cx, cy, radius in [*STARS, MOON]:
        r = np.hypot(x - cx, y - cy) / radius
        inside = r + 0.07 * haze < 1.0
        region[inside] = MOONGLOW if (cx, cy) == MOON[:2] else GLOW
        ringed = 1.0 - 0.86 * r + 0.1 * np.sin(r * 13.0)
        value = np.where(inside, ringed, value + 0.26 * np.exp(-(((r - 1) / 0.5) ** 2)) * (r > 1))
    crescent = (np.hypot(x - MOON[0], y - MOON[1]) < 0.04) & (np.hypot(x - 0.203, y - 0.142) > 0.033)
    value[crescent] = 1.0
    far = (
        0.462
        - 0.05 * np.exp(-(((x - 0.68) / 0.13) ** 2))
        - 0.028 * np.exp(-(((x - 0.3) / 0.1) ** 2))
        + 0.006 * np.sin(x * 31)
    )
    near = 0.53 + 0.025 * np.sin(x * 6.5 + 0.5) + 0.012 * np.sin(x * 17.0)
    field = 0.605 - 0.035 * np.sin(x * 4.2 - 0.5) + 0.006 * np.sin(x * 22.0)
    bands = cloud(SHAPE, rng, 60, 1.0, (0.35, 1.6))
    for number, line, wave in ((FAR, far, 9.0), (NEAR, near, 6.0), (FIELD, field, 4.0)):
        below = y > line
        region[below] = number
        depth = y - line
        slope = np.arctan(np.gradient(np.broadcast_to(line, SHAPE), axis=1) * WORK)
        tilt = slope * np.exp(-depth * 14) + 0.35 * np.sin(x * wave * 2 + depth * 60) * smoothstep(0.0, 0.05, depth)
        if number == FIELD:
            tilt = 0.3 - 0.9 * smoothstep(0.15, 0.75, x) + 0.25 * bands
            tilt = tilt * 0.6 - 1.25 * smoothstep(0.62, 0.76, y) * 0.8
        angle = np.where(below, tilt, angle)
        value = np.where(below, 0.62 - depth * 5.0 + 0.22 * bands + 0.12 * np.sin(depth * 140 + x * 20), value)
    value = np.where(region == FIELD, 0.58 + 0.2 * bands - 1.2 * (y - 0.66) + 0.1 * np.sin(x * 60 + y * 90), value)
    _hamlet(x, y, region, value, angle)
    for outline, twist in (
        (_cypress(0.795, 0.76, 0.075, 0.062, 0.02), 0.0),
        (_cypress(0.905, 0.76, 0.33, 0.04, -0.01), 2.0),
    ):
        tree = polygon_mask(SHAPE, outline * WORK) > 0.5
        region[tree] = TREE
        sway = -np.pi / 2 + 0.5 * np.sin(y * 26 + x * 34 + twist) + 0.25 * haze
        angle = np.where(tree, sway, angle)
        value = np.where(tree, 0.34 + 0.18 * haze + 0.2 * np.sin(x * 150 + y * 30), value)
    jitter = [0.12, 0.13, 0.14, 0.15, 0.15, 0.09, 0.10, 0.1, 0.1]
    return Scene(angle.astype(np.float32), region, np.clip(value, 0, 1), RAMPS, jitter, ACCENTS, 0.05)


def _contours(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """Broken dark lines where two regions of the land meet, as van Gogh drew with the brush."""
    edges = np.zeros(SHAPE, dtype=bool)
    solid = np.where(np.isin(scene.region, (GLOW, MOONGLOW)), SKY, scene.region)
    solid = np.where(np.isin(solid, (WALL, ROOF)), NEAR, solid)
    edges[1:] |= (solid[1:] != solid[:-1]) & (np.maximum(solid[1:], solid[:-1]) != SKY)
    edges[:, 1:] |= solid[:, 1:] != solid[:, :-1]
    ys, xs = np.nonzero(edges)
    pick = rng.choice(len(xs), size=len(xs) // 16, replace=False)
    dark = hexes("0a1030", "101c44", "0a2226")
    brush = Brush(dry=0.5, thick=0.8, taper=0.7)
    for k in pick:
        x, y = xs[k], ys[k]
        near = np.flatnonzero((np.abs(xs - x) < 26) & (np.abs(ys - y) < 26))
        spread = np.stack([xs[near] - x, ys[near] - y]).astype(float)
        axis = np.linalg.eigh(spread @ spread.T)[1][:, 1]
        reach = rng.uniform(14, 34)
        ends = np.array([[x, y]]) + np.linspace(-1, 1, 5)[:, None] * axis[None] * reach
        ends += rng.normal(0, 0.7, ends.shape)
        canvas.stroke(ends, rng.uniform(5, 9), dark[rng.integers(3)], dark[rng.integers(3)], brush)


def _lights(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thick bright dabs: star cores and the crescent, laid on last."""
    warm = hexes("fffbe0", "fff2a8", "ffd84a", "fbb02c")
    for cx, cy in ((0.396, 0.568), (0.446, 0.556), (0.459, 0.557), (0.502, 0.566), (0.549, 0.555), (0.562, 0.556)):
        pane = np.array([[0, -5], [0.5, 0], [0, 6]]) + np.array([cx, cy]) * WORK
        canvas.stroke(pane, 8, warm[2], warm[3], Brush(dry=0, thick=1.5, ragged=0.2, taper=0.1))
    moon = hexes("fde06a", "fbc62c", "f6a41c", "ee8a1a")
    brush = Brush(dry=0.1, thick=1.7, ridge=0.8, streak=0.1)
    for cx, cy, radius in STARS:
        core = radius * WORK * 0.2
        for _ in range(9):
            a = rng.uniform(0, 2 * np.pi)
            r = core * rng.uniform(0.1, 1.0)
            turn = a + np.linspace(-0.7, 0.7, 6) * rng.uniform(0.6, 1.2)
            arc = np.stack([cx * WORK + r * np.cos(turn), cy * WORK + r * np.sin(turn)], axis=1)
            canvas.stroke(arc, rng.uniform(8, 14), warm[rng.integers(0, 3)], warm[0], brush)
    for _ in range(80):
        a = rng.uniform(0.55, 3.6)
        # Thick in the middle, pointed at both horns.
        r = (0.042 - 0.021 * rng.random() * np.sin((a - 0.55) / 3.05 * np.pi)) * WORK
        turn = a + np.linspace(-0.28, 0.28, 7)
        arc = np.stack([MOON[0] * WORK + r * np.cos(turn), MOON[1] * WORK + r * np.sin(turn)], axis=1)
        canvas.stroke(arc, rng.uniform(9, 15), moon[rng.integers(0, 4)], moon[rng.integers(0, 4)], brush)


def paint(seed: int = 11) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    scene = _scene(rng)
    canvas = Canvas(SHAPE, hexes("4a3a2a")[0], rng)
    underpaint(canvas, scene, rng)
    paint_layer(canvas, scene, rng, 44, 190, 1.8, Brush(dry=0.2, thick=0.6))
    paint_layer(canvas, scene, rng, 26, 120, 1.5, Brush(dry=0.4))
    paint_layer(canvas, scene, rng, 17, 88, 1.5, Brush(dry=0.45, thick=1.1))
    _contours(canvas, scene, rng)
    paint_layer(canvas, scene, rng, 12, 60, 0.55, Brush(dry=0.5, thick=1.2), wild=1.25)
    # Narrow places only take a small brush: give them a second, denser coat.
    tight = np.where(scene.room < 14, 1.0, 0.0)
    paint_layer(canvas, scene, rng, 12, 48, 1.5, Brush(dry=0.4, thick=1.2), tight)
    _lights(canvas, rng)
    return to_image(canvas.lit(0.38, 0.2, 6.0), 45)
