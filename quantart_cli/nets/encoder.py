"""VGG-19 to relu4_1 as a stage: features of a tile, and their moments or covariance."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from quantart_cli.nets.statistics import moments, products
from quantart_cli.nets.vgg import VGG19


class Encoder(nn.Module):
    """E: relu4_1 of the normalised VGG-19."""

    parts: ClassVar = {"vgg": VGG19}

    def __init__(self, vgg: VGG19) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a tile.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
            weight: (1, 1, h, w), how much each position counts in the moments.

        Returns:
            z (1, 512, h, w) in the dtype of the network, and its moments (3, 512) float32.
        """
        z = self.vgg(image)["relu4_1"]
        return z, moments(z, weight)


class CovarianceEncoder(Encoder):
    """E, with what a covariance is summed from."""

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Encoder.forward`, with (514, 512) float32, as of :func:`quantart_cli.nets.statistics.products`."""
        z = self.vgg(image)["relu4_1"]
        return z, products(z, weight)
