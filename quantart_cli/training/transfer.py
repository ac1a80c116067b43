"""Style-guided transfer in latent space: stage 2 of QuantArt on VGG-19.

QuantArt (Huang et al., CVPR 2023): T and T̂ learn between frozen autoencoders, and no picture is ever
decoded. With c a photograph, s a painting, x and t their relu4_1 standardised by their own statistics, R the guide of
nets/guide.py for either end, bars for standardised again, and sg[] what lets no gradient pass:

    y = z_c + σ(z_c) R(x; t)    continuous: u = ȳ    quantized: u = bar(e(ȳ)), e the nearest entry, straight through
    content    mean (u - x)²                                      what a style changes
    style      mean ((μ(y) - μ(z_c)) / σ(z_c))² + mean (σ(y) / σ(z_c) - 1)²      Huang and Belongie 2017, equation 13
    gram       |uuᵀ - ttᵀ|² / |ttᵀ|²                              Gatys et al. 2016, equation 4, relative
    codebook   mean (ȳ - sg[e(ȳ)])²                               commitment; the quantized end's
    adversary  hinge, on patches of u and of t                    of bar(e(t)) at the quantized end

All are taken before the style's statistics dress u: T is AdaIN(y, z_s), so its means and deviations are those of the
style whatever R does, and a loss of them has nothing to ask for. Its place is taken by correlations; what stays of it
keeps y from leaving centre and scale to the dressing. Content is compared standardised for the same reason: what
dressing does is not held against it. The adversary's weight is that of latent.py. At update 0 R is 0 and T is AdaIN.

Departures, beside those of nets/guide.py and methods/quantart.py: a discriminator an end, the quantized one's shown
quantized paintings, or it would learn to tell entries from features; and weights of the guides are averaged.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.utils import make_grid

from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaIN
from quantart_cli.methods.controls import AdaINControls, QuantArtControls
from quantart_cli.methods.quantart import QuantArt
from quantart_cli.nets.autoencoder import GUIDED, ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.guide import TOKENS, StyleGuide
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Product, Progress, Report, train
from quantart_cli.training.latent import LatentTraining, Transferred, standardised
from quantart_cli.training.learning import digest
from quantart_cli.training.loop import numbers_of
from quantart_cli.training.losses import gram, gram_loss, moments
from quantart_cli.training.options_more import TransferOptions
from quantart_cli.training.pictures import Pictures

_BLOCKS = 2  # of a guide
_CHANNELS = 512
# At painting time a style is larger than a crop: each token is a mean of more positions, here of a coarser grid.
_TOKEN_SIDES = (TOKENS, TOKENS // 2, TOKENS // 4)
_SHOWN = (0.0, 0.7, 1.0)  # values of α on the preview sheet


def train_transfer(
    contents: Path,
    styles: Path,
    target: Path,
    options: TransferOptions,
    vgg: VGG19,
    codebook: ArtCodebook,
    decoder: Decoder,
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Train the guides of a model and write it with them, as fp16 safetensors of the kind ``quantart-vgg19``.

    Args:
        contents, styles: folders of photographs and of paintings, searched below.
        target: the file to write.
        options: see there.
        vgg: the encoder, on the device and in the precision to use.
        codebook: the model, float32 on the same device; guides it has are trained further, all else stays.
        decoder: D, for the preview sheets.
        restart, stop, progress: as in :func:`quantart_cli.training.folders.train`, as are results and errors.
    """
    if options.crop % 8:
        raise QuantArtError(f"--crop must be a multiple of 8, not {options.crop}")
    return train(
        {"photographs": contents, "paintings": styles},
        target,
        Product("quantart-vgg19", {}, half=True),
        options,
        {"precision": str(vgg.conv1_1.weight.dtype).removeprefix("torch."), "start": digest(codebook)},
        lambda pictures, shown: TransferTraining(vgg, codebook, decoder, pictures, shown, options),
        restart=restart,
        stop=stop,
        progress=progress,
    )


