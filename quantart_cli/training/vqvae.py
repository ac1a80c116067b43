"""A VQ-VAE whose decoder takes the codes of a content and of a style.

Neural Discrete Representation Learning (van den Oord et al. 2017), and AdaIN (Huang and Belongie 2017). With x a
picture, z = E(x), e the nearest entries, sg[] the stop-gradient operator, D(e, s) the decoder with codes of two
pictures, f VGG-19 to relu3_1, photographs c and paintings s:

    L_rec   = |x - D(e_x, e_x)| + perceptual(x, D(e_x, e_x))                     half of the photographs and paintings
    L_style = |f(y) - t|² + λ Σ_i |μ_i(y) - μ_i(s)|² + |σ_i(y) - σ_i(s)|²        y = D(e_c, e_s), t = AdaIN(f(c), f(s))
    L       = L_rec + L_style + β |z - sg[e]|²                                   equation 3, third term

The gradient passes from e to z as it is (section 3.2). Entries are moving averages of the z assigned to them (appendix
A.1), and restart if unused, so the second term of equation 3 does not exist. The first updates do not quantize: then
the entries are placed on codes of a batch. Without this most entries are never used. L_style is the loss of AdaIN,
equations 11 to 13. A picture is its own style in L_rec: so one decoder reconstructs and stylizes.

At first only the difference in pixels counts, for all pictures, as in the paper: such an update takes a third of the
time.

The paper has the squared difference of pixels only. It is the absolute difference here, with a perceptual loss
(Johnson et al. 2016): squares alone blur. The learning rate rises over the first updates and falls to 0 along half a
cosine.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.errors import QuantArtError
from quantart_cli.nets.vgg import VGG19
from quantart_cli.nets.vqvae import VQVAE, VQVAEConfig
from quantart_cli.training.decoder_trainer import falling
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, backward, check_finite, random_numbers
from quantart_cli.training.losses import moments, perceptual_loss, renormalise, style_loss
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import VQVAEOptions, check_crop
from quantart_cli.training.pictures import PAINTINGS, PHOTOGRAPHS, Crops, PictureSet
from quantart_cli.training.quantizer import Quantizer, perplexity

_LAYERS = ("relu1_1", "relu2_1", "relu3_1")
_DEEPEST = _LAYERS[-1]
_LARGEST_GRADIENT = 100.0


def vqvae_training(options: VQVAEOptions, vgg: VGG19, network: VQVAE | None = None) -> Training:
    """The training of a VQ-VAE, to a float16 file of the kind ``vqvae``.

    It takes the folders "photographs" and "paintings".

    Args:
        vgg: for the losses, on the device and in the precision to use; it stays as it is.
        network: the first state, float32; its sizes replace those of the options. None: random.
    """
    check_crop(options.crop, 8)
    if options.channels % 4:
        raise QuantArtError(f"channels must be a multiple of 4, not {options.channels}")
    start = identity(device_and_dtype(vgg)[1], *([] if network is None else [network]))
    config = network.config if network else VQVAEConfig(options.channels, options.width, options.entries)
    return Training(
        "vqvae",
        lambda pictures, shown: VQVAETraining(vgg, config, network, pictures, shown, options),
        start,
        vars(config),
        half=True,
    )


class Painting(nn.Module):
    """Encoding, quantization and decoding in one call."""

    def __init__(self, network: VQVAE) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Tensor, content: Tensor, style: Tensor, quantized: bool = True
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode pairs of pictures.

        Args:
            images: (B, 3, H, W) in [0, 1].
            content, style: (n,) int64, numbers of pictures of the batch.
            quantized: whether e is decoded, or z.

        Returns:
            the painted pictures (n, 3, H, W), z and e (B, D, h, w), all float32, and the indices of e (B·h·w, 1).
        """
        z = self.network.encode(images)
        e, indices = self.network.quantize(z)
        codes = z + (e - z).detach() if quantized else z
        mean, std = (each.flatten(1) for each in moments(codes))
        # Not codes[content]: its gradient is summed in an order that changes from run to run.
        (own_mean, own_std), (mean, std) = ([x.index_select(0, i) for x in (mean, std)] for i in (content, style))
        slope = std / own_std
        shift = mean - slope * own_mean
        return self.network.decode(codes.index_select(0, content), slope, shift, mean, std), z, e, indices


