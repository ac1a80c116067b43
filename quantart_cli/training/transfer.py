"""Style-guided transfer in latent space: stage 2 of QuantArt on VGG-19.

QuantArt (Huang et al., CVPR 2023), section 3.3: T and T̂ learn between frozen autoencoders, and no picture is ever
decoded. With c a photograph, s a painting, x and t their relu4_1 standardised by their own statistics, R the guide of
nets/guide.py for either end, bars for standardised again, and sg[] what lets no gradient pass:

    y = z_c + σ(z_c) R(x; t)    continuous: u = ȳ    quantized: u = bar(e(ȳ)), e the nearest entry, straight through
    content    mean (u - x)²                                      the paper's, there of features not standardised
    style      mean ((μ(y) - μ(z_c)) / σ(z_c))² + mean (σ(y) / σ(z_c) - 1)²      Huang and Belongie 2017, equation 13
    gram       |uuᵀ - ttᵀ|² / |ttᵀ|²                              Gatys et al. 2016, equation 4, relative
    codebook   mean (ȳ - sg[e(ȳ)])²                               commitment; the quantized end's
    adversary  hinge, on patches of u and of t                    of bar(e(t)) at the quantized end

All are taken before the style's statistics dress u: T is AdaIN(y, z_s), so its means and deviations are those of the
style whatever R does, and a loss of them has nothing to ask for. Its place is taken by correlations; what stays of it
keeps y from leaving centre and scale to the dressing. Content is compared standardised for the same reason: what
dressing does is not held against it. The adversary weighs a given share of content and correlations, by the ratio of
their gradients at u, as in VQGAN (Esser et al. 2021, equation 7). At update 0 R is 0 and T is AdaIN.

Departures, beside those of nets/guide.py and methods/quantart.py: a discriminator an end, the quantized one's shown
quantized paintings, or it would learn to tell entries from features; and weights of the guides are averaged.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
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
from quantart_cli.training.latent_judge import LatentJudge
from quantart_cli.training.learning import Learner, digest
from quantart_cli.training.loop import NotFinite, numbers_of
from quantart_cli.training.losses import gram, gram_loss, hinge_discriminator, hinge_generator, moments
from quantart_cli.training.options_more import TransferOptions
from quantart_cli.training.pictures import Pictures, pairs

_BETAS = {"guide": (0.9, 0.99), "judge": (0.5, 0.99)}
# At painting time a style is larger than a crop: each token is a mean of more positions, here of a coarser grid.
_TOKEN_SIDES = (TOKENS, TOKENS // 2, TOKENS // 4)
_HEAD_START = 100  # updates that a discriminator learns before it is listened to
_LEAST, _MOST = 1e-12, 1e4  # of gradients and their ratio
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


class TransferTraining:
    """The two ends, and one update of both; see :class:`quantart_cli.training.folders.Model`.

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
        self.vgg, self.decoder = vgg.requires_grad_(False), decoder.requires_grad_(False)
        self.device, self.dtype = vgg.conv1_1.weight.device, vgg.conv1_1.weight.dtype
        self.codebook = copy.deepcopy(codebook).requires_grad_(False)
        self.pictures, self.shown, self.options = pictures, shown, options
        with numbers_of(options.seed, 0):
            self.ends = {end: End(self.codebook.guide(end), options, self.device, self.dtype) for end in GUIDED}
        self.codebook.transfer = None  # what is learned takes its place in model()

    def update(self, number: int) -> dict[str, float]:
        """One update of both guides, and of their discriminators where these have begun."""
        o = self.options
        with numbers_of(o.seed, number + 1):
            side = _TOKEN_SIDES[int(torch.randint(len(_TOKEN_SIDES), ()))]
            both = pairs(self.pictures["photographs"], self.pictures["paintings"], o.batch, o.smallest_crop, o.crop)
        with torch.no_grad():
            z_c, z_s = self.vgg(torch.cat(both).to(self.device))["relu4_1"].float().chunk(2)
            t = standardised(z_s)
            tokens = F.adaptive_avg_pool2d(t, min(side, t.shape[2])).flatten(2).mT  # (B, n, C)
            real = {"continuous": t, "quantized": standardised(self.codebook(t))}
            wanted = {"relu4_1": gram(t)}
        told: dict[str, float] = {}
        for name, end in self.ends.items():
            found = self._learn(end, name, z_c, tokens, real[name], wanted, number)
            told |= {f"{name} {what}": value for what, value in found.items()}
        if not all(math.isfinite(value) for value in told.values()):
            raise NotFinite(", ".join(f"{name} {value:g}" for name, value in told.items()))
        for end in self.ends.values():
            end.step(number)
        return told

    def _learn(
        self,
        end: End,
        name: str,
        z_c: Tensor,
        tokens: Tensor,
        real: Tensor,
        wanted: Mapping[str, Tensor],
        number: int,
    ) -> dict[str, float]:
        """Gradients of one end; nothing is moved yet. Its losses, by name."""
        o = self.options
        end.forget()
        centre, scale = moments(z_c)
        x = (z_c - centre) / scale
        y = z_c + scale * end.guide(x, tokens, tokens.new_zeros(tokens.shape[:2])).float()
        mean, std = moments(y)
        u = (y - mean) / std
        off = ((mean - centre) / scale).square().mean() + (std / scale - 1).square().mean()
        direct = {"style": o.style_weight * off}
        if name == "quantized":
            with torch.no_grad():
                entries = self.codebook(u)
            direct["codebook"] = o.codebook_weight * F.mse_loss(u, entries)
            u = standardised(u + (entries - u).detach())
        leaf = u.detach().requires_grad_()
        losses = {
            "content": o.content_weight * F.mse_loss(leaf, x),
            "gram": o.gram_weight * gram_loss({"relu4_1": leaf}, wanted),
        }
        (gradient,) = torch.autograd.grad(sum(losses.values()), leaf)
        judged, gradient = self._judge(end, leaf, real, gradient, number)
        torch.autograd.backward([u, sum(direct.values())], [gradient, None])
        told = {what: value.item() for what, value in {**direct, **losses, **judged}.items()}
        told["gradient"] = end.guide.clip()
        if judged:
            told["gradient discriminator"] = end.judge.clip()
        return told

    def _judge(
        self, end: End, leaf: Tensor, real: Tensor, gradient: Tensor, number: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What the discriminator says, its own gradients taken, and the gradient at u with its share added."""
        o = self.options
        end.judging = o.adversary_weight > 0 and number >= o.adversary_after
        if not end.judging:
            return {}, gradient
        of_real, of_fake = end.judge(torch.cat([real, leaf.detach()])).chunk(2)
        told = {"discriminator": hinge_discriminator([of_real], [of_fake])}
        told["discriminator"].backward()
        if number < o.adversary_after + _HEAD_START:
            return told, gradient
        loss = hinge_generator([end.judge(leaf)])
        (its,) = torch.autograd.grad(loss, leaf)
        balance = (gradient.norm() / its.norm().clamp(min=_LEAST)).clamp(max=_MOST)
        told |= {"adversary": loss.detach(), "balance": balance}
        return told, gradient + o.adversary_weight * balance * its

    def model(self) -> dict[str, Tensor]:
        """The whole model with its averaged guides, as one file has it."""
        return self._whole(torch.float32).state_dict()

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value
            for name, end in self.ends.items()
            for key, value in {
                **end.guide.state("guide"),
                **end.judge.state("judge"),
                **{f"averaged.{key}": value for key, value in end.averaged.state_dict().items()},
            }.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, end in self.ends.items():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            end.guide.restore("guide", own)
            end.judge.restore("judge", own)
            start = "averaged."
            end.averaged.load_state_dict(
                {key.removeprefix(start): value for key, value in own.items() if key.startswith(start)}
            )

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


class End:
    """One guide, the average of its weights, and its discriminator."""

    def __init__(
        self, start: StyleGuide | None, options: TransferOptions, device: torch.device, dtype: torch.dtype
    ) -> None:
        guide = (StyleGuide(options.blocks) if start is None else copy.deepcopy(start)).to(device)
        self.averaged = copy.deepcopy(guide).requires_grad_(False)
        self.guide = Learner(guide, dtype, options.rate, _BETAS["guide"])
        self.judge = Learner(LatentJudge().to(device), dtype, options.adversary_rate, _BETAS["judge"])
        self.judging = False  # whether the discriminator has gradients to learn from
        self._decay = options.average

    def forget(self) -> None:
        self.guide.forget()
        self.judge.forget()

    @torch.no_grad()
    def step(self, number: int) -> None:
        self.guide.step()
        if self.judging:
            self.judge.step()
        decay = min(self._decay, (1 + number) / (10 + number))
        for average, value in zip(self.averaged.parameters(), self.guide.network.parameters(), strict=True):
            average.lerp_(value, 1 - decay)


def standardised(z: Tensor) -> Tensor:
    """(B, C, h, w) by the statistics of each sample and channel."""
    mean, std = moments(z)
    return (z - mean) / std
