"""Charcoal and chalk on grey paper: an old oak and a farm on a wet road, under a sky that was rubbed and lifted."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .noise import WORK, blur, cloud, grid, hexes, polygon_mask, smoothstep, spline, to_image
from .paper import fibres

SHAPE = (1152, WORK)
COAL, CHALK = np.float32([1, 0, 0]), np.float32([0, 1, 0])  # channels of the canvas: pressure of each stick


class Drawing:
    """Pressure of the sticks on the canvas, dust that was rubbed in, and the tooth of the paper."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.canvas = Canvas(SHAPE, np.zeros(3, dtype=np.float32), rng)
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.dust = np.zeros(SHAPE, dtype=np.float32)
        self.lift = np.zeros(SHAPE, dtype=np.float32)  # what a kneaded eraser takes away
        laid = np.sin(py * (2 * np.pi / 9.0) + 0.8 * cloud(SHAPE, rng, 120, 1.3))
        tooth = cloud(SHAPE, rng, 2.8, 0.9) + 0.45 * cloud(SHAPE, rng, 8, 1.0) + 0.30 * laid
        tooth += 1.2 * fibres(SHAPE, rng, 900, 30)
        order = np.argsort(tooth, axis=None)
        self.tooth = np.empty(tooth.size, dtype=np.float32)
        self.tooth[order] = np.linspace(0, 1, tooth.size, dtype=np.float32)
        self.tooth = self.tooth.reshape(SHAPE)
        self.wave = cloud(SHAPE, rng, 200, 1.3)
        self.mottle = cloud(SHAPE, rng, 55, 1.1)

    def line(self, path, width: float, press: float, stick: np.ndarray = COAL, soft: float = 2.6) -> None:
        """One pull of a stick; paths in shares of the width."""
        brush = Brush(dry=0.35, streak=0.55, taper=0.55, mix=0.7, ragged=0.9, soft=soft)
        self.canvas.ink(np.asarray(path, dtype=float) * WORK, width, stick * press, brush)

    def side(self, path, width: float, press: float, stick: np.ndarray = COAL) -> None:
        """The flat side of a stick: broad, dry and even."""
        brush = Brush(dry=0.5, streak=0.8, taper=0.05, mix=0.9, ragged=0.5, soft=7.0)
        self.canvas.ink(np.asarray(path, dtype=float) * WORK, width, stick * press, brush)

    def rub(self, mask: np.ndarray, tone) -> None:
        """Dust rubbed into the paper with a finger: even, without grain."""
        self.dust += mask * tone * (0.85 + 0.16 * self.mottle)

    def clear(self, mask: np.ndarray) -> None:
        """Keep a form free of what lies behind it."""
        keep = 1 - 0.93 * mask
        self.canvas.rgb *= keep[..., None]
        self.dust *= keep
        self.lift *= keep


def _hatch(
    drawing: Drawing, inside: np.ndarray, angle: float, gap: float, width: float, press: float, wobble: float = 0.1
) -> None:
    """Parallel pulls over an area, ``gap`` and ``width`` in pixels."""
    rng = drawing.rng
    ys, xs = np.nonzero(inside[::8, ::8])
    if not len(xs):
        return
    c, s = np.cos(angle), np.sin(angle)
    across = (ys * 8) * c - (xs * 8) * s
    along = (xs * 8) * c + (ys * 8) * s
    for row in np.arange(across.min(), across.max(), gap):
        near = along[np.abs(across - row) < max(6, gap * 0.5)]
        if not len(near):
            continue
        near = np.sort(near)
        for part in np.split(near, np.flatnonzero(np.diff(near) > 24) + 1):
            first, last = part[0] - rng.uniform(0, 14), part[-1] + rng.uniform(0, 14)
            if last - first < 12:
                continue
            t = np.linspace(first, last, 12)
            off = row + rng.normal(0, gap * 0.22) + np.cumsum(rng.normal(0, wobble, 12)) * 3
            path = np.stack([t * c - off * s, t * s + off * c], axis=1) / WORK
            drawing.line(path, width * rng.uniform(0.7, 1.3), press * rng.uniform(0.55, 1.2))


