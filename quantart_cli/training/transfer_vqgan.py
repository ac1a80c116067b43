"""Style transfer in the latent space of a VQGAN: stage 2 of QuantArt on its authors' networks.

QuantArt (Huang et al., CVPR 2023). The autoencoder of stage 1 (vqgan.py) is frozen; T and T̂ are stacks of style-guided
attention blocks between its latents. With E its encoder, VQ its codebook, c a photograph, s a painting and sg[] the
stop-gradient operator:

    continuous: z_y = T(E(c), E(s))        quantized: ẑ_y = VQ(T̂(VQ(E(c)), VQ(E(s)))), straight-through

u is z_y in units of the style, (z_y - μ(z_s)) / σ(z_s); bars are for standardised by a picture's own moments:

    content    mean (ū - z̄_c)²
    style      mean μ(u)² + mean (σ(u) - 1)²            Huang and Belongie 2017, equation 13; weight 10
    gram       |uuᵀ - z̄_s z̄_sᵀ|² / |z̄_s z̄_sᵀ|²          Gatys et al. 2016, equation 4, relative
    codebook   mean (T̂ - sg[ẑ_y])²                      commitment; of the quantized end
    adversary  hinge, on patches of u and of z̄_s        adversary.py

Departures: both ends start as the identity, because the last layers of their residual blocks and attentions are 0;
contents use the encoder and the codebook of artworks too, the only ones of stage 1; the Gram loss is added; each end
has its own discriminator; and the weights are averaged.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.checkpoints.layouts import ENDS
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.vqgan import VQGAN, StyleTransfer, StyleVQGAN, config_of
from quantart_cli.training.adversary import Adversary
from quantart_cli.training.discriminators import LATENT_FIELD, LatentDiscriminator
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, check_finite, random_numbers
from quantart_cli.training.losses import gram, gram_loss, moments, standardise
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, identity, prefixed
from quantart_cli.training.options import TransferOptions
from quantart_cli.training.pictures import PAINTINGS, PHOTOGRAPHS, Crops, PictureSet

_BETAS, _ADVERSARY_BETAS = (0.9, 0.99), (0.5, 0.99)


def transfer_training(options: TransferOptions, network: VQGAN, device: str, dtype: torch.dtype) -> Training:
    """The training of both ends on a stage 1, to a float32 file of the kind ``quantart-vqgan``.

    It takes the folders "photographs" and "paintings".

    Args:
        network: stage 1, float32; it stays as it is.
    """
    stride = network.config.stride
    if options.crop % stride or options.crop < LATENT_FIELD * stride:
        smallest = LATENT_FIELD * stride
        raise QuantArtError(f"crop must be a multiple of {stride} and at least {smallest}, not {options.crop}")
    return Training(
        "quantart-vqgan",
        lambda pictures, shown: TransferTraining(network, pictures, shown, options, device, dtype),
        identity(dtype, network),
        {end: config_of(_empty(network, end, options)) for end in ENDS},
    )


def identity_blocks(channels: int, blocks: int) -> StyleTransfer:
    """Blocks that return the content: each adds 0 to it."""
    made = StyleTransfer(channels, blocks)
    for name, value in made.named_parameters():
        if ".conv2." in name or ".proj_out." in name:
            nn.init.zeros_(value)
    return made


Latents = tuple[Tensor, Tensor]
"""Of contents and of styles, (B, C, h, w) float32 each."""


class TransferTraining(Trainable):
    """T and T̂ and one update of both.

    Arguments as of :func:`transfer_training`; ``pictures`` and ``shown`` have "photographs" and "paintings".
    """

    def __init__(
        self,
        network: VQGAN,
        pictures: Mapping[str, PictureSet],
        shown: Mapping[str, Tensor],
        options: TransferOptions,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.network, self.shown, self.options = network.requires_grad_(False), shown, options
        self.device, self.dtype = device, dtype
        self.fast = copy.deepcopy(network)  # to compute with; the other is written
        self.fast.to_machine(device, dtype)
        channels, o = network.config.embed_dim, options
        self.ends: dict[str, tuple[MixedPrecisionOptimizer, Adversary]] = {}
        with random_numbers(o.seed, 0):
            for end in ENDS:
                blocks = identity_blocks(channels, o.blocks).to(device)
                # In float32: on a CPU, gradients of small convolutions take five times as long in bf16.
                discriminator = LatentDiscriminator(channels).to(device)
                self.ends[end] = (
                    MixedPrecisionOptimizer(blocks, dtype, o.rate, _BETAS, average=o.average),
                    Adversary(
                        discriminator,
                        torch.float32,
                        o.adversary_rate,
                        _ADVERSARY_BETAS,
                        o.adversary_weight,
                        o.adversary_after,
                    ),
                )
        self.parts = {}
        for end, (transfer, adversary) in self.ends.items():
            self.parts |= {f"{end}.transfer": transfer, f"{end}.adversary": adversary}
        self.crops = Crops((pictures[PHOTOGRAPHS], pictures[PAINTINGS]), o, device, (o.smallest_crop, 1))

    def update(self, number: int) -> dict[str, float]:
        latents = self._encode(*self.crops[number])
        logged: dict[str, float] = {}
        for end, own in latents.items():
            logged |= {f"{end} {name}": value for name, value in self._backward(end, own, number).items()}
        check_finite(logged)
        for transfer, adversary in self.ends.values():
            transfer.step(number)
            adversary.step(number)
        return logged

    @torch.no_grad()
    def _encode(self, photographs: Tensor, paintings: Tensor) -> dict[str, Latents]:
        """Latents of pictures (B, 3, H, W) in [0, 1] at both ends."""
        z_c, z_s = self.fast.encode(2 * torch.cat([photographs, paintings]) - 1).float().chunk(2)
        return {"continuous": (z_c, z_s), "quantized": (self.fast.quantize(z_c), self.fast.quantize(z_s))}

    def _backward(self, end: str, latents: Latents, number: int) -> dict[str, float]:
        """Compute the gradients of one end. Returns its losses by name."""
        o = self.options
        transfer, adversary = self.ends[end]
        transfer.zero_grad()
        adversary.optimizer.zero_grad()
        c, s = latents
        z_y = transfer(c.to(self.dtype), s.to(self.dtype)).float()
        commitment = {}
        if end == "quantized":
            with torch.no_grad():
                entries = self.fast.quantize(z_y)
            commitment["codebook"] = o.codebook_weight * F.mse_loss(z_y, entries)
            z_y = z_y + (entries - z_y).detach()
        centre, scale = moments(s)
        u = (z_y - centre) / scale
        at_u = u.detach().requires_grad_()
        losses = self._losses(at_u, c, s)
        (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), at_u)
        network = adversary.optimizer
        gradient, values = adversary.backward(
            number,
            at_u,
            gradient,
            lambda: [network(torch.cat([standardise(s), at_u.detach()]))],
            lambda: [network(at_u)],
        )
        torch.autograd.backward([u, *commitment.values()], [gradient, *(None for _ in commitment)])
        logged = {name: value.item() for name, value in {**commitment, **losses, **values}.items()}
        return logged | {"gradient": transfer.clip_gradient(), **adversary.clip_gradient(number)}

    def _losses(self, u: Tensor, c: Tensor, s: Tensor) -> dict[str, Tensor]:
        o = self.options
        mean, deviation = moments(u)
        return {
            "content": o.content_weight * F.mse_loss((u - mean) / deviation, standardise(c)),
            "style": o.style_weight * (mean.square().mean() + (deviation - 1).square().mean()),
            "gram": o.gram_weight * gram_loss({"z": u}, {"z": gram(standardise(s))}),
        }

    def model(self) -> Mapping[str, Tensor]:
        """Both ends with their averaged blocks."""
        tensors: dict[str, Tensor] = {}
        for end, (transfer, _) in self.ends.items():
            whole = _empty(self.network, end, self.options)
            whole.encoder = whole.encoder_real = self.network.encoder
            whole.quant_conv = whole.quant_conv_real = self.network.quant_conv
            whole.post_quant_conv, whole.decoder = self.network.post_quant_conv, self.network.decoder
            if whole.quantized:
                whole.quantize_enc = whole.quantize_dec = self.network.quantize
            whole.model_x2y = transfer.averaged  # type: ignore[assignment]
            tensors |= prefixed(end, whole.state_dict())
        return tensors

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style, and the results of both ends with averaged blocks."""
        rows = []
        for content, style in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            latents = self._encode(content[None].to(self.device), style[None].to(self.device))
            rows.append([content, style])
            for end in ("continuous", "quantized"):
                z = self.ends[end][0](*(z.to(self.dtype) for z in latents[end]), averaged=True)
                z = self.fast.quantize(z) if end == "quantized" else z
                rows[-1].append((self.fast(z)[0] + 1) / 2)
        return rows


def _empty(network: VQGAN, end: str, options: TransferOptions) -> StyleVQGAN:
    """An end of the sizes of stage 1, without weights."""
    entries = network.config.n_embed if end == "quantized" else 0
    with torch.device("meta"):
        return StyleVQGAN(replace(network.config, n_embed=entries, sga_blocks=options.blocks))
