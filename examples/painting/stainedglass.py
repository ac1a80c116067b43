"""Stained-glass window: a sun over mountains and a winding river, a tree, and a border of small panes, in lead."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import scatter
from .noise import WORK, blur, cloud, grid, hexes, polygon_mask, ramp, sample, smoothstep, spline, to_image

SHAPE = (WORK, 1152)
WIDE = SHAPE[1] / WORK
SKY, SUN, HALO, PEAK, SNOW, HILL, MEADOW, RIVER, TRUNK, LEAF, FLOWER, HEART, BORDER, STONE, BLADE = range(15)
RAMPS = [
    hexes("12246e", "1c4aa8", "3a7cc8", "7fb4d8", "e8c48a", "f4a04a", "e8682c"),
    hexes("fbe06a", "fff6c0"),
    hexes("f08a1c", "f8b42c", "fcd860"),
    hexes("2a1a5c", "4a2f86", "7a50a8", "a884c4"),
    hexes("7f98c4", "b0c4e0", "dce6f0", "f2f4f6"),
    hexes("0c3a44", "13605c", "2a8a6c", "5ab07a"),
    hexes("1a5a1c", "3a8a24", "74b030", "b8cc48", "e4dc70"),
    hexes("0c3a7c", "1c70b4", "4aaad0", "a0d8e0", "e4f2ec"),
    hexes("2c140c", "5a2c14", "8a4c20", "b47a3a"),
    hexes("0f4a1a", "2a7a20", "62a428", "a8c434", "e0c83a", "e8882c"),
    hexes("7c0c2c", "b81c3c", "e0487a", "f09ab4"),
    hexes("f8c83a", "fbe890"),
    hexes("6c0c1c", "a0142a", "c83a30"),
    hexes("10286c", "20489c", "4a80c8"),
    hexes("0c4424", "1c7030", "5aa03c", "a0c050"),
]


class Window:
    """Pieces of glass back to front: paint, light, and the cells into which each form is cut."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.paint = np.zeros(SHAPE, dtype=np.int32)
        self.light = np.zeros(SHAPE, dtype=np.float32)
        self.cell = np.zeros(SHAPE, dtype=np.int64)
        self.bend = cloud(SHAPE, rng, 150, 1.4), cloud(SHAPE, rng, 150, 1.4)
        self._forms = 0

    def form(self, inside: np.ndarray, number: int, light, cuts=0) -> None:
        """Put a form over what is there; ``cuts`` numbers the pieces it is cut into."""
        self._forms += 1
        self.paint[inside] = number
        self.light[inside] = np.broadcast_to(light, SHAPE)[inside]
        self.cell[inside] = (np.broadcast_to(cuts, SHAPE)[inside] + 100_000 * self._forms).astype(np.int64)

    def outline(self, points, number: int, light, cuts=0, closed: bool = True) -> None:
        curve = spline([*points, points[0]] if closed else points, 240)
        self.form(polygon_mask(SHAPE, curve * WORK, 1) > 0.5, number, light, cuts)

    def cells(self, size: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
        """Irregular cells of about ``size`` (shares), numbered."""
        count = int(SHAPE[0] * SHAPE[1] / (size * WORK) ** 2)
        cx, cy = scatter(count, SHAPE, self.rng)
        x = self.x + 0.012 * self.bend[0]
        y = self.y + 0.012 * self.bend[1]
        near = np.full(SHAPE, np.inf, dtype=np.float32)
        owner = np.zeros(SHAPE, dtype=np.int64)
        for k in range(count):
            away = ((x - cx[k] / WORK) / stretch[1]) ** 2 + ((y - cy[k] / WORK) / stretch[0]) ** 2
            mine = away < near
            near[mine] = away[mine]
            owner[mine] = k
        return owner


def _sky(window: Window) -> None:
    """Rays cut into rings around the sun, from gold at the sun to deep blue."""
    x = window.x + 0.006 * window.bend[0]
    y = window.y + 0.006 * window.bend[1]
    dx, dy = x - 0.40, y - 0.40
    away, turn = np.hypot(dx, dy), np.arctan2(dy, dx)
    edges = np.array([0.0, 0.075, 0.125, 0.185, 0.26, 0.35, 0.46, 0.6])
    ring = np.searchsorted(edges, away.ravel()).reshape(SHAPE)
    rays = np.array([1, 1, 16, 24, 24, 30, 30, 36, 36])[ring]
    swirl = turn + 1.1 * away + 0.10 * (ring % 2)
    ray = np.floor(swirl / (2 * np.pi) * rays).astype(np.int64) % rays
    odd = window.rng.random(20_000)[(ring * 64 + ray)]
    light = 0.98 - 2.05 * away + 0.22 * (odd - 0.5) + 0.05 * (ray % 2)
    window.form(np.ones(SHAPE, bool), SKY, light, ring * 64 + ray)
    window.form(away < 0.125, HALO, 0.75 - 4 * (away - 0.075) + 0.2 * (ray % 2), ray)
    window.form(away < 0.072, SUN, 0.7 - 3 * away)
    # Clouds in long scrolls.
    for cx, cy, size in ((0.13, 0.155, 0.075), (0.62, 0.12, 0.085), (0.66, 0.30, 0.06)):
        for k, (ox, oy, r) in enumerate(((-0.9, 0.25, 0.62), (0.9, 0.2, 0.66), (-0.25, -0.1, 0.8), (0.4, 0.3, 0.6))):
            puff = np.hypot(x - cx - ox * size, (y - cy - oy * size) * 1.25)
            window.form(puff < r * size, SNOW, 0.9 - 0.35 * (k % 2) - 7 * (y - cy))


def _land(window: Window) -> None:
    """Mountains with snow, hills, a meadow in long curved pieces, and the river that comes down to the viewer."""
    x, y = window.x, window.y
    facets = window.cells(0.085, (1.5, 0.8))
    for points, tone in (
        ([(-0.02, 0.56), (0.10, 0.41), (0.17, 0.475), (0.27, 0.37), (0.40, 0.53), (0.44, 0.60), (-0.02, 0.64)], 0.75),
        ([(0.34, 0.60), (0.46, 0.475), (0.52, 0.51), (0.63, 0.395), (0.70, 0.46), (0.79, 0.42), (0.79, 0.62)], 0.35),
    ):
        polygon = np.array(points)
        inside = polygon_mask(SHAPE, polygon * WORK, 1) > 0.5
        window.form(inside, PEAK, tone + 0.5 * (np.sin(facets * 2.4) * 0.5) - 0.6 * (y - 0.5), facets)
        top = np.interp(x, polygon[1:-1, 0], polygon[1:-1, 1])
        cap = inside & (y < top + 0.038 + 0.014 * np.sin(x * 90) + 0.01 * np.sin(x * 37)) & (y < 0.485)
        window.form(cap, SNOW, 0.4 + 0.4 * np.sin(facets * 1.7), facets % 3)
    strips = window.cells(0.11, (0.45, 1.7))
    window.form(
        y > 0.575 + 0.022 * np.sin(x * 9 + 0.6), HILL, 0.75 - 2.2 * (y - 0.57) + 0.2 * np.sin(strips * 1.9), strips
    )
    window.form(y > 0.645 + 0.03 * np.sin(x * 6.5 + 2.6), HILL, 0.45 + 0.22 * np.sin(strips * 2.7), strips)
    window.form(
        y > 0.715 + 0.03 * np.sin(x * 5 + 0.2), MEADOW, 0.72 - 1.4 * (y - 0.72) + 0.16 * np.sin(strips * 1.3), strips
    )
    down = np.clip((y - 0.595) / 0.405, 0, 1)
    middle = 0.455 + 0.115 * np.sin(down**0.7 * 7.2) * (0.25 + 0.9 * down) - 0.03 * down
    half = 0.02 + 0.12 * down**1.3
    across = (x - middle) / half
    flow = np.floor((across + 1) * (0.8 + 1.7 * smoothstep(0.0, 0.35, down)) + 0.35 * np.sin(down * 22)).astype(
        np.int64
    )
    bars = np.floor(down**0.8 * 10 + 0.4 * np.sin(flow * 2.1)).astype(np.int64)
    river = (np.abs(across) < 1) & (y > 0.595)
    window.form(river, RIVER, 0.42 + 0.34 * np.sin(flow * 2.0 + bars * 1.3) - 0.15 * np.abs(across), flow * 40 + bars)


def _tree(window: Window) -> None:
    """A tree whose trunk forks on the left, with a crown of leaf pieces."""
    rng = window.rng
    leaves = window.cells(0.036)
    odd = rng.random(int(leaves.max()) + 1)
    crown = np.zeros(SHAPE, bool)
    for cx, cy, r in ((0.115, 0.30, 0.10), (0.20, 0.225, 0.085), (0.075, 0.20, 0.085), (0.255, 0.315, 0.062),
                      (0.15, 0.14, 0.07), (0.065, 0.385, 0.055)):  # fmt: skip
        crown |= np.hypot(window.x - cx, window.y - cy) + 0.008 * window.bend[1] < r
    window.form(crown, LEAF, 0.5 + 0.75 * (odd[leaves] - 0.5) - 0.9 * (window.y - 0.27), leaves)
    for points in (
        [
            (0.105, 0.83),
            (0.135, 0.70),
            (0.128, 0.55),
            (0.118, 0.42),
            (0.135, 0.42),
            (0.152, 0.55),
            (0.168, 0.70),
            (0.215, 0.83),
            (0.16, 0.815),
        ],
        [(0.128, 0.47), (0.095, 0.38), (0.075, 0.27), (0.088, 0.27), (0.112, 0.37), (0.144, 0.45)],
        [(0.130, 0.47), (0.165, 0.36), (0.215, 0.27), (0.226, 0.28), (0.182, 0.375), (0.150, 0.49)],
    ):
        window.outline(points, TRUNK, 0.4 + 4 * (window.x - 0.13), np.floor(window.y * 11 + 2 * window.bend[0] * 0.2))


def _flowers(window: Window) -> None:
    """Irises and poppies at the foot of the window, each petal a piece."""
    for cx, cy, lean in (
        (0.60, 0.80, -0.05),
        (0.69, 0.745, 0.02),
        (0.655, 0.90, 0.03),
        (0.12, 0.905, 0.03),
        (0.235, 0.945, -0.02),
    ):
        for side, tall in ((-1, 0.15), (1, 0.19)):
            tip = cx + side * 0.075 + lean, cy - 0.02 - tall * 0.35
            foot = cy + 0.17
            window.outline(
                [(cx, foot), (cx + side * 0.056, (tip[1] + foot) / 2), tip, (cx + side * 0.012, (tip[1] + foot) / 2)],
                BLADE, 0.62 + 0.2 * side + 1.5 * (cy - window.y + 0.1),
            )  # fmt: skip
        petals = 6
        for k in range(petals):
            a = k / petals * 2 * np.pi + cx * 20
            ox, oy = np.cos(a), np.sin(a)
            reach = 0.062
            window.outline(
                [
                    (cx + ox * 0.008, cy + oy * 0.008),
                    (cx + ox * reach * 0.7 - oy * 0.024, cy + oy * reach * 0.7 + ox * 0.024),
                    (cx + ox * reach, cy + oy * reach),
                    (cx + ox * reach * 0.7 + oy * 0.024, cy + oy * reach * 0.7 - ox * 0.024),
                ],
                FLOWER, 0.25 + 0.55 * ((k * 5) % 6) / 6 + 4 * (np.hypot(window.x - cx, window.y - cy) - 0.03), 0,
            )  # fmt: skip
        window.form(np.hypot(window.x - cx, window.y - cy) < 0.015, HEART, 0.6)


def _frame(window: Window) -> None:
    """Two rows of small panes around the picture, with round jewels at regular distances."""
    x, y = window.x, window.y
    edge = np.minimum.reduce([x, WIDE - x, y, 1 - y])
    sideways = np.minimum(x, WIDE - x) < np.minimum(y, 1 - y)
    along = np.where(sideways, y, x)
    count = np.where(sideways, 14, 10)
    place = along / np.where(sideways, 1.0, WIDE) * count
    pane = np.floor(place).astype(np.int64) + np.where(sideways, np.where(x < 0.4, 0, 50), np.where(y < 0.5, 100, 150))
    odd = window.rng.random(400)[pane]
    window.form(edge < 0.058, BORDER, 0.2 + 0.7 * odd, pane)
    gem = np.hypot((place % 1 - 0.5) / 14, edge - 0.033) < 0.0165
    window.form(gem & (pane % 2 == 0), STONE, 0.75 + 0.3 * odd, pane)
    window.form(gem & (pane % 2 == 1), HEART, 0.3 + 0.6 * odd, pane)
    window.form(edge < 0.011, MEADOW, 0.15 + 0.4 * odd, pane)


def _glass(window: Window) -> np.ndarray:
    """Light through the pieces: each with its own tone, streaks that run its own way, ripples, seeds, dark rims."""
    rng = window.rng
    _, piece = np.unique(window.cell, return_inverse=True)
    piece = piece.reshape(SHAPE)
    count = int(piece.max()) + 1
    area = np.maximum(np.bincount(piece.ravel(), minlength=count), 1)
    tone = np.bincount(piece.ravel(), window.light.ravel(), count) / area
    # A piece has one colour; a part of the drawing's light shows in it as streaks of the same melt.
    local = window.light - tone[piece]
    turn, shift = rng.uniform(0, np.pi, count), rng.uniform(0, WORK, (2, count))
    px, py = grid(SHAPE)
    c, s = np.cos(turn)[piece], np.sin(turn)[piece]
    u, v = (px * c + py * s + shift[0][piece]) % (WORK - 2), (py * c - px * s + shift[1][piece]) % (WORK - 2)
    streaks = sample(cloud((WORK, WORK), rng, 26, 0.9, (0.45, 4.0)), u, v)
    wisps = sample(cloud((WORK, WORK), rng, 90, 1.0, (0.6, 2.2)), v, u)
    opal = (rng.random(count) < 0.35)[piece]
    value = tone[piece] + 0.35 * local + rng.normal(0, 0.07, count)[piece] + 0.055 * streaks + 0.05 * wisps
    rgb = np.zeros((*SHAPE, 3), dtype=np.float32)
    for number, colours in enumerate(RAMPS):
        mine = window.paint == number
        rgb[mine] = ramp(colours, value[mine])
    milk = smoothstep(0.2, 1.8, streaks + 0.6 * wisps)[..., None] * np.where(opal, 0.42, 0.10)[..., None]
    rgb = rgb * (1 - milk) + milk * np.float32([1.0, 0.97, 0.90]) * (0.35 + 0.65 * rgb.max(axis=2, keepdims=True))
    ripple = sample(cloud((WORK, WORK), rng, 34, 1.5, (0.5, 1.6)), u, v)
    gy, gx = np.gradient(blur(ripple, 2))
    rgb *= (1 + 0.17 * np.tanh((gx + gy) * 3.0) + 0.015 * cloud(SHAPE, rng, 3, 0.8))[..., None]
    seeds = cloud(SHAPE, rng, 3.2, 1.2)
    rgb *= (1 + 0.35 * smoothstep(2.6, 3.4, seeds) - 0.22 * smoothstep(-2.5, -3.3, seeds))[..., None]
    daylight = (
        1.05
        + 0.10 * cloud(SHAPE, rng, 420, 1.4)
        + 0.16 * np.exp(-(((window.x - 0.4) ** 2 + (window.y - 0.4) ** 2) / 0.16))
    )
    return rgb * daylight[..., None]


def _leads(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Cover and height of the lead: narrow between pieces of one form, broad around forms, solder where lines meet."""
    cell, form = window.cell, window.cell // 100_000
    lines = []
    for field in (cell, form):
        edge = np.zeros(SHAPE, dtype=np.float32)
        edge[1:] += field[1:] != field[:-1]
        edge[:, 1:] += field[:, 1:] != field[:, :-1]
        lines.append(np.minimum(edge, 1))
    wobble = 1 + 0.12 * cloud(SHAPE, window.rng, 40, 1.0)
    thin, broad = blur(lines[0], 2.4) * wobble, blur(lines[1], 3.6) * wobble
    knots = blur((blur(lines[0], 5) > 0.245).astype(np.float32), 4)
    height = np.maximum(np.maximum(thin * 4.6, broad * 6.6), knots * 1.1)
    return smoothstep(0.28, 0.52, height), np.minimum(height, 1.5)


def paint(seed: int = 47) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    window = Window(rng)
    _sky(window)
    _land(window)
    _tree(window)
    _flowers(window)
    _frame(window)
    glass = _glass(window)
    cover, height = _leads(window)
    # Grime gathers along the lead, and light spills over it.
    rgb = glass * (1 - 0.45 * smoothstep(0.02, 0.9, blur(cover, 9)))[..., None]
    gy, gx = np.gradient(blur(height, 1.2))
    sheen = np.tanh(-(gx + gy) * 2.0)
    metal = 0.085 + 0.055 * sheen + 0.02 * cloud(SHAPE, rng, 5, 0.8) + 0.05 * smoothstep(1.15, 1.45, height)
    lead = np.clip(metal, 0.01, 1)[..., None] * np.float32([0.95, 1.0, 1.06])
    rgb = rgb * (1 - cover[..., None]) + lead * cover[..., None]
    bloom = np.stack([blur(np.clip(rgb[..., c] - 0.45, 0, 1), 14) for c in range(3)], axis=2)
    return to_image(np.clip(rgb * 1.06 + 0.30 * bloom, 0, 1), 25)
