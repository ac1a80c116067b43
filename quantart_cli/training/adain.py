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

import torch.nn.functional as F
from torch import Tensor

from quantart_cli.nets.decoder import Decoder
from quantart_cli.training.losses import moments, renormalise, style_loss
from quantart_cli.training.options import AdaINOptions
from quantart_cli.training.pairs import Features, PairTraining


class AdaINTraining(PairTraining[AdaINOptions]):
    """The decoder."""

    kind = "adain-decoder"
    network_class = Decoder
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    multiple = 8

    def paint(self, c: Features, s: Features) -> Tensor:
        image: Tensor = self.network(self.target(c, s))
        return image

    def target(self, c: Features, s: Features) -> Tensor:
        """t, (B, 512, h, w) float32."""
        z = c["relu4_1"].float()
        return renormalise(z, moments(z), moments(s["relu4_1"]))

    def losses(self, content: Tensor, style: Tensor, c: Features, s: Features) -> dict[str, Tensor]:
        o, t = self.options, self.target(c, s)
        output = self.vgg(self.network(t), self.layers)
        wanted = {layer: moments(s[layer]) for layer in self.layers}
        return {
            "content": o.content_weight * F.mse_loss(output["relu4_1"].float(), t),
            "style": o.style_weight * style_loss(output, wanted),
        }
