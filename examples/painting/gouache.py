"""Gouache still life: lemons, a jug of leaves and a striped cloth at a window on the sea, in flat opaque paint."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .noise import WORK, blur, cloud, grid, hexes, polygon_mask, ramp, smoothstep, spline, to_image

SHAPE = (WORK, 1184)
WIDE = SHAPE[1] / WORK


class Board:
    """Matt paint on tinted board: every form is laid in with a flat brush, then worked with drier paint."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        px, py = grid(SHAPE)
        self.x, self.y = px / WORK, py / WORK
        self.canvas = Canvas(SHAPE, hexes("c9a27e")[0], rng)
        self.wave = cloud(SHAPE, rng, 140, 1.3)
        self.tremble = cloud(SHAPE, rng, 24, 1.1)

    def fill(
        self, mask: np.ndarray, colours: np.ndarray, light, angle, width=34.0, cover=2.6, streak=0.05, dry=0.22
    ) -> None:
        """Lay a form in: overlapping strokes of a flat brush along ``angle``, of few, clearly different tones.

        Args:
            mask: (h, w), 1 inside; strokes are cut to it as along a painted edge.
            colours: a ramp, (n, 3).
            light: position in the ramp.
            angle: of the strokes.
        """
        rng = self.rng
        mask = np.asarray(mask, np.float32)
        ys, xs = np.nonzero(mask[::4, ::4] > 0.3)
        if not len(xs):
            return
        before, relief = self.canvas.rgb.copy(), self.canvas.relief.copy()
        light, angle = np.broadcast_to(light, SHAPE), np.broadcast_to(angle, SHAPE)
        steps = len(colours) * 1.6
        # A thin first coat: what the strokes leave bare shows it, not what lies behind.
        thin = (0.94 * mask * (0.9 + 0.1 * np.tanh(self.tremble)))[..., None]
        coat = ramp(colours, np.round((light + 0.03 * self.tremble) * steps) / steps)
        self.canvas.rgb += (coat - self.canvas.rgb) * thin
        brush = Brush(dry=dry, streak=streak, mix=0.45, thick=0.35, ridge=0.35, soft=1.8, taper=0.04, ragged=0.5)
        length = width * 3.4
        count = max(6, int(cover * len(xs) * 16 / (width * length * 0.8)))
        for k in rng.integers(len(xs), size=count):
            x, y = xs[k] * 4 + rng.integers(4), ys[k] * 4 + rng.integers(4)
            x, y = min(x, SHAPE[1] - 1), min(y, SHAPE[0] - 1)
            # Gouache is mixed before it is laid: tones come in steps.
            value = np.round((light[y, x] + rng.normal(0, 0.05)) * steps) / steps
            first = ramp(colours, np.float32(value)) + rng.normal(0, 0.008, 3)
            second = ramp(colours, np.float32(value + rng.normal(0, 0.06)))
            a = angle[y, x] + rng.normal(0, 0.10)
            t = np.linspace(-0.5, 0.5, 8)
            reach = length * rng.uniform(0.6, 1.3)
            bow = rng.normal(0, 0.05) * reach
            path = np.stack(
                [
                    x + np.cos(a) * reach * t - np.sin(a) * bow * (4 * t * t - 1),
                    y + np.sin(a) * reach * t + np.cos(a) * bow * (4 * t * t - 1),
                ],
                axis=1,
            )
            self.canvas.stroke(
                path, width * rng.uniform(0.7, 1.25), first.astype(np.float32), second.astype(np.float32), brush
            )
        a = mask[..., None]
        self.canvas.rgb = before * (1 - a) + self.canvas.rgb * a
        self.canvas.relief = relief * (1 - mask) + (self.canvas.relief + 0.25) * mask

    def shape(self, points, smooth: bool = True) -> np.ndarray:
        """Mask of a closed outline in shares of the width, its edge as uneven as a hand makes it."""
        outline = spline([*points, points[0]], 220) if smooth else _dense(points)
        outline = outline * WORK
        ix, iy = (
            np.clip(outline[:, 0], 0, SHAPE[1] - 1).astype(int),
            np.clip(outline[:, 1], 0, SHAPE[0] - 1).astype(int),
        )
        outline = outline + 1.5 * np.stack([self.tremble[iy, ix], self.tremble[iy, ix - 40]], axis=1)
        return polygon_mask(SHAPE, outline, 1)

    def stroke(self, path, width: float, colour: np.ndarray, dry=0.35, taper=0.5, streak=0.12) -> None:
        """One visible stroke; paths in shares of the width."""
        brush = Brush(dry=dry, streak=streak, mix=0.2, thick=0.5, ridge=0.4, soft=1.7, taper=taper, ragged=0.6)
        self.canvas.stroke(np.asarray(path, float) * WORK, width, colour, colour * 0.96 + 0.03, brush)


