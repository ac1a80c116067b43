"""The painter's decoder: the AdaIN decoder with two inputs for the style's own patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.cpu import convolution

# Input and output channels of the 3x3 convolutions, named after the VGG layer that each one inverts.
_CONVOLUTIONS = {
    "conv4_1": (512, 256),
    "conv3_4": (256, 256),
    "conv3_3": (256, 256),
    "conv3_2": (256, 256),
    "conv3_1": (256, 128),
    "conv2_2": (128, 128),
    "conv2_1": (128, 64),
    "conv1_2": (64, 64),
    "conv1_1": (64, 3),
}


class PainterDecoder(nn.Module):
    """Features of relu4_1, with patches of relu3_1 and relu2_1, to an image.

    The 3x3 convolutions have the names and the shapes of :class:`~quantart_cli.nets.decoder.Decoder`. After the first
    upsampling ``fuse3`` merges the features with s3, after the second ``fuse2`` merges them with s2. Both are 1x1
    convolutions that start at the identity, so a new PainterDecoder with a Decoder's weights computes what the
    Decoder computes and ignores s3 and s2.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, (fan_in, fan_out) in _CONVOLUTIONS.items():
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3))
        self.fuse3 = _identity_fusion(512, 256)
        self.fuse2 = _identity_fusion(256, 128)

    def forward(self, z: Tensor, s3: Tensor, s2: Tensor) -> Tensor:
        """Decode z with the patches s3 and s2. Computed in the dtype of the weights.

        Args:
            z: (B, 512, h, w) features of relu4_1; h and w at least 2.
            s3: (B, 256, 2h, 2w) features of relu3_1.
            s2: (B, 128, 4h, 4w) features of relu2_1.

        Returns:
            (B, 3, 8h, 8w) float32, sRGB in about [0, 1], not clamped.
        """
        x = self._convolve(self._prepare(z), "conv4_1")
        x = self._fuse(self.fuse3, _upsample(x), s3)  # (B, 256, 2h, 2w)
        x = self._convolve(x, "conv3_4", "conv3_3", "conv3_2", "conv3_1")
        x = self._fuse(self.fuse2, _upsample(x), s2)  # (B, 128, 4h, 4w)
        x = self._convolve(x, "conv2_2", "conv2_1")
        x = self._convolve(_upsample(x), "conv1_2", "conv1_1")  # (B, 3, 8h, 8w)
        return x.float()

    def _prepare(self, x: Tensor) -> Tensor:
        return x.to(self.fuse3.weight.dtype).contiguous(memory_format=torch.channels_last)

    def _convolve(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")  # assigned on its own: frees the unpadded x
            layer = self.get_submodule(name)
            assert isinstance(layer, nn.Conv2d)
            x = convolution(layer, x, relu=name != "conv1_1")
        return x

    def _fuse(self, fusion: nn.Conv2d, x: Tensor, patches: Tensor) -> Tensor:
        return convolution(fusion, torch.cat([x, self._prepare(patches)], 1))


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _identity_fusion(fan_in: int, fan_out: int) -> nn.Conv2d:
    """A 1x1 convolution that returns its first fan_out input channels."""
    layer = nn.Conv2d(fan_in, fan_out, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(fan_out, fan_in)[:, :, None, None])
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
