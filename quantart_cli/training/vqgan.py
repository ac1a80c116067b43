"""VQGAN from scratch or from weights that are there: stage 1 of QuantArt on its authors' networks.

Taming Transformers for High-Resolution Image Synthesis (Esser, Rombach and Ommer, CVPR 2021), section 3.1; QuantArt
(Huang et al., CVPR 2023), section 3.2. With x a picture in [-1, 1], z = E(x), ẑ = VQ(z), x̂ = G(ẑ), D the
discriminator and sg[] the stop-gradient operator (VQ has a straight-through gradient):

    L_rec = |x - x̂| + LPIPS(x, x̂)
    L_vq  = |sg[ẑ] - z|² + β |ẑ - sg[z]|²
    L_D   = ½ mean max(0, 1 - D(x)) + ½ mean max(0, 1 + D(x̂))
    L     = L_rec + L_vq - λ mean D(x̂)          λ = 0.8 |∇ L_rec| / (|∇ mean D(x̂)| + 10⁻⁴)       equation 7

The gradients of λ are those of the decoder's last convolution. All numbers are the authors'. Sizes, batch 5, rate
4.5e-6 for each crop of a batch, weights, and the discriminator from update 10,000 on: configs/vqgan_wikiart.yaml of
QuantArt's repository. β = 0.25, Adam with betas 0.5 and 0.9, initialisation: taming-transformers (models/vqgan.py,
modules/vqvae/quantize.py). There, as here, β weights the second term of L_vq; the paper has it at the first, and their
code calls this a bug and keeps it. The authors start from weights trained on ImageNet.

Departures: both networks use the same x̂ in an update, theirs compute it again after the first step; crops have several
scales and are flipped at random, theirs are centre crops; gradients longer than 10⁵ are clipped; without
LPIPS, the included VGG-19 replaces it (see :func:`by_vgg`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.vgg import VGG19
from quantart_cli.nets.vqgan import VQGAN, VQGANConfig, config_of
from quantart_cli.training.adversary import Adversary
from quantart_cli.training.discriminators import PatchGAN
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, check_finite, random_numbers
from quantart_cli.training.losses import hinge_generator, perceptual_loss
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, identity
from quantart_cli.training.options import VQGANOptions, check_crop
from quantart_cli.training.pictures import Crops, PictureSet
from quantart_cli.training.quantizer import perplexity

_BETAS = (0.5, 0.9)
_LEVELS = (1, 1, 2, 2, 4)  # ch_mult
_LEAST, _MOST = 1e-4, 1e4  # of the adaptive weight
_VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
# The ratio to LPIPS is 4.4 to 6.9, measured on blurred, noisy, grey and shuffled paintings.
_VGG_OVER_LPIPS = 6.0

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distance of two batches of pictures, (B, 3, H, W) in [0, 1] each -> a scalar."""


def by_lpips(lpips: nn.Module) -> Perceptual:
    """The mean of LPIPS, which the authors use."""
    lpips.requires_grad_(False)
    return lambda one, other: lpips(one, other).mean()


def by_vgg(vgg: VGG19) -> Perceptual:
    """Differences of features of the normalised VGG-19, scaled to about the size of LPIPS."""
    vgg.requires_grad_(False)

    def loss(one: Tensor, other: Tensor) -> Tensor:
        found, wanted = (vgg(each, _VGG_LAYERS) for each in (one, other))
        return perceptual_loss(found, wanted, _VGG_LAYERS) / _VGG_OVER_LPIPS

    return loss


def new_network(options: VQGANOptions) -> VQGAN:
    """A network of the options' sizes, with the authors' initialisation."""
    config = VQGANConfig(
        ch=options.channels,
        ch_mult=_LEVELS,
        num_res_blocks=options.blocks,
        attn_levels=(len(_LEVELS) - 1,),
        z_channels=options.width,
        embed_dim=options.width,
        n_embed=options.entries,
        sga_blocks=0,
    )
    with random_numbers(options.seed, 0):
        network = VQGAN(config)
        nn.init.uniform_(network.quantize.embedding.weight, -1 / options.entries, 1 / options.entries)
    return network


def vqgan_training(
    options: VQGANOptions, network: VQGAN, perceptual: Perceptual, device: str, dtype: torch.dtype
) -> Training:
    """The training of an autoencoder of pictures, to a float32 file of the kind ``vqgan``.

    It takes the folder "pictures": artworks for QuantArt's codebook of art.

    Args:
        options: of the training; ``perceptual`` names the loss that is given here.
        network: the first state, float32; trained in place.
        perceptual: of :func:`by_lpips` or :func:`by_vgg`, float32 on the device.
    """
    stride = network.config.stride
    check_crop(options.crop, stride)
    return Training(
        "vqgan",
        lambda pictures, shown: VQGANTraining(network, perceptual, pictures, shown, options, device, dtype),
        identity(dtype, network),
        config_of(network),
    )


