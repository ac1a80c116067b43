"""A network for one style or several (Johnson et al. 2016; with several Dumoulin et al. 2017).

    L = λ_c |φ(f(c, s)) - φ(c)|² + λ_s Σ |G_i(f(c, s)) - G_i(s)|² / |G_i(s)|² + λ_t TV(f(c, s))

c is a crop of a photograph and s one of the styles, chosen at random for each crop. φ is relu3_1 of the normalised
VGG-19, G_i are Gram matrices of relu1_1 … relu4_1. All convolutions are shared; a style has its own scales and shifts
of the instance norms (Dumoulin et al., section 2.2).

With ``temporal`` there is a fourth loss, λ |f(T(c) + n, s) - T(f(c, s))|²: T moves by up to 8 pixels, and n is noise.
It is the temporal loss of Huang et al. 2017 (Real-Time Neural Style Transfer for Videos), with made motions in place
of films.

Departures from the papers: the normalised VGG-19 instead of VGG-16; style losses are relative to the style, so one
weight suits all; the total variation is a mean of squares. The learning rate falls to 0 along half a cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.nets.fast import LAST, StyleNetwork
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.decoder_trainer import falling
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, backward, check_finite, random_numbers
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import FastOptions, check_crop
from quantart_cli.training.pictures import Crops, PictureSet

_STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_CONTENT_LAYER = "relu3_1"
_BETAS = (0.9, 0.99)
_LARGEST_GRADIENT = 10.0
_FARTHEST, _NOISE = 8, 0.02  # motions in pixels and noise, a deviation, of the temporal loss
_STYLE_RATE = 10.0  # learning rate of scales and shifts over that of the convolutions: they differ from style to style


def fast_training(options: FastOptions, vgg: VGG19, styles: Mapping[str, Tensor]) -> Training:
    """The training of a network, to a float16 file of the kind ``fast``.

    It takes the folder "photographs".

    Args:
        vgg: for the losses, on the device and in the precision to use; it stays as it is.
        styles: of :func:`read_styles`.
    """
    check_crop(options.crop, 4)
    dtype = device_and_dtype(vgg)[1]
    start = nn.ParameterDict({name: nn.Parameter(picture, requires_grad=False) for name, picture in styles.items()})
    return Training(
        "fast",
        lambda pictures, shown: FastTraining(vgg, styles, pictures["photographs"], shown["photographs"], options),
        {**identity(dtype, start), "styles": list(styles)},
        half=True,
    )


def read_styles(paths: Sequence[Path], size: int) -> dict[str, Tensor]:
    """Pictures by the names of their files, (1, 3, H, W) float32 in [0, 1], reduced to a long side of ``size``.

    Raises:
        QuantArtError: a picture cannot be read, two have one name, or a name holds what separates names.
    """
    found: dict[str, Tensor] = {}
    for path in paths:
        name = path.stem.replace(".", "-")
        if not name or set(name) & set(",:"):
            raise QuantArtError(f"a style is named after its file, without commas and colons: rename {path}")
        if name in found:
            raise QuantArtError(f"two styles are named {name}: rename one of the files")
        picture = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)
        share = min(1.0, size / max(picture.shape[1:]))
        sides = [max(16, round(side * share)) for side in picture.shape[1:]]
        view = v2.Compose([v2.Resize(sides, antialias=True), v2.ToDtype(torch.float32, scale=True)])
        found[name] = view(picture)[None]
    return found


class FastTraining(Trainable):
    """The network and one update of it; arguments as of :func:`fast_training`."""

    def __init__(
        self, vgg: VGG19, styles: Mapping[str, Tensor], pictures: PictureSet, shown: Tensor, options: FastOptions
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, dtype = device_and_dtype(vgg)
        self.names = list(styles)
        self.styles = styles
        with torch.no_grad():
            layers = [self.vgg(picture.to(self.device), _STYLE_LAYERS) for picture in styles.values()]
            self.grams = {name: torch.cat([_gram(each[name]) for each in layers]) for name in _STYLE_LAYERS}
        with random_numbers(options.seed, 0):
            network = StyleNetwork(styles=self.names)
        for name, picture in styles.items():
            network.styles[name].data[:, network.norms[LAST]] = _colours(picture)
        network.to(self.device).to(memory_format=torch.channels_last)
        self.network = MixedPrecisionOptimizer(
            network,
            dtype,
            (options.rate, _STYLE_RATE * options.rate),
            _BETAS,
            float32=("styles.",),
            groups=(
                [p for n, p in network.named_parameters() if not n.startswith("styles.")],
                [*network.styles.values()],
            ),
            average=options.average,
            largest_gradient=_LARGEST_GRADIENT,
        )
        self.parts = {"network": self.network}
        self.crops = Crops([pictures], options, self.device, (options.smallest_crop, 1))

    def update(self, number: int) -> dict[str, float]:
        o = self.options
        (content,) = self.crops[number]
        with random_numbers(o.seed, number + 1):
            # In turn, from a random one on: as many crops of each style.
            chosen = (torch.randint(len(self.names), ()) + torch.arange(o.batch)) % len(self.names)
            if o.temporal:
                moved, motion = _moved(content)
        image = self._painted(content, chosen.tolist())
        output = self.vgg(image, {*_STYLE_LAYERS, _CONTENT_LAYER})
        with torch.no_grad():
            wanted = self.vgg(content, (_CONTENT_LAYER,))[_CONTENT_LAYER].float()
        grams = {name: each[chosen.to(self.device)] for name, each in self.grams.items()}
        losses = {
            "content": o.content_weight * F.mse_loss(output[_CONTENT_LAYER].float(), wanted),
            "style": o.style_weight * _style_loss(output, grams),
            "tv": o.tv_weight * _variation(image),
        }
        if o.temporal:
            losses["temporal"] = o.temporal * _unsteady(image, self._painted(moved, chosen.tolist()), motion)
        self.network.zero_grad()
        values = {**backward(losses), "gradient": self.network.clip_gradient()}
        check_finite(values)
        rate = falling(o.rate, number, o.steps)
        self.network.step(number, rate, _STYLE_RATE * rate)
        return values

    def _painted(self, content: Tensor, chosen: Sequence[int], averaged: bool = False) -> Tensor:
        network: Any = self.network.averaged if averaged else self.network.network
        style = torch.stack([network.styles[self.names[number]] for number in chosen])
        image: Tensor = self.network(content, style, averaged=averaged)
        return image

    def model(self) -> Mapping[str, Tensor]:
        return self.network.averaged.state_dict()

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content and the result in every style; above them the styles."""
        size = list(self.shown.shape[2:])
        small = v2.Compose([v2.Resize(size[0], antialias=True), v2.CenterCrop(size)])
        rows = [[torch.ones(3, *size), *(small(picture[0]) for picture in self.styles.values())]]
        for content in self.shown:
            inputs = content[None].to(self.device)
            painted = [self._painted(inputs, [number], averaged=True)[0] for number in range(len(self.names))]
            rows.append([content, *painted])
        return rows


