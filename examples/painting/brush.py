"""Paint on a canvas: bristle strokes along paths, flow-following layers, and relief lit from one side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .noise import blur, cloud, ramp, smoothstep

# Distance between the samples of a stroke, in work pixels: below 1 / sqrt(2) no pixel is ever skipped.
STEP = 0.66


@dataclass
class Brush:
    """How a stroke is laid: all numbers are shares of full strength unless they say pixels."""

    streak: float = 0.16  # brightness difference between bristles
    mix: float = 0.7  # how far the second colour of a stroke is picked up
    dry: float = 0.35  # how much the paint runs out towards the end
    thick: float = 1.0  # height of the deposited paint
    ridge: float = 0.5  # paint pushed up along the edges
    soft: float = 2.1  # edge softness in pixels
    opacity: float = 1.0
    taper: float = 0.35  # narrowing towards both ends
    ragged: float = 0.7  # unevenness of the ends, in stroke widths


def _stretched(bank: np.ndarray) -> np.ndarray:
    """Ranks instead of values: an even 0..1 spread, whatever noise made the bank."""
    order = np.argsort(bank, axis=None)
    flat = np.empty(bank.size, dtype=np.float32)
    flat[order] = np.linspace(0, 1, bank.size, dtype=np.float32)
    return flat.reshape(bank.shape)


class Canvas:
    """Colour and paint height at work size, with the bristle textures strokes are cut from."""

    def __init__(self, shape: tuple[int, int], ground: np.ndarray, rng: np.random.Generator) -> None:
        self.shape = shape
        self.rng = rng
        self.rgb = np.empty((*shape, 3), dtype=np.float32)
        self.rgb[:] = ground
        self.relief = np.zeros(shape, dtype=np.float32)
        # Long thin noise: rows run along the stroke, columns across it.
        fine = cloud((2048, 1024), rng, 5.0, 1.1, (26.0, 1.0))
        broad = cloud((2048, 1024), rng, 16.0, 1.1, (16.0, 1.0))
        self.bristle = _stretched(fine * 0.95 + broad * 0.4)
        self.blend = _stretched(broad + 0.35 * fine)

    def stroke(self, path: np.ndarray, width: float, first: np.ndarray, second: np.ndarray, brush: Brush) -> None:
        """Pull one loaded brush along ``path`` (rows of x, y in work pixels)."""
        laid = self._lay(path, width, brush)
        if laid is None:
            return
        place, alpha, bristle, blend, height = laid
        a = alpha[:, None]
        picked = blend[:, None] * brush.mix
        colour = first * (1 - picked) + second * picked
        colour *= 1.0 + (bristle[:, None] - 0.5) * 2 * brush.streak
        flat = self.rgb.reshape(-1, 3)
        flat[place] += (colour - flat[place]) * a
        relief = self.relief.reshape(-1)
        old = relief[place]
        relief[place] = old + (height + 0.3 * old - old) * alpha

    def ink(self, path: np.ndarray, width: float, tone: np.ndarray, brush: Brush) -> None:
        """Add transparent ink along ``path``: here ``rgb`` holds optical density, so that overlaps darken."""
        laid = self._lay(path, width, brush)
        if laid is None:
            return
        place, alpha, bristle, blend, _ = laid
        flat = self.rgb.reshape(-1, 3)
        load = alpha * (1.0 + (bristle - 0.5) * 2 * brush.streak) * (1.0 - brush.mix * 0.5 * blend)
        flat[place] += load[:, None] * tone * (1.0 / (1.0 + 0.5 * flat[place]))

    def _lay(self, path: np.ndarray, width: float, brush: Brush):
        """Where a stroke touches the canvas: flat pixel numbers, opacity, bristle and blend textures, paint height."""
        centre, normal, along, length = _resample(path)
        if centre is None:
            return None
        rows, count = min(len(centre), 1500), min(max(3, int(width / STEP)), 700)
        centre, normal, along = centre[:rows], normal[:rows], along[:rows]
        top, left = self.rng.integers(0, 2048 - rows), self.rng.integers(0, 1024 - count)
        bristle = self.bristle[top : top + rows, left : left + count]
        blend = self.blend[top : top + rows, left : left + count]
        across = np.linspace(-1, 1, count, dtype=np.float32)[None, :]
        share = (along / length)[:, None]
        half = width * 0.5 * (1.0 - brush.taper * (2.0 * share - 1.0) ** 4)
        alpha = self._coverage(across, along[:, None], length, half, width, bristle, share, brush)
        ix = np.rint(centre[:, 0:1] + normal[:, 0:1] * across * half).astype(np.int32)
        iy = np.rint(centre[:, 1:2] + normal[:, 1:2] * across * half).astype(np.int32)
        keep = (alpha > 0.02) & (ix >= 0) & (iy >= 0) & (ix < self.shape[1]) & (iy < self.shape[0])
        if not keep.any():
            return None
        bank = np.exp(-(((np.abs(across) - 0.84) / 0.1) ** 2)) * brush.ridge
        height = brush.thick * (0.25 + 0.75 * bristle + bank) * np.sqrt(width / 16.0)
        return iy[keep] * self.shape[1] + ix[keep], alpha[keep], bristle[keep], blend[keep], height[keep]

    def _coverage(self, across, along, length, half, width, bristle, share, brush: Brush) -> np.ndarray:
        """Opacity of every stroke sample: soft sides, ragged rounded ends, paint running out."""
        end = 1.0 - np.sqrt(np.maximum(0.0, 1.0 - across**2 * 0.96))
        torn = (bristle[:1] - 0.3) * brush.ragged
        torn_end = (bristle[-1:] - 0.2) * brush.ragged * 1.6
        reach = width * 0.5
        inside = np.minimum((1.0 - np.abs(across)) * half, along - (end + torn) * reach)
        inside = np.minimum(inside, length - along - (end + torn_end) * reach)
        alpha = np.clip(inside / brush.soft, 0.0, 1.0)
        if brush.dry > 0:
            gone = brush.dry * (0.25 + 1.1 * share**1.5) - 0.25
            alpha = alpha * np.clip((bristle - gone) / 0.18, 0.0, 1.0)
        return alpha * brush.opacity

    def lit(self, strength: float = 0.3, gloss: float = 0.08, gain: float = 3.6) -> np.ndarray:
        """The painted colours with the relief lit from one side, plus a little varnish gloss."""
        height = blur(self.relief, 0.8)
        gy, gx = np.gradient(height)
        # The light comes from the upper left: a flank that rises away from it faces it.
        slope = np.tanh((gx + gy) * 0.7 * gain)
        hollow = np.clip(blur(height, 6) - height, -1.0, 1.0)
        shade = 1.0 + slope * strength - 0.16 * strength / 0.3 * np.clip(hollow, 0, 1)
        shine = np.clip(slope - 0.45, 0, 1) ** 1.5 * gloss * 2.0
        return np.clip(self.rgb * shade[..., None] + shine[..., None] * np.float32([1.0, 0.98, 0.92]), 0, 1)


def _resample(path: np.ndarray):
    """Even samples along a polyline with unit normals; None for a path without length."""
    gaps = np.hypot(*np.diff(path, axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(gaps)])
    length = float(reached[-1])
    if length < 2.0:
        return None, None, None, 0.0
    along = np.arange(0.0, length, STEP, dtype=np.float32)
    centre = np.stack([np.interp(along, reached, path[:, 0]), np.interp(along, reached, path[:, 1])], axis=1)
    # Directions come from the coarse path and are blended, so that normals turn smoothly.
    ahead = np.gradient(path, axis=0)
    ahead = np.stack([np.interp(along, reached, ahead[:, 0]), np.interp(along, reached, ahead[:, 1])], axis=1)
    ahead /= np.maximum(1e-6, np.hypot(ahead[:, 0], ahead[:, 1]))[:, None]
    normal = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    return centre.astype(np.float32), normal.astype(np.float32), along, length


@dataclass
class Scene:
    """What strokes are guided by: stroke angle, region number and ramp position for every pixel."""

    angle: np.ndarray
    region: np.ndarray
    value: np.ndarray
    ramps: list[np.ndarray]
    jitter: list[float]
    accents: list[np.ndarray] = field(default_factory=list)
    accent_share: float = 0.06
    tint: float = 0.018  # how far single strokes drift in hue
    room: np.ndarray | None = None  # clearance, worked out on first use

    def colours(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, wild: float = 1.0) -> np.ndarray:
        """One paint per point: the region's ramp at a jittered position, now and then an accent."""
        region, value = self.region[y, x], self.value[y, x]
        out = np.zeros((len(x), 3), dtype=np.float32)
        for number, colours in enumerate(self.ramps):
            mine = np.flatnonzero(region == number)
            if mine.size == 0:
                continue
            place = value[mine] + rng.normal(0, self.jitter[number] * wild, mine.size)
            out[mine] = ramp(colours, place)
            if number < len(self.accents) and len(self.accents[number]):
                odd = mine[rng.random(mine.size) < self.accent_share * wild]
                out[odd] = self.accents[number][rng.integers(0, len(self.accents[number]), odd.size)]
        tint = rng.normal(0, self.tint * wild, out.shape) + rng.normal(0, 0.02 * wild, (len(out), 1))
        return np.clip(out + tint, 0.01, 0.99).astype(np.float32)


