"""Watercolour: a lake below mountains, a boathouse and poppies, in transparent washes that pool, bloom and dry."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .noise import WORK, blur, cloud, grid, hexes, polygon_mask, sample, smoothstep, spline, to_image
from .paper import fibres

SHAPE = (1152, WORK)


def pigment(name: str) -> np.ndarray:
    """Density of a pigment by its colour in a full wash."""
    return -np.log(np.clip(hexes(name)[0], 0.02, 0.995))


ULTRAMARINE, CERULEAN, PAYNE = pigment("4a5fae"), pigment("79b4d4"), pigment("5d6a7c")
ROSE, CADMIUM, SIENNA, OCHRE = pigment("d8708c"), pigment("e0442c"), pigment("b0643c"), pigment("ddb266")
SAP, VIRIDIAN, LEMON, VIOLET = pigment("86a04a"), pigment("4f9484"), pigment("f0d860"), pigment("8a6fa8")


class Sheet:
    """Density of pigment on cold-pressed paper, with the noises that every wash needs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        px, py = grid(SHAPE)
        self.px, self.py = px, py
        self.x, self.y = px / WORK, py / WORK
        self.canvas = Canvas(SHAPE, np.zeros(3, dtype=np.float32), rng)
        pits = 0.8 * cloud(SHAPE, rng, 7.5, 1.2) + 0.6 * cloud(SHAPE, rng, 4, 1.0) + 0.3 * cloud(SHAPE, rng, 15, 1.1)
        self.tooth = np.tanh(pits * 0.8) * 0.5 + 0.5  # 1 on the tops of the grain
        self.wave = cloud(SHAPE, rng, 170, 1.3)
        self.flow = cloud(SHAPE, rng, 60, 1.05)
        self.fray = cloud(SHAPE, rng, 16, 0.9)
        self.trembling = [cloud(SHAPE, rng, 26, 1.0) + 0.8 * cloud(SHAPE, rng, 90, 1.1) for _ in range(2)]

    def wash(self, mask, colours, tone=0.6, mix=None, rim=0.55, grain=0.30, bloom=0.0, dry=0.0, wander=3.0) -> None:
        """One transparent wash.

        Two or three pigments run into each other where ``mix`` says so; pigment gathers at the drying rim, settles in
        the pits of the paper, is pushed aside by drops of water (``bloom``), and skips the grain where the brush is
        ``dry``. The outline wanders like the rim of wet paint, by ``wander`` pixels.
        """
        rng, mask = self.rng, np.asarray(mask, np.float32)
        rows, columns = (np.flatnonzero(mask.max(axis) > 0.01) for axis in (1, 0))
        if not len(rows):
            return
        area = tuple(slice(max(0, found[0] - 40), found[-1] + 41) for found in (rows, columns))
        shift = tuple(int(rng.integers(side)) for side in SHAPE)
        dx, dy = (np.roll(field, shift, (0, 1))[area] * wander for field in self.trembling)
        body = np.asarray(sample(mask, self.px[area] + dx, self.py[area] + dy), np.float32)
        flow, wave, pits = self.flow[area], self.wave[area], 1 - self.tooth[area]
        if dry:
            body = body * smoothstep(dry - 0.25, dry + 0.2, body * (1.15 - 0.6 * pits) + 0.10 * flow)
        ring = np.clip(body - blur(body, 5), 0, 1) * 1.9 + 0.5 * np.clip(body - blur(body, 14), 0, 1)
        load = body * (0.80 + 0.20 * flow + 0.14 * wave) * (1 - 0.35 * grain + grain * pits) + rim * ring * body
        if bloom:
            load = load * self._bloom(bloom, body, area)
        where = 0.5 + 0.5 * np.tanh(0.9 * (self.flow if mix is None else mix)[area])
        parts = list(colours) if isinstance(colours, tuple) else [colours]
        place = where * (len(parts) - 1)
        density = sum(np.clip(1 - np.abs(place - k), 0, 1)[..., None] * parts[k] for k in range(len(parts)))
        tone = np.broadcast_to(np.asarray(tone, np.float32), SHAPE)[area] * (1 + 0.05 * rng.normal())
        self.canvas.rgb[area] += (np.clip(load, 0, 2.2) * tone)[..., None] * density

    def _bloom(self, strength: float, body: np.ndarray, area) -> np.ndarray:
        """Backruns: water dropped into a damp wash drives pigment out to a dark, feathered rim."""
        rng = self.rng
        out = np.ones(body.shape, dtype=np.float32)
        ys, xs = np.nonzero(body[::6, ::6] > 0.6)
        top, left = area[0].start, area[1].start
        for _ in range(4 if len(xs) else 0):
            k = rng.integers(len(xs))
            radius = rng.uniform(34, 105)
            across, down = self.px[area] - left - xs[k] * 6, self.py[area] - top - ys[k] * 6
            away = np.hypot(across, down * rng.uniform(0.8, 1.5)) / radius
            away = away + 0.12 * self.fray[area] + 0.16 * self.flow[area]
            inside = smoothstep(1.0, 0.55, away)
            rim = np.exp(-(((away - 1.0) / 0.07) ** 2)) + 0.5 * np.exp(-(((away - 0.83) / 0.05) ** 2))
            out *= 1 - strength * 0.75 * inside + strength * 0.65 * rim
        return out

    def shape(self, points, smooth: bool = True) -> np.ndarray:
        """Mask of a closed outline in shares of the width."""
        outline = spline([*points, points[0]], 200) if smooth else np.array(points)
        return polygon_mask(SHAPE, outline * WORK, 1)

    def stroke(self, path, width: float, colour: np.ndarray, tone: float, dry: float = 0.2) -> None:
        """One stroke of a round brush; paths in shares of the width."""
        brush = Brush(dry=dry, streak=0.25, taper=0.75, mix=0.3, ragged=0.3, soft=1.6)
        self.canvas.ink(np.asarray(path, dtype=float) * WORK, width, colour * tone, brush)

    def lift(self, mask: np.ndarray, share: float) -> None:
        """Take wet pigment up with a thirsty brush."""
        self.canvas.rgb *= (1 - share * mask)[..., None]


