"""Style-guided transfer on a VQGAN: stage 2 of QuantArt on its authors' networks.

QuantArt (Huang et al., CVPR 2023): the autoencoder of stage 1 (see vqgan.py) is frozen, T and T̂ are stacks
of SGA blocks between its latents. With E its encoder, VQ its codebook, c a photograph, s a painting, and sg[] what lets
no gradient pass:

    continuous: z_y = T(E(c), E(s))        quantized: ẑ_y = VQ(T̂(VQ(E(c)), VQ(E(s)))), straight through

u is z_y in units of the style, (z_y - μ(z_s)) / σ(z_s), bars are for standardised by a picture's own statistics:

    content    mean (ū - z̄_c)²                          what a style changes
    style      mean μ(u)² + mean (σ(u) - 1)²            Huang and Belongie 2017, equation 13; weight 10
    gram       |uuᵀ - z̄_s z̄_sᵀ|² / |z̄_s z̄_sᵀ|²          Gatys et al. 2016, equation 4, relative
    codebook   mean (T̂ - sg[ẑ_y])²                      commitment; the quantized end's
    adversary  hinge, on patches of u and of z̄_s

Departures: both ends begin as the identity, their residual blocks and attentions ending in zeros; contents have the
encoder and the codebook of artworks too, since stage 1 has trained no others; and correlations are asked for, as on
VGG-19.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.utils import make_grid

from quantart_cli.checkpoints.layouts import ENDS
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.controls import QuantArtControls
from quantart_cli.methods.quantart_vqgan import QuantArtVQGAN
from quantart_cli.nets.vqgan import VQGAN, StyleTransfer, StyleVQGAN, config_of
from quantart_cli.training.folders import Product, Progress, Report, train
from quantart_cli.training.latent import LatentTraining, Transferred, standardised
from quantart_cli.training.latent_judge import SMALLEST
from quantart_cli.training.learning import digest
from quantart_cli.training.loop import numbers_of
from quantart_cli.training.losses import gram, gram_loss, moments
from quantart_cli.training.options_more import TransferOptions
from quantart_cli.training.pictures import Pictures

_BLOCKS = 6
_SHOWN = (0.0, 0.7, 1.0)  # values of α on the preview sheet


def train_transfer_vqgan(
    contents: Path,
    styles: Path,
    target: Path,
    options: TransferOptions,
    network: VQGAN,
    device: str,
    dtype: torch.dtype,
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Train both ends on a stage 1, and write them as float32 safetensors of the kind ``quantart-vqgan``.

    Args:
        contents, styles: folders of photographs and of paintings, searched below.
        target: the file to write.
        options: see there.
        network: stage 1, float32; it stays as it is.
        device, dtype: to compute on and in.
        restart, stop, progress: as in :func:`quantart_cli.training.folders.train`, as are results and errors.
    """
    stride = network.config.stride
    if options.crop % stride or options.crop < SMALLEST * stride:
        raise QuantArtError(
            f"--crop must be a multiple of {stride} and at least {SMALLEST * stride}, not {options.crop}"
        )
    empty = {end: config_of(_empty(network, end, options)) for end in ENDS}
    return train(
        {"photographs": contents, "paintings": styles},
        target,
        Product("quantart-vqgan", empty),
        options,
        {"precision": str(dtype).removeprefix("torch."), "start": digest(network)},
        lambda pictures, shown: VQGANTransferTraining(network, pictures, shown, options, device, dtype),
        restart=restart,
        stop=stop,
        progress=progress,
    )


