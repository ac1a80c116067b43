"""Expressionist village: knife patches of clashing colour under a burning sky, held by dark contours."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas, Scene, draw_line, paint_layer, underpaint
from .noise import WORK, cloud, grid, hexes, polygon_mask, spline, to_image

SHAPE = (1216, WORK)
SKY, SUN, PEAK, HILL, MEADOW, ROAD, ROOF, ROOF2, WALL, WALL2, SIDE, WINDOW, LEAF, LEAF2, TRUNK, SHADOW = range(16)
RAMPS = [
    hexes("1c1f6b", "5b2a8c", "b0307c", "e8483c", "f6882a", "fbc43a", "fbe88a"),
    hexes("f6a820", "fbd23c", "fdec8c", "fff8d8"),
    hexes("141a5c", "23308c", "3552b4", "5a7fd0", "8a6fc4", "d07fae"),
    hexes("0c3c4c", "0f6a62", "1f9a78", "62b85c", "b8cf3c"),
    hexes("0f5a3c", "2a8a34", "6ab02c", "b4cf2a", "f2dc3a", "f8a838"),
    hexes("7a1f6a", "b83a84", "e06a90", "f2a48c", "f8d09c"),
    hexes("8a0f1c", "c4201c", "e8401c", "f67424", "fba84a"),
    hexes("4a1050", "861c60", "c02c54", "e85a48"),
    hexes("e8a01c", "f4c434", "f9e070", "fdf3c0"),
    hexes("7fc0b0", "b4dcc0", "e4efc8", "fbf6dc"),
    hexes("16205c", "243a94", "3a5fc0", "5f4fa8", "4a8fc4"),
    hexes("08102c", "101c4c", "f8d03c", "fbe88a"),
    hexes("06302c", "0c5a3a", "148a48", "4ab04a", "b4d03c"),
    hexes("5c0f3c", "a01c3c", "d8382c", "f47a24", "fbb83a"),
    hexes("1c0f3c", "4a1c50", "a02c3c", "e05a2c"),
    hexes("141a5c", "1c3a7a", "14606a", "2a8a5a"),
]
ACCENTS = [
    hexes("2a6ac8", "7a2a9c", "3a50c0", "e0407a"), hexes("fff8e0", "f07a28"), hexes("f07a4a", "2ac0b0", "f4b0c0"),
    hexes("e8503c", "2a3a9c", "f8d84a"), hexes("e83c2c", "2a4fb8", "f8f0a0", "c03a8a"),
    hexes("3a6ac8", "f8e8a0", "2aa890"),
    hexes("2a3a9c", "f8d04a", "e0408a"), hexes("2a60b0", "f8a040"), hexes("e8603c", "6ac0b0", "f8b0a0"),
    hexes("f0a0a0", "5a9ad0", "f8d870"), hexes("e0507a", "2ab0a0", "f09040"), hexes("f07a28"),
    hexes("d8402c", "2a50b0", "f8d84a"), hexes("2a8a6a", "4a3aa0", "f8e88a"), hexes("2a60b0", "f8a040"),
    hexes("5a2a9c", "2a9ac0", "b03a8a"),
]  # fmt: skip
INK = hexes("070a24", "101a52", "1f0f38", "08222c", "0a0c20")


class Village:
    """Collects shapes back to front: their paint, stroke angle, light, and the contours to be drawn around them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.region = np.zeros(SHAPE, dtype=np.uint8)
        self.angle = np.zeros(SHAPE, dtype=np.float32)
        self.value = np.zeros(SHAPE, dtype=np.float32)
        self.mottle = cloud(SHAPE, rng, 70, 1.0)
        self.lines: list[tuple[np.ndarray, float, np.ndarray]] = []
        self.depth = np.zeros(SHAPE, dtype=np.uint8)

    def shape(self, points, paint_number, angle, light, line=9.0, closed=True) -> None:
        """Fill one outline (shares of the width) and remember its contour."""
        outline = np.asarray(points, dtype=float)
        inside = polygon_mask(SHAPE, outline * WORK, 1) > 0.5
        self.region[inside] = paint_number
        self.angle[inside] = np.broadcast_to(angle, SHAPE)[inside]
        self.value[inside] = np.broadcast_to(light, SHAPE)[inside] + 0.1 * self.mottle[inside]
        level = int(self.depth.max()) + 1
        self.depth[inside] = level
        if line > 0:
            rim = np.vstack([outline, outline[:1]]) if closed else outline
            self.lines.append((rim * WORK, line, np.array(level)))

    def house(self, cx, base, wide, tall, roof, lean, paints, turned=0.55) -> None:
        """A leaning house: lit gable front, shadowed long side, bright roof, dark windows."""
        front, side_wall, top = paints
        w, d = wide * turned, wide * (1 - turned)
        a, b = (cx, base), (cx + w, base + 0.004)
        c, e = (cx + w + lean, base - tall), (cx + lean, base - tall - 0.004)
        peak = (cx + w * 0.48 + lean * 1.6, base - tall - roof)
        far_top, far_base = (c[0] + d, c[1] - 0.012), (b[0] + d, b[1] - 0.014)
        ridge = (peak[0] + d, peak[1] - 0.010)
        x, y = self.x, self.y
        self.shape([b, far_base, far_top, c], side_wall, np.pi / 2 + 0.15, 0.35 + 2.0 * (base - y), 7)
        self.shape([a, b, c, peak, e], front, np.pi / 2 - 0.2, 0.45 + 2.2 * (base - y), 7)
        eave = 0.010
        self.shape(
            [(c[0] - eave * 0.6, c[1] + eave), (far_top[0] + eave, far_top[1] + eave), ridge, peak],
            top, 1.05, 0.35 + 3.0 * (x - cx), 9,
        )  # fmt: skip
        slope = [
            (e[0] - eave, e[1] + eave),
            peak,
            (peak[0] + 0.008, peak[1] + 0.014),
            (e[0] - eave * 0.4, e[1] + eave * 2),
        ]
        self.shape(slope, top, -0.9, 0.8, 6)
        for k, u in enumerate((0.22, 0.62)):
            wx, wy = cx + w * u + lean * 0.5, base - tall * (0.62 + 0.04 * k)
            pane = [
                (wx, wy),
                (wx + w * 0.2, wy + 0.001),
                (wx + w * 0.2, wy + tall * 0.28),
                (wx - 0.001, wy + tall * 0.27),
            ]
            self.shape(pane, WINDOW, np.pi / 2, 0.05 if (k + int(cx * 50)) % 3 else 0.95, 4)
        left, right, head = cx + w * 0.4, cx + w * 0.62, base - tall * 0.36
        self.shape(
            [(left, base), (left, head), (right, head), (right, base)], TRUNK if front == WALL else SIDE, 1.57, 0.5, 4
        )

    def tree(self, cx, foot, tall, wide, paint_number, bend=0.0) -> None:
        """A bent trunk under a flame or cloud of leaves."""
        trunk = [(cx - 0.011, foot), (cx - 0.006 + bend * 0.5, foot - tall * 0.5), (cx + bend, foot - tall * 0.8)]
        trunk += [(cx + 0.008 + bend * 0.6, foot - tall * 0.5), (cx + 0.014, foot)]
        self.shape(trunk, TRUNK, np.pi / 2, 0.5 + 12 * (self.x - cx), 8)
        turn = np.linspace(0, 2 * np.pi, 18)[:-1] + self.rng.normal(0, 0.07, 17)
        reach = 1 + 0.08 * np.where(np.arange(17) % 2, 1, -1) + 0.055 * self.rng.normal(size=17)
        oy = foot - tall * 0.78
        knots = [
            (cx + bend + wide * r * np.cos(t), oy + tall * 0.42 * r * np.sin(t))
            for t, r in zip(turn, reach, strict=True)
        ]
        crown = np.array([*knots, knots[0]])
        dx, dy = self.x - cx - bend, self.y - oy
        # Leaves hang outwards from the top, like a thatch.
        leaning = np.pi / 2 - np.clip(dx / wide, -1.2, 1.2) * 0.9
        self.shape(crown, paint_number, leaning, 0.47 - 0.6 * (dx + dy) / wide * 0.55 + 0.12 * self.mottle, 10)
        # Dark boughs show through the leaves.
        level = np.array(int(self.depth.max()))
        for spread in self.rng.permutation([-0.62, -0.28, 0.1, 0.45, 0.7])[:4]:
            fork = foot - tall * self.rng.uniform(0.42, 0.72)
            tip = (cx + bend + wide * spread * 1.1, fork - tall * self.rng.uniform(0.16, 0.34))
            elbow = (cx + bend * 0.7 + wide * spread * 0.35, fork - tall * 0.04)
            self.lines.append(
                (spline([(cx + bend * 0.6, fork + tall * 0.05), elbow, tip], 30) * WORK, wide * 90, level)
            )