def clearance(region: np.ndarray) -> np.ndarray:
    """Roughly how many pixels lie between each place and the nearest border between regions."""
    edge = np.zeros(region.shape, dtype=np.float32)
    edge[1:] += region[1:] != region[:-1]
    edge[:, 1:] += region[:, 1:] != region[:, :-1]
    free = np.full(region.shape, 2.0, dtype=np.float32)
    for radius in (4, 7, 10, 14, 19, 25, 34):
        free[blur(edge, radius / 3.0) < 1e-5] = radius
    return free


def scatter(count: int, shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spread points in random order (an additive recurrence, jittered so that no lattice shows)."""
    n = np.arange(count)
    spread = 0.5 / np.sqrt(max(1, count))
    x = (n * 0.7548776662466927 + rng.random() + rng.normal(0, spread, count)) % 1.0
    y = (n * 0.5698402909980532 + rng.random() + rng.normal(0, spread, count)) % 1.0
    order = rng.permutation(count)
    return (x[order] * shape[1]).astype(np.int32), (y[order] * shape[0]).astype(np.int32)


def _walk(scene: Scene, x: np.ndarray, y: np.ndarray, step: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Follow the angles ``count`` steps one way; returns paths and how many points stay in the home region."""
    height, width = scene.region.shape
    px, py = x.astype(np.float32), y.astype(np.float32)
    home = scene.region[y, x]
    paths = np.empty((len(x), count, 2), dtype=np.float32)
    alive = np.ones(len(x), dtype=bool)
    inside = np.zeros(len(x), dtype=np.int32)
    last = None
    for k in range(count):
        paths[:, k, 0], paths[:, k, 1] = px, py
        ix = np.clip(px, 0, width - 1).astype(np.int32)
        iy = np.clip(py, 0, height - 1).astype(np.int32)
        alive &= scene.region[iy, ix] == home
        inside += alive
        theta = scene.angle[iy, ix]
        dx, dy = np.cos(theta), np.sin(theta)
        if last is not None:
            # An angle field is only known up to half a turn: never let a stroke double back.
            flip = np.where(dx * last[0] + dy * last[1] < 0, -1.0, 1.0)
            dx, dy = dx * flip, dy * flip
        last = (dx, dy)
        px, py = px + dx * step, py + dy * step
    return paths, inside


def trace(scene: Scene, x: np.ndarray, y: np.ndarray, length: np.ndarray, half: int = 7) -> list[np.ndarray]:
    """Stroke paths through the points, reaching both ways along the scene's angles but not out of the region."""
    step = (length / (2 * half)).astype(np.float32)
    ahead, n_ahead = _walk(scene, x, y, step, half + 1)
    behind, n_behind = _walk(scene, x, y, -step, half + 1)
    return [np.concatenate([b[1:m][::-1], a[:n]]) for a, n, b, m in zip(ahead, n_ahead, behind, n_behind, strict=True)]


def paint_layer(
    canvas: Canvas,
    scene: Scene,
    rng: np.random.Generator,
    width: float,
    length: float,
    cover: float,
    brush: Brush,
    where: np.ndarray | None = None,
    wild: float = 1.0,
    stray: float = 0.0,
) -> None:
    """Cover the canvas ``cover`` times over with strokes of one size that follow the scene."""
    count = int(cover * canvas.shape[0] * canvas.shape[1] / (width * length * 0.8))
    x, y = scatter(count, canvas.shape, rng)
    if where is not None:
        kept = rng.random(count) < where[y, x]
        x, y = x[kept], y[kept]
    # Paint may be meant for a place a few pixels off: hard borders between regions soften.
    off = rng.normal(0, stray, (2, len(x)))
    cx = np.clip(x + off[0], 0, canvas.shape[1] - 1).astype(np.int32)
    cy = np.clip(y + off[1], 0, canvas.shape[0] - 1).astype(np.int32)
    first = scene.colours(cx, cy, rng, wild)
    second = scene.colours(cx, cy, rng, wild * 1.3)
    lengths = length * rng.uniform(0.6, 1.35, len(x))
    widths = width * rng.uniform(0.7, 1.3, len(x))
    if scene.room is None:
        scene.room = clearance(scene.region)
    # Near a border only a narrow brush fits: this keeps small forms readable under big strokes.
    widths = np.minimum(widths, 2.0 * scene.room[y, x] * rng.uniform(0.8, 1.3, len(x)) + 5.0)
    for k, path in enumerate(trace(scene, x, y, lengths)):
        if len(path) >= 4:
            canvas.stroke(path, widths[k], first[k], second[k], brush)


def draw_line(
    canvas: Canvas,
    points: np.ndarray,
    width: float,
    colours: np.ndarray,
    rng: np.random.Generator,
    brush: Brush,
    piece: float = 150.0,
) -> None:
    """A contour in several overlapping pulls of the brush, none quite on the line and none quite even."""
    gaps = np.hypot(*np.diff(points, axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(gaps)])
    start = 0.0
    while start < reached[-1] - 3:
        stop = min(reached[-1], start + piece * rng.uniform(0.6, 1.4))
        at = np.linspace(start, stop, max(4, int((stop - start) / 9)))
        path = np.stack([np.interp(at, reached, points[:, 0]), np.interp(at, reached, points[:, 1])], axis=1)
        path += rng.normal(0, width * 0.1, 2) + np.cumsum(rng.normal(0, width * 0.03, path.shape), axis=0)
        one, two = colours[rng.integers(0, len(colours), 2)]
        canvas.stroke(path, width * rng.uniform(0.7, 1.3), one, two, brush)
        start = stop - piece * 0.12 if stop < reached[-1] else stop


def underpaint(canvas: Canvas, scene: Scene, rng: np.random.Generator, tone: float = 0.75) -> None:
    """A thin dark wash of the whole scene, so that gaps between strokes glow instead of showing bare ground."""
    for number, colours in enumerate(scene.ramps):
        mine = scene.region == number
        canvas.rgb[mine] = ramp(colours, scene.value[mine] * 0.9) * tone
    canvas.rgb *= 1.0 + 0.06 * cloud(canvas.shape, rng, 20)[..., None]


def weave(shape: tuple[int, int], rng: np.random.Generator, pitch: float = 4.2) -> np.ndarray:
    """Linen: over-and-under threads whose spacing and thickness wander."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    x = x + cloud(shape, rng, 60, 1.2) * 1.6 + cloud(shape, rng, 8, 1.0, (12, 1)) * 0.5
    y = y + cloud(shape, rng, 60, 1.2) * 1.6 + cloud(shape, rng, 8, 1.0, (1, 12)) * 0.5
    u, v = x * np.pi / pitch, y * np.pi / pitch
    over = smoothstep(-0.6, 0.6, np.sin(u) * np.sin(v))
    warp, weft = np.abs(np.cos(u)), np.abs(np.cos(v))
    slub = 1.0 + 0.25 * cloud(shape, rng, 14, 1.0, (10, 1)) + 0.25 * cloud(shape, rng, 14, 1.0, (1, 10))
    return (over * warp + (1 - over) * weft) * slub
