"""Line engraving: a ruined tower on a cliff above a rough sea, all tones in swelling lines that follow the forms."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .noise import WORK, blur, cloud, grid, hexes, polygon_mask, smoothstep, spline, to_image
from .paper import sheet

SHAPE = (1152, WORK)
PITCH = 8.4  # distance of the lines in work pixels


class Plate:
    """Tone (0 paper, 1 black) and up to three families of lines, each the level lines of a field."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.tone = np.zeros(SHAPE, dtype=np.float32)
        self.first, self.second = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
        self.form = np.zeros(SHAPE, dtype=np.int32)
        self.wave = cloud(SHAPE, rng, 130, 1.3)
        self.rough = cloud(SHAPE, rng, 34, 0.9)
        self._forms = 0

    def put(self, inside: np.ndarray, tone, first, second, outlined: bool = True) -> None:
        """Put a form over what is there: its tone, and its lines as fields in work pixels."""
        self.tone[inside] = np.broadcast_to(tone, SHAPE)[inside]
        self.first[inside] = np.broadcast_to(first, SHAPE)[inside]
        self.second[inside] = np.broadcast_to(second, SHAPE)[inside]
        if outlined:
            self._forms += 1
        self.form[inside] = self._forms

    def ruled(self, angle) -> np.ndarray:
        """Straight lines at an angle to the horizontal, hardly bent."""
        return (self.y * np.cos(angle) - self.x * np.sin(angle)) * WORK + 2.2 * self.wave


def _sky(plate: Plate) -> None:
    """Ruled sky, darker above, with a great cloud built from puffs: arcs on their shadow sides, paper where lit."""
    x, y, rng = plate.x, plate.y, plate.rng
    tone = 0.42 - 0.55 * y + 0.05 * plate.wave
    plate.put(np.ones(SHAPE, bool), tone, plate.ruled(0.0) + 5 * np.sin(x * 7 + y * 5), plate.ruled(0.35), False)
    beam = smoothstep(0.055, 0.0, np.abs((x - 0.80) + 0.55 * (y - 0.05)) % 0.22) * smoothstep(0.42, 0.1, y)
    plate.tone -= 0.16 * beam
    puffs = []
    for cx, cy, wide, tall, count in (
        (0.70, 0.20, 0.24, 0.085, 46),
        (0.44, 0.31, 0.16, 0.045, 24),
        (0.93, 0.36, 0.12, 0.035, 16),
    ):
        for _ in range(count):
            a, r = rng.uniform(0, np.pi), rng.random() ** 0.5
            puffs.append(
                (
                    cy - tall * r * np.sin(a) * 1.3,
                    cx + wide * r * np.cos(a),
                    rng.uniform(0.025, 0.06) * (1.15 - 0.5 * r),
                    cy,
                )
            )
    for cy, cx, radius, foot in sorted(puffs):
        dx, dy = (x - cx) / radius, (y - cy) / (radius * 0.86)
        away = np.hypot(dx, dy) + 0.07 * plate.rough
        inside = (away < 1) & (y < foot + 0.012 + 0.004 * plate.wave)
        shade = 0.62 * smoothstep(-0.55, 1.15, 0.75 * dy - 0.45 * dx) + 0.16 * smoothstep(0.55, 1.0, away) * (dx > -0.3)
        plate.put(inside, shade - 0.06, away * radius * WORK * 0.9, plate.ruled(0.6), False)


def _sea(plate: Plate) -> None:
    """Waves in perspective: lines crowd towards the horizon, crests break white, troughs are cross-hatched."""
    x, y = plate.x, plate.y
    horizon = 0.455
    depth = np.clip((y - horizon) / 0.30, 1e-3, None)
    far = np.log(depth + 0.05)
    swell = np.sin(far * 13 + 2.1 * np.sin(x * (9 - 2.5 * depth) + far * 3) + 0.7 * plate.wave)
    chop = np.sin(far * 31 + 3.2 * np.sin(x * 23 + far * 9) + 0.4 * plate.wave)
    tone = 0.44 + 0.30 * swell * smoothstep(0, 0.25, depth) + 0.16 * chop - 0.10 * depth
    bend = (9 * swell + 4 * chop) * smoothstep(0, 0.3, depth)
    lines = (y - horizon) * WORK + bend
    glade = smoothstep(0.10, 0.0, np.abs(x - 0.80 + 0.04 * swell)) * 0.34
    plate.put(y > horizon, tone - glade, lines, plate.ruled(-0.55) + bend)
    foam = (y > horizon) & (swell > 0.80) & (chop > 0.1) & (depth > 0.16)
    plate.put(foam, 0.03, lines, plate.ruled(0.2), False)


