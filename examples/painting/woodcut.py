"""Woodcut wave: foam claws over Prussian-blue water, carved key lines, graded sky, grain and paper fibre."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .noise import WORK, blur, cloud, grid, hexes, smoothstep, spline, to_image
from .paper import sheet

SHAPE = (1072, WORK)
SUN_AT = (0.205, 0.215, 0.068)
SKY, SUN, LAND, DEEP, MID, PALE, FOAM, SHADE, HULL, ROCK = range(10)
# Upper and lower colour of every block: printers wiped the ink so that it fades across a shape.
INKS = [
    hexes("ece0c2", "f0dcbc"), hexes("cf4a2c", "e58a58"), hexes("5f7f96", "d5d3bd"), hexes("14305c", "1b4a80"),
    hexes("2f6a9c", "4a86ac"), hexes("a3c2c6", "c6d4c6"), hexes("f6efdc", "f3ead2"), hexes("bccfcc", "d3dacb"),
    hexes("c69a52", "a8743c"), hexes("54606c", "2a3c54"),
]  # fmt: skip


class Block:
    """The carved blocks: which colour lies where, and the key lines, drawn twice as large as the work canvas."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.scale = 2 * WORK
        size = (SHAPE[1] * 2, SHAPE[0] * 2)
        self.area = Image.new("L", size, SKY)
        self.key = Image.new("L", size, 0)
        self.area_pen, self.key_pen = ImageDraw.Draw(self.area), ImageDraw.Draw(self.key)

    def fill(self, outline: np.ndarray, number: int) -> None:
        """Cut one flat shape; whatever key lines it covers disappear."""
        points = [(float(x), float(y)) for x, y in outline * self.scale]
        self.area_pen.polygon(points, fill=number)
        self.key_pen.polygon(points, fill=0)

    def line(self, points: np.ndarray, width: float, ends: float = 0.15, swell: float = 0.35) -> None:
        """A carved line: swells and thins along its way, and comes to a point at both ends."""
        path = points * self.scale
        gaps = np.hypot(*np.diff(path, axis=0).T)
        s = np.concatenate([[0.0], np.cumsum(gaps)])
        if s[-1] < 4:
            return
        at = np.linspace(0, s[-1], max(8, int(s[-1] / 7)))
        path = np.stack([np.interp(at, s, path[:, 0]), np.interp(at, s, path[:, 1])], axis=1)
        t = at / s[-1]
        wander = np.interp(t, np.linspace(0, 1, 9), self.rng.normal(0, swell, 9))
        half = width * (1 + wander) * np.clip(np.minimum(t, 1 - t) / max(ends, 1e-3), 0.06, 1) ** 0.6
        ahead = np.gradient(path, axis=0)
        ahead /= np.maximum(1e-6, np.hypot(ahead[:, 0], ahead[:, 1]))[:, None]
        side = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) * np.maximum(half, 0.5)[:, None]
        ring = np.vstack([path + side, (path - side)[::-1]])
        self.key_pen.polygon([(float(x), float(y)) for x, y in ring], fill=255)

    def discs(self, discs: list[tuple[float, float, float]], line: float) -> None:
        """Foam as a union of discs: outline first, then its shaded body, then the white, shifted to the light."""
        # The line swells slowly along the row of discs: a gouge cuts evenly, it does not stutter.
        knots = np.arange(0, len(discs) + 14, 14)
        swell = np.interp(np.arange(len(discs)), knots, self.rng.uniform(0.55, 1.4, len(knots)))
        for (x, y, r), wide in zip(discs, swell, strict=True):
            self._disc(x, y, r + line * wide, None, 255)
        for x, y, r in discs:
            self._disc(x, y, r, SHADE, 0)
        for x, y, r in discs:
            self._disc(x - r * 0.10 - 0.8, y - r * 0.16 - 0.8, r * 0.86 - 0.3, FOAM, None)

    def _disc(self, x, y, r, number, key) -> None:
        box = [(x - r) * 2, (y - r) * 2, (x + r) * 2, (y + r) * 2]
        if number is not None:
            self.area_pen.ellipse(box, fill=number)
        if key is not None:
            self.key_pen.ellipse(box, fill=key)