def _sky(drawing: Drawing) -> None:
    """Storm clouds: broad pulls, rubbed, then lifted into rims of light."""
    x, y, rng = drawing.x, drawing.y, drawing.rng
    bank = cloud(SHAPE, rng, 150, 1.05, (0.7, 1.8))
    heavy = smoothstep(-0.4, 1.6, bank + 0.9 * smoothstep(0.30, 0.0, y) + 0.5 * smoothstep(0.4, 1.0, x) - 0.2)
    sky = smoothstep(0.47, 0.34, y)
    drawing.rub(sky * heavy, 0.62)
    drawing.rub(sky * smoothstep(0.5, 0.0, y), 0.16)
    for _ in range(150):
        cx, cy = rng.uniform(0, 1), rng.uniform(0, 0.36)
        weight = heavy[int(cy * WORK), min(WORK - 1, int(cx * WORK))]
        if weight < 0.25:
            continue
        t = np.linspace(-0.5, 0.5, 12)
        reach = rng.uniform(0.07, 0.20)
        bow = rng.uniform(0.1, 0.32)
        path = np.stack([cx + reach * t, cy + reach * bow * (4 * t * t - 1) * 0.5 - 0.12 * reach * t], axis=1)
        drawing.side(path, rng.uniform(18, 60), weight * rng.uniform(0.08, 0.26))
    _hatch(drawing, sky * heavy > 0.30, -0.42, 12, 12, 0.26, 0.05)
    _hatch(drawing, sky * heavy > 0.62, -0.62, 12, 11, 0.34, 0.05)
    rims = smoothstep(0.16, 0.0, np.abs(bank - 0.35)) * smoothstep(0.3, -0.2, np.gradient(blur(bank, 8))[0] * 40)
    drawing.lift += 0.75 * blur(rims * sky, 3)
    for k in range(7):
        slant = np.abs((x - 0.62 - 0.05 * k) + (0.50 + 0.03 * k) * (y - 0.10)) - 0.004 - 0.004 * (k % 3)
        ray = smoothstep(0.012, -0.004, slant) * smoothstep(0.12, 0.22, y) * smoothstep(0.46, 0.36, y)
        drawing.lift += 0.30 * blur(ray, 4)
    glow = np.exp(-(((x - 0.55) / 0.22) ** 2 + ((y - 0.405) / 0.05) ** 2))
    drawing.lift += 0.55 * glow
    for _ in range(36):
        cx, cy = rng.normal(0.56, 0.17), rng.normal(0.395, 0.022)
        t = np.linspace(-0.5, 0.5, 8)
        path = np.stack([cx + rng.uniform(0.05, 0.16) * t, cy + 0.006 * np.sin(t * 5 + cx * 30)], axis=1)
        drawing.side(path, rng.uniform(6, 16), rng.uniform(0.15, 0.45), CHALK)


