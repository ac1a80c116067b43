"""The AdaIN decoder from scratch (Huang and Belongie 2017, sections 5 and 6).

    t     = AdaIN(f(c), f(s))                                                      equation 8
    L     = L_c + λ L_s                                                            equation 11
    L_c   = |f(g(t)) - t|²                                                         equation 12
    L_s   = Σ |μ(φ_i(g(t))) - μ(φ_i(s))|² + |σ(φ_i(g(t))) - σ(φ_i(s))|²            equation 13

f is VGG-19 to relu4_1, g the decoder that is trained, φ_i its layers relu1_1 … relu4_1. As in section 6.2: Adam, eight
pairs per update, random crops of 256 pixels from pictures resized to a short side of 512. Rate 1e-4 divided by
1 + n * 5e-5 at update n, λ = 10 and 160,000 updates are those of pytorch-AdaIN (train.py), the source of quantart's
weights. Departures: the losses are means of squares, as there, where the paper has norms; crops are flipped at random;
gradients longer than 1e5 are clipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, backward, check_finite, random_numbers
from quantart_cli.training.losses import Moments, moments, renormalise, style_loss
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import AdaINOptions, check_crop
from quantart_cli.training.pictures import PAINTINGS, PHOTOGRAPHS, Crops, PictureSet

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def adain_training(options: AdaINOptions, vgg: VGG19) -> Training:
    """The training of a decoder, to a float32 file of the kind ``adain-decoder``.

    It takes the folders "photographs" and "paintings".

    Args:
        options: of the training.
        vgg: the encoder, on the device and in the precision to use; it stays as it is.
    """
    check_crop(options.crop, 8, options.short_side)
    return Training(
        "adain-decoder",
        lambda pictures, shown: AdaINTraining(vgg, pictures, shown, options),
        identity(device_and_dtype(vgg)[1]),
    )


class AdaINTraining(Trainable):
    """The decoder and one update of it; ``pictures`` and ``shown`` have "photographs" and "paintings"."""

    def __init__(
        self, vgg: VGG19, pictures: Mapping[str, PictureSet], shown: Mapping[str, Tensor], options: AdaINOptions
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, dtype = device_and_dtype(vgg)
        with random_numbers(options.seed, 0):
            network = Decoder()
        network.to(self.device).to(memory_format=torch.channels_last)
        self.decoder = MixedPrecisionOptimizer(network, dtype, options.rate)
        self.parts = {"decoder": self.decoder}
        share, both = options.crop / options.short_side, (pictures[PHOTOGRAPHS], pictures[PAINTINGS])
        self.crops = Crops(both, options, self.device, (share, share))

    def update(self, number: int) -> dict[str, float]:
        o = self.options
        content, style = self.crops[number]
        t, wanted = self._target(content, style)
        output = self.vgg(self.decoder(t), _LAYERS)
        losses = {
            "content": o.content_weight * F.mse_loss(output["relu4_1"].float(), t),
            "style": o.style_weight * style_loss(output, wanted),
        }
        self.decoder.zero_grad()
        values = {**backward(losses), "gradient": self.decoder.clip_gradient()}
        check_finite(values)
        self.decoder.step(number, o.rate / (1 + o.rate_decay * number))
        return values

    @torch.no_grad()
    def _target(self, content: Tensor, style: Tensor) -> tuple[Tensor, dict[str, Moments]]:
        """t, (B, 512, h, w) float32, and the moments of every layer of the style."""
        z = self.vgg(content)["relu4_1"].float()
        wanted = {layer: moments(features) for layer, features in self.vgg(style, _LAYERS).items()}
        return renormalise(z, moments(z), wanted["relu4_1"]), wanted

    def model(self) -> Mapping[str, Tensor]:
        return self.decoder.network.state_dict()

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style and result."""
        rows = []
        for content, style in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            t, _ = self._target(content[None].to(self.device), style[None].to(self.device))
            rows.append([content, style, self.decoder(t)[0]])
        return rows
