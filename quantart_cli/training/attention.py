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

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.adaattn import AdaAttNNetworks, adapted, keys_of, softmax_statistics
from quantart_cli.nets.attention import positions
from quantart_cli.nets.sanet import SANet
from quantart_cli.training.losses import moments, standardise, style_loss
from quantart_cli.training.options import AdaAttNOptions, PairOptions, SANetOptions
from quantart_cli.training.pairs import Features, PairTraining

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_SAMPLES = 4096  # positions of the style in the local loss, as in the authors' program
_CONSTANT = 0.4  # share of AdaAttN's updates before its rate falls: two epochs of five
Options = TypeVar("Options", bound=PairOptions)


class AttentionTraining(PairTraining[Options]):
    """Attention is computed in float32: its scalar products are too large for 8 bits. The decoder takes the time."""

    layers = _LAYERS

    def in_float32(self, network: nn.Module) -> tuple[str, ...]:
        return tuple(f"{name}." for name, _ in network.named_children() if name != "decoder")


class SANetTraining(AttentionTraining[SANetOptions]):
    """SANet."""

    kind = SANet.kind
    network_class = SANet

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

    kind = AdaAttNNetworks.kind
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