class TransferTraining(LatentTraining):
    """The guides of a model; see :class:`quantart_cli.training.folders.Model`.

    Arguments as in :func:`train_transfer`; ``pictures`` and ``shown`` have the entries "photographs" and "paintings".
    """

    def __init__(
        self,
        vgg: VGG19,
        codebook: ArtCodebook,
        decoder: Decoder,
        pictures: Mapping[str, Pictures],
        shown: Mapping[str, Tensor],
        options: TransferOptions,
    ) -> None:
        self.vgg, self.decoder, self.shown = vgg.requires_grad_(False), decoder.requires_grad_(False), shown
        self.codebook = copy.deepcopy(codebook).requires_grad_(False)
        guides = {end: self.codebook.guide(end) for end in GUIDED}
        self.codebook.transfer = None  # what is learned takes its place in model()
        weight = vgg.conv1_1.weight
        with numbers_of(options.seed, 0):
            learned = {
                end: StyleGuide(options.blocks or _BLOCKS) if own is None else own for end, own in guides.items()
            }
            super().__init__(learned, _CHANNELS, pictures, options, weight.device, weight.dtype)

    def see(self, photographs: Tensor, paintings: Tensor, luck: float) -> _Seen:
        z_c, z_s = self.vgg(torch.cat([photographs, paintings]))["relu4_1"].float().chunk(2)
        side = min(_TOKEN_SIDES[int(luck * len(_TOKEN_SIDES))], z_s.shape[2])
        t = standardised(z_s)
        tokens = F.adaptive_avg_pool2d(t, side).flatten(2).mT  # (B, n, C)
        return _Seen(z_c, tokens, {"continuous": t, "quantized": standardised(self.codebook(t))}, {"relu4_1": gram(t)})

    def transfer(self, name: str, seen: _Seen) -> Transferred:
        o, z_c = self.options, seen.z_c
        centre, scale = moments(z_c)
        x = (z_c - centre) / scale
        change = self.ends[name].guide(x, seen.tokens, seen.tokens.new_zeros(seen.tokens.shape[:2]))
        y = z_c + scale * change.float()
        mean, std = moments(y)
        u = (y - mean) / std
        off = ((mean - centre) / scale).square().mean() + (std / scale - 1).square().mean()
        direct = {"style": o.style_weight * off}
        if name == "quantized":
            with torch.no_grad():
                entries = self.codebook(u)
            direct["codebook"] = o.codebook_weight * F.mse_loss(u, entries)
            u = standardised(u + (entries - u).detach())

        def losses(u: Tensor) -> dict[str, Tensor]:
            return {
                "content": o.content_weight * F.mse_loss(u, x),
                "gram": o.gram_weight * gram_loss({"relu4_1": u}, seen.grams),
            }

        return Transferred(u, losses, direct, seen.real[name])

    def model(self) -> dict[str, Tensor]:
        """The whole model with its averaged guides, as one file has it."""
        return self._whole(torch.float32).state_dict()

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Rows of content, style, AdaIN, and what the averaged model paints at α = 0, 0.7 and 1."""
        plain, method = AdaIN(self.vgg, self.decoder), QuantArt(self.vgg, self._whole(self.dtype), self.decoder)
        rows = []
        for content, painting in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            content, style = content[None].to(self.device), method.encode_style([(painting[None], None)], (1.0,))
            painted = [plain.stylize(content, style, AdaINControls())]
            painted += [method.stylize(content, style, QuantArtControls(fidelity=alpha)) for alpha in _SHOWN]
            rows += [
                content[0].cpu(),
                painting,
                *(image[0].clamp(0, 1).cpu() for image in painted if image is not None),
            ]
        return make_grid(rows, nrow=3 + len(_SHOWN), padding=4, pad_value=1.0)

    def _whole(self, dtype: torch.dtype) -> ArtCodebook:
        """The model with its averaged guides; what is no codebook in another precision."""
        whole = copy.deepcopy(self.codebook)
        whole.transfer = nn.ModuleDict({name: copy.deepcopy(end.averaged) for name, end in self.ends.items()})
        for brought in filter(None, (whole.decoder, whole.transfer)):
            brought.to(dtype)
        return whole


@dataclass(frozen=True)
class _Seen:
    """A batch: z_c, tokens (B, n, C), what is real at either end, and the correlations wanted."""

    z_c: Tensor
    tokens: Tensor
    real: Mapping[str, Tensor]
    grams: Mapping[str, Tensor]
