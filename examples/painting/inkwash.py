"""East Asian ink-wash: steep mountains in mist, pines on a rock, one small boat and a red seal."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .noise import WORK, blur, cloud, grid, hexes, smoothstep, spline, to_image
from .paper import fibres, sheet

SHAPE = (WORK, 1104)
# Optical densities of the inks: bluish thin ink, neutral, warm burnt ink, and a breath of ochre.
INDIGO = np.float32([1.12, 0.96, 0.80])
SOOT = np.float32([1.0, 0.98, 0.95])
UMBER = np.float32([0.90, 1.0, 1.12])
OCHRE = np.float32([0.10, 0.28, 0.60])
# Mountains far to near: peaks (x, top, half width, steepness), tone, ink, depth of the fade into mist.
# The last number is the height at which a range has dissolved in mist.
RANGES = [
    ([(0.10, 0.25, 0.10, 1.5), (0.25, 0.205, 0.07, 1.6), (0.6, 0.18, 0.09, 1.7), (0.7, 0.24, 0.1, 1.5)],
     0.20, INDIGO, 0.37),
    ([(0.42, 0.10, 0.06, 2.1), (0.50, 0.20, 0.055, 1.9), (0.34, 0.225, 0.05, 1.9), (0.58, 0.30, 0.06, 1.7)],
     0.50, INDIGO, 0.47),
    ([(0.185, 0.29, 0.065, 2.0), (0.10, 0.365, 0.06, 1.9), (0.26, 0.41, 0.05, 1.8), (0.02, 0.42, 0.06, 1.7)],
     0.90, SOOT, 0.63),
    ([(0.665, 0.47, 0.06, 1.9), (0.72, 0.41, 0.05, 2.0), (0.60, 0.575, 0.045, 1.6)], 1.05, SOOT, 0.735),
]  # fmt: skip


class Wash:
    """An ink canvas with the coordinates and noises that every wash needs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.canvas = Canvas(SHAPE, np.zeros(3, dtype=np.float32), rng)
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.pool = cloud(SHAPE, rng, 80, 1.0)
        self.fray = cloud(SHAPE, rng, 16, 0.85)
        self.wave = cloud(SHAPE, rng, 240, 1.3)

    def stain(self, mask: np.ndarray, tone: np.ndarray | float, ink: np.ndarray, edge: float = 0.5) -> None:
        """A transparent wash: pigment gathers in pools and, while drying, along the rim."""
        rim = np.clip(mask - blur(mask, 7), 0, 1) * edge * 1.6
        body = mask * (0.82 + 0.2 * self.pool) + rim * mask
        self.canvas.rgb += (np.clip(body, 0, 2) * tone)[..., None] * ink


def _profile(x: np.ndarray, peaks: list[tuple], rng: np.random.Generator) -> np.ndarray:
    """Height of the ridge over x: the highest of the peaks, with broken rock on two scales."""
    line = np.full(x.shape, 2.0)
    for cx, top, half, power in peaks:
        away = np.abs(x - cx) / half
        line = np.minimum(line, top + 0.16 * away**power / (0.55 + 0.45 * away))
    rough = np.zeros(x.shape)
    for cell, size in ((46, 0.010), (17, 0.005), (6, 0.0022)):
        noise = cloud((8, x.size), rng, cell, 1.0)[4]
        rough += size * noise
    return line + rough


