"""The art autoencoder of QuantArt (Huang et al. 2023, section 3.2) over frozen VGG-19: its decoder D̂ and its codebook.

D̂ begins as the AdaIN decoder D and learns to decode what it will be asked for: entries of the codebook dressed in the
statistics of a painting,

    ẑ = AdaIN(VQ(E(c)), E(s))        image = D_α(ẑ ⊕α AdaIN(E(c), E(s)))        D_α = D̂ ⊕α D

where s is a painting, and c either the same painting, which is to be rebuilt, or a photograph. α is 1, or now and then
less, so that what lies between the two decoders is trained as well. Losses, in the order of their papers:

    content      mean (relu4_1(image) - AdaIN(E(c), E(s)))²            Huang and Belongie 2017, equation 12
    style        means and deviations, relu1_1 … relu4_1               equation 13
    gram         correlations of the same                              Gatys et al. 2016, equation 4, relative
    sliced       distributions of the same, along random directions    Heitz et al. 2021, equation 5, relative
    pixel, perceptual   of rebuilt paintings                           Johnson et al. 2016; as VQGAN has them
    texture      of rebuilt paintings, means and deviations nearby     after Ding et al. 2020, section 3
    adversary    hinge, on patches of pixels and VGG features          see nets/discriminator.py

The adversary weighs a given share of all others: the ratio of their gradients, as in VQGAN (Esser et al. 2021,
equation 7), here at the image, where it costs one backward pass, measured now and then and averaged. The share shrinks
with the discriminator's lead, 1 less half its loss: one that guesses has a gradient all the same, and made as long as
the others it is noise that undoes them. The content's target is the continuous latent: D̂ is asked to give back what
quantization took. To rebuild weighs most by default: what tells pictures of the AdaIN decoder from paintings is above
all what any decoder makes of relu4_1, and a painting that is to be given back tells it what that should be; in texture
first, for heavy losses place by place give it back blurred. Heavy losses of style make richer pictures, further from
paintings as Inception sees them.

The decoder's rate rises over the first updates and falls to nothing over all of them, half a cosine.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torchvision.utils import make_grid

from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.discriminator import LAYERS as JUDGED
from quantart_cli.nets.discriminator import Discriminator
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.loop import NotFinite, numbers_of
from quantart_cli.training.losses import (
    Moments,
    gram,
    gram_loss,
    hinge_discriminator,
    hinge_generator,
    moments,
    perceptual_loss,
    sliced_wasserstein,
    style_loss,
    texture_loss,
)
from quantart_cli.training.options import AutoencoderOptions
from quantart_cli.training.pictures import Pictures, pairs
from quantart_cli.training.quantizing import Quantizer, dress

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_WINDOWS = {"relu1_1": 16, "relu2_1": 8, "relu3_1": 4}  # 16 pixels each
_WARM_UP = 30  # updates until the rate is all there
_BETAS = {"painter": (0.9, 0.99), "adversary": (0.5, 0.99)}
_LARGEST_GRADIENT = 100.0
_MEASURE_EVERY = 8  # updates between two looks at the adversary's weight
_HEAD_START = 100  # updates that the discriminator learns before it is listened to
_FOLLOWED = 0.05  # share of an update in the average of the discriminator's lead
_LOWEST_MIXED = 0.3
_DEEPEST = STYLE_LAYERS[-1]


class Autoencoder:
    """What is trained, its adversary, and one update of both; see :class:`quantart_cli.training.loop.Trainee`.

    Args:
        vgg: the encoder; frozen here.
        codebook: float32, where it begins, and where D̂ begins if it has a decoder.
        decoder: D, float32; stays as it is.
        contents, styles: photographs and paintings to learn from.
        shown: contents and styles of the preview sheet, (n, 3, H, W) each; as many pairs as the shorter has.
        options: see there.
    """

    def __init__(
        self,
        vgg: VGG19,
        codebook: ArtCodebook,
        decoder: Decoder,
        contents: Pictures,
        styles: Pictures,
        shown: tuple[Tensor, Tensor],
        options: AutoencoderOptions,
    ) -> None:
        self.vgg = vgg.requires_grad_(False)
        self.device, self.dtype = vgg.conv1_1.weight.device, vgg.conv1_1.weight.dtype
        self.contents, self.styles, self.shown, self.options = contents, styles, shown, options
        self.base = {name: value.detach() for name, value in decoder.named_parameters()}
        self.decoder = copy.deepcopy(codebook.decoder or decoder).requires_grad_()
        codebook = copy.deepcopy(codebook).requires_grad_(False)
        self.quantizer = Quantizer(codebook, options.codebook_decay)
        codebook.expand.requires_grad_()
        self.learned = {**_named("decoder", self.decoder), **_named("expand", codebook.expand)}
        self.averaged = {name: value.detach().clone() for name, value in self.learned.items()}
        with numbers_of(options.seed, 0):
            self.discriminator = Discriminator().to(self.device)
        self.optimizers = {
            "painter": torch.optim.Adam([*self.learned.values()], options.rate, _BETAS["painter"]),
            "adversary": torch.optim.Adam(self.discriminator.parameters(), options.adversary_rate, _BETAS["adversary"]),
        }
        self.balance = torch.zeros((), dtype=torch.float64)  # gradient of all other losses over the adversary's
        self.lead = torch.zeros((), dtype=torch.float64)  # of the discriminator: 0 when it guesses, 1 when it is sure

    # One update.

    def update(self, number: int) -> dict[str, float]:
        """One update of the discriminator, the decoder and the codebook."""
        o = self.options
        with numbers_of(o.seed, number + 1):
            mixed = torch.rand(()).item() < o.mixed
            alpha = torch.empty(()).uniform_(_LOWEST_MIXED, 1).item() if mixed else 1.0
            photos, paintings = pairs(self.contents, self.styles, o.batch, o.smallest_crop, o.crop)
            return self._update(photos.to(self.device), paintings.to(self.device), alpha, number)

    def _update(self, photos: Tensor, paintings: Tensor, alpha: float, number: int) -> dict[str, float]:
        rebuilt = round(self.options.reconstructions * len(paintings))  # the first of the batch
        with torch.no_grad():
            real = {"pixels": paintings, **self.vgg(paintings, STYLE_LAYERS)}
            style = {layer: moments(real[layer]) for layer in STYLE_LAYERS}
            grams = {layer: gram(real[layer]) for layer in STYLE_LAYERS}
            z_c = torch.cat([real[_DEEPEST][:rebuilt], self.vgg(photos[rebuilt:])[_DEEPEST]])
            own = moments(z_c)
            z_y = dress(z_c.float(), own, style[_DEEPEST])
            _, indices = self.quantizer.find(z_c, own)
            seen = self.quantizer.find(real[_DEEPEST], style[_DEEPEST])
        image = self._paint(indices, z_y, style[_DEEPEST], alpha, self.learned)
        fake = {"pixels": image, **self.vgg(image, STYLE_LAYERS)}
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        losses = self._losses(fake, real, style, grams, z_y, rebuilt)
        told = dict(losses)
        before = self.balance, self.lead
        active = ["painter"]
        if self.options.adversary_weight and number >= self.options.adversary_after:
            told["discriminator"] = self._judge(real, fake)
            told["discriminator"].backward()
            active.append("adversary")
            lead = (1 - told["discriminator"].detach().double().cpu() / 2).clamp(0, 1)
            self.lead = torch.lerp(self.lead, lead, _FOLLOWED)
        image.backward(self._gradient(image, fake, losses, number, told))
        told = {name: value.item() for name, value in told.items()}
        told |= {f"gradient {name}": self._clip(name) for name in active}
        if not all(math.isfinite(value) for value in told.values()):
            self.balance, self.lead = before
            raise NotFinite(", ".join(f"{name} {value:g}" for name, value in told.items()))
        self.optimizers["painter"].param_groups[0]["lr"] = falling(self.options.rate, number, self.options.steps)
        for name in active:
            self.optimizers[name].step()
        restarted = self.quantizer.follow(*seen)
        self._average(number)
        return {
            **told,
            "balance": self.balance.item(),
            "lead": self.lead.item(),
            "perplexity": _perplexity(seen[1]),
            "restarted": float(restarted),
        }

    def _paint(
        self, indices: Tensor, z_y: Tensor, style: Moments, alpha: float, weights: Mapping[str, Tensor]
    ) -> Tensor:
        """D_α(ẑ ⊕α z_y), (B, 3, H, W) float32."""
        z_hat = F.linear(self.quantizer.codebook.codes(indices), weights["expand.weight"], weights["expand.bias"])
        z_hat = z_hat.view(len(z_y), *z_y.shape[2:], -1).movedim(-1, 1)
        z = dress(z_hat, moments(z_hat), style)
        z = z if alpha == 1 else torch.lerp(z_y, z, alpha)
        # Master weights in float32, the work in the precision of the encoder.
        mixed = {name: torch.lerp(base, weights[f"decoder.{name}"], alpha) for name, base in self.base.items()}
        return functional_call(self.decoder, {name: value.to(self.dtype) for name, value in mixed.items()}, (z,))

    def _judge(self, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> Tensor:
        """The discriminator's loss, of paintings and of what was painted alike in one batch."""
        both = {name: torch.cat([real[name], fake[name].detach()]) for name in ("pixels", *JUDGED)}
        scores = [score.chunk(2) for score in self.discriminator(both, self.dtype)]
        return hinge_discriminator([one for one, _ in scores], [other for _, other in scores])

    def _losses(
        self,
        fake: Mapping[str, Tensor],
        real: Mapping[str, Tensor],
        style: Mapping[str, Moments],
        grams: Mapping[str, Tensor],
        z_y: Tensor,
        rebuilt: int,
    ) -> dict[str, Tensor]:
        """All but the adversary's, weighted."""
        o = self.options
        losses = {
            "content": o.content_weight * F.mse_loss(fake[_DEEPEST].float(), z_y),
            "style": o.style_weight * style_loss(fake, style),
            "gram": o.gram_weight * gram_loss(fake, grams),
        }
        if o.sliced_weight:
            losses["sliced"] = o.sliced_weight * sliced_wasserstein(fake, real, STYLE_LAYERS)
        if rebuilt:
            mine, theirs = ({name: x[:rebuilt] for name, x in each.items()} for each in (fake, real))
            share = rebuilt / len(z_y)
            losses["pixel"] = share * o.pixel_weight * F.l1_loss(mine["pixels"], theirs["pixels"])
            losses["perceptual"] = share * o.perceptual_weight * perceptual_loss(mine, theirs, STYLE_LAYERS[:-1])
            losses["texture"] = share * o.texture_weight * texture_loss(mine, theirs, _WINDOWS)
        return losses

    def _gradient(
        self,
        image: Tensor,
        fake: Mapping[str, Tensor],
        losses: Mapping[str, Tensor],
        number: int,
        told: dict[str, Tensor],
    ) -> Tensor:
        """The gradient of all losses at the image; the adversary's is added to what is told."""
        others = sum(losses.values())
        weight = self.options.adversary_weight
        if not weight or number < self.options.adversary_after + _HEAD_START:
            return torch.autograd.grad(others, image)[0]
        loss = hinge_generator(self.discriminator(fake, self.dtype))
        told["adversary"] = loss.detach()
        weight *= self.lead.item()
        if number % _MEASURE_EVERY and self.balance > 0:
            return torch.autograd.grad(others + weight * self.balance.item() * loss, image)[0]
        (theirs,) = torch.autograd.grad(others, image, retain_graph=True)
        (its,) = torch.autograd.grad(loss, image)
        ratio = theirs.double().norm().cpu() / its.double().norm().cpu().clamp(min=1e-12)
        if torch.isfinite(ratio):
            self.balance = torch.lerp(self.balance, ratio, 0.1) if self.balance > 0 else ratio
        return theirs + weight * self.balance.item() * its

    def _clip(self, name: str) -> float:
        """Norm of a network's gradient, before it is clipped."""
        parameters = self.optimizers[name].param_groups[0]["params"]
        return torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT).item()

    @torch.no_grad()
    def _average(self, number: int) -> None:
        decay = min(self.options.average, (1 + number) / (10 + number))
        for name, value in self.learned.items():
            self.averaged[name].lerp_(value.detach(), 1 - decay)

    # What is kept.

    def model(self) -> dict[str, Tensor]:
        """The averaged model as one file has it: the codebook's tensors, and ``decoder.*``."""
        book = self.quantizer.codebook
        return {
            "project.weight": book.project.weight,
            "project.bias": book.project.bias,
            "entries": book.entries,
            **self.averaged,
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that changes."""
        book = self.quantizer
        state = {"entries": book.codebook.entries, "counts": book.counts, "sums": book.sums}
        state |= {"balance": self.balance, "lead": self.lead}
        state |= {f"learned.{name}": value for name, value in self.learned.items()}
        state |= {f"averaged.{name}": value for name, value in self.averaged.items()}
        state |= {f"discriminator.{name}": value for name, value in self.discriminator.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for number, values in optimizer.state_dict()["state"].items():
                state |= {f"{name}.{number}.{key}": value for key, value in values.items()}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """From :meth:`state`."""
        book = self.quantizer
        book.codebook.entries.data.copy_(state["entries"])
        book.counts, book.sums = state["counts"].to(self.device), state["sums"].to(self.device)
        self.balance, self.lead = state["balance"], state["lead"]
        for name, value in self.learned.items():
            value.data.copy_(state[f"learned.{name}"])
            self.averaged[name].copy_(state[f"averaged.{name}"])
        self.discriminator.load_state_dict(_below("discriminator", state))
        for name, optimizer in self.optimizers.items():
            whole = optimizer.state_dict()
            for key, value in _below(name, state).items():
                number, field = key.split(".")
                whole["state"].setdefault(int(number), {})[field] = value
            optimizer.load_state_dict(whole)

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Rows of content, style, AdaIN, and the averaged model at α = 0.7 and 1."""
        rows = []
        for content, style in zip(*self.shown, strict=False):
            z_c, z_s = (self.vgg(x[None].to(self.device))[_DEEPEST] for x in (content, style))
            own, other = moments(z_c), moments(z_s)
            z_y = dress(z_c.float(), own, other)
            _, indices = self.quantizer.find(z_c, own)
            painted = [self._paint(indices, z_y, other, alpha, self.averaged)[0] for alpha in (0.0, 0.7, 1.0)]
            rows += [content, style, *(image.cpu() for image in painted)]
        return make_grid([image.clamp(0, 1) for image in rows], nrow=5, padding=4, pad_value=1.0)


def falling(rate: float, number: int, steps: int) -> float:
    """The learning rate of an update, the ``number``-th from 0 of so many."""
    return rate * min(1, (number + 1) / _WARM_UP) * (1 + math.cos(math.pi * min(1, number / steps))) / 2


def _named(prefix: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.named_parameters()}


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}


def _perplexity(indices: Tensor) -> float:
    """exp of the entropy of a batch's entries, of all parts alike."""
    share = torch.bincount(indices.flatten()).double() / indices.numel()
    return torch.special.entr(share).sum().exp().item()