def _ridge(x: np.ndarray, peaks, base: float) -> np.ndarray:
    line = np.full(x.shape, base)
    for cx, top, half in peaks:
        line = np.minimum(line, top + (base - top) * np.clip(np.abs(x - cx) / half, 0, 1) ** 0.85)
    return line


def _sky(sheet: Sheet) -> None:
    """Wet-in-wet: warm light low down, blue above, clouds left as paper with soft grey bellies."""
    y = sheet.y
    puff = cloud(SHAPE, sheet.rng, 130, 1.05, (0.7, 1.6))
    white = blur(smoothstep(0.15, 0.75, puff - 1.2 * (y - 0.18)), 5)
    sheet.wash(smoothstep(0.42, 0.30, y), (OCHRE, ROSE), 0.30 * smoothstep(0.06, 0.34, y), rim=0.0, grain=0.1, wander=6)
    blue = smoothstep(0.33, 0.05, y + 0.015 * sheet.wave) * (1 - 0.92 * white)
    sheet.wash(
        blue,
        (CERULEAN, CERULEAN, ULTRAMARINE),
        0.80,
        mix=sheet.wave - 3 * (y - 0.15),
        rim=0.25,
        grain=0.35,
        bloom=0.30,
        wander=5,
    )
    belly = blur(np.clip(white - np.roll(white, -26, axis=0), 0, 1), 4)
    sheet.wash(belly, (PAYNE, VIOLET, PAYNE), 0.50, rim=0.1, grain=0.2, wander=6)