def _dense(points) -> np.ndarray:
    rim = np.vstack([points, points[:1]]).astype(float)
    reached = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(rim, axis=0).T))])
    at = np.linspace(0, reached[-1], 260)
    return np.stack([np.interp(at, reached, rim[:, k]) for k in (0, 1)], axis=1)


def _room(board: Board) -> None:
    """Wall with a papered pattern, the window with sea, hills and sky, shutters."""
    x, y, rng = board.x, board.y, board.rng
    wall = hexes("8f4a40", "b2604c", "c9785c", "d88f70")
    board.fill(
        np.ones(SHAPE),
        wall,
        0.55 + 0.10 * board.wave - 0.35 * smoothstep(0.4, 0.0, x),
        np.pi / 2 + 0.1 * board.wave,
        60,
        2.6,
    )
    for row in range(12):
        for column in range(9):
            px, py = 0.05 + column * 0.095 + 0.047 * (row % 2), 0.03 + row * 0.062
            for a in (0.0, 1.257, 2.513, 3.77, 5.027):
                t = np.linspace(0.15, 1, 5)
                r = 0.0135
                board.stroke(
                    np.stack([px + r * np.sin(a) * t, py - r * np.cos(a) * t], axis=1), 10, hexes("e6a683")[0], 0.3
                )
            board.stroke([(px - 0.001, py), (px + 0.001, py), (px + 0.003, py + 0.001)], 8, hexes("6d302e")[0], 0.0)
    left, right, top, sill = 0.235, 0.66, 0.045, 0.50
    board.fill(
        board.shape(
            [
                (left - 0.03, top - 0.03),
                (right + 0.03, top - 0.03),
                (right + 0.03, sill + 0.02),
                (left - 0.03, sill + 0.02),
            ],
            False,
        ),
        hexes("d8d2bc", "efe8d2", "faf4e2"),
        0.6 + 0.15 * board.wave,
        np.pi / 2,
        26,
    )
    pane = board.shape([(left, top), (right, top), (right, sill), (left, sill)], False)
    board.fill(
        pane,
        hexes("f4d2b0", "e9dcc6", "b5d3d6", "86b9cf", "5f9dc4"),
        0.9 - 2.4 * (y - top) + 0.08 * board.wave,
        0.05,
        40,
    )
    for cx, cy, size in ((0.33, 0.135, 0.06), (0.43, 0.115, 0.045), (0.565, 0.20, 0.065), (0.29, 0.235, 0.035)):
        puff = np.zeros(SHAPE, np.float32)
        for ox, oy, r in ((-0.8, 0.1, 0.5), (0, -0.15, 0.7), (0.75, 0.12, 0.52), (0.3, 0.15, 0.5)):
            puff = np.maximum(
                puff,
                smoothstep(
                    1.03,
                    0.97,
                    np.hypot((x - cx - ox * size) / (r * size), (y - cy - oy * size * 0.6) / (r * size * 0.72))
                    + 0.03 * board.tremble,
                ),
            )
        board.fill(puff * pane, hexes("d9b6a8", "f3e2d0", "fdf8ec"), 0.9 - 9 * (y - cy), 0.2, 20)
    horizon = 0.335
    hill = smoothstep(
        -0.001, 0.001, y - (0.30 + 0.035 * np.sin((x - 0.235) * 11 + 2.6) + 0.001 * board.tremble)
    ) * smoothstep(horizon + 0.001, horizon - 0.001, y)
    board.fill(hill * pane, hexes("4b5f8a", "6d7fa6", "9a9fb8"), 0.4 + 0.3 * board.wave, 0.3, 18)
    sea = smoothstep(horizon - 0.001, horizon + 0.001, y) * pane
    board.fill(
        sea, hexes("12507a", "1f7396", "3c97a8", "74bdb8"), 0.15 + 4.2 * (y - horizon) + 0.06 * board.wave, 0.0, 16
    )
    for _ in range(60):
        cy = horizon + 0.006 + 0.15 * rng.random()
        cx, reach = rng.uniform(left + 0.02, right - 0.02), rng.uniform(0.01, 0.035)
        if pane[int(cy * WORK), int(min(cx + reach, right) * WORK)] > 0.5:
            board.stroke(
                [(cx - reach, cy), (cx, cy + 0.001), (cx + reach * 0.5, cy)],
                rng.uniform(3, 7),
                hexes("d9efe4", "8ccbc4", "0f4468")[rng.integers(3)],
                0.6,
            )
    for cx, cy, size in ((0.36, 0.365, 0.045), (0.585, 0.345, 0.024)):
        board.fill(
            board.shape([(cx, cy), (cx + 0.1 * size, cy - size), (cx + 0.62 * size, cy - 0.05 * size)], False),
            hexes("f4ead2", "fffaf0"),
            0.6,
            1.2,
            10,
        )
        board.fill(
            board.shape(
                [(cx - 0.08 * size, cy), (cx - 0.02 * size, cy - 0.85 * size), (cx - 0.42 * size, cy - 0.03 * size)],
                False,
            ),
            hexes("e2744c", "f0a070"),
            0.5,
            1.8,
            9,
        )
        board.fill(
            board.shape(
                [
                    (cx - 0.5 * size, cy + 0.03 * size),
                    (cx + 0.65 * size, cy + 0.03 * size),
                    (cx + 0.4 * size, cy + 0.17 * size),
                    (cx - 0.35 * size, cy + 0.17 * size),
                ],
                False,
            ),
            hexes("3b2a38", "5a3a44"),
            0.4,
            0,
            8,
        )
    frame = hexes("c9c3ae", "efe8d2", "fbf6e6")
    for bar in (
        [(0.4405, top), (0.4545, top), (0.4545, sill), (0.4405, sill)],
        [(left, 0.262), (right, 0.262), (right, 0.274), (left, 0.274)],
    ):
        board.fill(board.shape(bar, False), frame, 0.5 + 0.2 * board.wave, 0.0, 12)
    board.fill(
        board.shape(
            [(left - 0.055, sill), (right + 0.055, sill), (right + 0.065, sill + 0.035), (left - 0.065, sill + 0.035)],
            False,
        ),
        frame,
        0.75,
        0.0,
        20,
    )
    for side, edge in ((-1, left - 0.03), (1, right + 0.03)):
        far = edge + side * 0.085
        shutter = board.shape([(edge, top - 0.025), (far, top - 0.012), (far, sill - 0.006), (edge, sill)], False)
        board.fill(shutter, hexes("1d5a54", "2b7a6c", "4c9a84"), 0.5 + 0.1 * board.wave, np.pi / 2, 18)
        for k in range(25):
            level = top + 0.008 + k * 0.0178
            board.stroke(
                [(edge + side * 0.012, level), (far - side * 0.012, level + 0.003)],
                9,
                hexes("174842", "62b09a")[k % 2],
                0.25,
                0.1,
            )


