"""AdaAttN: attention to per-position means and deviations (Liu et al., ICCV 2021), with the published layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from quantart_cli.nets.attention import positions
from quantart_cli.nets.decoder import CONVOLUTIONS, add_convolutions, mirrored
from quantart_cli.nets.statistics import mean_and_deviation, moments, normalised
from quantart_cli.nets.vgg import VGG19

_WIDTHS = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu5_1": 512}
_LAYERS = tuple(_WIDTHS)
_NUMBERS = 1 << 23  # similarities at a time: 32 MB, however many positions the style has
_COSINE_EPSILON = 1e-5

Statistics = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Mean and deviation of values (B, m, C), weighted by how keys (B, m, D) fit queries (B, n, D): 2 × (B, n, C)."""


def key_width(layer: str) -> int:
    """Channels of :func:`keys_of`."""
    return sum(_WIDTHS[name] for name in _LAYERS[: _LAYERS.index(layer) + 1])


def keys_of(features: Mapping[str, Tensor], layer: str) -> Tensor:
    """Features of a layer and of all shallower ones at its positions, shallow to deep: (B, key_width(layer), h, w).

    Shallower layers are resized to its grid by the nearest neighbour (section 3.2, F^1:x without the normalisation).
    """
    size = features[layer].shape[2:]
    seen = _LAYERS[: _LAYERS.index(layer) + 1]
    return torch.cat([F.interpolate(features[name], size, mode="nearest") for name in seen], 1)


