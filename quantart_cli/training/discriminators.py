"""Discriminators of patches, of pictures and of latents."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

LATENT_FIELD = 5
"""Positions along one side of a latent that one score depends on."""


class PatchGAN(nn.Sequential):
    """The discriminator of VQGAN: NLayerDiscriminator of taming-transformers with its initialisation.

    It goes back to Isola et al. 2017, appendix 6.1.2. Batch normalization always uses the statistics of the batch.

    Args:
        channels: after the first convolution; doubled by each of the next, to eight times as many at most.
        halvings: convolutions of stride 2.
    """

    def __init__(self, channels: int = 64, halvings: int = 3) -> None:
        widths = [channels * min(2**n, 8) for n in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, padding=1), nn.LeakyReLU(0.2)]
        for n in range(1, halvings + 1):
            stride = 2 if n < halvings else 1
            layers.append(nn.Conv2d(widths[n - 1], widths[n], 4, stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(widths[n], track_running_stats=False), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1, 0.02)

    def forward(self, image: Tensor) -> Tensor:
        """Scores of patches of 70 x 70 pixels, high where they look real: (B, 3, H, W) -> (B, 1, h, w) float32."""
        image = image.to(next(self.parameters()).dtype)
        for layer in self:
            image = layer(image)
        return image.float()


class LatentDiscriminator(nn.Module):
    """A discriminator of latents, as in stage 2 of QuantArt (Huang et al. 2023).

    All layers but the last have spectral normalization (Miyato et al. 2018).

    Args:
        width: channels of the hidden layers.
    """

    def __init__(self, channels: int, width: int = 128) -> None:
        super().__init__()
        sizes = ((channels, width, 1), (width, width, 3), (width, width, 3))
        self.hidden = nn.ModuleList(spectral_norm(nn.Conv2d(*size)) for size in sizes)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Scores of 5 x 5 positions, high where they look real: (B, C, h, w) -> (B, 1, h - 4, w - 4)."""
        for layer in self.hidden:
            z = F.leaky_relu(layer(z), 0.2)
        scores: Tensor = self.last(z)
        return scores