def _colours(picture: Tensor) -> Tensor:
    """Scales and shifts of the last layer, (2, 3), whose sigmoid has the picture's means and deviations, nearly."""
    deviation, mean = torch.std_mean(picture[0].flatten(1), 1)
    mean = mean.clamp(0.02, 0.98)
    return torch.stack([deviation / (mean * (1 - mean)), mean.logit()])


def _style_loss(output: Mapping[str, Tensor], grams: Mapping[str, Tensor]) -> Tensor:
    """A mean over layers and samples of |G - G*|² / |G*|²."""
    each = [(_gram(output[n]) - g).square().sum((1, 2)) / g.square().sum((1, 2)) for n, g in grams.items()]
    return torch.stack(each).mean()


def _gram(z: Tensor) -> Tensor:
    """Gram matrix of the channels, (B, C, h, w) -> (B, C, C) float32: losses.py's, in the precision of z."""
    found: Tensor = _Gram.apply(z.movedim(1, -1).flatten(1, 2))
    return found


class _Gram(torch.autograd.Function):
    """The Gram matrix of rows (B, n, C), symmetric: its gradient takes one product, where autograd takes two."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return (rows.mT @ rows).float() / rows.shape[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        slope = (gradients[0] + gradients[0].mT) / rows.shape[1]
        found: Tensor = rows @ slope.to(rows.dtype)
        return found


def _moved(content: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Crops, moved up and to the left by a random (y, x) and mirrored into what is left, with noise; and (y, x)."""
    y, x = torch.randint(_FARTHEST + 1, (2,)).tolist()
    moved = F.pad(content, (0, x, 0, y), mode="reflect")[..., y:, x:]
    return moved + _NOISE * torch.randn(content.shape).to(content), (y, x)


def _unsteady(image: Tensor, moved: Tensor, motion: tuple[int, int]) -> Tensor:
    """Mean squared difference between what was painted before and after a motion (y, x), where both show the same."""
    (y, x), (height, width) = motion, image.shape[2:]
    return F.mse_loss(moved[..., : height - y, : width - x], image[..., y:, x:])


def _variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours."""
    return (image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()) / 2
