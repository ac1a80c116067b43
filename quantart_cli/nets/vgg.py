"""The normalised VGG-19, the encoder of most methods here.

VGG-19 (Simonyan and Zisserman, 2015) with its filters scaled so that each one's mean activation over images and
positions is 1 (Gatys, Ecker and Bethge 2016, section 2), in the conversion that AdaIN (Huang and Belongie 2017) was
trained with: reflection padding, and max pooling that rounds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.cpu import bands, convolution, reflected
from quantart_cli.nets.layers import LAYERS

# Blocks of (convolutions, channels); a pooling layer between two blocks.
_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (1, 512))

# RGB means of the Caffe training set over 255; the factor 255 and the BGR order live in conv1_1's weights.
_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)


class _MaxPool(torch.autograd.Function):
    """Max pooling that computes its argmax again in the backward pass: stored indices take 8 bytes each, a quarter of
    the memory of everything else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.max_pool2d(x, 2, 2, ceil_mode=True)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            slope: Tensor = torch.autograd.grad(F.max_pool2d(x, 2, 2, ceil_mode=True), x, slopes[0])[0]
        return slope


def _pooled(x: Tensor, pooling: str) -> Tensor:
    if pooling == "average":
        return F.avg_pool2d(x, 2, 2, ceil_mode=True)
    return _MaxPool.apply(x) if x.requires_grad else F.max_pool2d(x, 2, 2, ceil_mode=True)


class VGG19(nn.Module):
    """conv1_1 … conv5_1 of the normalised VGG-19."""

    conv1_1: nn.Conv2d
    conv1_2: nn.Conv2d

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for block, (convolutions, channels) in enumerate(_BLOCKS, 1):
            for i in range(1, convolutions + 1):
                self.add_module(f"conv{block}_{i}", nn.Conv2d(width, channels, 3))
                width = channels

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> VGG19:
        """An empty network, to be filled with a checkpoint's tensors."""
        return cls()

    def forward(self, image: Tensor, layers: Iterable[str] = ("relu4_1",), pooling: str = "max") -> dict[str, Tensor]:
        """Activations of the named layers, computed no deeper than the deepest of them.

        Args:
            image: (B, 3, H, W) float32, sRGB in [0, 1]; H and W at least 2, and 16 to reach relu4_1.
            layers: names from :data:`LAYERS`.
            pooling: "max" as in VGG and AdaIN, or "average" as Gatys et al. 2016 (section 2) prefer for synthesis.

        Returns:
            name -> (B, C, ceil(H / stride), ceil(W / stride)) in the dtype of the weights.
        """
        wanted = set(layers)
        x = centred(image, self.conv1_1.weight.dtype)
        found: dict[str, Tensor] = {}
        layers_left = LAYERS
        if not wanted.intersection(LAYERS[:2]) and len(bands(x, 1)) > 1:
            x, layers_left = self._first_block(x, pooling), LAYERS[2:]
        for name in layers_left:
            block, i = name.removeprefix("relu").split("_")
            if i == "1" and block != "1" and name != layers_left[0]:
                x = _pooled(x, pooling)
            x = reflected(x)  # assigned on its own: frees the unpadded x
            layer: nn.Conv2d = getattr(self, f"conv{block}_{i}")
            x = convolution(layer, x)
            if name in wanted:
                found[name] = x
                if len(found) == len(wanted):
                    break
        return found

    def _first_block(self, x: Tensor, pooling: str) -> Tensor:
        """The layers at full size and the pooling behind them, band by band: (B, 3, H, W) -> (B, 64, ⌈H/2⌉, ⌈W/2⌉)."""
        height = x.shape[2]
        found = []
        for start, end in bands(x[:, :, ::2], 2):
            first, last = 2 * start, min(2 * end, height)
            rows = first == 0, last == height
            band = x[:, :, max(0, first - 2) : last + 2]  # each convolution takes a row above and below
            for layer in (self.conv1_1, self.conv1_2):
                band = convolution(layer, reflected(band, rows))
            found.append(_pooled(band, pooling))
        return torch.cat(found, 2)


def centred(image: Tensor, dtype: torch.dtype) -> Tensor:
    """The picture without the mean of the training set, as conv1_1 takes it: (B, 3, H, W), channels last."""
    # Before the cast: bf16 has 8 bits, and keeps more of a pixel near 0 than near 0.5.
    x = (image - image.new_tensor(_MEAN).view(1, 3, 1, 1)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)
