"""SANet and AdaAttN from scratch: the attentions and the decoder, on a frozen VGG-19.

E_i are its layers relu1_1 … relu5_1, c and s content and style, I_cs the picture, bars for normalised by channel:

    SANet (Park and Lee 2019, section 3.3)
    content     Σ |Ē_i(I_cs) - Ē_i(c)|²                      relu4_1 and relu5_1
    style       Σ |μ(E_i(I_cs)) - μ(E_i(s))|² + |σ - σ|²     all layers
    pixels      |I_cc - c|² + |I_ss - s|²                    identity 1
    features    Σ |E_i(I_cc) - E_i(c)|² + …                  identity 2, all layers

    AdaAttN (Liu et al. 2021, section 3.3)
    global      as style, relu2_1 … relu5_1                  equation 7
    local       Σ |E_i(I_cs) - AdaAttN*(c, s)|²              equation 8, the same layers

AdaAttN* is the attention without f, g and h: of the features themselves. Losses are means of squares, and weights and
schedules are those of the authors' programs. SANet's program has 50 for the pixels and 1 for the features; the paper
has them the other way round. Departures: crops are flipped at random, gradients longer than 1e5 are clipped, and
AdaAttN's first weights are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.adaattn import AdaAttNNetworks, adapted, keys_of, softmax_statistics
from quantart_cli.nets.attention import positions
from quantart_cli.nets.sanet import SANet
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, backward, check_finite, random_numbers
from quantart_cli.training.losses import moments, standardise, style_loss
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import AdaAttNOptions, AttentionOptions, SANetOptions, check_crop
from quantart_cli.training.pictures import PAINTINGS, PHOTOGRAPHS, Crops, PictureSet

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_SAMPLES = 4096  # positions of the style in the local loss, as in the authors' program
_CONSTANT = 0.4  # share of AdaAttN's updates before its rate falls: two epochs of five
Features = Mapping[str, Tensor]
Options = TypeVar("Options", bound=AttentionOptions)


def attention_training(options: AttentionOptions, vgg: VGG19) -> Training:
    """The training of SANet or AdaAttN, by the class of the options, to a float32 file of that kind.

    It takes the folders "photographs" and "paintings".

    Args:
        options: of the training.
        vgg: the encoder, on the device and in the precision to use; it stays as it is.
    """
    check_crop(options.crop, 16, options.short_side)
    made: type[AttentionTraining[Any]] = SANetTraining if isinstance(options, SANetOptions) else AdaAttNTraining
    return Training(
        made.network_class.kind,
        lambda pictures, shown: made(vgg, pictures, shown, options),
        identity(device_and_dtype(vgg)[1]),
    )


class AttentionTraining(Trainable, Generic[Options]):
    """The networks and one update of them; ``pictures`` and ``shown`` have "photographs" and "paintings".

    Attributes:
        network_class: what is trained; it maps features of content and style by layer to a picture.
    """

    network_class: ClassVar[type[Any]]

    def __init__(
        self, vgg: VGG19, pictures: Mapping[str, PictureSet], shown: Mapping[str, Tensor], options: Options
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, dtype = device_and_dtype(vgg)
        with random_numbers(options.seed, 0):
            network: nn.Module = self.network_class()
        network.to(self.device).to(memory_format=torch.channels_last)
        # Attention in float32: its scalar products are too large for 8 bits. The decoder is what takes time.
        others = tuple(f"{name}." for name, _ in network.named_children() if name != "decoder")
        self.network = MixedPrecisionOptimizer(network, dtype, options.rate, float32=others)
        self.parts = {"network": self.network}
        share, both = options.crop / options.short_side, (pictures[PHOTOGRAPHS], pictures[PAINTINGS])
        self.crops = Crops(both, options, self.device, (share, share))

    def losses(self, content: Tensor, style: Tensor, c: Features, s: Features) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            content, style: (B, 3, H, W) float32 in [0, 1].
            c, s: features of both by layer.
        """
        raise NotImplementedError

    def rate(self, number: int) -> float:
        """Learning rate of an update, counted from 0."""
        raise NotImplementedError

    def update(self, number: int) -> dict[str, float]:
        content, style = self.crops[number]
        with random_numbers(self.options.seed, number + 1):
            c, s = self.features(content), self.features(style)
            self.network.zero_grad()
            values = backward(self.losses(content, style, c, s))
        values["gradient"] = self.network.clip_gradient()
        check_finite(values)
        self.network.step(number, self.rate(number))
        return values

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Features:
        """relu1_1 … relu5_1, without gradients."""
        found: Features = self.vgg(pictures, _LAYERS)
        return found

    def model(self) -> Mapping[str, Tensor]:
        return self.network.network.state_dict()

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style and result."""
        rows = []
        for content, style in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            c, s = (self.features(each[None].to(self.device)) for each in (content, style))
            rows.append([content, style, self.network(c, s)[0]])
        return rows


class SANetTraining(AttentionTraining[SANetOptions]):
    """SANet."""

    network_class = SANet

    def rate(self, number: int) -> float:
        return self.options.rate / (1 + self.options.rate_decay * number)

    def losses(self, content: Tensor, style: Tensor, c: Features, s: Features) -> dict[str, Tensor]:
        o, output = self.options, self.vgg(self.network(c, s), _LAYERS)
        shape = [F.mse_loss(standardise(output[layer]), standardise(c[layer])) for layer in _LAYERS[3:]]
        own, theirs = self.reconstruction(content, c), self.reconstruction(style, s)
        return {
            "content": o.content_weight * torch.stack(shape).sum(),
            "style": o.style_weight * style_loss(output, {layer: moments(s[layer]) for layer in _LAYERS}),
            "pixels": o.pixel_weight * (own[0] + theirs[0]),
            "features": o.feature_weight * (own[1] + theirs[1]),
        }

    def reconstruction(self, pictures: Tensor, features: Features) -> tuple[Tensor, Tensor]:
        """Differences of pictures painted in their own style, in pixels and in features."""
        image = self.network(features, features)
        output = self.vgg(image, _LAYERS)
        off = [F.mse_loss(output[layer].float(), features[layer].float()) for layer in _LAYERS]
        return F.mse_loss(image, pictures), torch.stack(off).sum()


class AdaAttNTraining(AttentionTraining[AdaAttNOptions]):
    """AdaAttN."""

    network_class = AdaAttNNetworks

    def rate(self, number: int) -> float:
        left = 1 - number / self.options.steps
        return self.options.rate * min(1.0, max(0.0, left / (1 - _CONSTANT)))

    def losses(self, content: Tensor, style: Tensor, c: Features, s: Features) -> dict[str, Tensor]:
        o, output = self.options, self.vgg(self.network(c, s), _LAYERS)
        layers = _LAYERS[1:]
        off = [F.mse_loss(output[layer].float(), attended(c, s, layer)) for layer in layers]
        return {
            "global": o.global_weight * style_loss(output, {layer: moments(s[layer]) for layer in layers}),
            "local": o.local_weight * torch.stack(off).sum(),
        }


@torch.no_grad()
def attended(c: Features, s: Features, layer: str) -> Tensor:
    """AdaAttN*, (B, C, h, w) float32. Uses torch's global generator where the style has many positions."""
    queries, keys = (positions(standardise(keys_of(each, layer).float()))[:, 0] for each in (c, s))
    values = positions(s[layer].float())[:, 0]
    if keys.shape[1] > _SAMPLES:
        chosen = torch.randperm(keys.shape[1])[:_SAMPLES].to(keys.device)
        keys, values = keys[:, chosen], values[:, chosen]
    return adapted(standardise(c[layer].float()), softmax_statistics(queries, keys, values))