def _distance(drawing: Drawing) -> None:
    """Hills, a line of far trees, and the farm with snow on its roofs."""
    x, y, rng = drawing.x, drawing.y, drawing.rng
    hill = 0.425 - 0.028 * np.sin(x * 5.2 + 0.9) - 0.012 * np.sin(x * 13)
    drawing.rub(smoothstep(-0.002, 0.006, y - hill) * smoothstep(0.52, 0.44, y), 0.42)
    for _ in range(330):
        cx = rng.uniform(0.0, 1.0)
        foot = 0.447 + 0.004 * np.sin(cx * 40)
        tall = rng.uniform(0.008, 0.034) * (1 + 0.8 * np.exp(-(((cx - 0.93) / 0.1) ** 2)))
        path = [(cx, foot), (cx + rng.normal(0, 0.004), foot - tall * 0.6), (cx + rng.normal(0, 0.007), foot - tall)]
        drawing.line(path, rng.uniform(4, 13), rng.uniform(0.25, 0.8), soft=4)
    field = smoothstep(0.445, 0.455, y)
    drawing.rub(field * smoothstep(0.455, 0.75, y), 0.34)

    def wall(points, tone, chalk=0.0, angle=1.4) -> None:
        mask = polygon_mask(SHAPE, np.array(points) * WORK, 1)
        drawing.clear(mask)
        drawing.rub(mask, tone)
        if chalk:
            drawing.canvas.rgb[..., 1] += mask * chalk
        else:
            _hatch(drawing, mask > 0.5, angle, 7, 5, 0.30 + tone * 0.5)

    for cx, base, wide, tall in (
        (0.70, 0.468, 0.075, 0.038),
        (0.815, 0.474, 0.105, 0.050),
        (0.635, 0.460, 0.040, 0.022),
    ):
        wall(
            [
                (cx, base),
                (cx + wide * 0.4, base + 0.003),
                (cx + wide * 0.4, base - tall),
                (cx + wide * 0.2, base - tall * 1.75),
                (cx, base - tall),
            ],
            0.30,
        )
        wall(
            [
                (cx + wide * 0.4, base + 0.003),
                (cx + wide, base - 0.002),
                (cx + wide, base - tall * 0.95),
                (cx + wide * 0.4, base - tall),
            ],
            0.85,
            0,
            1.5,
        )
        wall(
            [
                (cx + wide * 0.42, base - tall * 0.94),
                (cx + wide * 1.04, base - tall * 0.90),
                (cx + wide * 0.84, base - tall * 1.70),
                (cx + wide * 0.2, base - tall * 1.80),
            ],
            0.02,
            0.62,
        )
        for wx in (0.12, 0.26):
            drawing.line([(cx + wide * wx, base - tall * 0.62), (cx + wide * wx, base - tall * 0.30)], 8, 2.0, soft=1.5)
        drawing.line(
            [
                (cx + wide * 0.2, base - tall * 1.80),
                (cx + wide * 0.42, base - tall * 0.92),
                (cx + wide * 1.04, base - tall * 0.88),
            ],
            4,
            1.6,
            soft=1.5,
        )
        drawing.line(
            [
                (cx - wide * 0.03, base - tall * 0.94),
                (cx + wide * 0.2, base - tall * 1.80),
                (cx + wide * 0.84, base - tall * 1.70),
            ],
            4,
            1.3,
            soft=1.5,
        )
        drawing.line(
            [
                (cx, base - tall),
                (cx, base),
                (cx + wide * 0.4, base + 0.003),
                (cx + wide, base - 0.002),
                (cx + wide, base - tall),
            ],
            3.5,
            1.3,
            soft=1.5,
        )
        chim = cx + wide * 0.62
        drawing.line([(chim, base - tall * 1.55), (chim, base - tall * 2.15)], 11, 2.0, soft=1.5)
    for _ in range(9):
        t = np.linspace(0, 1, 10)
        path = np.stack([0.88 + 0.06 * t**1.4 + 0.008 * np.sin(t * 7 + rng.uniform(0, 6)), 0.37 - 0.11 * t], axis=1)
        drawing.side(path, rng.uniform(10, 26), 0.16, CHALK)


def _ground(drawing: Drawing) -> None:
    """The road with its ruts and puddles, the ditch, stubble and a fence that leads to the farm."""
    x, y, rng = drawing.x, drawing.y, drawing.rng
    down = np.clip((y - 0.462) / 0.29, 0, 1)
    middle = 0.60 - 0.11 * np.sin(down * 2.6) - 0.05 * down
    half = 0.010 + 0.17 * down**1.25
    low = smoothstep(0.47, 0.75, y) + 0.25 * drawing.mottle
    off = np.abs(x - middle) > half
    _hatch(drawing, (low > 0.15) & off, 0.10, 13, 9, 0.24, 0.08)
    _hatch(drawing, (low > 0.62) & off, -0.30, 12, 10, 0.40, 0.08)
    road = smoothstep(1.05, 0.93, np.abs(x - middle) / half + 0.04 * drawing.mottle) * (y > 0.462)
    drawing.lift += 0.40 * road
    for _ in range(1250):
        d = rng.random() ** 0.7
        gy = 0.465 + 0.285 * d
        gx = rng.uniform(0, 1)
        m = 0.60 - 0.11 * np.sin(d * 2.6) - 0.05 * d
        if abs(gx - m) < (0.010 + 0.17 * d**1.25) * 0.97:
            continue
        reach = (0.004 + 0.024 * d) * rng.uniform(0.5, 1.3)
        lean = rng.normal(0.2, 0.5)
        path = [(gx, gy), (gx + lean * reach * 0.4, gy - reach * 0.6), (gx + lean * reach, gy - reach)]
        drawing.line(
            path,
            rng.uniform(2, 4.5) * (0.6 + d),
            rng.uniform(0.3, 1.2),
            COAL if rng.random() < 0.86 else CHALK,
            soft=1.6,
        )
    for share in (-0.86, -0.55, -0.30, 0.24, 0.52, 0.90):
        for _ in range(9):
            d = np.linspace(rng.uniform(0.03, 0.6), 1, 14)[: int(rng.integers(7, 14))]
            m = 0.60 - 0.11 * np.sin(d * 2.6) - 0.05 * d + (share + rng.normal(0, 0.04)) * (0.010 + 0.17 * d**1.25)
            drawing.line(np.stack([m, 0.462 + 0.29 * d], axis=1), rng.uniform(4, 13), rng.uniform(0.15, 0.6), soft=4)
    for px, py, rx, ry in ((0.50, 0.640, 0.060, 0.0105), (0.585, 0.575, 0.030, 0.0055), (0.425, 0.705, 0.075, 0.0125)):
        pool = smoothstep(1.1, 0.85, np.hypot((x - px) / rx, (y - py) / ry) + 0.10 * drawing.mottle)
        drawing.clear(pool * 0.8)
        shine = smoothstep(-0.2, 1.2, np.sin(y * 900 + 3 * drawing.mottle) + 0.8 * np.sin(x * 60 + px * 90))
        drawing.canvas.rgb[..., 1] += 0.75 * pool * shine
        drawing.rub(pool * (1 - shine), 0.30)
        turn = np.linspace(0.2, 3.0, 24)
        drawing.line(np.stack([px + rx * np.cos(turn), py + ry * np.sin(turn)], axis=1), 5, 1.3)
    last = None
    for k in range(9):
        d = (k / 8) ** 1.6
        px, py, tall = 0.675 + 0.315 * d + 0.01 * rng.normal(), 0.474 + 0.20 * d, 0.018 + 0.115 * d
        lean = rng.normal(0, 0.06) * tall
        for shift in (-0.2, 0.15):
            drawing.line([(px + shift * 0.004 * d, py), (px + lean, py - tall)], 4 + 13 * d, 1.5, soft=1.8)
        if last is not None:
            for share in (0.88, 0.48):
                a, b = (last[0], last[1] - last[2] * share), (px, py - tall * share)
                mid = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 0.004 * (0.3 + d))
                drawing.line([a, mid, b], 2.5 + 5.5 * d, 1.3, soft=1.8)
        last = px, py, tall


