"""SANet: style-attentional networks at relu4_1 and relu5_1 (Park and Lee, CVPR 2019), with the published layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.attention import positions
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.statistics import mean_and_deviation, moments, normalised
from quantart_cli.nets.vgg import VGG19

_ROWS = 1024  # queries at a time: devices without a fused kernel store their similarities to all positions of the style
# Indices in the published decoder, a Sequential, by our names.
_DECODER = {
    "conv4_1": 1, "conv3_4": 5, "conv3_3": 8, "conv3_2": 11, "conv3_1": 14, "conv2_2": 18, "conv2_1": 21,
    "conv1_2": 25, "conv1_1": 28,
}  # fmt: skip


class Attention(nn.Module):
    """One style-attentional network (section 3.2): F_cs = out(Σ_j softmax_j(f(F̄_c)_i · g(F̄_s)_j) h(F_s)_j) + F_c.

    The scalar products are not divided by the root of the width. Keys and values of the style are computed once, by
    :meth:`keys_and_values`.
    """

    def __init__(self, channels: int = 512) -> None:
        super().__init__()
        self.f = nn.Conv2d(channels, channels, 1)
        self.g = nn.Conv2d(channels, channels, 1)
        self.h = nn.Conv2d(channels, channels, 1)
        self.out_conv = nn.Conv2d(channels, channels, 1)

    def keys_and_values(self, z: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """g(F̄_s) and h(F_s) of maps (B, C, h, w), with their moments, (C,) or (B, C, 1, 1) each."""
        return self.g(normalised(z, mean, std)), self.h(z)

    def forward(self, z: Tensor, mean: Tensor, std: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """F_cs, (B, C, h, w), of the content's z, its moments, and the style's keys and values, (B, C, hs, ws) each."""
        queries, k, v = (positions(each.float()) for each in (self.f(normalised(z, mean, std)), keys, values))
        seen = [F.scaled_dot_product_attention(rows, k, v, scale=1.0) for rows in torch.split(queries, _ROWS, dim=2)]
        found: Tensor = self.out_conv(torch.cat(seen, 2)[:, 0].transpose(1, 2).reshape(z.shape)) + z
        return found


class Transform(nn.Module):
    """Both attentions, merged: 3×3 convolution of F_cs of relu4_1 plus the enlarged F_cs of relu5_1."""

    def __init__(self) -> None:
        super().__init__()
        self.sanet4_1 = Attention()
        self.sanet5_1 = Attention()
        self.merge_conv = nn.Conv2d(512, 512, 3)

    def merge(self, f4: Tensor, f5: Tensor) -> Tensor:
        """(B, 512, h, w) and (B, 512, h / 2, w / 2) -> (B, 512, h, w)."""
        merged = f4 + F.interpolate(f5, scale_factor=2, mode="nearest")
        found: Tensor = self.merge_conv(F.pad(merged, (1, 1, 1, 1), mode="reflect"))
        return found


class SANet(nn.Module):
    """The trained networks: ``transform`` and ``decoder``."""

    kind = "sanet"

    def __init__(self) -> None:
        super().__init__()
        self.transform = Transform()
        self.decoder = Decoder()

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> SANet:
        """An empty network, to be filled with a checkpoint's tensors."""
        return cls()

    def forward(self, content: Mapping[str, Tensor], style: Mapping[str, Tensor]) -> Tensor:
        """Whole pictures at once, as they are trained.

        Args:
            content, style: relu4_1 and relu5_1 by name, (B, 512, h, w) each, even h and w at relu4_1.

        Returns:
            (B, 3, H, W) float32 in about [0, 1].
        """
        seen = []
        for layer, attention in (("relu4_1", self.transform.sanet4_1), ("relu5_1", self.transform.sanet5_1)):
            z, s = content[layer].float(), style[layer].float()
            found: Tensor = attention(z, *mean_and_deviation(z), *attention.keys_and_values(s, *mean_and_deviation(s)))
            seen.append(found)
        image: Tensor = self.decoder(self.transform.merge(*seen))
        return image


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the two published files, in one or each by itself, by the names of :class:`SANet`.

    The transformer has names such as ``sanet4_1.f.weight``, the decoder indices such as ``1.weight``. Tensors of other
    names keep theirs; loading then refuses them.
    """
    theirs = {f"{i}.{part}": f"decoder.{name}.{part}" for name, i in _DECODER.items() for part in ("weight", "bias")}
    for name in state:
        if name.startswith(("sanet4_1.", "sanet5_1.", "merge_conv.")):
            theirs[name] = f"transform.{name}"
    return {theirs.get(name, name): value for name, value in state.items()}


# Stages; see methods/sanet.py.


class TwoLevelEncoder(nn.Module):
    """relu4_1 and relu5_1, and their moments."""

    parts: ClassVar = {"vgg": VGG19}

    def __init__(self, vgg: VGG19) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode a tile.

        Args:
            image: (1, 3, H, W) float32 in [0, 1], H and W multiples of 16.
            weight: (1, 1, h, w) at relu4_1, how much each position counts in the moments.

        Returns:
            z4 (1, 512, h, w) and z5 (1, 512, h / 2, w / 2), and the moments of each, (3, 512) float32.
        """
        found = self.vgg(image, ("relu4_1", "relu5_1"))
        z4, z5 = found["relu4_1"], found["relu5_1"]
        return z4, z5, moments(z4, weight), moments(z5, F.avg_pool2d(weight, 2))


class KeysAndValues(nn.Module):
    """What both attentions need of a style."""

    parts: ClassVar = {"sanet": SANet}

    def __init__(self, sanet: SANet) -> None:
        super().__init__()
        self.transform = sanet.transform

    def forward(self, z4: Tensor, z5: Tensor, *stats: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of relu4_1, (1, 512, h, w) each, and of relu5_1, (1, 512, h / 2, w / 2) each.

        Args:
            stats: mean and deviation of the whole z4, then of z5, (512,) each.
        """
        four = self.transform.sanet4_1.keys_and_values(z4.float(), *stats[:2])
        return *four, *self.transform.sanet5_1.keys_and_values(z5.float(), *stats[2:])


class Transfer(KeysAndValues):
    """The transformed features of a content."""

    def forward(self, z4: Tensor, z5: Tensor, *others: Tensor) -> tuple[Tensor]:
        """F_csc of a tile, (1, 512, h, w) float32.

        Args:
            others: keys and values of relu4_1 of the whole style, then of relu5_1; then mean and deviation of the whole
                content's z4, and of z5.
        """
        keys4, values4, keys5, values5, mean4, std4, mean5, std5 = others
        f4 = self.transform.sanet4_1(z4.float(), mean4, std4, keys4, values4)
        f5 = self.transform.sanet5_1(z5.float(), mean5, std5, keys5, values5)
        return (self.transform.merge(f4, f5),)


class SANetDecoder(nn.Module):
    """The decoder of transformed features."""

    parts: ClassVar = {"sanet": SANet}

    def __init__(self, sanet: SANet) -> None:
        super().__init__()
        self.decoder = sanet.decoder

    def forward(self, z: Tensor) -> tuple[Tensor]:
        """(1, 512, h, w) -> (1, 3, 8h, 8w) float32."""
        return (self.decoder(z),)
