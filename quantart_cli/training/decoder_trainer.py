"""The art autoencoder of QuantArt (Huang et al. 2023, section 3.2) on a frozen VGG-19: its decoder D̂ and its codebook.

D̂ starts as the AdaIN decoder D and learns to decode entries of the codebook, with the moments of a painting:

    ẑ = AdaIN(VQ(E(c)), E(s))        image = D_α(ẑ ⊕α AdaIN(E(c), E(s)))        D_α = D̂ ⊕α D

s is a painting. c is the same painting, to be reconstructed, or a photograph. α is 1, or at random less, to train the
range between the two decoders. Losses, in the order of their papers:

    content      mean (relu4_1(image) - AdaIN(E(c), E(s)))²            Huang and Belongie 2017, equation 12
    style        means and deviations, relu1_1 … relu4_1               equation 13
    gram         Gram matrices of the same layers                      Gatys et al. 2016, equation 4, relative
    pixel, perceptual   of reconstructed paintings                     Johnson et al. 2016; as in VQGAN
    texture      of reconstructed paintings, local moments             after Ding et al. 2020, section 3
    adversary    hinge, on patches of pixels and of VGG features       nets/discriminator.py, adversary.py

The target of the content loss is the continuous latent: D̂ restores what quantization removed. The reconstruction
losses have the largest weights by default. A picture of the AdaIN decoder differs from a painting mostly by what any
decoder makes of relu4_1, and a reconstruction shows what is missing. Texture counts most, because position-wise losses
alone blur. Large style weights give richer pictures that are further from paintings as measured by Inception.

The learning rate rises over the first updates and falls to 0 along half a cosine.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.discriminator import LAYERS as DISCRIMINATED
from quantart_cli.nets.discriminator import Discriminator
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.adversary import Adversary
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, check_finite, random_numbers
from quantart_cli.training.losses import (
    Moments,
    gram,
    gram_loss,
    moments,
    perceptual_loss,
    renormalise,
    style_loss,
    texture_loss,
)
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import AutoencoderOptions, check_crop
from quantart_cli.training.pictures import PAINTINGS, PHOTOGRAPHS, Crops, PictureSet
from quantart_cli.training.quantizer import Quantizer, perplexity

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_WINDOWS = {"relu1_1": 16, "relu2_1": 8, "relu3_1": 4}  # of 16 pixels each
_WARM_UP = 30  # updates
_BETAS, _ADVERSARY_BETAS = (0.9, 0.99), (0.5, 0.99)
_LARGEST_GRADIENT = 100.0
_LOWEST_MIXED = 0.3


def autoencoder_training(options: AutoencoderOptions, vgg: VGG19, codebook: ArtCodebook, decoder: Decoder) -> Training:
    """The training of D̂ and the codebook, to a float16 file of the kind ``quantart-vgg19``.

    It takes the folders "photographs" and "paintings".

    Args:
        vgg: the encoder, on the device and in the precision to use; it stays as it is.
        codebook: the first state, float32 on the same device; D̂ starts as its decoder, or as D if it has none.
        decoder: D, float32 on the same device; it stays as it is.
    """
    check_crop(options.crop, 8)
    return Training(
        "quantart-vgg19",
        lambda pictures, shown: DecoderTrainer(vgg, codebook, decoder, pictures, shown, options),
        identity(device_and_dtype(vgg)[1], codebook, decoder),
        half=True,
    )


class QuantizedDecoder(nn.Module):
    """D_α of codes: what is trained.

    Args:
        decoder: D̂ in its first state.
        expand: from codes to features.
        base: D, frozen.
        dtype: to decode in; the weights are interpolated in float32.
    """

    def __init__(self, decoder: Decoder, expand: nn.Linear, base: Decoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.decoder, self.expand = decoder, expand
        self._base = {name: value.detach() for name, value in base.named_parameters()}
        self._dtype = dtype

    def forward(self, codes: Tensor, z_y: Tensor, style: Moments, alpha: float) -> Tensor:
        """Decode ẑ ⊕α z_y.

        Args:
            codes: (B * h * w, D).
            z_y: (B, 512, h, w), the continuous latent.
            style: moments of ẑ.
            alpha: fidelity, 0 to 1.

        Returns:
            (B, 3, 8h, 8w) float32.
        """
        z_hat = self.expand(codes).view(len(z_y), *z_y.shape[2:], -1).movedim(-1, 1)
        z = torch.lerp(z_y, renormalise(z_hat, moments(z_hat), style), alpha)
        mixed = {n: torch.lerp(self._base[n], value, alpha) for n, value in self.decoder.named_parameters()}
        image: Tensor = functional_call(self.decoder, {n: value.to(self._dtype) for n, value in mixed.items()}, (z,))
        return image


class DecoderTrainer(Trainable):
    """D̂, the codebook, their adversary and one update of them.

    Arguments as of :func:`autoencoder_training`; ``pictures`` and ``shown`` have "photographs" and "paintings".
    """

    def __init__(
        self,
        vgg: VGG19,
        codebook: ArtCodebook,
        decoder: Decoder,
        pictures: Mapping[str, PictureSet],
        shown: Mapping[str, Tensor],
        options: AutoencoderOptions,
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, self.dtype = device_and_dtype(vgg)
        codebook = copy.deepcopy(codebook).requires_grad_(False)
        self.quantizer = Quantizer(codebook, options.codebook_decay)
        network = QuantizedDecoder(copy.deepcopy(codebook.decoder or decoder), codebook.expand, decoder, self.dtype)
        self.decoder = MixedPrecisionOptimizer(
            network, torch.float32, options.rate, _BETAS, average=options.average, largest_gradient=_LARGEST_GRADIENT
        )
        with random_numbers(options.seed, 0):
            discriminator = Discriminator().to(self.device)
        self.adversary = Adversary(
            discriminator,
            torch.float32,
            options.adversary_rate,
            _ADVERSARY_BETAS,
            options.adversary_weight,
            options.adversary_after,
        )
        self.parts = {"codebook": self.quantizer, "decoder": self.decoder, "adversary": self.adversary}
        both = pictures[PHOTOGRAPHS], pictures[PAINTINGS]
        self.crops = Crops(both, options, self.device, (options.smallest_crop, 1))

    def update(self, number: int) -> dict[str, float]:
        o = self.options
        with random_numbers(o.seed, number + 1):
            mixed = torch.rand(()).item() < o.mixed
            alpha = torch.empty(()).uniform_(_LOWEST_MIXED, 1).item() if mixed else 1.0
            photographs, paintings = self.crops[number]
            return self._update(photographs, paintings, alpha, number)

    def _update(self, photographs: Tensor, paintings: Tensor, alpha: float, number: int) -> dict[str, float]:
        count = round(self.options.reconstructions * len(paintings))  # the first ones are reconstructed
        with torch.no_grad():
            real = {"pixels": paintings, **self.vgg(paintings, LAYERS)}
            style = {layer: moments(real[layer]) for layer in LAYERS}
            stylized = [photographs[count:]] if count < len(photographs) else []
            z_c = torch.cat([real["relu4_1"][:count], *(self.vgg(each)["relu4_1"] for each in stylized)])
            own = moments(z_c)
            z_y = renormalise(z_c.float(), own, style["relu4_1"])
            _, indices = self.quantizer.quantize(z_c, own)
            seen = self.quantizer.quantize(real["relu4_1"], style["relu4_1"])
        image = self.decoder(self.quantizer.codebook.codes(indices), z_y, style["relu4_1"], alpha)
        fake = {"pixels": image, **self.vgg(image, LAYERS)}
        self.decoder.zero_grad()
        self.adversary.optimizer.zero_grad()
        losses = self._losses(fake, real, style, z_y, count)
        total = torch.stack(list(losses.values())).sum()
        (gradient,) = torch.autograd.grad(total, image, retain_graph=self.adversary.contributes(number))
        discriminator = self.adversary.optimizer.network
        both = {name: torch.cat([real[name], fake[name].detach()]) for name in ("pixels", *DISCRIMINATED)}
        gradient, values = self.adversary.backward(
            number, image, gradient, lambda: discriminator(both, self.dtype), lambda: discriminator(fake, self.dtype)
        )
        image.backward(gradient)
        logged = {name: value.item() for name, value in {**losses, **values}.items()}
        logged |= {"gradient": self.decoder.clip_gradient(), **self.adversary.clip_gradient(number)}
        check_finite(logged)
        self.decoder.step(number, falling(self.options.rate, number, self.options.steps))
        self.adversary.step(number)
        restarted = self.quantizer.update(*seen)
        return {**logged, "perplexity": perplexity(seen[1]), "restarted": float(restarted)}

    def _losses(
        self,
        fake: Mapping[str, Tensor],
        real: Mapping[str, Tensor],
        style: Mapping[str, Moments],
        z_y: Tensor,
        count: int,
    ) -> dict[str, Tensor]:
        """All losses but the adversary's, weighted."""
        o = self.options
        losses = {
            "content": o.content_weight * F.mse_loss(fake["relu4_1"].float(), z_y),
            "style": o.style_weight * style_loss(fake, style),
            "gram": o.gram_weight * gram_loss(fake, {layer: gram(real[layer]) for layer in LAYERS}),
        }
        if count:
            own, theirs = ({name: x[:count] for name, x in each.items()} for each in (fake, real))
            share = count / len(z_y)
            losses["pixel"] = share * o.pixel_weight * F.l1_loss(own["pixels"], theirs["pixels"])
            losses["perceptual"] = share * o.perceptual_weight * perceptual_loss(own, theirs, LAYERS[:-1])
            losses["texture"] = share * o.texture_weight * texture_loss(own, theirs, _WINDOWS)
        return losses

    def model(self) -> Mapping[str, Tensor]:
        """The tensors of the codebook, and ``decoder.*``, averaged."""
        book = self.quantizer.codebook
        fixed = {"project.weight": book.project.weight, "project.bias": book.project.bias, "entries": book.entries}
        return {**fixed, **self.decoder.averaged.state_dict()}

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style, AdaIN, and the averaged model at α = 0.7 and 1."""
        rows = []
        for content, style in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            z_c, z_s = (self.vgg(x[None].to(self.device))["relu4_1"] for x in (content, style))
            own, other = moments(z_c), moments(z_s)
            z_y = renormalise(z_c.float(), own, other)
            codes = self.quantizer.codebook.codes(self.quantizer.quantize(z_c, own)[1])
            results = [self.decoder(codes, z_y, other, alpha, averaged=True)[0] for alpha in (0.0, 0.7, 1.0)]
            rows.append([content, style, *results])
        return rows


def falling(rate: float, number: int, steps: int) -> float:
    """The learning rate of update ``number``, counted from 0."""
    return rate * min(1, (number + 1) / _WARM_UP) * (1 + math.cos(math.pi * min(1, number / steps))) / 2
