"""Batches for the training of the painter: crops of photographs and of paintings.

Everything random depends on the seed and the batch's number only.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from quantart_cli.training.options import PainterOptions
from quantart_cli.training.pictures import DETAILS, PAINTINGS, PHOTOGRAPHS, PictureSet, Prefetched

Image = np.ndarray[Any, np.dtype[Any]]
# Scales of crops, over the picture's own size.
_SCALES = {PHOTOGRAPHS: (0.6, 1.2), PAINTINGS: (0.7, 1.4), DETAILS: (0.3, 0.9)}
_DETAIL_SHARE = 0.6  # of the paintings, where there are detail paintings
_GRADIENT_SHARE = 0.08  # of the contents: skies and walls, where artefacts show
_MORE_IDENTITIES = 200  # the first updates have a half of identities, the others a quarter


class Batch(NamedTuple):
    """Contents and styles, (B, 3, H, W) float32 in [0, 1] each; the first ``identities`` of both are equal."""

    contents: Tensor
    styles: Tensor
    identities: int


class Batches(Prefetched[Batch]):
    """Batches by number.

    Args:
        pictures: "photographs", "paintings" and, optionally, "detail paintings".
        options: ``batch``, ``crop`` and ``seed`` are used.
        device: on which the painter is trained.
    """

    def __init__(self, pictures: Mapping[str, PictureSet], options: PainterOptions, device: torch.device) -> None:
        super().__init__(self._batch, device)
        self._pictures, self._options = pictures, options

    def _batch(self, number: int) -> Batch:
        o = self._options
        r = random.Random(o.seed * 1_000_003 + number * 7919 + 1)
        identities = o.batch // (4 if number > _MORE_IDENTITIES else 2)
        styles = [self._painting(r) for _ in range(o.batch)]
        contents = styles[:identities] + [self._content(r) for _ in range(o.batch - identities)]
        return Batch(_stack(contents), _stack(styles), identities)

    def _painting(self, r: random.Random) -> Image:
        details = DETAILS in self._pictures and r.random() < _DETAIL_SHARE
        return self._crop(DETAILS if details else PAINTINGS, r)

    def _content(self, r: random.Random) -> Image:
        return smooth_gradient(r, self._options.crop) if r.random() < _GRADIENT_SHARE else self._crop(PHOTOGRAPHS, r)

    def _crop(self, name: str, r: random.Random) -> Image:
        pictures = self._pictures[name]
        picture = pictures[r.randrange(len(pictures))].permute(1, 2, 0).numpy()
        return scaled_crop(picture, *_SCALES[name], self._options.crop, r)


def scaled_crop(picture: Image, low: float, high: float, side: int, r: random.Random) -> Image:
    """A random square of a picture at a random scale, flipped at random.

    Args:
        picture: (H, W, 3) uint8.
        low, high: range of the scale; it is larger where the picture is too small.
        r: random numbers.

    Returns:
        (side, side, 3) uint8.
    """
    height, width = picture.shape[:2]
    square = side / max(side / min(height, width), r.uniform(low, high))  # in pixels of the picture
    left, top = r.uniform(0, width - square), r.uniform(0, height - square)
    x, y = int(left), int(top)
    window = picture[y : int(top + square) + 1, x : int(left + square) + 1]
    box = (left - x, top - y, min(left - x + square, window.shape[1]), min(top - y + square, window.shape[0]))
    image = PIL.Image.fromarray(np.ascontiguousarray(window))
    image = image.resize((side, side), PIL.Image.Resampling.LANCZOS, box=box)
    if r.random() < 0.5:
        image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(image)


def smooth_gradient(r: random.Random, side: int) -> Image:
    """A smooth colour gradient with slight noise, (side, side, 3) float32 in [0, 255]."""
    g = np.random.default_rng(r.randrange(2**31))
    n = r.choice([2, 2, 3, 4])
    colours = np.clip(g.uniform(0, 1, 3) + g.normal(0, r.choice([0.03, 0.1, 0.3]), (n, n, 3)), 0, 1)
    image = PIL.Image.fromarray((colours * 255).astype(np.uint8)).resize((side, side), PIL.Image.Resampling.BICUBIC)
    noise = g.normal(0, r.choice([0, 0.01, 0.02]), (1, side, side))[0, :, :, None]
    return np.clip(np.array(image) + 255 * noise, 0, 255).astype(np.float32)


def _stack(images: list[Image]) -> Tensor:
    """(B, 3, H, W) float32 in [0, 1]."""
    return torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images])