def _ship(plate: Plate) -> None:
    """A ship that heels in the wind, far out."""
    x = plate.x
    at = np.array([0.735, 0.487])

    def part(points, tone, first) -> None:
        plate.put(polygon_mask(SHAPE, (spline(points, 60) * 0.9 + at) * WORK, 1) > 0.5, tone, first, plate.ruled(1.0))

    part(
        [
            (-0.062, -0.018),
            (-0.02, -0.012),
            (0.03, -0.012),
            (0.068, -0.024),
            (0.05, 0.006),
            (-0.045, 0.006),
            (-0.062, -0.018),
        ],
        0.85,
        plate.ruled(0.05),
    )
    for mast, tall in ((-0.032, 0.085), (0.004, 0.108), (0.038, 0.082)):
        for low, high, wide in ((0.02, 0.50, 0.0150), (0.55, 0.79, 0.0115), (0.83, 1.0, 0.0075)):
            b, t = -0.018 - tall * low, -0.018 - tall * high
            sail = [
                (mast - wide, b),
                (mast - wide * 0.7, t),
                (mast + wide * 0.8, t),
                (mast + wide * 1.25, b),
                (mast + wide * 0.2, b - 0.007),
                (mast - wide, b),
            ]
            part(
                sail,
                0.10 + 0.5 * smoothstep(-wide, wide, (x - at[0]) / 0.9 - mast),
                plate.ruled(1.45) + 40 * (x - at[0]) ** 2 * WORK,
            )


