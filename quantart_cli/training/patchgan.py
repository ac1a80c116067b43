"""A discriminator of patches (Isola et al. 2017, appendix 6.1.2), as VQGAN has it: ``NLayerDiscriminator`` of
taming-transformers with its own initialisation.

Its batch normalization is never asked for anything but the statistics of its batch, so none are averaged.
"""

from __future__ import annotations

from torch import Tensor, nn

SMALLEST = 32
"""Pixels a side of the smallest picture it can judge."""


class PatchGAN(nn.Sequential):
    """A map of scores, high where patches of 70 pixels a side look real: (B, 3, H, W) -> (B, 1, h, w) float32.

    Args:
        channels: after the first convolution; doubled by each of the next, to eight times as many at most.
        halvings: convolutions of stride 2.
    """

    def __init__(self, channels: int = 64, halvings: int = 3) -> None:
        widths = [channels * min(2**n, 8) for n in range(halvings + 1)]
        steps: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, padding=1), nn.LeakyReLU(0.2)]
        for n in range(1, halvings + 1):
            stride = 2 if n < halvings else 1
            steps.append(nn.Conv2d(widths[n - 1], widths[n], 4, stride, padding=1, bias=False))
            steps += [nn.BatchNorm2d(widths[n], track_running_stats=False), nn.LeakyReLU(0.2)]
        super().__init__(*steps, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for step in self:
            if isinstance(step, nn.Conv2d):
                nn.init.normal_(step.weight, 0, 0.02)
            elif isinstance(step, nn.BatchNorm2d):
                nn.init.normal_(step.weight, 1, 0.02)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.to(self[0].weight.dtype)).float()