def _mountain(wash: Wash, peaks, tone, ink, floor) -> None:
    """One range: it hides what lies behind, is dark along the ridge, and dissolves in mist."""
    rng = wash.rng
    ridge = _profile(np.arange(SHAPE[1]) / WORK, peaks, rng)
    depth = wash.y + 0.0020 * wash.fray * (1.5 - tone) - ridge[None, :]
    solid = smoothstep(-0.0016, 0.0022, depth)
    mist = smoothstep(floor, floor - 0.20, wash.y + 0.030 * wash.wave + 0.012 * wash.pool)
    wash.canvas.rgb *= (1.0 - solid * smoothstep(0.0, 0.25, mist))[..., None]
    deep = np.maximum(depth, 0)
    folds = cloud(SHAPE, rng, 42, 1.0, (2.8, 0.7))
    lit = smoothstep(-0.9, 1.1, folds + 0.5 * wash.pool)
    body = solid * mist * (0.45 + 0.55 * np.exp(-deep / 0.07))
    wash.stain(body, tone * (0.22 + 0.50 * lit), ink, 0.8)
    wet = blur(solid * mist * np.exp(-deep / 0.02) * smoothstep(-0.6, 1.0, wash.pool + folds), 5)
    wash.stain(wet, tone * 0.7, ink, 0.2)
    if tone > 0.3:
        _rock_strokes(wash, ridge, tone, ink, floor, mist)
    line = Brush(dry=0.8, streak=0.4, taper=0.7, mix=0.5, ragged=1.0, soft=1.8)
    x = 0.0
    while x < SHAPE[1] - 12:
        reach = rng.uniform(24, 90)
        at = np.linspace(x, min(x + reach, SHAPE[1] - 1), 24)
        y = np.interp(at, np.arange(SHAPE[1]), ridge) * WORK + rng.normal(0, 1.0)
        here = mist[np.clip(y.astype(int), 0, WORK - 1), at.astype(int)].min()
        if rng.random() < 0.85 and here > 0.1:
            weight = ink * tone * here * rng.uniform(0.35, 1.0)
            wash.canvas.ink(np.stack([at, y], axis=1), rng.uniform(3, 9) * (0.5 + tone * 0.5), weight, line)
        x += reach * rng.uniform(0.6, 1.05)


def _rock_strokes(wash: Wash, ridge: np.ndarray, tone: float, ink: np.ndarray, floor: float, mist: np.ndarray) -> None:
    """Hemp-fibre strokes: bundles of thin dry lines that fall from spurs on the ridge and bend with the flank."""
    rng = wash.rng
    brush = Brush(dry=0.8, streak=0.5, taper=0.85, mix=0.6, ragged=0.8, soft=1.6)
    smooth = blur(np.repeat(ridge[None].astype(np.float32), 3, axis=0), 12)[1]
    for _ in range(int(150 * tone)):
        x = rng.uniform(0, SHAPE[1] - 1)
        y = (ridge[int(x)] + 0.005 + rng.exponential(0.07)) * WORK
        if y > floor * WORK:
            continue
        slope = (smooth[min(SHAPE[1] - 1, int(x) + 14)] - smooth[max(0, int(x) - 14)]) * WORK / 28
        # Lines follow the flank at the ridge and turn towards plumb inside the mountain.
        fall = np.arctan2(1.0 + abs(slope), 0.85 * np.sign(slope) * min(1.0, abs(slope)))
        for _ in range(int(rng.integers(4, 10))):
            sx, sy = x + rng.normal(0, 13), y + rng.normal(0, 16)
            reach = rng.uniform(30, 120) * (0.55 + 0.45 * tone)
            heading = fall + rng.normal(0, 0.10) + np.cumsum(rng.normal(0, 0.07, 9))
            px, py = sx + np.cumsum(np.cos(heading)) * reach / 9, sy + np.cumsum(np.sin(heading)) * reach / 9
            ix, iy = np.clip(px, 0, SHAPE[1] - 1).astype(int), np.clip(py, 0, WORK - 1).astype(int)
            if (py < (ridge[ix] + 0.002) * WORK).any():
                continue
            strength = tone * rng.uniform(0.25, 0.8) * float(mist[iy, ix].mean())
            wash.canvas.ink(np.stack([px, py], axis=1), rng.uniform(2.2, 6.5), ink * strength, brush)
    for _ in range(int(420 * tone)):
        # Moss dots sit along the spurs, thick near the ridge.
        x = rng.uniform(2, SHAPE[1] - 12)
        y = (ridge[int(x)] + rng.exponential(0.018)) * WORK
        if y < floor * WORK - 60:
            dot = np.array([[0.0, 0.0], [2.5, 1.0], [5.0, 0.0]]) * rng.uniform(0.5, 1.3) + np.array([x, y])
            weight = ink * tone * rng.uniform(0.2, 0.9) * float(mist[int(y), int(x)])
            wash.canvas.ink(dot, rng.uniform(3, 8), weight, Brush(dry=0.1, ragged=0.3, taper=0.2, soft=2.2))


