"""WCT2: VGG-19 with Haar wavelet pooling, and a decoder with unpooling (Yoo et al., ICCV 2019).

Pooling splits a map into four bands of half its size; unpooling puts them together exactly. So the decoder is given the
detail of the picture in the three high bands, and need not invent it. There are two forms of unpooling (section 3.2):
"sum" adds the four bands, "cat5" concatenates them and the map before pooling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.cpu import convolution
from quantart_cli.nets.statistics import products
from quantart_cli.nets.vgg import VGG19, centred

# name -> input and output channels; the decoder's convolutions of these names go the other way
_LAYERS = {
    "conv1_1": (3, 64), "conv1_2": (64, 64), "conv2_1": (64, 128), "conv2_2": (128, 128), "conv3_1": (128, 256),
    "conv3_2": (256, 256), "conv3_3": (256, 256), "conv3_4": (256, 256), "conv4_1": (256, 512),
}  # fmt: skip
_AFTER_UNPOOLING = ("conv3_4", "conv2_2", "conv1_2")
_BETWEEN = {1: ("conv1_2",), 2: ("conv2_2",), 3: ("conv3_2", "conv3_3", "conv3_4")}  # behind conv{n}_1, before pooling


def pool(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four Haar bands LL, LH, HL and HH of a map: (B, C, h, w), h and w even -> (B, C, h / 2, w / 2) each."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return (a + b + c + d) / 2, (b - a + d - c) / 2, (c + d - a - b) / 2, (a - b - c + d) / 2


def unpool(ll: Tensor, lh: Tensor, hl: Tensor, hh: Tensor) -> Tensor:
    """The map of four bands: the inverse of :func:`pool`."""
    corners = ll - lh - hl + hh, ll + lh - hl - hh, ll - lh + hl - hh, ll + lh + hl + hh
    return F.pixel_shuffle(torch.stack(corners, 2).flatten(1, 2) / 2, 2)


def unpool_each(*bands: Tensor) -> Tensor:
    """The four bands, each unpooled without the others: (B, C, h, w) each -> (B, 4C, 2h, 2w)."""
    zero = torch.zeros_like(bands[0])
    return torch.cat([unpool(*(band if i == j else zero for j, band in enumerate(bands))) for i in range(4)], 1)


def convolve(network: nn.Module, x: Tensor, *names: str, relu: bool = True) -> Tensor:
    """The 3×3 convolutions of these names one after the other, each with reflection padding and a ReLU."""
    for name in names:
        layer: nn.Conv2d = getattr(network, name)
        x = F.pad(x.to(layer.weight.dtype), (1, 1, 1, 1), mode="reflect")
        x = convolution(layer, x.contiguous(memory_format=torch.channels_last), relu)
    return x


class Encoder(nn.Module):
    """conv1_1 … conv4_1 of a model that does not use the VGG-19 of quantart."""

    def __init__(self) -> None:
        super().__init__()
        for name, (fan_in, fan_out) in _LAYERS.items():
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3))


class Decoder(nn.Module):
    """The encoder in a mirror, from relu4_1 or, with ``depth`` 3, from relu3_1. ``cat5`` is its form of unpooling."""

    def __init__(self, cat5: bool = False, depth: int = 4) -> None:
        super().__init__()
        self.cat5 = cat5
        for name, (fan_out, fan_in) in _LAYERS.items():
            if name > f"conv{depth}_1":
                break
            self.add_module(name, nn.Conv2d(fan_in * (5 if cat5 and name in _AFTER_UNPOOLING else 1), fan_out, 3))

    def level(self, level: int, z: Tensor, lh: Tensor, hl: Tensor, hh: Tensor, full: Tensor | None = None) -> Tensor:
        """Decode one level.

        Args:
            level: 4, 3 or 2, at most the depth.
            lh, hl, hh: the high bands of the pooling before it.
            full: the map before that pooling; cat5 only.

        Returns:
            the features of the level below, of twice the size.
        """
        ll = convolve(self, z, f"conv{level}_1")
        if self.cat5:
            assert full is not None
            x = torch.cat([unpool_each(ll, lh, hl, hh), full], 1)
        else:
            x = unpool(ll, lh, hl, hh)
        return convolve(self, x, *reversed(_BETWEEN[level - 1]))


class WCT2(nn.Module):
    """The decoder, and the encoder if the model file brings its own."""

    kind = "wct2"

    def __init__(self, cat5: bool = False, depth: int = 4, own_encoder: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder() if own_encoder else None
        self.decoder = Decoder(cat5, depth)

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> WCT2:
        """An empty network, to be filled with a checkpoint's tensors."""
        after = tensors.get("decoder.conv1_2.weight")
        cat5 = after is not None and after.ndim == 4 and after.shape[1] > 64
        own_encoder = any(name.startswith("encoder.") for name in tensors)
        return cls(cat5, 4 if own_encoder or "decoder.conv4_1.weight" in tensors else 3, own_encoder)