def identity(channels: int, blocks: int) -> StyleTransfer:
    """SGA blocks that give back the content: what every step adds to it is zero."""
    made = StyleTransfer(channels, blocks)
    for block in made.blocks:
        for last in (block.res_block.conv2, block.self_attn_block.proj_out, block.attn_block.proj_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return made


class VQGANTransferTraining(LatentTraining):
    """T and T̂; see :class:`quantart_cli.training.folders.Model`. Arguments as in :func:`train_transfer_vqgan`."""

    def __init__(
        self,
        network: VQGAN,
        pictures: Mapping[str, Pictures],
        shown: Mapping[str, Tensor],
        options: TransferOptions,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.network, self.shown = network.requires_grad_(False), shown
        self.fast = copy.deepcopy(network)  # what is computed with; the other is what is written
        self.fast.to_machine(device, dtype)
        channels = network.config.embed_dim
        with numbers_of(options.seed, 0):
            learned = {end: identity(channels, options.blocks or _BLOCKS) for end in ENDS}
            super().__init__(learned, channels, pictures, options, torch.device(device), dtype)

    def see(self, photographs: Tensor, paintings: Tensor, luck: float) -> dict[str, _Seen]:
        z_c, z_s = self.fast.encode(2 * torch.cat([photographs, paintings]) - 1).float().chunk(2)
        both = {"continuous": (z_c, z_s), "quantized": (self.fast.quantize(z_c), self.fast.quantize(z_s))}
        return {
            name: _Seen(c, s, standardised(c), standardised(s), {"z": gram(standardised(s))})
            for name, (c, s) in both.items()
        }

    def transfer(self, name: str, seen: dict[str, _Seen]) -> Transferred:
        o, own = self.options, seen[name]
        z_y = self.ends[name].guide(own.c.to(self.dtype), own.s.to(self.dtype)).float()
        direct = {}
        if name == "quantized":
            with torch.no_grad():
                entries = self.fast.quantize(z_y)
            direct["codebook"] = o.codebook_weight * F.mse_loss(z_y, entries)
            z_y = z_y + (entries - z_y).detach()
        centre, scale = moments(own.s)

        def losses(u: Tensor) -> dict[str, Tensor]:
            mean, std = moments(u)
            return {
                "content": o.content_weight * F.mse_loss((u - mean) / std, own.content),
                "style": o.style_weight * (mean.square().mean() + (std - 1).square().mean()),
                "gram": o.gram_weight * gram_loss({"z": u}, own.grams),
            }

        return Transferred((z_y - centre) / scale, losses, direct, own.real)

    def model(self) -> dict[str, Tensor]:
        """Both ends with their averaged blocks, as one file has them."""
        ends = {end: self._whole(self.network, end, torch.float32) for end in ENDS}
        return {f"{end}.{name}": value for end, whole in ends.items() for name, value in whole.state_dict().items()}

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Rows of content, style, and what the averaged model paints at α = 0, 0.7 and 1."""
        method = QuantArtVQGAN(**{end: self._whole(self.fast, end, self.dtype) for end in ENDS})
        rows = []
        for content, painting in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            style = method.encode_style([(painting[None], None)], (1.0,))
            rows += [content, painting]
            for alpha in _SHOWN:
                image = method.stylize(content[None], style, QuantArtControls(fidelity=alpha))
                assert image is not None
                rows.append(image[0].clamp(0, 1).cpu())
        return make_grid(rows, nrow=2 + len(_SHOWN), padding=4, pad_value=1.0)

    def _whole(self, network: VQGAN, end: str, dtype: torch.dtype) -> StyleVQGAN:
        """One end, of that stage 1 and sharing its modules."""
        whole = _empty(network, end, self.options)
        whole.encoder = whole.encoder_real = network.encoder
        whole.quant_conv = whole.quant_conv_real = network.quant_conv
        whole.post_quant_conv, whole.decoder = network.post_quant_conv, network.decoder
        if whole.quantized:
            whole.quantize_enc = whole.quantize_dec = network.quantize
        whole.model_x2y = copy.deepcopy(self.ends[end].averaged).to(dtype)
        return whole


@dataclass(frozen=True)
class _Seen:
    """A batch at one end: latents of contents and styles, both standardised, and the correlations wanted."""

    c: Tensor
    s: Tensor
    content: Tensor
    real: Tensor
    grams: Mapping[str, Tensor]


def _empty(network: VQGAN, end: str, options: TransferOptions) -> StyleVQGAN:
    """An end without weights, of the sizes of stage 1."""
    entries = network.config.n_embed if end == "quantized" else 0
    with torch.device("meta"):
        return StyleVQGAN(replace(network.config, n_embed=entries, sga_blocks=options.blocks or _BLOCKS))