class Autoencoding(nn.Module):
    """Encoder, quantization and decoder in one call."""

    def __init__(self, network: VQGAN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] -> x̂ likewise, z and ẑ (B, D, h, w), all float32, and indices (B, h, w)."""
        z = self.network.encode(x).float()
        indices = self.network.quantize.indices(z.detach())
        # Not weight[indices]: its gradient is summed in an order that changes from run to run.
        z_hat = self.network.quantize.embedding(indices).movedim(-1, 1)
        return self.network(z + (z_hat - z).detach()), z, z_hat, indices


class VQGANTraining(Trainable):
    """The autoencoder, its discriminator and one update of both.

    Arguments as of :func:`vqgan_training`; ``pictures`` and ``shown`` have one entry, "pictures".
    """

    def __init__(
        self,
        network: VQGAN,
        perceptual: Perceptual,
        pictures: Mapping[str, PictureSet],
        shown: Mapping[str, Tensor],
        options: VQGANOptions,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.perceptual = perceptual
        self.shown, self.options, self.device = shown["pictures"], options, device
        self.crops = Crops([pictures["pictures"]], options, device, (options.smallest_crop, 1))
        with random_numbers(options.seed, 1):
            discriminator = PatchGAN().to(device).to(memory_format=torch.channels_last)
        rate = options.rate * options.batch
        self.autoencoder = MixedPrecisionOptimizer(
            Autoencoding(network), dtype, rate, _BETAS, float32=("network.quantize.",)
        )
        self.adversary = Adversary(
            discriminator, dtype, rate, _BETAS, options.adversary_weight, options.adversary_after, 1e5
        )
        self.parts = {"autoencoder": self.autoencoder, "adversary": self.adversary}

    def update(self, number: int) -> dict[str, float]:
        o = self.options
        (pictures,) = self.crops[number]
        x = 2 * pictures - 1
        output, z, z_hat, indices = self.autoencoder(x)
        losses = {
            "pixel": o.pixel_weight * F.l1_loss(output, x),
            "perceptual": o.perceptual_weight * self.perceptual((output + 1) / 2, pictures),
        }
        codebook = o.codebook_weight * (F.mse_loss(z, z_hat.detach()) + o.beta * F.mse_loss(z_hat, z.detach()))
        self.autoencoder.zero_grad()
        self.adversary.optimizer.zero_grad()
        values, gradient = self._gradient(output, losses, number)
        if self.adversary.learns(number):
            # Real and fake in two calls: each has its own batch statistics.
            scores = [self.adversary.optimizer(each) for each in (x, output.detach())]
            values["discriminator"] = self.adversary.loss([scores[0]], [scores[1]], scale=0.5)
        torch.autograd.backward([output, codebook], [gradient, None])
        logged = {name: value.item() for name, value in {**losses, "codebook": codebook, **values}.items()}
        logged |= {"gradient": self.autoencoder.clip_gradient(), **self.adversary.clip_gradient(number)}
        check_finite(logged)
        self.autoencoder.step(number)
        self.adversary.step(number)
        return {**logged, "perplexity": perplexity(indices)}

    def _gradient(self, output: Tensor, losses: Mapping[str, Tensor], number: int) -> tuple[dict[str, Tensor], Tensor]:
        """The adversary's loss and λ, and the gradient at x̂ of all losses but that of the codebook."""
        (theirs,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), output)
        if not self.adversary.learns(number):
            return {}, theirs
        loss = hinge_generator([self.adversary.optimizer(output)])
        (own,) = torch.autograd.grad(loss, output)
        # From x̂ back to the last layer is one convolution: cheaper than a second pass through the losses.
        last = self.network.decoder.conv_out.weight
        norms = [torch.autograd.grad(output, last, each, retain_graph=True)[0].norm() for each in (theirs, own)]
        weight = self.options.adversary_weight * (norms[0] / (norms[1] + _LEAST)).clamp(max=_MOST)
        return {"adversary": loss.detach(), "balance": weight}, theirs + weight * own

    def model(self) -> Mapping[str, Tensor]:
        return dict(self.network.named_parameters())

    def sheet(self) -> list[list[Tensor]]:
        """A row of pictures, and their reconstructions below."""
        results = [(self.autoencoder(2 * each[None].to(self.device) - 1)[0][0] + 1) / 2 for each in self.shown]
        return [[*self.shown], results]