def _mountains(sheet: Sheet) -> None:
    """Three ranges, each glazed over the one behind, with snow left white and shadow planes on one side."""
    x, y, rng = sheet.x, sheet.y, sheet.rng
    crag = 0.007 * cloud(SHAPE, rng, 40, 0.95) + 0.0025 * sheet.fray
    far = (
        _ridge(
            x,
            [(0.20, 0.175, 0.20), (0.38, 0.115, 0.20), (0.53, 0.195, 0.17), (0.72, 0.150, 0.22), (0.93, 0.20, 0.2)],
            0.37,
        )
        + crag
    )
    mass = smoothstep(-0.001, 0.002, y - far) * smoothstep(0.40, 0.36, y)
    sheet.wash(mass, (CERULEAN, VIOLET), 0.20 + 0.32 * smoothstep(0.18, 0.38, y), rim=0.4, bloom=0.25)
    folds = cloud(SHAPE, rng, 46, 1.15, (2.0, 0.7)) + 1.6 * np.sin((x * 46 + 7 * (y - far)) + 2 * sheet.wave)
    shade = mass * smoothstep(0.1, 0.7, folds) * smoothstep(0.0, 0.03, y - far)
    sheet.wash(shade, (CERULEAN, ULTRAMARINE, VIOLET), 0.50, rim=0.6, dry=0.30, wander=2)
    near = (
        _ridge(
            x,
            [(0.02, 0.25, 0.22), (0.27, 0.315, 0.16), (0.62, 0.305, 0.20), (0.86, 0.265, 0.2), (1.02, 0.28, 0.2)],
            0.385,
        )
        + 0.7 * crag
    )
    mass = smoothstep(-0.001, 0.002, y - near) * smoothstep(0.410, 0.400, y + 0.002 * sheet.fray)
    sheet.wash(mass, (VIRIDIAN, ULTRAMARINE, SAP), 0.60, rim=0.65, bloom=0.45)
    shade = mass * smoothstep(0.2, 0.9, folds + 0.4 * sheet.fray)
    sheet.wash(shade, (PAYNE, VIRIDIAN), 0.50, rim=0.7, dry=0.30, wander=2)
    for _ in range(150):
        cx = rng.uniform(0, 1)
        foot = 0.402 + 0.004 * np.sin(cx * 30)
        tall = rng.uniform(0.012, 0.040) * (
            1 + 0.8 * np.exp(-(((cx - 0.08) / 0.10) ** 2)) + 0.5 * np.exp(-(((cx - 0.95) / 0.07) ** 2))
        )
        colour = (SAP, VIRIDIAN, PAYNE, OCHRE)[rng.integers(4)]
        for k in range(5):
            share = k / 5
            half = tall * 0.20 * (1 - share) + 0.001
            level = foot - tall * share
            sheet.stroke(
                [(cx - half, level), (cx, level - tall * 0.09), (cx + half, level)],
                11 * (1 - 0.6 * share),
                colour,
                rng.uniform(0.25, 0.6),
            )


def _lake(sheet: Sheet) -> None:
    """Reflections wet-in-wet, then sharp ripples, and sparkle left by a dry brush."""
    x, y, rng = sheet.x, sheet.y, sheet.rng
    shore = 0.405
    water = smoothstep(shore, shore + 0.003, y) * smoothstep(
        0.655, 0.60, y - 0.05 * np.sin(x * 6 + 1) + 0.004 * sheet.fray
    )
    depth = (y - shore) / 0.24
    ripple = np.sin((np.log(np.clip(depth, 0.002, 2)) * 20) + 0.9 * sheet.wave + 0.35 * sheet.flow)
    sheet.wash(
        water,
        (CERULEAN, VIRIDIAN, ULTRAMARINE),
        0.34 + 0.26 * depth,
        mix=sheet.wave + depth,
        rim=0.3,
        bloom=0.4,
        dry=0.20,
    )
    mirror = water * smoothstep(0.42, 0.0, depth + 0.05 * ripple + 0.10 * sheet.wave)
    sheet.wash(blur(mirror, 3), (VIRIDIAN, VIOLET), 0.62, rim=0.2, wander=4)
    sheet.wash(
        water * smoothstep(0.55, 0.95, ripple) * smoothstep(0.05, 0.4, depth),
        (ULTRAMARINE, PAYNE),
        0.42,
        rim=0.8,
        dry=0.46,
        wander=1.5,
    )
    for _ in range(70):
        d = rng.random() ** 0.7
        cy, cx = shore + 0.012 + 0.20 * d, rng.uniform(0, 1)
        t = np.linspace(-0.5, 0.5, 7)
        reach = rng.uniform(0.02, 0.12) * (0.4 + d)
        path = np.stack([cx + reach * t, cy + 0.002 * np.sin(t * 9 + cx * 50)], axis=1)
        sheet.stroke(
            path, rng.uniform(2, 9) * (0.4 + d), (ULTRAMARINE, VIRIDIAN)[rng.integers(2)], rng.uniform(0.25, 0.7), 0.6
        )
    glint = (
        smoothstep(0.08, 0.0, np.abs(x - 0.43 - 0.03 * np.sin(y * 40)))
        * water
        * smoothstep(0.35, 0.75, sheet.tooth + 0.3 * ripple)
    )
    sheet.lift(glint, 0.75)