def _table(board: Board) -> None:
    """The table, and a striped cloth that falls over its edge in folds."""
    x, y = board.x, board.y
    top = board.shape([(-0.02, 0.625), (WIDE + 0.02, 0.600), (WIDE + 0.02, 1.02), (-0.02, 1.02)], False)
    board.fill(
        top,
        hexes("4a2a24", "6e3e2c", "935436", "b06f48"),
        0.62 + 0.10 * board.wave - 0.5 * (y - 0.62),
        0.02 + 0.03 * board.wave,
        34,
    )
    cloth = board.shape(
        [(0.10, 0.648), (0.30, 0.632), (0.735, 0.640), (0.80, 0.70), (0.80, 1.02), (0.02, 1.02), (0.05, 0.80)], True
    )
    fold = np.sin(x * 26 + 3.2 * (y - 0.8) + 0.8 * board.wave) * smoothstep(0.82, 0.90, y)
    light = 0.70 + 0.28 * fold - 0.12 * smoothstep(0.84, 0.87, y) + 0.05 * board.wave
    board.fill(cloth, hexes("9aa0b4", "c9c6c4", "ece2d0", "fbf5e6"), light, np.where(y > 0.85, np.pi / 2, 0.1), 36)
    u = x + 0.022 * np.sin(y * 9) + 0.012 * fold + 0.16 * (y - 0.72) * (x - 0.42)
    for k in range(14):
        middle = 0.075 + 0.054 * k
        wide = (0.0125, 0.0035)[k % 2]
        stripe = smoothstep(wide + 0.0012, wide - 0.0012, np.abs(u - middle) + 0.0008 * board.tremble) * cloth
        colours = (hexes("8a2436", "b83a48", "d8636a"), hexes("1e3a6a", "34588e", "5f82b4"))[k % 2]
        board.fill(stripe, colours, light * 0.9, np.pi / 2 + 0.15, 17 if k % 2 == 0 else 9, 2.2, dry=0.4)
    hem = board.shape([(-0.02, 0.955), (WIDE + 0.02, 0.945), (WIDE + 0.02, 0.975), (-0.02, 0.985)], False) * cloth
    board.fill(hem, hexes("a8763a", "d8a04c", "f0c878"), 0.5 + 0.3 * fold, 0.0, 16)