def _facets(plate: Plate, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Broken rock: for every pixel the angle of its facet's lines and the facet's tone."""
    rng = plate.rng
    count = int(SHAPE[0] * SHAPE[1] / (cell * WORK) ** 2)
    cx, cy = rng.random(count), rng.random(count) * SHAPE[0] / WORK
    near, owner = np.full(SHAPE, np.inf, np.float32), np.zeros(SHAPE, np.int32)
    wx, wy = plate.x + 0.0035 * plate.rough, plate.y + 0.010 * plate.wave * cell / 0.05
    for k in range(count):
        away = ((wx - cx[k]) * 1.5) ** 2 + ((wy - cy[k]) * 0.8) ** 2
        mine = away < near
        near[mine] = away[mine]
        owner[mine] = k
    return rng.normal(1.15, 0.55, count)[owner].astype(np.float32), rng.uniform(0.12, 0.92, count)[owner].astype(
        np.float32
    )


def _cliff(plate: Plate) -> None:
    """The headland: facets of rock, hatched each its own way, grass on top, boulders and surf at the foot."""
    x, y = plate.x, plate.y
    top = np.interp(
        x,
        [0, 0.07, 0.16, 0.25, 0.34, 0.42, 0.47, 0.52, 0.545],
        [0.40, 0.385, 0.36, 0.352, 0.372, 0.41, 0.475, 0.60, 0.76],
    )
    top = top + 0.0045 * plate.rough + 0.005 * np.sin(x * 60) * (x > 0.34)
    rock = y > top
    for cell, share in ((0.085, 1.0), (0.040, 0.55)):
        angle, tone = _facets(plate, cell)
        inside = rock & ((tone < 0.93) if share == 1.0 else (tone > 0.47))
        lit = 0.30 * smoothstep(0.0, 0.5, x) - 0.18 * smoothstep(0.30, 0.60, y)
        shade = tone * 0.98 + 0.03 - 0.3 * lit + 0.05 * plate.rough
        lines = (y * np.cos(angle) - x * np.sin(angle)) * WORK + 2.0 * plate.wave
        cross = (y * np.cos(angle + 1.0) - x * np.sin(angle + 1.0)) * WORK
        plate.put(inside, shade, lines, cross, share == 1.0)
        plate.form[inside] += (1000 * tone[inside]).astype(np.int32) + 100  # a contour around each facet
        plate._forms += 2000
    turf = rock & (y < top + 0.030 + 0.012 * plate.rough + 0.05 * smoothstep(0.30, 0.0, x)) & (x < 0.43)
    plate.put(
        turf,
        0.34 + 0.16 * plate.rough + 5 * (y - top) * 0.6,
        plate.ruled(1.25) + 14 * np.sin(x * 70),
        plate.ruled(-1.1),
    )
    for cx, cy, size in (
        (0.52, 0.705, 0.05),
        (0.60, 0.715, 0.034),
        (0.455, 0.725, 0.05),
        (0.675, 0.735, 0.022),
        (0.56, 0.74, 0.045),
    ):
        dx, dy = (x - cx) / size, (y - cy) / (size * 0.66)
        away = np.hypot(dx, dy) + 0.10 * plate.rough
        shade = smoothstep(-0.9, 0.9, dy - 0.7 * dx) * 0.9
        plate.put(away < 1, shade, away * size * WORK, plate.ruled(0.9))
        surf = (np.abs(away - 1.10 - 0.08 * plate.rough) < 0.07) & (dy > -0.2)
        plate.put(surf, 0.0, plate.ruled(0.0), plate.ruled(0.0), False)


def _tower(plate: Plate) -> None:
    """A round tower, broken at the top, and a wall with arches: courses of stone bend around it."""
    x, y, rng = plate.x, plate.y, plate.rng

    def round_wall(cx, half, head, foot, tilt) -> None:
        across = (x - cx) / half
        broken = (
            head
            + 0.014 * np.abs(np.sin(across * 5 + cx * 40))
            + 0.010 * smoothstep(-0.2, 0.9, across)
            + 0.003 * plate.rough
        )
        inside = (np.abs(across) < 1 - 0.05 * (foot - y) / (foot - head)) & (y > broken) & (y < foot)
        bow = np.sqrt(np.clip(1 - across**2, 0, 1))
        level = y + tilt * bow
        course = np.floor(level / 0.0135)
        block = np.floor(np.arcsin(np.clip(across, -1, 1)) / 0.32 + 0.5 * (course % 2))
        odd = rng.random(4096)[(course.astype(np.int64) * 31 + block.astype(np.int64) * 7) % 4096]
        joint = (np.abs(level / 0.0135 % 1) < 0.13) | (
            np.abs((np.arcsin(np.clip(across, -1, 1)) / 0.32 + 0.5 * (course % 2)) % 1) < 0.06
        )
        shade = (
            0.10
            + 0.78 * smoothstep(0.55, -0.95, across) ** 1.1
            + 0.20 * (odd - 0.5)
            + 0.12 * smoothstep(0.8, 1.0, across)
        )
        plate.put(inside, np.where(joint, np.maximum(shade, 0.30) + 0.35, shade), level * WORK, plate.ruled(1.15))

    wall = (x > 0.075) & (x < 0.235) & (y > 0.292 + 0.02 * np.abs(np.sin(x * 47)) + 0.004 * plate.rough) & (y < 0.385)
    course = np.floor(y / 0.0135)
    odd = rng.random(4096)[
        (course.astype(np.int64) * 17 + np.floor(x / 0.022 + 0.5 * (course % 2)).astype(np.int64)) % 4096
    ]
    joint = (y / 0.0135 % 1 < 0.12) | ((x / 0.022 + 0.5 * (course % 2)) % 1 < 0.07)
    plate.put(wall, np.where(joint, 0.75, 0.42 + 0.25 * (odd - 0.5)), plate.ruled(0.0), plate.ruled(0.9))
    for cx in (0.115, 0.160):
        arch = (np.abs(x - cx) < 0.0135) & (y > 0.335) & (y < 0.388) | (np.hypot(x - cx, y - 0.335) < 0.0135)
        plate.put(arch, 0.80 + 0.2 * smoothstep(cx + 0.01, cx - 0.012, x), plate.ruled(0.0), plate.ruled(0.9))
    round_wall(0.275, 0.056, 0.105, 0.378, 0.016)
    round_wall(0.062, 0.040, 0.215, 0.395, 0.011)
    for cx, cy, w, h in (
        (0.292, 0.175, 0.0075, 0.022),
        (0.262, 0.245, 0.008, 0.024),
        (0.296, 0.30, 0.007, 0.020),
        (0.07, 0.27, 0.006, 0.02),
    ):
        slot = (np.abs(x - cx) < w) & (np.abs(y - cy) < h) | (np.hypot(x - cx, y - cy + h) < w)
        plate.put(slot, 0.98, plate.ruled(0.0), plate.ruled(1.2))
    # Ivy: small leaves in clusters, dark below.
    ivy = smoothstep(
        0.1,
        0.9,
        cloud(SHAPE, rng, 46, 1.0) + 1.4 * smoothstep(0.05, 0.0, np.abs(x - 0.315 - 0.02 * np.sin(y * 30))) - 0.6,
    )
    mask = (ivy > 0.55) & (x > 0.23) & (x < 0.345) & (y > 0.20) & (y < 0.39)
    leaf = cloud(SHAPE, rng, 9, 1.4)
    plate.put(mask, 0.62 + 0.30 * leaf, plate.ruled(0.7) + 9 * leaf, plate.ruled(-0.8), False)


def _strokes(plate: Plate, canvas: Canvas) -> None:
    """What is drawn line by line: outlines, grass, gulls, rigging."""
    rng = plate.rng
    pen = Brush(dry=0.1, streak=0.1, taper=0.9, mix=0.1, ragged=0.2, soft=1.2)
    ink = np.ones(3, np.float32)
    for _ in range(1500):
        gx = rng.uniform(0, 0.425)
        gy = np.interp(
            gx, [0, 0.07, 0.16, 0.25, 0.34, 0.42], [0.40, 0.385, 0.36, 0.352, 0.372, 0.41]
        ) + rng.exponential(0.016)
        reach, lean = rng.uniform(8, 26), rng.normal(0.25, 0.35)
        t = np.linspace(0, 1, 5)
        path = np.stack([gx * WORK + reach * lean * t**2, gy * WORK - reach * t], axis=1)
        canvas.ink(path, rng.uniform(1.6, 3.0), ink * rng.uniform(0.5, 1.1), pen)
    for gx, gy, size in (
        (0.52, 0.215, 17),
        (0.555, 0.185, 12),
        (0.49, 0.165, 9),
        (0.60, 0.265, 9),
        (0.41, 0.14, 11),
        (0.585, 0.13, 7),
    ):
        wing = (
            np.array([[-1.7, -0.2], [-0.9, -0.62], [0, 0.1], [0.8, -0.7], [1.7, -0.45]]) * size
            + np.array([gx, gy]) * WORK
        )
        canvas.ink(spline([tuple(p) for p in wing], 24), 3.6, ink * 1.2, pen)
    for mast, tall in ((-0.032, 0.088), (0.004, 0.112), (0.038, 0.085)):
        foot, head = (
            np.array([0.735 + mast * 0.9, 0.472]) * WORK,
            np.array([0.737 + mast * 0.9, 0.469 - tall * 0.9]) * WORK,
        )
        canvas.ink(np.stack([foot, head]), 2.6, ink * 1.2, pen)
        for side in (-1, 1):
            canvas.ink(np.stack([head, foot + np.array([side * 30, 6])]), 1.5, ink * 0.8, pen)


def _cut(plate: Plate) -> np.ndarray:
    """Ink cover of the swelling lines: one family everywhere, a second from middle tones on, a third in darkness."""
    rng = plate.rng
    tone = np.clip(blur(plate.tone, 1.2), 0, 1)
    tremor = 0.40 * cloud(SHAPE, rng, 26, 1.4) + 0.10 * cloud(SHAPE, rng, 5, 1.2)
    edge = 0.045 * cloud(SHAPE, rng, 4, 1.0)

    def family(field: np.ndarray, pitch: float, width: np.ndarray) -> np.ndarray:
        place = np.abs((field + tremor) / pitch % 1 - 0.5) * 2  # 0 in the middle of a line
        cover = smoothstep(0.20, -0.20, place - width + edge)
        return cover * smoothstep(0.015, 0.06, width)

    first = family(plate.first, PITCH, np.clip(tone * 0.95 - 0.015, 0, 0.84))
    second = family(plate.second, PITCH * 1.07, np.clip((tone - 0.42) * 1.05, 0, 0.62))
    third = family(plate.ruled(-0.75), PITCH * 1.15, np.clip((tone - 0.72) * 1.2, 0, 0.5))
    return np.maximum(np.maximum(first, second), third)


def paint(seed: int = 13) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    plate = Plate(rng)
    _sky(plate)
    _sea(plate)
    _ship(plate)
    _tower(plate)
    _cliff(plate)
    cover = _cut(plate)
    canvas = Canvas(SHAPE, np.zeros(3, dtype=np.float32), rng)
    _strokes(plate, canvas)
    edges = np.zeros(SHAPE, dtype=np.float32)
    edges[1:] += plate.form[1:] != plate.form[:-1]
    edges[:, 1:] += plate.form[:, 1:] != plate.form[:, :-1]
    contour = smoothstep(0.16, 0.30, blur(np.minimum(edges, 1), 1.2) * (1 + 0.35 * cloud(SHAPE, rng, 60, 1.1)))
    cover = np.maximum.reduce([cover, 0.95 * contour, np.clip(canvas.rgb[..., 0], 0, 1)])
    height = SHAPE[0] / WORK
    inner = np.minimum.reduce([plate.x, 1 - plate.x, plate.y, height - plate.y])
    frame = np.abs(inner - 0.0235) < 0.0016
    cover = np.where(inner < 0.022, 0, cover)
    cover = np.maximum(cover, frame * 0.9)
    worn = 1 - 0.10 * smoothstep(0.6, 2.0, cloud(SHAPE, rng, 7, 0.8))
    density = cover * worn * 1.75 + 0.035 * smoothstep(0.012, 0.016, inner) * (1 + 0.4 * cloud(SHAPE, rng, 120, 1.1))
    paper = sheet(SHAPE, rng, hexes("f3e8cf")[0], 900)
    press = smoothstep(0.0125, 0.0115, inner) * smoothstep(0.0100, 0.0115, inner)
    rgb = paper * (1 - 0.10 * press)[..., None] * np.exp(-density[..., None] * np.float32([1.08, 1.16, 1.28]))
    return to_image(rgb, 30)