def _boathouse(sheet: Sheet) -> None:
    """A wooden house on posts with its reflection, a jetty and a boat."""
    cx, base = 0.735, 0.452
    wall = [(cx, base), (cx, base - 0.062), (cx + 0.046, base - 0.105), (cx + 0.092, base - 0.060), (cx + 0.092, base)]
    side = [(cx + 0.094, base), (cx + 0.094, base - 0.060), (cx + 0.175, base - 0.056), (cx + 0.175, base - 0.004)]
    roof = [
        (cx + 0.046, base - 0.112),
        (cx + 0.128, base - 0.104),
        (cx + 0.186, base - 0.050),
        (cx + 0.100, base - 0.055),
    ]
    eave = [
        (cx - 0.010, base - 0.056),
        (cx + 0.046, base - 0.112),
        (cx + 0.047, base - 0.103),
        (cx - 0.004, base - 0.050),
    ]
    for part in (wall, side, roof):
        sheet.lift(sheet.shape(part, False), 0.90)
    sheet.wash(sheet.shape(wall, False), (OCHRE, SIENNA), 0.62, rim=0.8, wander=1.6)
    sheet.wash(sheet.shape(side, False), (SIENNA, VIOLET), 1.05, rim=0.8, wander=1.6)
    sheet.wash(sheet.shape(roof, False), (CADMIUM, SIENNA, VIOLET), 0.85, rim=0.9, wander=1.6, bloom=0.3)
    sheet.wash(sheet.shape(eave, False), PAYNE, 0.8, rim=0.5, wander=1.2)
    sheet.wash(
        sheet.shape(
            [(cx + 0.028, base), (cx + 0.028, base - 0.045), (cx + 0.064, base - 0.045), (cx + 0.064, base)], False
        ),
        (PAYNE, VIOLET),
        1.5,
        wander=1.5,
    )
    for k in range(9):
        u = cx + 0.006 + 0.010 * k
        sheet.stroke([(u, base), (u + 0.0005, base - 0.058)], 2.6, SIENNA, 0.5, 0.5)
    for k in range(7):
        u = cx + 0.100 + 0.012 * k
        sheet.stroke([(u, base - 0.002), (u, base - 0.056)], 3, PAYNE, 0.5, 0.5)
    for u in (0.002, 0.045, 0.09, 0.135, 0.172):
        sheet.stroke([(cx + u, base), (cx + u + 0.001, base + 0.024)], 5, PAYNE, 1.1, 0.2)
    down = [
        (cx, base + 0.006),
        (cx + 0.178, base + 0.004),
        (cx + 0.166, base + 0.055),
        (cx + 0.10, base + 0.078),
        (cx + 0.044, base + 0.088),
        (cx + 0.006, base + 0.050),
    ]
    sheet.wash(sheet.shape(down, False), (SIENNA, VIOLET, PAYNE), 0.55, rim=0.35, wander=5, dry=0.34)
    for k in range(12):
        level = base + 0.018 + 0.008 * k
        sheet.stroke(
            [(cx + 0.02 + 0.002 * k, level), (cx + 0.09, level + 0.001), (cx + 0.165 - 0.005 * k, level)],
            4,
            SIENNA,
            0.4,
            0.6,
        )
    bx, by = 0.585, 0.505
    hull = [
        (bx - 0.055, by - 0.010),
        (bx, by - 0.003),
        (bx + 0.058, by - 0.013),
        (bx + 0.040, by + 0.011),
        (bx - 0.036, by + 0.011),
    ]
    sheet.lift(sheet.shape(hull), 0.92)
    sheet.wash(sheet.shape(hull), (CADMIUM, ROSE), 0.9, rim=0.9, wander=1.5)
    sheet.stroke([(bx - 0.052, by - 0.010), (bx, by - 0.002), (bx + 0.056, by - 0.012)], 4, PAYNE, 1.2, 0.1)
    sheet.wash(
        sheet.shape(
            [(bx - 0.034, by + 0.014), (bx + 0.038, by + 0.014), (bx + 0.02, by + 0.036), (bx - 0.02, by + 0.034)]
        ),
        (ROSE, ULTRAMARINE),
        0.55,
        wander=4,
        dry=0.3,
    )