def claw(rng, x, y, heading, size, curl, depth=2) -> list[tuple[float, float, float]]:
    """Discs of one foam finger: it tapers, hooks over at the tip, and throws off smaller fingers."""
    out = []
    count = max(8, int(size / 1.6))
    buds = {int(count * share) for share in (0.30, 0.5, 0.68, 0.84)}
    for k in range(count):
        s = k / count
        heading += curl * (0.2 + 3.4 * s * s) / count
        x += np.cos(heading) * size / count
        y += np.sin(heading) * size / count
        out.append((x, y, max(1.1, size * 0.125 * (1 - s) ** 0.62)))
        if depth and size > 12 and k in buds:
            # Fingers grow on the outer side and all hook the same way, like a hand.
            side = -np.sign(curl) if rng.random() < 0.88 else np.sign(curl)
            small = size * rng.uniform(0.36, 0.50) * (1.15 - 0.5 * s)
            out += claw(
                rng, x, y, heading + side * rng.uniform(0.55, 0.9), small, curl * rng.uniform(0.9, 1.5), depth - 1
            )
    return out


class Wave:
    """A breaking wave between its outer back and its hollow face, both given from the crest tip downwards."""

    def __init__(self, block: Block, outer: list[tuple], inner: list[tuple], scale: float) -> None:
        self.block, self.scale, self.rng = block, scale, block.rng
        self.outer, self.inner = spline(outer, 300), spline(inner, 300)

    def at(self, t: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Points by progress from the tip (t) and by place between face (k = 0) and back (k = 1)."""
        row = np.clip(t, 0, 1) * 299
        low = np.minimum(row.astype(int), 298)
        f = (row - low)[:, None]
        outer = self.outer[low] * (1 - f) + self.outer[low + 1] * f
        inner = self.inner[low] * (1 - f) + self.inner[low + 1] * f
        return inner + (outer - inner) * np.asarray(k)[:, None]

    def body(self) -> None:
        """The deep blue mass, then paler bands that sweep up into the crest, each edged by a carved line."""
        self.block.fill(np.vstack([self.outer, self.inner[::-1]]), DEEP)
        bands = np.linspace(0.02, 0.98, 15)
        for number, k in enumerate(bands):
            start = self.rng.uniform(0.08, 0.30)
            t = np.linspace(start, 1.0, 70)
            u = (t - start) / (1 - start)
            wide = (0.026 + 0.010 * self.rng.random()) * np.sin(np.pi * np.clip(u * 0.62, 0, 1)) ** 0.8
            middle = k + 0.012 * np.sin(t * 9 + number)
            low, high = self.at(t, middle - wide), self.at(t, middle + wide)
            if number % 2 == 0:
                self.block.fill(np.vstack([low, high[::-1]]), (MID, PALE, MID, PALE)[(number // 2) % 4])
            self.block.line(low, 2.3 * self.scale, 0.25)
            self.block.line(high, 2.3 * self.scale, 0.25)
            for _ in range(2):
                # Fine gouge lines in the dark water between two bands.
                a = self.rng.uniform(start, 0.75)
                t = np.linspace(a, min(1.0, a + self.rng.uniform(0.2, 0.5)), 50)
                drift = k + self.rng.uniform(0.030, 0.055) + 0.012 * np.sin(t * 9 + number)
                self.block.line(self.at(t, drift), 1.3 * self.scale, 0.45)
        self.block.line(self.outer, 5.0 * self.scale, 0.02)
        self.block.line(self.inner, 5.0 * self.scale, 0.02)

    def drips(self, count: int, reach: tuple[float, float]) -> list[tuple[float, float, float]]:
        """Fingers of foam that run from the crest down the wave, thinning out and ending in small hooks."""
        out = []
        for where in np.linspace(*reach, count):
            t0 = where + self.rng.normal(0, 0.012)
            long = self.rng.uniform(0.07, 0.19) * (1.15 - where)
            s = np.linspace(0, 1, 132)
            k = (
                0.95
                - (0.36 + 0.10 * np.sin(where * 37) + self.rng.normal(0, 0.02)) * s**0.85
                + 0.022 * np.sin(s * 9 + where * 40)
            )
            points = self.at(t0 + long * s, k) * WORK
            fat = (
                self.scale * self.rng.uniform(7, 12) * (1.0 - s) ** 0.65 * (1 + 0.18 * np.sin(s * 15 + where * 70))
                + 1.6
            )
            out += [(x, y, r) for (x, y), r in zip(points, fat, strict=True)]
            for place in (30, 52, 74, 95):
                heading = np.arctan2(*(points[place + 5] - points[place])[::-1])
                side = self.rng.choice([-1.0, 1.0])
                size = self.scale * self.rng.uniform(26, 52) * (1.1 - place / 180)
                x, y = points[place]
                out += claw(self.rng, x, y, heading + side * self.rng.uniform(0.3, 0.7), size, -side * 1.2, 0)
        return out

    def crest(self, direction: float, claws: int, size: float, reach: float = 0.46) -> None:
        """The foam of the wave, back to front: drips, outer claws, the rolling crest, the lip and its hanging claws."""
        self.block.discs(self.drips(int(claws * 0.9), (0.03, reach * 0.88)), 2.4 * self.scale)
        for where in reach * 0.85 * np.linspace(1.0, 0.0, claws) ** 0.8:
            x, y = self.at(np.array([where]), np.array([0.95]))[0] * WORK
            ahead = 1 - where / reach
            heading = np.pi + 0.45 - 1.35 * ahead if direction < 0 else -0.45 + 1.35 * ahead
            big = size * self.rng.uniform(0.8, 1.25) * (0.35 + 0.75 * ahead)
            self.block.discs(
                claw(self.rng, x, y, heading + self.rng.normal(0, 0.15), big, direction * 1.0), 2.4 * self.scale
            )
        t = np.linspace(0.0, reach, int(64 * reach / 0.4))
        roll = []
        for k, fat in ((0.97, 1.0), (0.90, 0.8)):
            for (x, y), place in zip(self.at(t, np.full(t.size, k)) * WORK, t, strict=True):
                r = fat * self.scale * self.rng.uniform(9, 22) * (1.05 - 0.8 * place / reach)
                roll.append((x + self.rng.normal(0, 4), y + self.rng.normal(0, 4), r + 1.5))
        self.block.discs(roll, 2.4 * self.scale)
        self.scallops(roll)
        for where in np.linspace(reach * 0.62, 0.01, claws):
            x, y = self.at(np.array([where]), np.array([0.14]))[0] * WORK
            heading = np.pi / 2 - direction * 0.6 + self.rng.normal(0, 0.2)
            big = size * self.rng.uniform(0.6, 0.95) * (0.45 + 0.5 * (1 - where / reach))
            self.block.discs(claw(self.rng, x, y, heading, big, -direction * 1.5), 2.4 * self.scale)
        lip = []
        for (x, y), place in zip(self.at(t, np.full(t.size, 0.16)) * WORK, t, strict=True):
            r = self.scale * self.rng.uniform(8, 15) * (1.0 - place / reach / 0.72)
            if r > 3:
                lip.append((x + self.rng.normal(0, 2), y + self.rng.normal(0, 2), r))
        self.block.discs(lip, 2.4 * self.scale)
        self.scallops(lip)

    def scallops(self, discs: list[tuple[float, float, float]]) -> None:
        """Short carved curves that model the foam from within."""
        for x, y, r in discs:
            if r > 7 and self.rng.random() < 0.55:
                turn = self.rng.uniform(-0.4, 0.9) + np.linspace(0, self.rng.uniform(1.2, 2.4), 20)
                arc = np.stack([x + 0.62 * r * np.cos(turn), y + 0.62 * r * np.sin(turn)], axis=1)
                inner = np.stack([x + 0.40 * r * np.cos(turn), y + 0.40 * r * np.sin(turn)], axis=1)
                self.block.fill(np.vstack([arc, inner[::-1]]) / WORK, SHADE)
                self.block.line(arc / WORK, 1.5 * self.scale, 0.45)

    def spray(self, count: int, centre: tuple[float, float], spread: tuple[float, float]) -> None:
        """Drops in the air, thinning out away from the crest."""
        for _ in range(count):
            x = (centre[0] + self.rng.normal(0, spread[0])) * WORK
            y = (centre[1] + self.rng.normal(0, spread[1])) * WORK
            if np.hypot(x / WORK - SUN_AT[0], y / WORK - SUN_AT[1]) < SUN_AT[2] + 0.006:
                continue
            self.block.discs([(x, y, self.rng.uniform(1.6, 5.0) * self.scale)], 1.5 * self.scale)


def _far(block: Block) -> None:
    """Sun and a far coast with one high cone, small under the wave."""
    turn = np.linspace(0, 2 * np.pi, 120)
    block.fill(np.stack([SUN_AT[0] + SUN_AT[2] * np.cos(turn), SUN_AT[1] + SUN_AT[2] * np.sin(turn)], axis=1), SUN)
    coast = [
        (-0.02, 0.432),
        (0.04, 0.418),
        (0.085, 0.425),
        (0.14, 0.392),
        (0.175, 0.402),
        (0.235, 0.428),
        (0.30, 0.415),
    ]
    coast += [(0.36, 0.398), (0.40, 0.412), (0.46, 0.402), (0.53, 0.43), (0.62, 0.436)]
    top = spline(coast, 120)
    top[:, 1] += np.interp(np.arange(120), np.arange(0, 120, 3), block.rng.normal(0, 0.0016, 40))
    block.fill(np.vstack([top, [(0.62, 0.5), (-0.02, 0.5)]]), LAND)
    block.line(top, 3.0, 0.05)
    for k in range(0, 118, 4):
        if block.rng.random() < 0.7:
            x, y = top[k]
            drop = block.rng.uniform(0.006, 0.022)
            block.line(np.array([[x, y + 0.002], [x + 0.004, y + drop * 0.5], [x + 0.005, y + drop]]), 1.5, 0.4)


def _swell(block: Block, base: float, height: float, phase: float, number: int) -> None:
    """A row of rolling water across the picture with bands, lines and small foam."""
    rng = block.rng
    x = np.linspace(-0.02, 1.02, 160)
    lift = np.sin(x * 7.2 + phase) + 0.45 * np.sin(x * 15.1 + phase * 2.3) + 0.15 * np.sin(x * 33 + phase)
    top = np.stack([x, base - height * lift], axis=1)
    block.fill(np.vstack([top, [(1.02, 0.75), (-0.02, 0.75)]]), number)
    for k in range(1, 7):
        shift = k * height * 0.42
        start = rng.integers(0, 60)
        stop = rng.integers(90, 160)
        part = slice(start, stop)
        t = np.linspace(0, 1, stop - start)
        fat = height * 0.13 * np.sin(np.pi * t) ** 0.7
        low = np.stack([x[part], base + shift - height * lift[part] * (1 - 0.11 * k)], axis=1)
        if k % 2:
            block.fill(np.vstack([low, (low + np.stack([0 * t, fat], axis=1))[::-1]]), PALE if number == DEEP else DEEP)
        block.line(low, 2.2, 0.2)
    block.line(top, 4.0, 0.02)
    for k in range(4, 158, 2):
        if lift[k] > 0.35 and rng.random() < 0.75:
            px, py = top[k] * WORK
            discs = [(px + rng.normal(0, 6), py + rng.uniform(0, 9), rng.uniform(2.5, 7.5)) for _ in range(4)]
            if rng.random() < 0.65:
                discs += claw(rng, px, py, -np.pi / 2 - 0.9 + rng.normal(0, 0.3), rng.uniform(20, 42), -1.8, 1)
            block.discs(discs, 1.9)


def _boat(block: Block, cx: float, cy: float, size: float, tilt: float) -> None:
    """A slim boat with bent rowers, riding the trough."""
    t = np.linspace(-1, 1, 60)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])

    def put(x, y):
        return np.stack([x, y], axis=1) @ turn * size + [cx, cy]

    deck = put(t, -0.16 * t**2 - 0.05 * t**6 + 0.02)
    keel = put(t, 0.11 - 0.28 * t**2 + 0.0 * t)
    for k in np.linspace(-0.55, 0.6, 6):
        a = np.linspace(0, 2 * np.pi, 24)
        back = put(k + 0.075 * np.cos(a) + 0.03 * np.sin(a), -0.05 + 0.075 * np.sin(a))
        block.fill(back, DEEP)
        block.line(np.vstack([back, back[:2]]), 1.6, 0.02)
        head = put(k - 0.075 + 0.03 * np.cos(a), -0.12 + 0.034 * np.sin(a))
        block.fill(head, FOAM)
        block.line(np.vstack([head, head[:2]]), 1.5, 0.02)
    block.fill(np.vstack([deck, keel[::-1]]), HULL)
    block.line(deck, 3.0, 0.03)
    block.line(keel, 3.6, 0.03)
    block.line(put(t * 0.94, 0.04 - 0.2 * t**2), 1.7, 0.1)


def _print(block: Block) -> np.ndarray:
    """Press the blocks on paper: graded colour, wood grain, uneven ink, a slight misregister, worn key lines."""
    rng = block.rng
    x, y = grid(SHAPE)
    x, y = x / WORK, y / WORK
    small = (SHAPE[1], SHAPE[0])
    area = np.asarray(block.area)
    rgb = sheet(SHAPE, rng, hexes("f1e6cb")[0], 1700)
    bend = cloud(SHAPE, rng, 130, 1.3, (0.5, 2.4))
    rings = np.sin((y * 210 + bend * 5.5 + 0.9 * cloud(SHAPE, rng, 40, 1.0, (0.4, 5.0))) * 2.0)
    pores = cloud(SHAPE, rng, 4.0, 0.9, (0.5, 14.0))
    grain = 0.5 + 0.26 * rings + 0.2 * pores
    mottle = 0.07 * cloud(SHAPE, rng, 60, 1.1) + 0.04 * cloud(SHAPE, rng, 7, 0.8) + 0.05 * cloud(SHAPE, rng, 2.5, 0.8)
    fades = [smoothstep(0.1, 0.45, y)] * 3 + [smoothstep(0.1, 0.66, y)] * 7
    fades[LAND] = smoothstep(0.40, 0.455, y)
    fades[SUN] = smoothstep(0.15, 0.28, y)
    for number, inks in enumerate(INKS):
        mask = Image.fromarray(((area == number) * 255).astype(np.uint8)).resize(small, Image.Resampling.BOX)
        mask = np.asarray(mask, dtype=np.float32) / 255
        if number in (DEEP, MID, PALE, HULL):
            # A slight misregister; the border keeps its colour.
            mask = np.pad(mask, 2, mode="edge")
            mask = mask[1:-3, 0:-4] if number == MID else mask[1:-3, 3:-1]
        part = fades[number][..., None]
        colour = inks[0] * (1 - part) + inks[1] * part
        # Pigment squeezed out to the rim of each shape prints a little darker.
        rim = np.clip(mask - blur(mask, 4), 0, 0.5) * 0.35
        strength = {FOAM: 0.75, SKY: 0.55, SHADE: 0.85}.get(number, 0.96)
        load = mask * np.clip(
            strength * (0.88 + mottle) - 0.24 * grain * (number in (DEEP, MID, LAND, SUN)) + rim, 0, 1
        )
        rgb = rgb * (1 - load[..., None]) + rgb * colour * 1.02 * load[..., None]
        if number == SKY:
            rgb = _graded_sky(rgb, mask, y, grain, mottle, bend)
    key = np.asarray(block.key.resize(small, Image.Resampling.BOX), dtype=np.float32) / 255
    wear = smoothstep(-3.2, -1.8, cloud(SHAPE, rng, 5, 0.8) + 0.5 * pores)
    ink = key * wear * (0.90 + 0.08 * cloud(SHAPE, rng, 3, 0.8))
    return rgb * (1 - np.clip(ink, 0, 1)[..., None] * (1 - hexes("121c34")[0]))


def _graded_sky(rgb, mask, y, grain, mottle, bend) -> np.ndarray:
    """The wiped gradations of the sky: blue from the top edge, rose above the horizon."""
    for tint, amount in (
        (hexes("24507f")[0], smoothstep(0.165, -0.02, y + 0.008 * bend)),
        (hexes("e0a07c")[0], 0.6 * smoothstep(0.25, 0.46, y + 0.008 * bend)),
    ):
        load = mask * amount * np.clip(0.92 - 0.30 * grain + mottle, 0, 1)
        rgb = rgb * (1 - load[..., None] * (1 - tint))
    return rgb


def paint(seed: int = 90) -> Image.Image:
    """Carve and print the picture."""
    rng = np.random.default_rng(seed)
    block = Block(rng)
    _far(block)
    _swell(block, 0.468, 0.011, 0.6, MID)
    outer = [
        (0.372, 0.218),
        (0.395, 0.135),
        (0.475, 0.075),
        (0.60, 0.052),
        (0.735, 0.085),
        (0.86, 0.19),
        (0.96, 0.33),
        (1.03, 0.50),
        (1.04, 0.74),
    ]
    inner = [
        (0.372, 0.218),
        (0.425, 0.172),
        (0.505, 0.165),
        (0.585, 0.20),
        (0.632, 0.275),
        (0.635, 0.37),
        (0.59, 0.46),
        (0.50, 0.55),
        (0.38, 0.74),
    ]
    great = Wave(block, outer, inner, 1.0)
    great.body()
    _boat(block, 0.455, 0.520, 0.125, 0.12)
    great.crest(-1.0, 13, 122)
    great.spray(120, (0.36, 0.16), (0.075, 0.075))
    _swell(block, 0.575, 0.020, 2.9, DEEP)
    outer = [(0.315, 0.525), (0.285, 0.47), (0.225, 0.435), (0.15, 0.445), (0.08, 0.50), (0.0, 0.60), (-0.06, 0.74)]
    inner = [(0.315, 0.525), (0.27, 0.505), (0.225, 0.52), (0.205, 0.565), (0.215, 0.61), (0.26, 0.66), (0.34, 0.74)]
    small = Wave(block, outer, inner, 0.7)
    small.body()
    small.crest(1.0, 9, 68)
    small.spray(34, (0.31, 0.47), (0.04, 0.035))
    _swell(block, 0.655, 0.017, 0.2, MID)
    return to_image(_print(block), 30)