def _limb(drawing: Drawing, x, y, heading, reach, width, depth) -> None:
    """A bough in several pulls, dark on its shadow side, that forks until it is a twig."""
    rng = drawing.rng
    steps = 8
    turns = heading + np.cumsum(rng.normal(0, 0.13 + 0.02 * depth, steps))
    path = np.stack(
        [x + np.cumsum(np.cos(turns)) * reach / steps, y + np.cumsum(np.sin(turns)) * reach / steps], axis=1
    )
    path = np.vstack([[x, y], path])
    normal = np.array([-np.sin(heading), np.cos(heading)]) * np.sign(np.cos(heading) + 1e-3)
    drawing.line(path, width, 1.0, soft=2.0)
    if width > 7:
        for share, press in ((0.30, 1.3), (0.36, 0.9), (0.1, 0.7)):
            drawing.line(path + normal * share * width / WORK, width * 0.5, press, soft=2.5)
        drawing.line(path - normal * 0.36 * width / WORK, width * 0.16, 0.5, CHALK, soft=2)
    if depth >= 6 or width < 1.8:
        return
    for k in range(2, steps + 1):
        last = k == steps
        if not last and rng.random() > 0.27 + 0.03 * depth:
            continue
        for side in (-1, 1) if last else (rng.choice((-1, 1)),):
            turn = turns[min(k, steps - 1)] + side * rng.uniform(0.22, 0.85)
            # Boughs of an oak reach out and rise again at their ends.
            turn += 0.16 * np.sin(-np.pi / 2 - turn)
            thin = rng.uniform(0.50, 0.72) if last else rng.uniform(0.34, 0.55)
            _limb(drawing, *path[k], turn, reach * rng.uniform(0.58, 0.84), width * thin, depth + 1)


