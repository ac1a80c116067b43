"""Pointillist river bank: trees, lawn, water and sails in dots of divided colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas, Scene, paint_layer, underpaint, weave
from .noise import WORK, cloud, grid, hexes, polygon_mask, smoothstep, spline, to_image

SHAPE = (1056, WORK)
SKY, BANK, WATER, LAWN, SHADE, LEAF, DEEP, TRUNK, SAIL, DRESS, PARASOL = range(11)
RAMPS = [
    hexes("6f9fd0", "93b9dd", "b9d0e2", "dcdfdc", "f3e6c8", "f9edc0"),
    hexes("2f5a6e", "3f7a68", "6a9a5e", "9db86a", "d8c77c"),
    hexes("2a5590", "3f7ab5", "6aa0cc", "9fc4da", "d0dcd8", "f4ead0"),
    hexes("5f8f2f", "86ab3a", "a9c24a", "cbd25f", "e9e07e", "f7ecab"),
    hexes("1d3a5a", "23565a", "2f6e4a", "4a8a4a", "6f9f4f"),
    hexes("2f6a30", "4a8a35", "74a63c", "a3bf48", "d6cf58", "f2e08a"),
    hexes("141f4a", "1a3a58", "1e544e", "2a6a40", "4a8040"),
    hexes("2a1c4a", "4a2f58", "7a4a55", "b07a50", "e0b070"),
    hexes("b8c4e0", "e8e4e0", "fbf3dc", "fffbe8"),
    hexes("1c1646", "36246a", "553a86", "8a5a98", "c890a8"),
    hexes("8c1f2c", "c8382c", "ee6a34", "f8a050", "fbd08a"),
]
# The complementary of each field, for the dots that make it vibrate.
ACCENTS = [
    hexes("f6c89a", "f4b9b0", "f6e6c0", "9aa6e0", "f4dc9a", "88b8e0"),
    hexes("8a5a9a", "e08a5a", "2f4a9a", "f0c860"),
    hexes("f0a868", "f8d8a0", "5a58b0", "58b0a8", "ffffff"),
    hexes("f2a23c", "fff2b8", "e8785a", "4fa060", "f8d02c"),
    hexes("7a3f9a", "b04a6a", "2a4fb0", "e08a3a", "3a9a80"),
    hexes("f5a838", "fbe878", "e0603a", "3a60a8", "58b090"),
    hexes("6a2f8a", "a83a5a", "2a50b8", "d87838", "187070"),
    hexes("e87a3a", "3a50b0", "b04a8a", "3a8a60"),
    hexes("f8c8a0", "a8b8f0", "fff0b0"),
    hexes("e85a4a", "2a60c0", "f0a050", "b84a9a"),
    hexes("fff0a0", "e03a6a", "5a3a9a"),
]


def _crown(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, blobs: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """Leaf mass from warped ellipses: its mask, and light from the upper right on every puff."""
    ragged = cloud(x.shape, rng, 34, 0.75) * 0.010 + cloud(x.shape, rng, 110, 1.1) * 0.012
    mask = np.zeros(x.shape, dtype=bool)
    light = np.full(x.shape, -9.0, dtype=np.float32)
    for cx, cy, rx, ry in blobs:
        dx, dy = (x - cx + ragged) / rx, (y - cy + ragged * 0.8) / ry
        puff = dx * dx + dy * dy < 1
        mask |= puff
        light = np.where(puff, np.maximum(light, 0.55 * dx - 0.7 * dy), light)
    return mask, light


def _trees(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    big = [(0.02, 0.10, 0.16, 0.10), (0.13, 0.05, 0.17, 0.09), (0.27, 0.08, 0.13, 0.085), (0.20, 0.16, 0.13, 0.07)]
    big += [(0.05, 0.2, 0.12, 0.06), (0.34, 0.14, 0.07, 0.05), (0.10, 0.26, 0.06, 0.035), (0.29, 0.215, 0.055, 0.035)]
    slim = [
        (0.865, 0.175, 0.045, 0.075),
        (0.90, 0.235, 0.055, 0.06),
        (0.945, 0.16, 0.06, 0.09),
        (0.985, 0.25, 0.06, 0.075),
    ]
    slim += [(0.885, 0.115, 0.03, 0.05)]
    return [_crown(x, y, rng, big), _crown(x, y, rng, slim)]


def _far_side(x, y, region, value, rng) -> None:
    """Sky, the far bank with its small trees, and the river with everything mirrored in it."""
    horizon = 0.285
    value[:] = 0.15 + 2.6 * y + 0.07 * cloud(SHAPE, rng, 130, 1.2, (0.5, 1.7))
    tops = 0.022 + 0.016 * np.sin(x * 13 + 1) + 0.010 * np.sin(x * 37) + 0.006 * cloud(SHAPE, rng, 26, 0.9)
    tops = tops + 0.035 * np.exp(-(((x - 0.52) / 0.05) ** 2)) + 0.03 * np.exp(-(((x - 0.74) / 0.045) ** 2))
    bank = (y > horizon - tops) & (y <= horizon + 0.010)
    region[bank] = BANK
    value[bank] = (0.3 + 9 * (horizon - y) + 0.12 * cloud(SHAPE, rng, 24))[bank]
    strip = (y > horizon - 0.005) & (y <= horizon + 0.010)
    value[strip] = (0.80 + 0.15 * cloud(SHAPE, rng, 40))[strip]
    water = y > horizon + 0.010
    region[water] = WATER
    wave = 0.09 * cloud(SHAPE, rng, 30, 1.0, (0.3, 2.6))
    glow = 0.34 * np.exp(-(((x - 0.60) / 0.11) ** 2))
    mirror = smoothstep(1.0, 0.0, (y - horizon) / (tops * 2.4 + 1e-3))
    value[water] = (0.40 + 0.8 * (y - horizon) + glow - 0.3 * mirror + wave)[water]
    # The trees of the far bank stand on their heads in the water.
    image = water & (y - horizon < tops * 1.35 + 0.05 * wave - 0.004)
    region[image] = BANK
    value[image] = (0.22 + 1.4 * wave)[image]


def _near_side(x, y, region, value, rng) -> None:
    """The lawn with the long shadows of the trees, and the tree crowns over everything."""
    edge = 0.36 + 0.20 * smoothstep(0.1, 1.0, x) + 0.012 * np.sin(x * 11) + 0.004 * cloud(SHAPE, rng, 30, 0.9)
    lawn = y > edge
    region[lawn] = LAWN
    value[lawn] = (0.62 + 0.13 * cloud(SHAPE, rng, 60, 1.0, (0.5, 2.0)) + 0.22 * np.exp(-(y - edge) * 28))[lawn]
    wander = 0.016 * cloud(SHAPE, rng, 70, 1.0, (0.45, 1.8))
    shade = lawn & (np.abs(y + wander - 0.475 - 0.03 * x) < 0.034 - 0.05 * np.maximum(0, x - 0.42))
    shade |= lawn & (y + wander > 0.615 + 0.05 * np.sin(x * 4 + 2.2))
    shade |= lawn & (np.abs(y + wander * 0.6 - 0.535 - 0.10 * (x - 0.6)) < 0.014) & (x > 0.66)
    region[shade] = SHADE
    value[shade] = (0.45 + 0.2 * cloud(SHAPE, rng, 40, 0.9, (0.5, 2.0)))[shade]
    for px, foot, top, half in ((0.115, 0.475, 0.12, 0.0155), (0.262, 0.50, 0.1, 0.011), (0.925, 0.585, 0.2, 0.0085)):
        bend = px + 0.012 * np.sin((y - top) * 13) + 0.002 * cloud(SHAPE, rng, 20, 1.0)
        thick = half * (0.75 + 1.6 * smoothstep(foot - 0.06, foot + 0.02, y))
        trunk = (np.abs(x - bend) < thick) & (y > top) & (y < foot + 0.004 * np.sin(x * 300))
        region[trunk] = TRUNK
        value[trunk] = (0.35 + 0.45 * (x - bend) / thick + 0.1 * cloud(SHAPE, rng, 14))[trunk]
    gaps = cloud(SHAPE, rng, 42, 0.9)
    for mask, light in _trees(x, y, rng):
        mask = mask & (gaps < 1.75)
        puffs = light + 0.28 * cloud(SHAPE, rng, 46, 0.9)
        region[mask] = np.where(puffs[mask] > 0.12, LEAF, DEEP)
        value[mask] = np.where(puffs > 0.12, 0.25 + 0.5 * puffs, 0.6 + 0.45 * puffs)[mask]


def _filler(region: np.ndarray, value: np.ndarray):
    """A function that fills one outline (shares of the width) with a paint and its light."""

    def fill(points, number, light) -> None:
        inside = polygon_mask(SHAPE, np.array(points) * WORK) > 0.5
        region[inside] = number
        value[inside] = np.broadcast_to(light, SHAPE)[inside]

    return fill


def _sails(x, y, region, value) -> None:
    """Two boats on the river, with their light in the water."""
    fill = _filler(region, value)
    for cx, base, tall in ((0.575, 0.352, 0.135), (0.70, 0.318, 0.07)):
        fill(
            [(cx, base - 0.008), (cx + 0.005, base - tall), (cx + tall * 0.42, base - 0.012)], SAIL, 0.9 - 3 * (x - cx)
        )
        fill(
            [(cx - 0.006, base - 0.01), (cx - 0.001, base - tall * 0.86), (cx - tall * 0.28, base - 0.012)], SAIL, 0.35
        )
        hull = [(cx - tall * 0.4, base - 0.007), (cx + tall * 0.5, base - 0.007), (cx + tall * 0.38, base + 0.006)]
        fill([*hull, (cx - tall * 0.3, base + 0.006)], TRUNK, 0.3)
        glint = (np.abs(x - cx - 0.012 + 0.006 * np.sin(y * 500)) < tall * 0.16) & (region == WATER)
        glint &= (y > base) & (y < base + tall * 0.8)
        value[glint] = np.maximum(value[glint], 0.88)


def _walker(x, y, region, value) -> None:
    """A walker with a parasol: the upright accent of the picture."""
    fill = _filler(region, value)
    cx, foot = 0.47, 0.575
    # A promenade dress in profile: straight in front, gathered into a bustle behind.
    skirt = [(cx - 0.024, foot), (cx - 0.021, foot - 0.05), (cx - 0.013, foot - 0.092), (cx - 0.019, foot - 0.112)]
    skirt += [
        (cx - 0.010, foot - 0.136),
        (cx + 0.006, foot - 0.138),
        (cx + 0.013, foot - 0.120),
        (cx + 0.008, foot - 0.094),
    ]
    skirt += [(cx + 0.034, foot - 0.086), (cx + 0.043, foot - 0.066), (cx + 0.036, foot - 0.03), (cx + 0.044, foot)]
    fill(spline([*skirt, skirt[0]], 120), DRESS, 0.42 + 7 * (x - cx))
    turn = np.linspace(0, 2 * np.pi, 30)
    fill(np.stack([cx - 0.003 + 0.0085 * np.cos(turn), foot - 0.149 + 0.0105 * np.sin(turn)], axis=1), TRUNK, 0.85)
    brim = [
        (cx - 0.017, foot - 0.157),
        (cx - 0.010, foot - 0.170),
        (cx + 0.008, foot - 0.171),
        (cx + 0.014, foot - 0.156),
    ]
    fill(np.array(brim), DRESS, 0.15)
    fill(
        [(cx - 0.030, foot - 0.095), (cx - 0.027, foot - 0.095), (cx - 0.024, foot - 0.19), (cx - 0.027, foot - 0.19)],
        TRUNK,
        0.1,
    )
    fill(
        [
            (cx - 0.030, foot - 0.104),
            (cx - 0.012, foot - 0.126),
            (cx - 0.006, foot - 0.118),
            (cx - 0.027, foot - 0.096),
        ],
        DRESS,
        0.7,
    )
    dome = np.linspace(np.pi, 2 * np.pi, 24)
    top = np.stack(
        [cx - 0.016 + 0.056 * np.cos(dome), foot - 0.182 + 0.034 * np.sin(dome) + 0.006 * np.cos(dome)], axis=1
    )
    fill(spline([tuple(p) for p in top], 60), PARASOL, 0.5 + 9 * (x - cx))
    shadow = (np.abs(y - foot - 0.008 - 0.05 * np.abs(x - cx)) < 0.009) & (x < cx + 0.02) & (x > cx - 0.16)
    region[shadow & (region == LAWN)] = SHADE


def _scene(rng: np.random.Generator) -> Scene:
    px, py = grid(SHAPE)
    x, y = px / WORK, py / WORK
    region = np.zeros(SHAPE, dtype=np.uint8)
    value = np.zeros(SHAPE, dtype=np.float32)
    _far_side(x, y, region, value, rng)
    _near_side(x, y, region, value, rng)
    _sails(x, y, region, value)
    _walker(x, y, region, value)
    # Dabs lie flat on water, stand on trunks and dresses, and turn with the leaves elsewhere.
    angle = cloud(SHAPE, rng, 90, 1.2) * 0.9
    angle[region == WATER] *= 0.12
    upright = np.isin(region, (TRUNK, DRESS, SAIL))
    angle[upright] = np.pi / 2 + 0.2 * angle[upright]
    jitter = [0.13, 0.15, 0.13, 0.14, 0.17, 0.16, 0.18, 0.16, 0.12, 0.15, 0.14]
    return Scene(angle, region, np.clip(value, 0, 1), RAMPS, jitter, ACCENTS, 0.2)


def paint(seed: int = 23) -> Image.Image:
    """Paint the picture."""
    rng = np.random.default_rng(seed)
    scene = _scene(rng)
    canvas = Canvas(SHAPE, hexes("d8c8a0")[0], rng)
    underpaint(canvas, scene, rng, 0.95)
    canvas.relief += 0.25 * weave(SHAPE, rng)
    paint_layer(canvas, scene, rng, 20, 46, 1.3, Brush(dry=0.35, thick=0.5), wild=0.8)
    dab = Brush(dry=0.12, thick=0.9, ridge=0.22, ragged=0.25, taper=0.1, streak=0.1, mix=0.35, soft=1.4)
    paint_layer(canvas, scene, rng, 14, 19, 1.0, dab, stray=3.0)
    paint_layer(canvas, scene, rng, 10.5, 12.5, 1.3, dab, wild=1.1, stray=3.5)
    paint_layer(canvas, scene, rng, 8, 9, 0.8, dab, wild=1.2, stray=2.5)
    paint_layer(canvas, scene, rng, 5.8, 6.6, 0.25, dab, wild=1.5)
    return to_image(canvas.lit(0.24, 0.06, 4.0))
