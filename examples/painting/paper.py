"""Handmade paper: fibres, mottling and fine tooth, for the ink-wash and the woodcut."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .noise import blur, cloud


def fibres(shape: tuple[int, int], rng: np.random.Generator, count: int, length: float = 60.0) -> np.ndarray:
    """Long curling fibres, pale (positive) and dark (negative), a hair wide."""
    layers = []
    for share in (0.6, 0.4):
        image = Image.new("L", (shape[1], shape[0]), 0)
        draw = ImageDraw.Draw(image)
        for _ in range(int(count * share)):
            steps = rng.integers(6, 16)
            heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.28, steps))
            reach = length * rng.uniform(0.4, 1.6) / steps
            x = rng.uniform(0, shape[1]) + np.cumsum(np.cos(heading)) * reach
            y = rng.uniform(0, shape[0]) + np.cumsum(np.sin(heading)) * reach
            draw.line(
                [(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=int(rng.integers(60, 255)), width=1
            )
        layers.append(blur(np.asarray(image, dtype=np.float32) / 255, 1))
    return layers[0] - layers[1]


def sheet(shape: tuple[int, int], rng: np.random.Generator, tint: np.ndarray, fibre_count: int = 1500) -> np.ndarray:
    """A 0..1 picture of bare paper."""
    tone = 0.012 * cloud(shape, rng, 3, 0.9) + 0.012 * cloud(shape, rng, 90, 1.1) + 0.008 * cloud(shape, rng, 18, 0.9)
    tone += 0.055 * fibres(shape, rng, fibre_count)
    warm = 0.010 * cloud(shape, rng, 300, 1.3)[..., None] * np.float32([0.4, 0.0, -1.0])
    return np.clip(tint * (1.0 + tone[..., None]) + warm, 0, 1)