def _needles(wash: Wash, x: float, y: float, size: float, tone: float) -> None:
    """A fan of pine needles over a soft stain."""
    rng = wash.rng
    brush = Brush(dry=0.15, streak=0.2, taper=0.8, mix=0.2, ragged=0.4, soft=1.1)
    up = -np.pi / 2 + rng.normal(0, 0.22)
    for _ in range(int(rng.integers(13, 22))):
        a = up + rng.uniform(-1.5, 1.5)
        reach = size * rng.uniform(0.6, 1.1) * (1.0 - 0.18 * abs(a - up))
        bow = rng.normal(0, 0.12)
        t = np.linspace(0.06, 1, 5)
        path = np.stack([x + np.cos(a + bow * t) * reach * t, y + np.sin(a + bow * t) * reach * t * 0.78], axis=1)
        wash.canvas.ink(path, rng.uniform(1.7, 3.0), SOOT * tone * rng.uniform(0.5, 1.1), brush)


def _pine(wash: Wash, spine: list[tuple], thick: float, tone: float, size: float) -> None:
    """A leaning pine: dry-brushed trunk in two pulls, bent boughs, and plates of needles on them."""
    rng = wash.rng
    trunk = spline(spine, 60) * WORK
    dry = Brush(dry=0.75, streak=0.55, taper=0.3, mix=0.5, ragged=0.8, soft=1.8)
    for start, stop, w in ((0, 34, 1.0), (26, 50, 0.72), (44, 60, 0.45)):
        for shift, strength in ((-0.18, 0.9), (0.2, 0.55), (0.0, 0.5)):
            wash.canvas.ink(trunk[start:stop] + shift * thick * w, thick * w * 0.85, UMBER * tone * strength, dry)
    for k in range(14, 60, 4):
        for side in (-1, 1):
            if rng.random() < 0.22:
                continue
            reach = size * rng.uniform(1.2, 3.6) * (1.25 - k / 75)
            a = (0.0 if side > 0 else np.pi) + rng.normal(0.0, 0.25) - side * 0.12
            t = np.linspace(0, 1, 8)
            bx = trunk[k, 0] + np.cos(a) * reach * t
            by = (
                trunk[k, 1]
                + np.sin(a) * reach * t
                - 0.14 * reach * np.sin(t * np.pi) * rng.uniform(0.2, 1.2)
                + 0.10 * reach * t
            )
            wash.canvas.ink(np.stack([bx, by], axis=1), thick * 0.32, UMBER * tone * 0.8, dry)
            for step in range(2, 8, 2):
                for _ in range(2):
                    nx, ny = bx[step] + rng.normal(0, size * 0.25), by[step] + rng.normal(0, size * 0.16)
                    _needles(wash, nx, ny, size * rng.uniform(0.7, 1.1), tone * rng.uniform(0.5, 1.0))
    _needles(wash, trunk[-1, 0], trunk[-1, 1], size, tone)