def _land(v: Village) -> None:
    x, y = v.x, v.y
    sun = (0.735, 0.155)
    r = np.hypot(x - sun[0], (y - sun[1]) * 1.1)
    swirl = cloud(SHAPE, v.rng, 200, 1.3)
    v.angle[:] = np.arctan2(y - sun[1], x - sun[0]) + np.pi / 2 + 0.35 * swirl
    v.value[:] = 0.98 - 1.28 * np.sqrt(r) + 0.08 * np.sin(r * 60) + 0.10 * swirl
    turn = np.linspace(0, 2 * np.pi, 40)
    v.shape(np.stack([sun[0] + 0.052 * np.cos(turn), sun[1] + 0.050 * np.sin(turn)], 1), SUN, v.angle, 0.9 - 9 * r, 6)
    peaks = [(-0.02, 0.36), (0.07, 0.27), (0.14, 0.215), (0.19, 0.25), (0.25, 0.185), (0.33, 0.27), (0.41, 0.30)]
    peaks += [(0.5, 0.245), (0.58, 0.29), (0.68, 0.33), (0.8, 0.27), (0.88, 0.235), (0.95, 0.28), (1.02, 0.26)]
    face = 0.75 * np.tanh(2.5 * np.sin(x * 41 + 6 * y)) + 0.2
    v.shape(
        [*peaks, (1.02, 0.5), (-0.02, 0.5)],
        PEAK,
        face,
        0.75 - 2.2 * (y - 0.22) + 0.22 * np.tanh(4 * np.sin(x * 41 + 6 * y)),
        11,
    )
    hill = spline([(-0.02, 0.43), (0.15, 0.375), (0.34, 0.36), (0.55, 0.39), (0.78, 0.365), (1.02, 0.40)], 90)
    v.shape([*hill, (1.02, 0.8), (-0.02, 0.8)], HILL, 0.2 * np.sin(x * 9), 0.75 - 3.2 * (y - 0.37), 11)
    near = spline([(-0.02, 0.52), (0.2, 0.505), (0.45, 0.53), (0.7, 0.51), (1.02, 0.545)], 90)
    tilt = 0.25 * np.sin(x * 8 + y * 12) - 0.15
    v.shape(
        [*near, (1.02, 0.8), (-0.02, 0.8)], MEADOW, tilt, 0.42 + 0.22 * np.sin(x * 13 + y * 38) + 1.2 * (0.66 - y), 11
    )
    left = spline([(0.30, 0.80), (0.40, 0.70), (0.505, 0.635), (0.49, 0.575), (0.455, 0.525)], 60)
    right = spline([(0.475, 0.525), (0.525, 0.575), (0.565, 0.635), (0.545, 0.70), (0.56, 0.80)], 60)
    v.shape(
        np.vstack([left, right]), ROAD, np.pi / 2 + 0.5 * np.sin(y * 24), 0.55 + 0.8 * (0.62 - y) + 2 * (x - 0.48), 11
    )


