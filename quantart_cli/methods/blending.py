"""VQGAN in tiles: approximately, since its norms and its attention look at the whole picture.

Norms take their statistics from a reduced whole picture, so that no tile is brightened or greyed by what it happens to
show; tiles overlap by 128 pixels and are blended there, since attention ends with the tile. Measured on networks of
full size with random weights, at α = 0 on a photograph of 960 × 640 in tiles of 480: no seam, and a mean difference of
0.14 where the picture's own deviation is 0.35, most of it in colour. How it is with the authors' weights is not known.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.memory import HALO
from quantart_cli.nets.norm import fixed, keeping
from quantart_cli.nets.vqgan import VQGAN, StyleVQGAN
from quantart_cli.tiling import Tile, Tiler


def reduced(content: Tensor, side: int) -> Tensor:
    """A picture, (1, 3, H, W), of at most that many pixels a side, each the mean of an area; float32 in [0, 1]."""
    height, width = content.shape[2:]
    scale = min(1, side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = content.float().div(255) if content.dtype == torch.uint8 else content
    return F.interpolate(image, size, mode="area")


def encode_whole(network: VQGAN | StyleVQGAN, image: Tensor) -> Tensor:
    """E(c) of a reduced picture, whose statistics the encoder's norms keep; (1, 3, H, W) in [-1, 1]."""
    with keeping(network.encoder):
        return network.encode_content(image)


def encode_in_tiles(network: VQGAN | StyleVQGAN, image: Tensor, tiler: Tiler) -> Tensor:
    """E(c), (1, embed_dim, h, w) float32, with the statistics kept by :func:`encode_whole`."""
    stride = network.config.stride
    height, width = image.shape[2:]
    sums = _Sums((network.config.embed_dim, height // stride, width // stride), image.device)
    cut = Tiler(max(tiler.side or stride, stride), tiler.notify, stride)

    def work(tile: Tile) -> None:
        outer = tile.grown(_whole(HALO["vqgan"], stride), height, width, stride)
        rows, columns = outer.slices
        sums.add(tile.shrunk(stride), outer.shrunk(stride), network.encode_content(image[:, :, rows, columns]).float())

    with fixed(network.encoder):
        cut.run(height, width, work)
    return sums.mean().to(network.dtype)


def decode_in_tiles(network: VQGAN | StyleVQGAN, decode: Callable[[Tensor], Tensor], z: Tensor, tiler: Tiler) -> Tensor:
    """D(z), (1, 3, H, W) float32, with the statistics the decoder's norms have kept.

    Args:
        network: whose decoder it is.
        decode: D, of that network or with other weights in it.
        z: (1, embed_dim, h, w).
        tiler: how large tiles are.
    """
    stride = network.config.stride
    height, width = z.shape[2] * stride, z.shape[3] * stride
    sums = _Sums((3, height, width), z.device)
    cut = Tiler(max(tiler.side or stride, stride), tiler.notify, stride)

    def work(tile: Tile) -> None:
        outer = tile.grown(_whole(HALO["vqgan"], stride), height, width, stride)
        rows, columns = outer.shrunk(stride).slices
        sums.add(tile, outer, decode(z[:, :, rows, columns]))

    with fixed(network.decoder):
        cut.run(height, width, work)
    return sums.mean()


class _Sums:
    """Overlapping windows added up, each fading towards the borders it shares."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self.values = torch.zeros((1, *shape), device=device)
        self.weights = torch.zeros((1, 1, *shape[1:]), device=device)

    def add(self, tile: Tile, outer: Tile, part: Tensor) -> None:
        """``part`` (1, C, h, w) lies at ``outer``; ``tile`` is the part without halo."""
        vertical = _fading(tile.top - outer.top, outer.bottom - tile.bottom, outer.height)
        horizontal = _fading(tile.left - outer.left, outer.right - tile.right, outer.width)
        weights = (vertical[:, None] * horizontal).to(part.device)
        rows, columns = outer.slices
        self.values[:, :, rows, columns] += part * weights
        self.weights[:, :, rows, columns] += weights

    def mean(self) -> Tensor:
        return self.values.div_(self.weights)


def _fading(before: int, after: int, length: int) -> Tensor:
    """Weights that rise over twice the border before, 1 where there is none, and fall likewise; (length,) in (0, 1]."""
    place = torch.arange(length) + 0.5
    rising = (place / (2 * before)).clamp(max=1) if before else torch.ones(length)
    falling = ((length - place) / (2 * after)).clamp(max=1) if after else torch.ones(length)
    return rising * falling


def _whole(pixels: int, stride: int) -> int:
    return -(-pixels // stride) * stride