def softmax_statistics(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Of softmax attention (equations 3 and 4); scalar products are not divided by the root of the width.

    The deviation is √(E[v²] - E[v]²). Nearly all weight is often on one position, and this difference is lost in
    rounding. So both are taken about the value at the position of the largest weight.
    """
    both = torch.cat([values, values.square()], 2)
    parts = queries.split(max(1, _NUMBERS // (keys.shape[1] * len(keys))), 1)
    if torch.is_grad_enabled():  # computed again in the backward pass, or all similarities would be stored
        found = [checkpoint(_softmax_rows, part, keys, values, both, use_reentrant=False) for part in parts]
    else:
        found = [_softmax_rows(part, keys, values, both) for part in parts]
    mean, deviation = (torch.cat(each, 1) for each in zip(*found, strict=True))
    return mean, deviation


def _softmax_rows(queries: Tensor, keys: Tensor, values: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """The same for some queries; ``both`` has the values and their squares, (B, m, 2C)."""
    scores = queries @ keys.mT  # (B, n, m)
    largest, place = scores.max(2, keepdim=True)
    rest = (scores - largest).exp().scatter(2, place, 0.0)  # weights of all others, relative to the largest
    share = rest.sum(2, keepdim=True)
    of_rest, squares_of_rest = (rest @ both / (1 + share)).chunk(2, 2)
    share = share / (1 + share)
    centre = values.gather(1, place.expand(-1, -1, values.shape[2]))  # v*, (B, n, C)
    off = of_rest - share * centre  # E[v - v*]
    squares = squares_of_rest - 2 * centre * of_rest + share * centre.square()  # E[(v - v*)²]
    return centre + off, F.relu(squares - off.square()).sqrt()


def cosine_statistics(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Of cosine attention, weights (1 + cos(q, k)) / Σ (1 + cos(q, k)) (section 3.4).

    They are linear in the key, so sums over the style's positions are taken first: time and memory do not grow with
    the product of both pictures' positions.
    """
    q, k = (each / (each.norm(dim=2, keepdim=True) + _COSINE_EPSILON) for each in (queries, keys))
    both = torch.cat([values, values.square()], 2)
    total = keys.shape[1] + q @ k.sum(1)[:, :, None] + _COSINE_EPSILON  # (B, n, 1)
    mean, squares = ((both.sum(1, keepdim=True) + q @ (k.mT @ both)) / total).chunk(2, 2)
    return mean, F.relu(squares - mean.square()).sqrt()


def adapted(z: Tensor, found: tuple[Tensor, Tensor]) -> Tensor:
    """S ⊙ z̄ + M (equation 5), (B, C, h, w).

    Args:
        z: z̄, normalised features of the content, (B, C, h, w).
        found: M and S by position, (B, h·w, C) each.
    """
    mean, deviation = (each.transpose(1, 2).reshape(z.shape) for each in found)
    return deviation * z + mean


class AdaAttN(nn.Module):
    """One attention (section 3.2): S ⊙ F̄_c + M, with M and S those of h(F_s) by attention of f(c̄) to g(s̄).

    c̄ and s̄ are the keys of a layer (:func:`keys_of`), F its own features; bars are for normalised channel by channel.
    Keys and values of the style are computed once, by :meth:`keys_and_values`.

    Args:
        layer: relu3_1, relu4_1 or relu5_1.
        statistics: :func:`softmax_statistics` or :func:`cosine_statistics`.
    """

    def __init__(self, layer: str, statistics: Statistics = softmax_statistics) -> None:
        super().__init__()
        self.channels, width = _WIDTHS[layer], key_width(layer)
        self.f = nn.Conv2d(width, width, 1)
        self.g = nn.Conv2d(width, width, 1)
        self.h = nn.Conv2d(self.channels, self.channels, 1)
        self._statistics = statistics

    def keys_and_values(self, k: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """g(s̄) and h(F_s) of keys (B, D, h, w), with their moments, (D,) or (B, D, 1, 1) each."""
        return self.g(normalised(k, mean, std)), self.h(k[:, -self.channels :].float())

    def forward(self, k: Tensor, mean: Tensor, std: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """S ⊙ F̄_c + M, (B, C, h, w), of the content's keys, their moments, and the style's keys and values."""
        k = normalised(k, mean, std)
        queries, keys, values = (positions(each.float())[:, 0] for each in (self.f(k), keys, values))
        return adapted(k[:, -self.channels :], self._statistics(queries, keys, values))


class SkipDecoder(nn.Module):
    """Features at relu4_1 and relu3_1 back to a picture."""

    def __init__(self) -> None:
        super().__init__()
        first, second, *rest = CONVOLUTIONS
        add_convolutions(self, [first, (second[0], 2 * second[1], second[2]), *rest])

    def forward(self, z: Tensor, z3: Tensor) -> Tensor:
        """(B, 512, h, w) and (B, 256, 2h, 2w) -> (B, 3, 8h, 8w) float32 in about [0, 1], not clamped."""
        names = [name for name, _, _ in CONVOLUTIONS]
        x = mirrored(self, z, names[:1])
        return mirrored(self, torch.cat([x, z3.to(x.dtype)], 1), names[1:]).float()


class VideoDecoder(nn.Module):
    """Features at relu3_1 back to a picture."""

    def __init__(self) -> None:
        super().__init__()
        add_convolutions(self, CONVOLUTIONS[1:])

    def forward(self, z3: Tensor) -> Tensor:
        """(B, 256, h, w) -> (B, 3, 4h, 4w) float32 in about [0, 1], not clamped."""
        return mirrored(self, z3, [name for name, _, _ in CONVOLUTIONS[1:]]).float()


class AdaAttNNetworks(nn.Module):
    """The trained networks: three attentions, what merges those of relu4_1 and relu5_1, and the decoder."""

    kind = "adaattn"
    layers: ClassVar[tuple[str, ...]] = _LAYERS[2:]

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({layer: AdaAttN(layer) for layer in self.layers})
        self.merge_conv = nn.Conv2d(512, 512, 3)
        self.decoder = SkipDecoder()

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> AdaAttNNetworks:
        """An empty network, to be filled with a checkpoint's tensors."""
        return cls()

    def merge(self, z4: Tensor, z5: Tensor) -> Tensor:
        """3×3 convolution of the sum: (B, 512, h, w) and (B, 512, h / 2, w / 2) -> (B, 512, h, w)."""
        merged = z4 + F.interpolate(z5, scale_factor=2, mode="nearest")
        found: Tensor = self.merge_conv(F.pad(merged, (1, 1, 1, 1), mode="reflect"))
        return found

    def forward(self, content: Mapping[str, Tensor], style: Mapping[str, Tensor]) -> Tensor:
        """Whole pictures at once, as they are trained.

        Args:
            content, style: relu1_1 … relu5_1 by name, (B, C, h, w) each; of the content, even h and w at relu4_1.

        Returns:
            (B, 3, H, W) float32 in about [0, 1].
        """
        z3, z4, z5 = (_whole(self.attention[layer], content, style, layer) for layer in self.layers)
        image: Tensor = self.decoder(self.merge(z4, z5), z3)
        return image


class VideoNetworks(nn.Module):
    """The trained networks of the form for video: cosine attention at relu3_1, and the decoder."""

    kind = "adaattn-video"
    layers: ClassVar[tuple[str, ...]] = ("relu3_1",)

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"relu3_1": AdaAttN("relu3_1", cosine_statistics)})
        self.decoder = VideoDecoder()

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> VideoNetworks:
        """An empty network, to be filled with a checkpoint's tensors."""
        return cls()

    def forward(self, content: Mapping[str, Tensor], style: Mapping[str, Tensor]) -> Tensor:
        """Whole pictures at once: relu1_1 … relu3_1 by name, (B, C, h, w) each -> (B, 3, H, W) float32."""
        image: Tensor = self.decoder(_whole(self.attention["relu3_1"], content, style, "relu3_1"))
        return image


def _whole(attention: nn.Module, content: Mapping[str, Tensor], style: Mapping[str, Tensor], layer: str) -> Tensor:
    """One attention of whole pictures."""
    assert isinstance(attention, AdaAttN)
    c, s = keys_of(content, layer), keys_of(style, layer)
    found: Tensor = attention(c, *mean_and_deviation(c), *attention.keys_and_values(s, *mean_and_deviation(s)))
    return found


# Published layouts.

_PUBLISHED = {
    "f": "attention.relu3_1.f",
    "g": "attention.relu3_1.g",
    "h": "attention.relu3_1.h",
    **{f"attn_adain_{i}_1.{part}": f"attention.relu{i}_1.{part}" for i in (4, 5) for part in "fgh"},
    "merge_conv": "merge_conv",
    "decoder_layer_1.1": "decoder.conv4_1",
}
_INDICES = (1, 4, 7, 10, 14, 17, 21, 24)  # of the convolutions after conv4_1, in the published Sequential
for _i, (_name, _, _) in zip(_INDICES, CONVOLUTIONS[1:], strict=True):
    _PUBLISHED[f"decoder_layer_2.{_i}"] = _PUBLISHED[f"decoder.{_i}"] = f"decoder.{_name}"


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the published files, in one or each by itself, by the names of the networks here.

    Three files: ``adaattn_3``, ``transformer`` and ``decoder``; two of the form for video. Names may begin with
    ``module.``. Tensors of other names keep theirs; loading then refuses them.
    """
    found = {}
    for name, value in state.items():
        layer, _, part = name.removeprefix("module.").rpartition(".")
        found[f"{_PUBLISHED[layer]}.{part}" if layer in _PUBLISHED else name] = value
    return found


# Stages; see methods/adaattn.py.


class KeyEncoder(nn.Module):
    """Keys of a picture at relu3_1, relu4_1 and relu5_1, and their moments."""

    parts: ClassVar = {"vgg": VGG19}
    layers: ClassVar[tuple[str, ...]] = AdaAttNNetworks.layers

    def __init__(self, vgg: VGG19) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Encode a tile.

        Args:
            image: (1, 3, H, W) float32 in [0, 1], H and W multiples of the stride of the deepest layer.
            weight: (1, 1, h, w) at relu3_1, how much each position counts in the moments.

        Returns:
            keys (1, D, h, w) of each layer, and then the moments of each, (3, D) float32.
        """
        features = self.vgg(image, _LAYERS[: _LAYERS.index(self.layers[-1]) + 1])
        found = [keys_of(features, layer) for layer in self.layers]
        return *found, *(moments(k, F.avg_pool2d(weight, 1 << i)) for i, k in enumerate(found))


class VideoKeyEncoder(KeyEncoder):
    """Keys at relu3_1 alone."""

    layers = VideoNetworks.layers


class KeysAndValues(nn.Module):
    """What the attentions need of a style."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {"adaattn": AdaAttNNetworks}

    def __init__(self, adaattn: AdaAttNNetworks | VideoNetworks) -> None:
        super().__init__()
        self.networks = adaattn
        self.attentions: list[Any] = [adaattn.attention[layer] for layer in adaattn.layers]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of each layer, (1, D, h, w) and (1, C, h, w).

        Args:
            inputs: keys of a tile, one map a layer; then mean and deviation, (D,) each, of each layer of the whole.
        """
        n = len(self.attentions)
        found: list[Tensor] = []
        for attention, k, *stats in zip(self.attentions, inputs[:n], inputs[n::2], inputs[n + 1 :: 2], strict=True):
            found += attention.keys_and_values(k, *stats)
        return tuple(found)


class VideoKeysAndValues(KeysAndValues):
    """The same for video."""

    parts: ClassVar = {"adaattn": VideoNetworks}


class Transfer(KeysAndValues):
    """The transformed features of a content."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """At relu4_1, (1, 512, h, w), and relu3_1, (1, 256, 2h, 2w), of a tile, float32.

        Args:
            inputs: keys of a tile of the content, one map a layer; keys and values of each layer of the whole style;
                mean and deviation of each layer of the whole content.
        """
        z3, z4, z5 = self._attended(inputs)
        assert isinstance(self.networks, AdaAttNNetworks)
        return self.networks.merge(z4, z5), z3

    def _attended(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        n = len(self.attentions)
        own, others = inputs[:n], inputs[n:]
        style, stats = others[: 2 * n], others[2 * n :]
        return [
            attention(own[i], *stats[2 * i : 2 * i + 2], *style[2 * i : 2 * i + 2])
            for i, attention in enumerate(self.attentions)
        ]


class VideoTransfer(Transfer):
    """The same for video, at relu3_1 alone."""

    parts: ClassVar = {"adaattn": VideoNetworks}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """(1, 256, h, w) float32; arguments as of :meth:`Transfer.forward`."""
        return tuple(self._attended(inputs))


class Decode(nn.Module):
    """The decoder of transformed features."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {"adaattn": AdaAttNNetworks}

    def __init__(self, adaattn: AdaAttNNetworks | VideoNetworks) -> None:
        super().__init__()
        self.decoder = adaattn.decoder

    def forward(self, *z: Tensor) -> tuple[Tensor]:
        """Outputs of the transfer -> (1, 3, H, W) float32."""
        return (self.decoder(*z),)


class VideoDecode(Decode):
    """The same for video."""

    parts: ClassVar = {"adaattn": VideoNetworks}