def _shadows(v: Village) -> None:
    """Long violet shadows that fall from the sun towards the viewer and tie houses and trees to the ground."""
    for cx, foot, wide, reach in (
        (0.105, 0.562, 0.15, 0.07),
        (0.605, 0.602, 0.17, 0.075),
        (0.045, 0.66, 0.03, 0.16),
        (0.845, 0.60, 0.03, 0.15),
        (0.955, 0.715, 0.03, 0.14),
        (0.235, 0.665, 0.028, 0.12),
    ):
        slant = -0.75 * reach if cx > 0.5 else -1.1 * reach
        tip = 0.6 * wide if wide > 0.1 else 2.2 * wide
        points = [(cx, foot), (cx + wide, foot), (cx + wide * 0.7 + slant + tip * 0.3, foot + reach * 0.85)]
        points += [(cx + slant + tip * 0.5, foot + reach), (cx + slant - tip * 0.4, foot + reach * 0.8)]
        v.shape(points, SHADOW, np.arctan2(reach, slant) + 0.2, 0.3 + 3.0 * (v.y - foot), 0)


def _houses(v: Village) -> None:
    v.house(0.60, 0.475, 0.115, 0.060, 0.050, 0.004, (WALL2, SIDE, ROOF2))
    v.house(0.245, 0.465, 0.110, 0.058, 0.048, -0.004, (WALL, SIDE, ROOF))
    v.tree(0.575, 0.49, 0.13, 0.035, LEAF2, 0.006)
    v.house(0.71, 0.515, 0.14, 0.078, 0.062, -0.006, (WALL, SIDE, ROOF))
    # The church: a nave and a leaning tower with a steep spire.
    v.house(0.355, 0.520, 0.165, 0.085, 0.075, 0.003, (WALL2, SIDE, ROOF2), 0.45)
    x, y = v.x, v.y
    v.shape([(0.425, 0.525), (0.427, 0.30), (0.462, 0.298), (0.466, 0.527)], WALL, 1.5, 0.3 + 2.4 * (0.5 - y), 9)
    v.shape([(0.466, 0.527), (0.462, 0.298), (0.484, 0.292), (0.488, 0.515)], SIDE, 1.6, 0.2 + 2.2 * (0.5 - y), 8)
    v.shape([(0.418, 0.308), (0.457, 0.115), (0.492, 0.298), (0.462, 0.306)], ROOF, 1.35, 0.2 + 9 * (0.47 - x), 10)
    v.shape([(0.438, 0.385), (0.439, 0.345), (0.445, 0.334), (0.452, 0.345), (0.452, 0.386)], WINDOW, 1.5, 0.05, 5)
    v.house(0.105, 0.560, 0.165, 0.095, 0.075, 0.007, (WALL2, SIDE, ROOF))
    v.tree(0.325, 0.565, 0.17, 0.042, LEAF, -0.008)
    v.house(0.605, 0.600, 0.175, 0.098, 0.080, 0.005, (WALL, SIDE, ROOF2))
    v.tree(0.845, 0.60, 0.24, 0.062, LEAF2, 0.012)
    v.tree(0.045, 0.66, 0.33, 0.068, LEAF, 0.014)
    v.tree(0.955, 0.715, 0.42, 0.085, LEAF, -0.016)
    v.tree(0.235, 0.665, 0.14, 0.045, LEAF2, 0.008)


