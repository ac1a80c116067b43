"""VQGAN from scratch or from weights that are there: stage 1 of QuantArt on its authors' networks.

Taming Transformers for High-Resolution Image Synthesis (Esser, Rombach and Ommer, CVPR 2021), section 3.1; QuantArt
(Huang et al., CVPR 2023), section 3.2. With x a picture in [-1, 1], z = E(x), ẑ = VQ(z), x̂ = G(ẑ), D the
discriminator, and sg[] what lets no gradient pass (through VQ it passes as if ẑ were z):

    L_rec = |x - x̂| + LPIPS(x, x̂)
    L_vq  = |sg[ẑ] - z|² + β |ẑ - sg[z]|²
    L_D   = ½ mean max(0, 1 - D(x)) + ½ mean max(0, 1 + D(x̂))
    L     = L_rec + L_vq - λ mean D(x̂)          λ = 0.8 |∇ L_rec| / (|∇ mean D(x̂)| + 10⁻⁴)       equation 7

The gradients of λ are those at the decoder's last convolution. All numbers are the authors': sizes, batch 5, rate
4.5e-6 for each crop of a batch, weights, and the discriminator from update 10,000 on in configs/vqgan_wikiart.yaml of
QuantArt's repository; β = 0.25, Adam with betas 0.5 and 0.9 and the initialisation in taming-transformers
(models/vqgan.py, modules/vqvae/quantize.py). There, as here, β weighs the entries' term of L_vq: the paper has it at
the other, which their code calls a bug and keeps. They begin with weights learned on ImageNet: see --model.

Departures: both networks see the same x̂ of an update, theirs rebuild it after the first step; crops of several scales,
mirrored at random, where they have the middle of whole pictures; gradients longer than 10⁵ are cut; and without LPIPS,
the VGG-19 that comes with quantart (see :func:`by_vgg`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.utils import make_grid

from quantart_cli.errors import QuantArtError
from quantart_cli.nets.vgg import VGG19
from quantart_cli.nets.vqgan import VQGAN, VQGANConfig, config_of
from quantart_cli.training.folders import Product, Progress, Report, train
from quantart_cli.training.learning import Learner, digest
from quantart_cli.training.loop import NotFinite, numbers_of
from quantart_cli.training.losses import hinge_discriminator, hinge_generator, perceptual_loss
from quantart_cli.training.options_more import VQGANOptions
from quantart_cli.training.patchgan import PatchGAN
from quantart_cli.training.pictures import Pictures, crops

_BETAS = (0.5, 0.9)
_LEVELS = (1, 1, 2, 2, 4)  # ch_mult
_LEAST, _MOST = 1e-4, 1e4  # of the adaptive weight
_VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
# That loss over LPIPS is 4.4 to 6.9, measured on paintings blurred, noisy, grey, and mixed up.
_VGG_OVER_LPIPS = 6.0

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""How far two batches of pictures are from each other: (B, 3, H, W) in [0, 1], twice -> a scalar."""


def by_lpips(lpips: nn.Module) -> Perceptual:
    """The mean of LPIPS, the authors' own."""
    lpips.requires_grad_(False)
    return lambda one, other: lpips(one, other).mean()


def by_vgg(vgg: VGG19) -> Perceptual:
    """Differences of features of the normalised VGG-19, scaled to be about as large as LPIPS."""
    vgg.requires_grad_(False)

    def loss(one: Tensor, other: Tensor) -> Tensor:
        found, wanted = (vgg(each, _VGG_LAYERS) for each in (one, other))
        return perceptual_loss(found, wanted, _VGG_LAYERS) / _VGG_OVER_LPIPS

    return loss


def new_network(options: VQGANOptions) -> VQGAN:
    """A network of these sizes, with the authors' initialisation from the options' seed."""
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
    with numbers_of(options.seed, 0):
        network = VQGAN(config)
        nn.init.uniform_(network.quantize.embedding.weight, -1 / options.entries, 1 / options.entries)
    return network


