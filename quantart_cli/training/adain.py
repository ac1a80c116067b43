"""The AdaIN decoder from scratch (Huang and Belongie 2017, sections 5 and 6).

    t     = AdaIN(f(c), f(s))                                                      equation 8
    L     = L_c + λ L_s                                                            equation 11
    L_c   = |f(g(t)) - t|²                                                         equation 12
    L_s   = Σ |μ(φ_i(g(t))) - μ(φ_i(s))|² + |σ(φ_i(g(t))) - σ(φ_i(s))|²            equation 13

f is VGG-19 to relu4_1, g the decoder that learns, φ_i its layers relu1_1 … relu4_1. As in section 6.2: Adam, eight
pairs an update, random crops of 256 pixels from pictures whose short side was brought to 512. Rate 1e-4, divided by
1 + n · 5e-5 at update n, λ = 10 and 160,000 updates are those of pytorch-AdaIN (train.py), whose weights quantart's
are. Three departures: the losses are means of squares, as there, where the paper writes norms; crops are mirrored at
random; gradients longer than 10⁵ are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from quantart_cli.errors import QuantArtError
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Product, Progress, Report, train
from quantart_cli.training.learning import Learner
from quantart_cli.training.loop import NotFinite, numbers_of
from quantart_cli.training.losses import moments, style_loss
from quantart_cli.training.options_more import AdaINOptions
from quantart_cli.training.pictures import Pictures, crops
from quantart_cli.training.quantizing import dress

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_DEEPEST = _LAYERS[-1]


def train_adain(
    contents: Path,
    styles: Path,
    target: Path,
    options: AdaINOptions,
    vgg: VGG19,
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Train a decoder and write it as float32 safetensors of the kind ``adain-decoder``.

    Args:
        contents, styles: folders of photographs and of paintings.
        target: the file to write.
        vgg: the encoder, on the device and in the precision to use.
        restart, stop, progress: as in :func:`quantart_cli.training.folders.train`, as are results and errors.
    """
    if options.crop % 8:
        raise QuantArtError(f"--crop must be a multiple of 8, not {options.crop}")
    if options.crop > options.short_side:
        raise QuantArtError(f"--crop {options.crop} does not fit into --short-side {options.short_side}")
    return train(
        {"photographs": contents, "paintings": styles},
        target,
        Product("adain-decoder", {}),
        options,
        {"precision": str(vgg.conv1_1.weight.dtype).removeprefix("torch.")},
        lambda pictures, shown: AdaINTraining(vgg, pictures, shown, options),
        restart=restart,
        stop=stop,
        progress=progress,
    )


class AdaINTraining:
    """The decoder, and one update of it; see :class:`quantart_cli.training.folders.Model`.

    Args:
        vgg: the encoder; frozen here.
        pictures: "photographs" and "paintings" to learn from.
        shown: those of the preview sheet, (n, 3, H, W) in [0, 1] each.
        options: see there.
    """

    def __init__(
        self, vgg: VGG19, pictures: Mapping[str, Pictures], shown: Mapping[str, Tensor], options: AdaINOptions
    ) -> None:
        self.vgg = vgg.requires_grad_(False)
        self.contents, self.styles = pictures["photographs"], pictures["paintings"]
        self.shown, self.options = shown, options
        self.device = vgg.conv1_1.weight.device
        with numbers_of(options.seed, 0):
            network = Decoder()
        network.to(self.device, memory_format=torch.channels_last)
        self.decoder = Learner(network, vgg.conv1_1.weight.dtype, options.rate)

    def update(self, number: int) -> dict[str, float]:
        """One update of the decoder."""
        o = self.options
        shares = [o.crop / o.short_side] * o.batch
        with numbers_of(o.seed, number + 1):
            content, style = (crops(each, shares, o.crop).to(self.device) for each in (self.contents, self.styles))
        t, wanted = self._target(content, style)
        found = self.vgg(self.decoder(t), _LAYERS)
        losses = {
            "content": o.content_weight * F.mse_loss(found[_DEEPEST].float(), t),
            "style": o.style_weight * style_loss(found, wanted),
        }
        self.decoder.forget()
        sum(losses.values()).backward()
        told = {**{name: loss.item() for name, loss in losses.items()}, "gradient": self.decoder.clip()}
        if not torch.tensor([*told.values()]).isfinite().all():
            raise NotFinite(", ".join(f"{name} {value:g}" for name, value in told.items()))
        self.decoder.step(o.rate / (1 + o.rate_decay * number))
        return told

    @torch.no_grad()
    def _target(self, content: Tensor, style: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """t, (B, 512, h, w) float32, and μ and σ of every layer of the style."""
        z = self.vgg(content)[_DEEPEST].float()
        wanted = {layer: moments(features) for layer, features in self.vgg(style, _LAYERS).items()}
        return dress(z, moments(z), wanted[_DEEPEST]), wanted

    def model(self) -> dict[str, Tensor]:
        return dict(self.decoder.network.named_parameters())

    def state(self) -> dict[str, Tensor]:
        return self.decoder.state("decoder")

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.decoder.restore("decoder", state)

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Rows of content, style, and the style transferred."""
        rows = []
        for content, style in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            t, _ = self._target(content[None].to(self.device), style[None].to(self.device))
            rows += [content, style, self.decoder(t)[0].clamp(0, 1).cpu()]
        return make_grid(rows, nrow=3, padding=4, pad_value=1.0)