def _contours(canvas: Canvas, v: Village) -> None:
    """Only the visible parts of each outline are drawn: later shapes hide what lies behind them."""
    brush = Brush(dry=0.32, thick=0.9, taper=0.6, ragged=0.9, streak=0.25)
    for rim, width, level in v.lines:
        gaps = np.hypot(*np.diff(rim, axis=0).T)
        reached = np.concatenate([[0.0], np.cumsum(gaps)])
        at = np.arange(0, reached[-1], 4.0)
        points = np.stack([np.interp(at, reached, rim[:, 0]), np.interp(at, reached, rim[:, 1])], axis=1)
        ix = np.clip(points[:, 0], 0, SHAPE[1] - 1).astype(int)
        iy = np.clip(points[:, 1], 0, SHAPE[0] - 1).astype(int)
        seen = v.depth[iy, ix] <= int(level)
        for run in np.split(np.arange(len(at)), np.flatnonzero(np.diff(seen.astype(int))) + 1):
            if seen[run[0]] and len(run) > 3:
                draw_line(canvas, points[run], width * 1.3, INK, v.rng, brush, 130)


def paint(seed: int = 5) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    v = Village(rng)
    _land(v)
    _shadows(v)
    _houses(v)
    jitter = [0.09] * 2 + [0.15] * 4 + [0.13] * 5 + [0.02] + [0.16] * 4
    v.angle += 0.22 * cloud(SHAPE, rng, 60, 1.1)
    scene = Scene(v.angle, v.region, np.clip(v.value, 0, 1), RAMPS, jitter, ACCENTS, 0.07)
    canvas = Canvas(SHAPE, hexes("2a1a3c")[0], rng)
    underpaint(canvas, scene, rng, 0.7)
    knife = Brush(dry=0.3, thick=0.9, ridge=1.5, taper=0.05, ragged=0.35, soft=1.9, mix=0.9, streak=0.10)
    paint_layer(canvas, scene, rng, 66, 120, 1.8, knife)
    paint_layer(canvas, scene, rng, 44, 92, 1.5, knife)
    paint_layer(canvas, scene, rng, 27, 58, 1.0, knife, np.where(scene.room < 30, 1.0, 0.32))
    small = np.where(scene.room < 12, 1.0, 0.06)
    paint_layer(canvas, scene, rng, 14, 36, 1.3, knife, small)
    _contours(canvas, v)
    paint_layer(canvas, scene, rng, 12, 30, 0.10, knife, wild=1.4)
    return to_image(canvas.lit(0.36, 0.2, 4.6), 35)