def _jug(board: Board) -> None:
    """A blue jug with painted bands, and branches of large leaves with berries in it."""
    x, y, rng = board.x, board.y, board.rng
    cx, foot = 0.245, 0.775
    shade = smoothstep(0.0, 0.02, y - foot + 0.035) * smoothstep(
        0.30, 0.0, np.hypot((x - cx - 0.10) / 0.55, (y - foot) / 0.12)
    )
    board.fill(smoothstep(0.2, 0.35, shade), hexes("5a5f80", "7a7c98"), 0.5, 0.1, 24, 1.6, dry=0.5)
    branches = [
        [(0.25, 0.55), (0.20, 0.40), (0.13, 0.28), (0.095, 0.185)],
        [(0.255, 0.55), (0.265, 0.38), (0.30, 0.24), (0.30, 0.115)],
        [(0.27, 0.55), (0.34, 0.42), (0.43, 0.35), (0.50, 0.315)],
        [(0.235, 0.55), (0.14, 0.46), (0.065, 0.42), (0.02, 0.43)],
        [(0.262, 0.55), (0.32, 0.37), (0.385, 0.25), (0.405, 0.17)],
    ]  # fmt: skip
    greens = [
        hexes("163f36", "24604a", "3f8760", "7fb07a"),
        hexes("2c4a26", "4f7434", "86a04a", "c0c46a"),
        hexes("1c4656", "2f6c74", "5f9a94", "a0c4b0"),
    ]
    for number, points in enumerate(branches):
        stem = spline(points, 60)
        board.stroke(stem, 9, hexes("4a3524")[0], 0.2)
        for k in range(12, 60, 7):
            for side in (-1, 1):
                if rng.random() < 0.12:
                    continue
                ahead = stem[min(59, k + 2)] - stem[k - 2]
                turn = np.arctan2(ahead[1], ahead[0]) + side * rng.uniform(0.6, 1.1)
                reach = rng.uniform(0.055, 0.085) * (1.12 - k / 110)
                _leaf(board, stem[k], turn, reach, greens[(number + (k // 7) + (side > 0)) % 3])
        _leaf(board, stem[-1], np.arctan2(*(stem[-1] - stem[-4])[::-1]), 0.06, greens[number % 3])
        for _ in range(5):
            k = rng.integers(22, 58)
            bx, by = stem[k] + rng.normal(0, 0.012, 2)
            berry = smoothstep(1.1, 0.95, np.hypot(x - bx, y - by) / 0.0095)
            board.fill(berry, hexes("8a1c28", "c83a34", "ee7048"), 0.5 - 30 * (x - bx + y - by), 0.8, 9)
            board.stroke(
                [(bx - 0.004, by - 0.004), (bx - 0.002, by - 0.005), (bx, by - 0.0045)], 3.5, hexes("fbd8c0")[0], 0.0
            )
    left = [(cx - 0.042, 0.535), (cx - 0.036, 0.575), (cx - 0.085, 0.645), (cx - 0.088, 0.715), (cx - 0.052, foot)]
    right = [(cx + 0.052, foot), (cx + 0.088, 0.715), (cx + 0.085, 0.645), (cx + 0.036, 0.575), (cx + 0.046, 0.532)]
    handle = spline([(cx + 0.040, 0.560), (cx + 0.105, 0.555), (cx + 0.125, 0.625), (cx + 0.083, 0.685)], 40)
    board.stroke(handle, 28, hexes("1f4a86")[0], 0.05, 0.1)
    board.stroke(handle + np.array([-0.003, -0.004]), 9, hexes("6f9acb")[0], 0.5, 0.4)
    body = board.shape([*left, *right])
    turned = (x - cx) / 0.09
    board.fill(
        body,
        hexes("14305e", "1f4a86", "3f70ac", "7fa6d0", "c4d8e6"),
        0.62 - 0.48 * turned - 0.25 * turned**2 + 0.04 * board.wave,
        np.pi / 2 + 0.5 * turned,
        22,
    )
    for level, tall, colours in ((0.600, 0.005, "efe4c8"), (0.690, 0.020, "efe4c8"), (0.750, 0.005, "efe4c8")):
        band = smoothstep(tall + 0.001, tall - 0.001, np.abs(y - level - 0.010 * (1 - turned**2))) * body
        board.fill(band, hexes("8f98a8", colours, "fbf6e6"), 0.75 - 0.4 * turned, 0.0, 12)
    for k in range(6):
        bx = cx - 0.068 + 0.027 * k
        board.stroke(
            [(bx - 0.008, 0.706), (bx, 0.690 + 0.006 * (1 - ((bx - cx) / 0.09) ** 2)), (bx + 0.008, 0.706)],
            8,
            hexes("b83a3a")[0],
            0.1,
        )
    board.stroke([(cx - 0.058, 0.64), (cx - 0.063, 0.68), (cx - 0.055, 0.73)], 13, hexes("e8f0f2")[0], 0.7)


def _leaf(board: Board, at, turn: float, reach: float, colours: np.ndarray) -> None:
    """A leaf of two halves, one lit, with its rib."""
    c, s = np.cos(turn), np.sin(turn)
    t = np.linspace(0, 1, 20)
    half = 0.27 * reach * np.sin(np.pi * t**0.8) ** 0.9
    bow = 0.10 * reach * np.sin(np.pi * t)
    spine = np.stack([at[0] + reach * t * c - bow * s, at[1] + reach * t * s + bow * c], axis=1)
    side = np.stack([-s * half, c * half], axis=1)
    for sign, light in ((-1, 0.72), (1, 0.30)):
        outline = np.vstack([spine, (spine + sign * side)[::-1]])
        mask = polygon_mask(SHAPE, outline * WORK, 1)
        board.fill(mask, colours, light + board.rng.normal(0, 0.08), turn + sign * 0.5, 14, 2.4)
    board.stroke(spine[1:-1], 3.2, colours[-1] * 0.5 + 0.5, 0.3)


def _fruit(board: Board) -> None:
    """Lemons on a plate and on the cloth, one cut open, and a knife."""
    x, y = board.x, board.y
    plate = np.hypot((x - 0.545) / 0.165, (y - 0.765) / 0.066) + 0.004 * board.tremble
    board.fill(
        smoothstep(1.12, 1.02, np.hypot((x - 0.565) / 0.170, (y - 0.785) / 0.068)),
        hexes("5a5f80", "7a7c98"),
        0.5,
        0.1,
        22,
        2.0,
        dry=0.45,
    )
    for size, colours, light in (
        (1.0, hexes("2a6a78", "3f8c94", "7fbab4"), 0.5),
        (0.90, hexes("d8cdb4", "f0e8d2", "fdf8ea"), 0.75),
        (0.66, hexes("3a7e8a", "5aa0a4", "9acac2"), 0.55),
        (0.60, hexes("d0c8b4", "ece4d0", "faf5e6"), 0.65),
    ):
        board.fill(smoothstep(size + 0.012, size - 0.012, plate), colours, light - 1.2 * (x - 0.545), 0.1, 17, 2.6)

    def lemon(cx, cy, size, turn) -> None:
        c, s = np.cos(turn), np.sin(turn)
        t = np.linspace(0, 2 * np.pi, 60)
        nose = 0.20 * np.exp(-((np.angle(np.exp(1j * t)) / 0.20) ** 2)) + 0.13 * np.exp(
            -((np.angle(np.exp(1j * (t - np.pi))) / 0.22) ** 2)
        )
        u, v = (1 + nose) * np.cos(t), 0.74 * np.sin(t)
        outline = np.stack([cx + size * (u * c - v * s), cy + size * (u * s + v * c)], axis=1)
        board.fill(
            smoothstep(
                1.1, 0.9, np.hypot((x - cx - 0.35 * size) / (1.05 * size), (y - cy - 0.62 * size) / (0.34 * size))
            ),
            hexes("6a6a84", "8a88a0"),
            0.4,
            0.0,
            16,
            2.0,
            dry=0.4,
        )
        mask = polygon_mask(SHAPE, outline * WORK, 1)
        dx, dy = (x - cx) / size, (y - cy) / size
        light = 0.66 - 0.42 * dx - 0.50 * dy
        board.fill(mask, hexes("8a5a1c", "c98a1e", "eab52a", "f8d548", "fdee9c"), light, turn + 1.3 - 0.8 * dy, 15, 3.0)
        rim = mask * smoothstep(0.30, 0.62, dy * 0.8 + dx * 0.4)
        board.fill(rim, hexes("7c6a24", "a8902c"), 0.5, turn, 10, 1.2, dry=0.6)
        board.stroke(
            [
                (cx - 0.42 * size, cy - 0.20 * size),
                (cx - 0.28 * size, cy - 0.36 * size),
                (cx - 0.05 * size, cy - 0.43 * size),
            ],
            9,
            hexes("fffbe4")[0],
            0.5,
        )

    lemon(0.485, 0.725, 0.050, -0.35)
    lemon(0.605, 0.735, 0.048, 0.45)
    lemon(0.545, 0.757, 0.052, 0.08)
    lemon(0.685, 0.865, 0.052, -0.6)
    cx, cy, size = 0.385, 0.865, 0.058
    cut = np.hypot((x - cx) / size, (y - cy) / (size * 0.86))
    board.fill(
        smoothstep(1.1, 0.95, np.hypot((x - cx - 0.02) / (1.1 * size), (y - cy - 0.03) / (0.75 * size))),
        hexes("6a6a84", "8a88a0"),
        0.4,
        0.0,
        16,
        2.0,
        dry=0.4,
    )
    board.fill(smoothstep(1.02, 0.98, cut), hexes("d8981e", "f0c030"), 0.6, 0.6, 12, 2.6)
    board.fill(smoothstep(0.90, 0.86, cut), hexes("f4ead0", "fffbee"), 0.7, 0.3, 12, 2.6)
    turn = np.arctan2((y - cy) / 0.86, x - cx)
    wedge = (
        smoothstep(0.80, 0.76, cut)
        * smoothstep(0.10, 0.14, cut)
        * smoothstep(0.16, 0.30, np.abs(np.sin(turn * 4 + 0.3)) * np.clip(cut, 0.2, 1))
    )
    board.fill(wedge, hexes("d8a82c", "f0cc50", "fae890"), 0.5 + 0.35 * np.sin(turn * 8), turn, 9, 3.0)
    blade = board.shape([(0.165, 0.905), (0.315, 0.850), (0.338, 0.848), (0.325, 0.866), (0.175, 0.919)], False)
    board.fill(blade, hexes("6f7c8c", "aab6bc", "e8eeec"), 0.5 + 16 * (0.90 - y - 0.36 * (x - 0.17)), -0.36, 12)
    board.stroke([(0.065, 0.948), (0.115, 0.928), (0.170, 0.910)], 27, hexes("3a2620")[0], 0.05, 0.1)
    board.stroke([(0.070, 0.940), (0.115, 0.922), (0.165, 0.905)], 6, hexes("8a6048")[0], 0.5)


def paint(seed: int = 41) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    board = Board(rng)
    _room(board)
    _table(board)
    _jug(board)
    _fruit(board)
    # Matt paint: hardly any relief, a chalky bloom where it is thick, and the tooth of the board where it is dry.
    rgb = board.canvas.lit(0.13, 0.0, 3.2)
    chalk = (
        0.020 * cloud(SHAPE, rng, 2.6, 0.8) + 0.018 * cloud(SHAPE, rng, 9, 0.9) + 0.015 * cloud(SHAPE, rng, 220, 1.3)
    )
    rgb = 0.025 + 0.96 * rgb * (1 + chalk[..., None])
    grey = rgb.mean(axis=2, keepdims=True)
    pale = 0.06 * smoothstep(0.4, 1.6, blur(board.canvas.relief, 2))[..., None]
    return to_image(rgb * (1 - pale) + pale * (0.5 * grey + 0.5), 30)
