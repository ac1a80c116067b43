"""The painter: a decoder that copies the style's own patches.

The style picture is the codebook of QuantArt (Huang et al. 2023). With c a photograph, s a painting, S4, S3, S2 the
style's patches matched to the content (see nets/matching.py), and a fidelity α:

    z = S4 ⊕α AdaIN(z_c, z_s)        image = D_α(z, S3, S2)        D_α = D̂ ⊕α D

D is the AdaIN decoder, and D̂, which is trained, is nets/painter.py. It starts as D with fusions at the identity. α is
the same for a batch. x' is the image's features, x̄ is x standardised by its own mean and deviation:

    content      mean (x̄'_4 - z̄_c)²
    style        means and deviations, relu1_1 … relu4_1       Huang and Belongie 2017, equation 13
    remd         relaxed earth mover's distance, relu3_1 and relu4_1     Kolkin et al. 2019, equation 6
    patch        mean 1 - cos(x'_3, S3) and mean 1 - cos(x'_2, S2)
    similarity   self-similarity of relu4_1                    Kolkin et al. 2019, equation 7
    identity     where c = s: mean (image - s)², and mean squared differences of features
    grid         detail that repeats every eight pixels

Where c = s, only style and identity count. The patches are matched as in painting. Adam; the learning rates rise over
100 updates and fall along half a cosine to 5 %. The fusions learn alone for the first 60 updates. The moving average of
the weights is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.painter import Painter, PainterDecoder
from quantart_cli.nets.painting import GROUPS, NOISE, StylePatches, match
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, backward, check_finite, random_numbers
from quantart_cli.training.losses import (
    grid_loss,
    moments,
    relaxed_emd,
    renormalise,
    self_similarity,
    standardise,
    style_loss,
)
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import PainterOptions, check_crop
from quantart_cli.training.painter_data import Batch, Batches
from quantart_cli.training.pictures import DETAILS, PAINTINGS, PHOTOGRAPHS, PictureSet

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_DETAIL_SIDE = 1024  # short side to which detail paintings are reduced
_BETAS = (0.9, 0.99)
_LARGEST_GRADIENT = 5.0
_FUSIONS_ALONE, _WARM_UP = 60, 100  # updates
_LOWEST_RATE = 0.05  # of the largest
_LOWEST_FIDELITY = 0.3
_EMD_POSITIONS, _SIMILARITY_POSITIONS = 576, 256
_SHOWN = (0.0, 0.7, 1.0)  # fidelities on the preview sheet


def painter_training(options: PainterOptions, vgg: VGG19, painter: Painter, decoder: Decoder) -> Training:
    """The training of a painter, to a float16 file of the kind ``quantart-painter``.

    It takes the folders "photographs", "paintings" and, optionally, "detail paintings" whose brush strokes are visible.

    Args:
        options: of the training.
        vgg: the encoder, on the device and in the precision to use; it stays as it is.
        painter: the first state, float32; trained in place.
        decoder: of AdaIN, float32.
    """
    check_crop(options.crop, 8)
    return Training(
        "quantart-painter",
        lambda pictures, shown: PainterTraining(vgg, painter, decoder, pictures, shown, options),
        identity(device_and_dtype(vgg)[1], painter.decoder),
        half=True,
        short_sides={DETAILS: _DETAIL_SIDE},
    )


class PainterTraining(Trainable):
    """The painter and one update of it.

    Args:
        vgg: the encoder; it stays as it is.
        painter: float32; trained in place.
        decoder: of AdaIN, float32: D̂ is mixed with it.
        pictures: "photographs", "paintings" and, optionally, "detail paintings".
        shown: pictures of the preview sheet by the same names, (n, 3, H, W) in [0, 1] each.
        options: of the training.
    """

    def __init__(
        self,
        vgg: VGG19,
        painter: Painter,
        decoder: Decoder,
        pictures: Mapping[str, PictureSet],
        shown: Mapping[str, Tensor],
        options: PainterOptions,
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, self.dtype = device_and_dtype(vgg)
        self.project = painter.project.to(self.device)  # stays as it is
        self.zero = dict(PainterDecoder.of(decoder).to(self.device).named_parameters())
        network = painter.decoder.to(self.device).to(memory_format=torch.channels_last)
        fusions = [*network.fuse3.parameters(), *network.fuse2.parameters()]
        others = [value for name, value in network.named_parameters() if not name.startswith("fuse")]
        self.painter = MixedPrecisionOptimizer(
            network,
            self.dtype,
            (options.rate, options.fusion_rate),
            _BETAS,
            groups=(others, fusions),
            average=options.average,
            largest_gradient=_LARGEST_GRADIENT,
        )
        self.parts = {"painter": self.painter}
        self.batches = Batches(pictures, options, self.device)

    def update(self, number: int) -> dict[str, float]:
        batch = self.batches[number]
        with random_numbers(self.options.seed, number):
            losses = self._losses(batch)
        self.painter.zero_grad()
        values = {**backward(losses), "gradient": self.painter.clip_gradient()}
        check_finite(values)
        self.painter.step(number, *rates(number, self.options))
        return values

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """All losses, weighted."""
        o, count = self.options, batch.identities
        contents, styles = batch.contents.to(self.device), batch.styles.to(self.device)
        with torch.no_grad():
            content, style, patches = self._encode(contents, styles)
            z_c = content["relu4_1"].float()
            fidelity = _LOWEST_FIDELITY + (1 - _LOWEST_FIDELITY) * torch.rand(()).item()
            z = self._latent(z_c, style, patches, fidelity)
        image = self.painter(z, patches.s3, patches.s2, blend=(self.zero, fidelity))  # (B, 3, H, W)
        output = self.vgg(image, LAYERS)
        deepest = output["relu4_1"].float()
        target = {layer: moments(style[layer]) for layer in LAYERS}
        losses = {"style": o.style_weight * style_loss(output, target)}
        if count < len(contents):
            paired = slice(count, None)  # not identities
            losses["content"] = o.content_weight * F.mse_loss(standardise(deepest[paired]), standardise(z_c[paired]))
            distances = [
                relaxed_emd(output[layer][paired], style[layer][paired], _EMD_POSITIONS)
                for layer in ("relu3_1", "relu4_1")
            ]
            losses["remd"] = o.remd_weight * torch.stack(distances).sum()
            losses["patch"] = o.patch_weight * (
                _cosine_distance(output["relu3_1"][paired], patches.s3[paired])
                + _cosine_distance(output["relu2_1"][paired], patches.s2[paired])
            )
            similarity = self_similarity(deepest[paired], z_c[paired], _SIMILARITY_POSITIONS)
            losses["similarity"] = o.similarity_weight * similarity
            losses["grid"] = o.grid_weight * grid_loss(image[paired])
        if count:
            pixels = F.mse_loss(image[:count], styles[:count])
            features = [F.mse_loss(output[layer][:count].float(), style[layer][:count].float()) for layer in LAYERS]
            losses["identity"] = o.identity_weight * pixels + torch.stack(features).sum()
        return losses

    def _encode(self, contents: Tensor, styles: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], StylePatches]:
        both = self.vgg(torch.cat([contents, styles]), LAYERS)
        content, style = ({layer: x.chunk(2)[i] for layer, x in both.items()} for i in range(2))
        h, w = content["relu4_1"].shape[2:]
        noise = torch.rand(len(contents), NOISE, h, w).to(self.device)
        places = torch.randperm(h * w)
        places = torch.cat([places, places[: -len(places) % GROUPS]]).to(self.device)
        return content, style, match(self.project, content, style, noise, places)

    def _latent(self, z_c: Tensor, style: Mapping[str, Tensor], patches: StylePatches, fidelity: float) -> Tensor:
        """S4 ⊕α AdaIN(z_c, z_s)."""
        z_y = renormalise(z_c, moments(z_c), moments(style["relu4_1"]))
        return torch.lerp(z_y, patches.s4, fidelity)

    def model(self) -> Mapping[str, Tensor]:
        decoder = {f"decoder.{name}": value for name, value in self.painter.averaged.state_dict().items()}
        return {**decoder, "project": self.project}

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style, and the averaged painter's pictures at fidelity 0, 0.7 and 1."""
        styles = self.shown.get(DETAILS, self.shown[PAINTINGS])
        rows = []
        for content, style in zip(self.shown[PHOTOGRAPHS], styles, strict=True):
            with random_numbers(self.options.seed, 0):
                x, s, patches = self._encode(content[None].to(self.device), style[None].to(self.device))
            rows.append([content, style])
            for fidelity in _SHOWN:
                z = self._latent(x["relu4_1"].float(), s, patches, fidelity)
                blend = self.zero, fidelity
                rows[-1].append(self.painter(z, patches.s3, patches.s2, averaged=True, blend=blend)[0])
        return rows


def rates(number: int, options: PainterOptions) -> tuple[float, float]:
    """Learning rates of the 3x3 convolutions and of the fusions in an update."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1, number / options.steps))
    share = min(1, (number + 1) / _WARM_UP) * (_LOWEST_RATE + (1 - _LOWEST_RATE) * cosine)
    return (0.0 if number < _FUSIONS_ALONE else options.rate * share), options.fusion_rate * share


def _cosine_distance(output: Tensor, target: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(output.float(), target.float())).mean()