def _meadow(sheet: Sheet) -> None:
    """The near bank: broad greens that run together, grass in single strokes, poppies and daisies, spatter."""
    x, y, rng = sheet.x, sheet.y, sheet.rng
    bank = 0.605 + 0.05 * np.sin(x * 6 + 1) * 0.9 + 0.004 * sheet.fray
    ground = smoothstep(-0.004, 0.006, y - bank)
    sheet.lift(ground, 0.85)
    sheet.wash(ground, (LEMON, SAP, SIENNA), 0.62, mix=sheet.wave + 0.5 * sheet.flow, rim=0.5, bloom=0.55, dry=0.12)
    patch = ground * smoothstep(0.2, 0.9, cloud(SHAPE, rng, 80, 1.0, (0.6, 1.6)) + 3 * (y - 0.68))
    sheet.wash(patch, (SAP, VIRIDIAN), 0.75, rim=0.8, bloom=0.4)
    low = ground * smoothstep(0.66, 0.75, y + 0.012 * sheet.flow)
    sheet.wash(low, (VIRIDIAN, PAYNE, SAP), 0.72, rim=0.4, bloom=0.5)
    for _ in range(900):
        d = rng.random()
        gx = rng.uniform(-0.02, 1.02)
        gy = 0.612 + 0.05 * np.sin(gx * 6 + 1) * 0.9 + 0.15 * d
        reach, lean = (0.012 + 0.055 * d) * rng.uniform(0.5, 1.3), rng.normal(0.12, 0.4)
        t = np.linspace(0, 1, 6)
        path = np.stack([gx + lean * reach * t**1.8, gy - reach * t], axis=1)
        colour = (SAP, VIRIDIAN, PAYNE, OCHRE, LEMON)[rng.choice(5, p=(0.36, 0.26, 0.14, 0.14, 0.10))]
        sheet.stroke(path, rng.uniform(2, 6.5) * (0.5 + d), colour, rng.uniform(0.3, 1.1), 0.15)
    heads = [
        (0.09, 0.600, 0.040),
        (0.185, 0.655, 0.050),
        (0.045, 0.685, 0.042),
        (0.285, 0.625, 0.032),
        (0.37, 0.69, 0.044),
    ]
    heads += [
        (0.955, 0.615, 0.036),
        (0.875, 0.675, 0.046),
        (0.66, 0.705, 0.036),
        (0.135, 0.560, 0.024),
        (0.775, 0.665, 0.028),
        (0.50, 0.675, 0.026),
    ]
    for hx, hy, size in heads:
        stem = [(hx, hy + size * 0.3), (hx + rng.normal(0, 0.012), hy + 0.06), (hx + rng.normal(0, 0.02), hy + 0.14)]
        sheet.stroke(spline(stem, 20), 5, SAP, 1.2, 0.1)
    for hx, hy, size in heads:
        _poppy(sheet, hx, hy, size)
    for _ in range(26):
        dx, dy = rng.uniform(0.02, 0.98), rng.uniform(0.625, 0.735)
        r = rng.uniform(0.006, 0.012)
        turn = np.linspace(0, 2 * np.pi, 90)
        reach = r * (0.62 + 0.38 * np.cos(9 * turn + dx * 40))
        outline = np.stack([dx + reach * np.cos(turn), dy + 0.85 * reach * np.sin(turn)], axis=1)
        petals = polygon_mask(SHAPE, outline * WORK, 1)
        sheet.lift(petals, 0.9)
        sheet.wash(
            polygon_mask(SHAPE, _oval(dx, dy, r * 0.32, r * 0.26, 0) * WORK, 1), (OCHRE, CADMIUM), 0.9, wander=0.8
        )


def _oval(cx, cy, rx, ry, turn) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 40)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack(
        [cx + rx * np.cos(t) * c - ry * np.sin(t) * s, cy + rx * np.cos(t) * s + ry * np.sin(t) * c], axis=1
    )