def _shore(wash: Wash) -> None:
    """The near rocks with their pines: overlapping boulders, each pale at the crown and dark in the seams."""
    rng = wash.rng
    boulders = [(0.02, 0.80, 0.10), (0.13, 0.785, 0.085), (0.21, 0.835, 0.075), (0.06, 0.86, 0.10), (0.29, 0.885, 0.07)]
    boulders += [
        (0.165, 0.895, 0.10),
        (0.36, 0.945, 0.05),
        (0.02, 0.95, 0.11),
        (0.25, 0.965, 0.10),
        (0.12, 0.985, 0.09),
    ]
    boulders += [(0.41, 0.975, 0.028), (0.335, 0.985, 0.05)]
    rough = 0.010 * cloud(SHAPE, rng, 50, 1.0) + 0.003 * wash.fray
    line = Brush(dry=0.7, streak=0.5, taper=0.6, mix=0.5, ragged=1.0, soft=1.8)
    # The pines come first: the boulders then hide the feet of their trunks.
    _pine(wash, [(0.092, 0.835), (0.125, 0.735), (0.105, 0.665), (0.15, 0.60), (0.205, 0.565)], 23, 1.2, 34)
    _pine(wash, [(0.155, 0.85), (0.22, 0.77), (0.255, 0.735), (0.315, 0.715)], 15, 1.0, 27)
    _pine(wash, [(0.047, 0.84), (0.04, 0.75), (0.055, 0.70), (0.03, 0.655)], 13, 0.7, 25)
    for cx, top, half in boulders:
        bump = rng.uniform(-0.25, 0.25)
        across = (wash.x - cx) / half
        # Broken shoulders: rounded on one side, stepped on the other.
        steps = 0.16 * np.sin(across * rng.uniform(5, 9) + rng.uniform(0, 6)) * half
        roof = top + half * 0.85 * np.abs(across - bump) ** rng.uniform(1.5, 3.2) + rough + steps
        mask = smoothstep(-0.0012, 0.0022, wash.y - roof) * smoothstep(half * 2.6, half * 1.2, wash.y - top)
        mask = mask * (np.abs(across) < 1.9)
        depth = np.maximum(wash.y - roof, 0)
        wash.canvas.rgb *= (1 - mask)[..., None]
        crown = smoothstep(0.0, half * 0.9, depth + 0.016 * wash.pool)
        shade = 0.10 + 0.62 * crown * smoothstep(-1.2, 0.8, wash.pool + across * 0.6)
        wash.stain(mask, shade, UMBER if half > 0.08 else SOOT, 1.0)
        edge = np.linspace(cx - half * 1.15, cx + half * 1.15, 90)
        row = np.array([roof[WORK * 3 // 4, int(np.clip(e * WORK, 0, SHAPE[1] - 1))] for e in edge])
        row = np.convolve(np.pad(row, 4, mode="edge"), np.ones(9) / 9, mode="valid") + 0.0006 * rng.normal(size=90)
        for start in range(0, 80, int(rng.integers(14, 24))):
            part = slice(start, start + int(rng.integers(16, 34)))
            path = np.stack([edge[part], row[part]], axis=1) * WORK
            wash.canvas.ink(path, rng.uniform(5, 12), SOOT * rng.uniform(0.6, 1.3), line)
        _boulder_strokes(wash, cx, top, half, bump)


def _boulder_strokes(wash: Wash, cx: float, top: float, half: float, bump: float) -> None:
    """Dry strokes that wrap a boulder from crown to foot, and clusters of moss on its shoulders."""
    rng = wash.rng
    dry = Brush(dry=0.9, streak=0.6, taper=0.7, mix=0.6, ragged=1.0, soft=1.8)
    for _ in range(int(half * 520)):
        side = rng.uniform(-1.0, 1.0) ** 3 * 0.5 + rng.uniform(-0.5, 0.5)
        t = np.linspace(rng.uniform(0.05, 0.4), rng.uniform(0.6, 1.1), 10)
        px = cx + half * (bump + (side - bump) * (0.72 + 0.3 * t)) + np.cumsum(rng.normal(0, 0.0006, 10))
        py = top + half * (0.85 * np.abs(side * 0.8 - bump) ** 2.2 + 0.9 * t) + 0.004
        path = np.stack([px, py], axis=1) * WORK
        wash.canvas.ink(path, rng.uniform(2.5, 9), UMBER * rng.uniform(0.08, 0.5), dry)
    for _ in range(int(half * 700)):
        side = rng.normal(0, 0.55)
        x = (cx + half * side) * WORK
        y = (top + half * 0.85 * abs(side - bump) ** 2.2) * WORK + rng.exponential(9) + 2
        dot = np.array([[0.0, 0.0], [2.5, 1.0], [5.0, 0.0]]) * rng.uniform(0.5, 1.4) + np.array([x, y])
        wash.canvas.ink(
            dot, rng.uniform(3, 8), SOOT * rng.uniform(0.4, 1.3), Brush(dry=0.1, ragged=0.3, taper=0.2, soft=2)
        )


def _water(wash: Wash) -> None:
    """Empty water: a few long pale strokes, the boat with its fisherman, a reflection, far birds."""
    rng = wash.rng
    pale = Brush(dry=0.8, streak=0.5, taper=0.9, mix=0.7, ragged=1.5, soft=3.0)
    for _ in range(70):
        y = 0.70 + 0.28 * rng.random() ** 0.8
        x = rng.uniform(0.2, 0.72)
        reach = rng.uniform(50, 240)
        t = np.linspace(-0.5, 0.5, 9)
        path = np.stack([x * WORK + reach * t, y * WORK + 1.6 * np.sin(t * 9 + x * 40)], axis=1)
        wash.canvas.ink(path, rng.uniform(3, 13), INDIGO * rng.uniform(0.04, 0.16), pale)
    cx, cy = 0.515 * WORK, 0.80 * WORK
    hull = Brush(dry=0.3, streak=0.3, taper=0.85, mix=0.3, ragged=0.3, soft=1.4)
    t = np.linspace(-1, 1, 24)
    for drop, width, tone in ((0, 8, 1.7), (4, 9, 1.0), (-3, 3.5, 1.6)):
        wash.canvas.ink(np.stack([cx + 66 * t, cy + drop - 13 * t**2 + 9], axis=1), width, SOOT * tone, hull)
    body = np.array([[14, 6], [12, -6], [9, -17], [6, -25]]) + np.array([cx, cy])
    wash.canvas.ink(body, 13, SOOT * 1.2, hull)
    wash.canvas.ink(
        np.array([[-8, -25], [0, -30], [6, -34], [13, -30], [20, -26]]) + np.array([cx, cy]), 6, UMBER * 1.6, hull
    )
    wash.canvas.ink(
        np.array([[8, -16], [-30, -34], [-70, -46], [-104, -48]]) + np.array([cx, cy]), 2.6, SOOT * 1.3, hull
    )
    for k in range(5):
        shade = np.stack([cx + (62 - 9 * k) * t + rng.normal(0, 4), cy + 24 + 9 * k + 1.5 * np.sin(t * 6)], axis=1)
        wash.canvas.ink(shade, rng.uniform(4, 8), INDIGO * (0.34 - 0.055 * k), pale)
    for bx, by, size in ((0.545, 0.385, 12), (0.575, 0.372, 9), (0.52, 0.366, 8), (0.60, 0.395, 7), (0.557, 0.352, 6)):
        wing = np.array([[-1.5, -0.3], [-0.8, -0.75], [0, 0], [0.8, -0.8], [1.6, -0.45]]) * size + [
            bx * WORK,
            by * WORK,
        ]
        wash.canvas.ink(spline([tuple(p) for p in wing], 24), 3.0, SOOT * 0.9, hull)


def _seal(rgb: np.ndarray, rng: np.random.Generator, left: int, top: int, size: int) -> np.ndarray:
    """An invented sign cut in white on a worn red square."""
    x, y = grid((size, size))
    u = x / size + 0.012 * cloud((size, size), rng, 14, 1.0)
    v = y / size + 0.012 * cloud((size, size), rng, 14, 1.0)
    stamp = (np.maximum(np.abs(u - 0.5), np.abs(v - 0.5)) < 0.47).astype(np.float32)
    cuts = [
        (0.2, 0.16, 0.2, 0.84),
        (0.2, 0.16, 0.44, 0.16),
        (0.2, 0.5, 0.42, 0.5),
        (0.32, 0.3, 0.42, 0.84),
        (0.56, 0.2, 0.82, 0.2),
    ]
    cuts += [(0.69, 0.2, 0.69, 0.5), (0.56, 0.35, 0.82, 0.35), (0.56, 0.5, 0.82, 0.5), (0.58, 0.64, 0.58, 0.84)]
    cuts += [(0.58, 0.84, 0.82, 0.84), (0.82, 0.62, 0.82, 0.84), (0.7, 0.6, 0.7, 0.84)]
    for x0, y0, x1, y1 in cuts:
        px, py, dx, dy = u - x0, v - y0, x1 - x0, y1 - y0
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        stamp *= smoothstep(0.022, 0.042, np.hypot(px - t * dx, py - t * dy))
    worn = smoothstep(-2.2, -0.7, cloud((size, size), rng, 5, 0.8) + 0.7 * cloud((size, size), rng, 26, 1.0))
    cover = (blur(stamp, 1) * worn * 0.92)[..., None]
    area = rgb[top : top + size, left : left + size]
    area[:] = area * (1 - cover) + area * hexes("d03a26")[0] * cover
    return rgb


def _bleed(wash: Wash) -> np.ndarray:
    """Let the ink creep into the damp paper: softened where it is wet, feathered along the fibres."""
    ink = wash.canvas.rgb
    spread = np.stack([blur(ink[..., c], 6) for c in range(3)], axis=2)
    damp = smoothstep(0.0, 1.6, wash.wave + 0.5 * wash.pool)[..., None]
    ink = ink * (1 - 0.34 * damp) + spread * (0.10 + 0.30 * damp)
    grain = 1.0 + 0.07 * cloud(SHAPE, wash.rng, 2.6, 0.8) + 0.05 * cloud(SHAPE, wash.rng, 12, 0.9)
    grain -= 0.30 * np.clip(fibres(SHAPE, wash.rng, 1600, 46), -0.4, 1)
    return ink * np.clip(grain, 0.3, 1.6)[..., None]


def paint(seed: int = 71) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    wash = Wash(rng)
    sky = smoothstep(0.34, 0.0, wash.y + 0.05 * wash.wave) * smoothstep(-0.5, 1.2, 0.6 * wash.pool + wash.wave)
    # Two coats: a wet one that spread, and a drier one that left tide marks.
    wash.stain(blur(sky, 16), 0.13, INDIGO, 0.2)
    tide = smoothstep(0.30, 0.46, sky + 0.10 * wash.pool + 0.03 * wash.fray)
    wash.stain(blur(tide, 2) * sky, 0.11, INDIGO, 1.6)
    for peaks, tone, ink, floor in RANGES:
        _mountain(wash, peaks, tone, ink, floor)
    # A breath of ochre where the light stands in the mist.
    warmth = smoothstep(0.22, 0.0, np.abs(wash.y - 0.60 + 0.05 * wash.wave)) * smoothstep(-0.1, 0.5, wash.x)
    wash.canvas.rgb += (0.20 * warmth)[..., None] * OCHRE
    _water(wash)
    _shore(wash)
    paper = sheet(SHAPE, rng, hexes("f1e7d0")[0], 1900)
    rgb = paper * np.exp(-1.55 * np.clip(_bleed(wash), 0, 2.4))
    return to_image(_seal(rgb, rng, int(0.635 * WORK), int(0.915 * WORK), 66))