class VQVAETraining(Trainable):
    """The network, its codebook and one update of them; ``pictures`` and ``shown`` have "photographs" and "paintings".

    Other arguments as of :func:`vqvae_training`.
    """

    def __init__(
        self,
        vgg: VGG19,
        config: VQVAEConfig,
        network: VQVAE | None,
        pictures: Mapping[str, PictureSet],
        shown: Mapping[str, Tensor],
        options: VQVAEOptions,
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, dtype = device_and_dtype(vgg)
        with random_numbers(options.seed, 0):
            made = network or VQVAE(config)
            if network is None:
                nn.init.normal_(made.codebook.entries)
        made.to(self.device).to(memory_format=torch.channels_last)
        self._first = options.quantize_after if network is None else 0
        self.painting = MixedPrecisionOptimizer(
            Painting(made),
            dtype,
            options.rate,
            float32=("network.codebook.",),
            average=options.average,
            largest_gradient=_LARGEST_GRADIENT,
        )
        made.codebook.entries.requires_grad_(False)  # they follow as moving averages
        self.quantizer = Quantizer(made.codebook, options.codebook_decay)
        self.parts = {"painting": self.painting, "quantizer": self.quantizer}
        both = pictures[PHOTOGRAPHS], pictures[PAINTINGS]
        self.crops = Crops(both, options, self.device, (options.smallest_crop, 1))

    def update(self, number: int) -> dict[str, float]:
        with random_numbers(self.options.seed, number + 1):
            photographs, paintings = self.crops[number]
            return self._update(photographs, paintings, number)

    def _update(self, photographs: Tensor, paintings: Tensor, number: int) -> dict[str, float]:
        images, count = torch.cat([photographs, paintings]), len(photographs)
        if 0 < number == self._first:
            self._place_entries(images)
        quantized, styled = number >= self._first, number >= self.options.style_after
        rebuilt = torch.arange(2 * count, device=self.device)
        if styled:
            rebuilt = torch.cat([rebuilt[: count // 2], rebuilt[count + count // 2 :]])
        content, style = rebuilt, rebuilt
        if styled:
            c = torch.arange(count, device=self.device)
            content, style = torch.cat([rebuilt, c]), torch.cat([rebuilt, c + count])
        output, z, e, indices = self.painting(images, content, style, quantized)
        losses = {"pixel": self.options.pixel_weight * F.l1_loss(output[: len(rebuilt)], images[rebuilt])}
        if quantized:
            losses["commitment"] = self.options.beta * F.mse_loss(z, e.detach())
        if styled:
            losses |= self._perceptual(output, images, rebuilt)
        self.painting.zero_grad()
        values = {**backward(losses), "gradient": self.painting.clip_gradient()}
        check_finite(values)
        self.painting.step(number, falling(self.options.rate, number, self.options.steps))
        if quantized:
            restarted = self.quantizer.update(z.detach().movedim(1, -1).flatten(0, 2), indices)
            values |= {"perplexity": perplexity(indices), "restarted": float(restarted)}
        return values

    def _perceptual(self, output: Tensor, images: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """The losses of features: of the rebuilt pictures, and of the others, photographs in the look of paintings."""
        o, count = self.options, len(rebuilt)
        with torch.no_grad():
            features = self.vgg(images, _LAYERS)
            wanted = {layer: moments(x[-count:]) for layer, x in features.items()}
            f_c = features[_DEEPEST][:count].float()
            t = renormalise(f_c, moments(f_c), wanted[_DEEPEST])
        found = self.vgg(output, _LAYERS)
        own, other = ({layer: x[part] for layer, x in found.items()} for part in (slice(count), slice(count, None)))
        theirs = {layer: x[rebuilt] for layer, x in features.items()}
        return {
            "perceptual": o.perceptual_weight * perceptual_loss(own, theirs, _LAYERS),
            "content": o.content_weight * F.mse_loss(other[_DEEPEST].float(), t),
            "style": o.style_weight * style_loss(other, wanted),
        }

    @torch.no_grad()
    def _place_entries(self, images: Tensor) -> None:
        """Put each entry on a random code of these pictures."""
        network, averaged = self.painting.network.network, self.painting.averaged.network
        assert isinstance(network, VQVAE)
        assert isinstance(averaged, VQVAE)
        z = network.encode(images).movedim(1, -1).flatten(0, 2)
        entries = z[torch.randint(len(z), (network.config.entries,)).to(z.device)]
        network.codebook.entries.copy_(entries)
        averaged.codebook.entries.copy_(entries)

    def model(self) -> Mapping[str, Tensor]:
        """The averaged weights."""
        network = self.painting.averaged.network
        assert isinstance(network, VQVAE)
        return network.state_dict()

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style, the content rebuilt, the style rebuilt, and the content in the style."""
        rows = []
        numbers = torch.tensor([[0, 1, 0], [0, 1, 1]], device=self.device)
        for content, style in zip(self.shown["photographs"], self.shown["paintings"], strict=True):
            both = torch.stack([content, style]).to(self.device)
            rows.append([content, style, *self.painting(both, *numbers, averaged=True)[0]])
        return rows