def _poppy(sheet: Sheet, hx: float, hy: float, size: float) -> None:
    """Four petals, each a wash of its own that keeps a sliver of paper towards the next, and a dark heart."""
    rng = sheet.rng
    start = rng.uniform(0, 6)
    for k in range(4):
        a = start + k * np.pi / 2 + rng.normal(0, 0.15)
        reach = size * rng.uniform(0.5, 0.62)
        ring = np.linspace(0, 2 * np.pi, 14)[:-1]
        bulge = 1 + 0.10 * np.sin(3 * ring + rng.uniform(0, 6)) + rng.normal(0, 0.04, 13)
        px = hx + np.cos(a) * reach * 0.86 + reach * bulge * (np.cos(ring) * 0.92)
        py = hy + np.sin(a) * reach * 0.62 + reach * bulge * (np.sin(ring) * 0.70)
        mask = sheet.shape(list(zip(px, py, strict=True)))
        sheet.lift(mask, 0.80)
        sheet.wash(mask, (CADMIUM, ROSE, CADMIUM), rng.uniform(1.0, 1.5), rim=1.0, bloom=0.35, wander=2)
        for _ in range(7):
            b = a + rng.normal(0, 0.5)
            t = np.linspace(0.25, rng.uniform(0.8, 1.4), 5)
            sheet.stroke(
                np.stack([hx + np.cos(b) * reach * t, hy + np.sin(b) * reach * 0.75 * t], axis=1),
                rng.uniform(2, 5),
                CADMIUM,
                0.45,
                0.4,
            )
    sheet.wash(
        polygon_mask(SHAPE, _oval(hx, hy, size * 0.17, size * 0.14, 0) * WORK, 1), (PAYNE, VIOLET), 1.9, wander=1.2
    )
    for _ in range(16):
        a = rng.uniform(0, 2 * np.pi)
        r = size * rng.uniform(0.20, 0.32)
        x, y = hx + r * np.cos(a), hy + r * 0.8 * np.sin(a)
        sheet.stroke([(x, y), (x + 0.0012, y + 0.0006), (x + 0.002, y)], 4, PAYNE, 1.4, 0.0)


def _spatter(sheet: Sheet) -> None:
    rng = sheet.rng
    for _ in range(170):
        x, y = rng.uniform(0.02, 0.98), 0.74 - rng.exponential(0.09)
        size = rng.exponential(2.6) + 1.5
        away = np.hypot(np.arange(-24, 25)[None, :], np.arange(-24, 25)[:, None])
        dot = smoothstep(size + 1, size - 1, away) * (0.7 + 0.5 * smoothstep(size * 0.4, size, away))
        top, left = int(y * WORK) - 24, int(x * WORK) - 24
        if top < 0 or left < 0 or top + 49 > SHAPE[0] or left + 49 > SHAPE[1]:
            continue
        colour = (CADMIUM, SAP, VIRIDIAN, OCHRE, ULTRAMARINE)[rng.integers(5)]
        sheet.canvas.rgb[top : top + 49, left : left + 49] += (dot * rng.uniform(0.25, 0.8))[..., None] * colour


def paint(seed: int = 17) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    sheet = Sheet(rng)
    _sky(sheet)
    _mountains(sheet)
    _lake(sheet)
    _boathouse(sheet)
    _meadow(sheet)
    _spatter(sheet)
    height = SHAPE[0] / WORK
    inner = np.minimum.reduce([sheet.x, 1 - sheet.x, sheet.y, height - sheet.y])
    margin = smoothstep(0.013, 0.017, inner + 0.0008 * sheet.fray + 0.0012 * sheet.wave)
    density = sheet.canvas.rgb * margin[..., None]
    density += (0.10 * np.clip(margin - blur(margin, 4), 0, 1))[..., None] * density
    gy, gx = np.gradient(blur(sheet.tooth, 1))
    relief = 1 + 0.065 * np.tanh(-(gx + gy) * 4)
    paper = hexes("f9f5ea")[0] * (1 + 0.010 * cloud(SHAPE, rng, 3, 0.9) + 0.03 * fibres(SHAPE, rng, 500, 40))[..., None]
    rgb = paper * np.exp(-density) * relief[..., None]
    return to_image(rgb, 25)