def train_vqgan(
    folder: Path,
    target: Path,
    options: VQGANOptions,
    network: VQGAN,
    perceptual: Perceptual,
    device: str,
    dtype: torch.dtype,
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Train an autoencoder of pictures and write it as float32 safetensors of the kind ``vqgan``.

    Args:
        folder: pictures, artworks for QuantArt's codebook of art.
        target: the file to write.
        options: ``perceptual`` in them says which one is given here.
        network: where it begins, float32; learns in place.
        perceptual: of :func:`by_lpips` or :func:`by_vgg`, float32 on the device.
        device, dtype: to compute on and in.
        restart, stop, progress: as in :func:`quantart_cli.training.folders.train`, as are results and errors.
    """
    stride = network.config.stride
    if options.crop % stride:
        raise QuantArtError(f"--crop must be a multiple of {stride}, not {options.crop}")
    return train(
        {"pictures": folder},
        target,
        Product("vqgan", config_of(network)),
        options,
        {"precision": str(dtype).removeprefix("torch."), "start": digest(network)},
        lambda pictures, shown: VQGANTraining(network, perceptual, pictures, shown, options, device, dtype),
        restart=restart,
        stop=stop,
        progress=progress,
    )


class Autoencoding(nn.Module):
    """The whole way there and back as one call."""

    def __init__(self, network: VQGAN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] -> x̂ likewise, z and ẑ (B, D, h, w), all float32, and indices (B, h, w)."""
        z = self.network.encode(x).float()
        indices = self.network.quantize.indices(z.detach())
        # Not by brackets: the gradient of these is summed in an order that changes from run to run.
        z_hat = self.network.quantize.embedding(indices).movedim(-1, 1)
        return self.network(z + (z_hat - z).detach()), z, z_hat, indices


class VQGANTraining:
    """The autoencoder, its discriminator, and one update of both; see :class:`quantart_cli.training.folders.Model`.

    Arguments as in :func:`train_vqgan`; ``pictures`` and ``shown`` have one entry, "pictures".
    """

    def __init__(
        self,
        network: VQGAN,
        perceptual: Perceptual,
        pictures: Mapping[str, Pictures],
        shown: Mapping[str, Tensor],
        options: VQGANOptions,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)
        self.perceptual = perceptual
        self.pictures, self.shown, self.options, self.device = pictures["pictures"], shown["pictures"], options, device
        with numbers_of(options.seed, 1):
            judge = PatchGAN().to(device, memory_format=torch.channels_last)
        rate = options.rate * options.batch
        self.painter = Learner(Autoencoding(network), dtype, rate, _BETAS, exact=("network.quantize.",))
        self.adversary = Learner(judge, dtype, rate, _BETAS)

    def update(self, number: int) -> dict[str, float]:
        """One update of the autoencoder, and of the discriminator where there is one yet."""
        o = self.options
        with numbers_of(o.seed, number + 2):
            shares = (o.smallest_crop ** torch.rand(o.batch)).tolist()
            pictures = crops(self.pictures, shares, o.crop).to(self.device)
        x = 2 * pictures - 1
        rebuilt, z, z_hat, indices = self.painter(x)
        losses = {
            "pixel": o.pixel_weight * F.l1_loss(rebuilt, x),
            "perceptual": o.perceptual_weight * self.perceptual((rebuilt + 1) / 2, pictures),
        }
        codebook = o.codebook_weight * (F.mse_loss(z, z_hat.detach()) + o.beta * F.mse_loss(z_hat, z.detach()))
        for each in (self.painter, self.adversary):
            each.forget()
        judged, gradient = self._gradient(rebuilt, losses, number)
        learning = {"painter": self.painter}
        if judged:
            learning["adversary"] = self.adversary
            judged["discriminator"] = self._judge(x, rebuilt.detach())
            judged["discriminator"].backward()
        torch.autograd.backward([rebuilt, codebook], [gradient, None])
        told = {name: value.item() for name, value in {**losses, "codebook": codebook, **judged}.items()}
        told |= {f"gradient {name}": each.clip() for name, each in learning.items()}
        if not torch.tensor([*told.values()]).isfinite().all():
            raise NotFinite(", ".join(f"{name} {value:g}" for name, value in told.items()))
        for each in learning.values():
            each.step()
        return {**told, "perplexity": _perplexity(indices)}

    def _judge(self, real: Tensor, fake: Tensor) -> Tensor:
        """L_D; the two are judged apart, each with its own statistics."""
        return hinge_discriminator([self.adversary(real)], [self.adversary(fake)]) / 2

    def _gradient(self, rebuilt: Tensor, losses: Mapping[str, Tensor], number: int) -> tuple[dict[str, Tensor], Tensor]:
        """What the discriminator says of x̂ and λ, and the gradient at x̂ of all losses but that of the codebook."""
        (theirs,) = torch.autograd.grad(sum(losses.values()), rebuilt)
        if number < self.options.adversary_after:
            return {}, theirs
        loss = hinge_generator([self.adversary(rebuilt)])
        (its,) = torch.autograd.grad(loss, rebuilt)
        # From x̂ back to the last layer is one convolution: cheaper than either loss a second time.
        last = self.network.decoder.conv_out.weight
        norms = [torch.autograd.grad(rebuilt, last, each, retain_graph=True)[0].norm() for each in (theirs, its)]
        weight = self.options.adversary_weight * (norms[0] / (norms[1] + _LEAST)).clamp(max=_MOST)
        return {"adversary": loss.detach(), "balance": weight}, theirs + weight * its

    def model(self) -> dict[str, Tensor]:
        return dict(self.network.named_parameters())

    def state(self) -> dict[str, Tensor]:
        return {**self.painter.state("painter"), **self.adversary.state("adversary")}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.painter.restore("painter", state)
        self.adversary.restore("adversary", state)

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """A row of pictures, and below it what is made of them."""
        rebuilt = [(self.painter(2 * each[None].to(self.device) - 1)[0][0] + 1) / 2 for each in self.shown]
        rows = [*self.shown, *(each.clamp(0, 1).cpu() for each in rebuilt)]
        return make_grid(rows, nrow=len(self.shown), padding=4, pad_value=1.0)


def _perplexity(indices: Tensor) -> float:
    """exp of the entropy of the codes of a batch."""
    share = torch.bincount(indices.flatten()).double() / indices.numel()
    return torch.special.entr(share).sum().exp().item()