_HAAR = {
    "LL": (0.5, 0.5, 0.5, 0.5),
    "LH": (-0.5, 0.5, -0.5, 0.5),
    "HL": (-0.5, -0.5, 0.5, 0.5),
    "HH": (0.5, -0.5, -0.5, 0.5),
}
_HAAR_KERNEL = re.compile(r"(?:pool|recon_block)[123]\.(LL|LH|HL|HH)\.weight")
_COLOURS = (-103.939, -116.779, -123.68)  # bias of conv0


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the two published files by the names of :class:`WCT2`.

    Both files have convolutions of the same names, so the names here begin with the file's and a colon. Tensors that
    belong to neither network are refused when the network is filled.

    Raises:
        KeyError: one of the two files is missing.
        ValueError: a kernel of pooling or unpooling is not Haar's, or conv0 does not centre the picture.
    """
    files: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        file, _, own = name.rpartition(":")
        files.setdefault(file, {})[own] = value
    encoders = [tensors for tensors in files.values() if "conv0.weight" in tensors]
    decoders = [tensors for tensors in files.values() if "conv0.weight" not in tensors]
    if not (encoders and decoders):
        raise KeyError("recon_block1.LL.weight" if encoders else "conv0.weight")
    found = {f"encoder.{name}": value for each in encoders for name, value in _without_colours(each).items()}
    for each in decoders:
        for name, value in _convolutions(each).items():
            found["decoder." + re.sub(r"^(conv\d_\d)_2\.", r"\1.", name)] = value  # conv3_4_2 is the conv3_4 of cat5
    return found


def _convolutions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors but the Haar kernels, which are checked."""
    found = {}
    for name, value in tensors.items():
        if haar := _HAAR_KERNEL.fullmatch(name):
            if not (value.flatten(1) == value.new_tensor(_HAAR[haar[1]])).all():
                raise ValueError(f"{name} is not a Haar kernel")
        else:
            found[name] = value
    return found


def _without_colours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's convolutions, with conv0 multiplied into conv1_1; see ``vgg19_from_published``."""
    found = _convolutions(tensors)
    to_bgr255, bias = found.pop("conv0.weight")[:, :, 0, 0], found.pop("conv0.bias")
    if not torch.allclose(bias.float(), torch.tensor(_COLOURS), atol=1e-2):
        raise ValueError("conv0.bias is not the mean of VGG's training set")
    found["conv1_1.weight"] = (found["conv1_1.weight"].movedim(1, -1) @ to_bgr255).movedim(-1, 1).contiguous()
    return found


# Stages; see methods/wct2.py.


class _Encoding(nn.Module):
    parts: ClassVar = {"vgg": VGG19, "wct2": WCT2}
    level: ClassVar[int]

    def __init__(self, vgg: VGG19, wct2: WCT2) -> None:
        super().__init__()
        self.encoder: Any = wct2.encoder or vgg
        self.cat5 = wct2.decoder.cat5


class First(_Encoding):
    """relu1_1 of a picture."""

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(1, 3, h, w) float32 in [0, 1] -> (1, 64, h, w)."""
        return (convolve(self.encoder, centred(image, self.encoder.conv1_1.weight.dtype), "conv1_1"),)


class _Next(_Encoding):
    """relu{n}_1 of the low band of the pooling before."""

    def forward(self, z: Tensor) -> tuple[Tensor]:
        return (convolve(self.encoder, z, f"conv{self.level}_1"),)


class _Pool(_Encoding):
    """The bands LL, LH, HL, HH below relu{n}_1, and with cat5 the map before pooling."""

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        full = convolve(self.encoder, z, *_BETWEEN[self.level])
        return (*pool(full), full) if self.cat5 else pool(full)


class _Decode(nn.Module):
    """One level of the decoder; see :meth:`Decoder.level`."""

    parts: ClassVar = {"wct2": WCT2}
    level: ClassVar[int]

    def __init__(self, wct2: WCT2) -> None:
        super().__init__()
        self.decoder = wct2.decoder

    def forward(self, z: Tensor, lh: Tensor, hl: Tensor, hh: Tensor, *full: Tensor) -> tuple[Tensor]:
        return (self.decoder.level(self.level, z, lh, hl, hh, *full),)


class Pool1(_Pool):
    level = 1


class Pool2(_Pool):
    level = 2


class Pool3(_Pool):
    level = 3


class Next2(_Next):
    level = 2


class Next3(_Next):
    level = 3


class Next4(_Next):
    level = 4


class Decode4(_Decode):
    level = 4


class Decode3(_Decode):
    level = 3


class Decode2(_Decode):
    level = 2


class Last(_Decode):
    """The picture."""

    def forward(self, z: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """(1, 64, h, w) -> (1, 3, h, w) float32, about [0, 1]."""
        return (convolve(self.decoder, z, "conv1_1", relu=False).float(),)


class Measured(nn.Module):
    """What the covariance of a map is summed from."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, z: Tensor, weight: Tensor) -> tuple[Tensor]:
        """(1, C, h, w), (1, 1, h, w) -> (2 + C, C) float32."""
        return (products(z, weight),)


class Recoloured(nn.Module):
    """α min(max(M z + b, low), high) + (1 - α) z."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(
        self, z: Tensor, matrix: Tensor, shift: Tensor, alpha: float | Tensor, low: float | Tensor, high: float | Tensor
    ) -> tuple[Tensor]:
        """(1, C, h, w), M (C, C), b (C,) and three numbers -> (1, C, h, w) of the same type."""
        rows = (matrix @ z.flatten(2).float() + shift[:, None]).clamp(low, high).view_as(z)  # type: ignore[arg-type]
        return (torch.lerp(z.float(), rows, alpha).to(z.dtype),)