def _oak(drawing: Drawing) -> None:
    """The oak: trunk with furrowed bark, roots, and the whole of its winter crown."""
    rng = drawing.rng
    x, y = drawing.x, drawing.y
    left = spline([(0.135, 0.745), (0.185, 0.665), (0.196, 0.56), (0.193, 0.45), (0.196, 0.40)], 60)
    right = spline([(0.252, 0.40), (0.260, 0.45), (0.272, 0.56), (0.290, 0.66), (0.345, 0.74)], 60)
    mask = polygon_mask(SHAPE, np.vstack([left, right]) * WORK, 1)
    drawing.clear(mask)
    drawing.rub(mask, 0.34 + 0.55 * smoothstep(0.19, 0.28, x))
    for _ in range(520):
        t = np.sort(rng.uniform(0, 1, 2))
        if t[1] - t[0] < 0.05:
            continue
        t = np.linspace(t[0], min(t[1], t[0] + 0.4), 10)
        u = rng.random()
        a = np.stack([np.interp(t, np.linspace(0, 1, 60), left[::-1, k]) for k in (0, 1)], axis=1)
        b = np.stack([np.interp(t, np.linspace(0, 1, 60), right[:, k]) for k in (0, 1)], axis=1)
        path = a * (1 - u) + b * u + np.cumsum(rng.normal(0, 0.0011, (10, 2)), axis=0)
        dark = 0.25 + 1.2 * u**1.5
        if rng.random() < 0.13 and u < 0.5:
            drawing.line(path, rng.uniform(2, 5), 0.6, CHALK, soft=2)
        else:
            drawing.line(path, rng.uniform(2.5, 9), dark * rng.uniform(0.4, 1.1), soft=2)
    for side in (left, right):
        for _ in range(3):
            drawing.line(side + rng.normal(0, 0.0015, 2), rng.uniform(6, 12), 1.1, soft=2)
    for at, turn, reach, width in (
        ((0.255, 0.455), -0.55, 0.130, 38), ((0.198, 0.48), -2.75, 0.110, 32), ((0.205, 0.425), -2.25, 0.130, 50),
        ((0.244, 0.425), -1.05, 0.140, 50), ((0.222, 0.415), -1.68, 0.150, 58),
    ):  # fmt: skip
        _limb(drawing, *at, turn, reach, width, 0)
    shade = np.exp(-(((x - 0.36) / 0.16) ** 2 + ((y - 0.745 + 0.05 * (x - 0.3)) / 0.022) ** 2))
    drawing.rub(shade, 0.75)
    _hatch(drawing, shade > 0.35, 0.05, 8, 7, 0.9)


def paint(seed: int = 29) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    drawing = Drawing(rng)
    _sky(drawing)
    _distance(drawing)
    _ground(drawing)
    # What was lifted before the oak is drawn stays behind it.
    drawing.dust *= 1 - 0.78 * np.clip(drawing.lift, 0, 1)
    drawing.canvas.rgb[..., 0] *= 1 - 0.6 * np.clip(drawing.lift, 0, 1)
    _oak(drawing)
    for bx, by, size in (
        (0.47, 0.215, 11),
        (0.50, 0.20, 8),
        (0.455, 0.185, 7),
        (0.53, 0.235, 9),
        (0.565, 0.205, 6),
        (0.43, 0.235, 6),
    ):
        wing = np.array([[-1.7, -0.3], [-0.8, -0.75], [0, 0], [0.8, -0.8], [1.7, -0.45]]) * size / WORK + [bx, by]
        drawing.line(spline([tuple(p) for p in wing], 24), 4.0, 1.6, soft=1.5)
    coal, chalk = drawing.canvas.rgb[..., 0], drawing.canvas.rgb[..., 1]
    # A stick touches the tops of the paper first; pressed harder it fills the hollows, too.
    grain = smoothstep(-0.34, 0.30, np.clip(coal, 0, 1.5) * 1.02 - drawing.tooth) * smoothstep(0, 0.10, coal)
    dust = np.clip(drawing.dust, 0, 1.2) * (0.82 + 0.30 * (1 - drawing.tooth))
    dark = 1 - (1 - 0.93 * grain) * np.exp(-1.35 * dust)
    dark += 0.20 * blur(grain, 5) * (1 - dark)
    white = smoothstep(-0.28, 0.30, np.clip(chalk, 0, 1.3) * 0.95 - drawing.tooth) * smoothstep(0, 0.10, chalk)
    paper = (
        hexes("c9bfae")[0]
        * (
            1
            + 0.018 * cloud(SHAPE, rng, 3, 0.9)
            + 0.02 * cloud(SHAPE, rng, 160, 1.2)
            + 0.05 * fibres(SHAPE, rng, 700, 40)
        )[..., None]
    )
    paper *= (1 + 0.05 * (drawing.tooth - 0.5))[..., None]
    rgb = paper * (1 - dark[..., None]) + hexes("1d1b1c")[0] * dark[..., None]
    cover = (white * 0.86)[..., None]
    rgb = rgb * (1 - cover) + hexes("f6f1e4")[0] * cover
    return to_image(rgb, 25)
