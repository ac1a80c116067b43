"""Options of each training, with defaults and ranges. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.errors import QuantArtError
from quantart_cli.settings import Settings, setting


def _weight(default: float, of: str) -> float:
    value: float = setting(default, f"Weight of {of}.", low=0)
    return value


def _share(default: float, help: str, low: float = 0) -> float:
    value: float = setting(default, help, low=low, high=1)
    return value


def _smallest_crop(default: float) -> float:
    return _share(default, "Crops are squares of this share of a picture's short side, or more.", low=0.05)


def check_crop(crop: int, multiple: int, short_side: int | None = None) -> None:
    """Check the side of crops, in pixels, against the stride of a network and the size of the pictures.

    Raises:
        QuantArtError: it is not a multiple, or larger than the pictures' short side.
    """
    if crop % multiple:
        raise QuantArtError(f"crop must be a multiple of {multiple}, not {crop}")
    if short_side is not None and crop > short_side:
        raise QuantArtError(f"crop must be at most short_side {short_side}, not {crop}")


@dataclass(frozen=True)
class TrainingOptions(Settings):
    """Options of every training."""

    hold_out: float = setting(
        0.0, "Share of the pictures never trained on, chosen by a hash of the file name.", low=0, high=0.9
    )
    seed: int = setting(0, "Seed of all random numbers; the same seed gives the same weights.", low=0)


@dataclass(frozen=True)
class CodebookOptions(TrainingOptions):
    """Training of a codebook by k-means."""

    entries: int = setting(1024, "Entries of each part of the codebook.", low=2)
    width: int = setting(256, "Channels of a code: principal components kept of the 512.", low=1, high=512)
    parts: int = setting(8, "Parts of a code, each with its own entries; 1 quantizes whole codes.", low=1, high=16)
    samples: int = setting(1_000_000, "Feature vectors sampled from the paintings.", low=1)
    smallest_scale: float = setting(0.5, "Paintings are scaled at random between this and 1.", low=0.1, high=1)
    iterations: int = setting(30, "Largest number of k-means iterations.", low=1)


@dataclass(frozen=True)
class GradientOptions(TrainingOptions):
    """Options of every training by gradients."""

    steps: int = setting(100_000, "Updates in all; an unfinished training may be given another number.", low=1)
    minutes: float = setting(0.0, "Stop after this many minutes with a checkpoint; 0: no limit.", low=0)
    batch: int = setting(8, "Crops per update.", low=1)
    crop: int = setting(256, "Side of a crop in pixels.", low=32)
    memory: float = setting(4.0, "Gigabytes of decoded pictures kept in memory, for each folder.", low=0)
    log_every: int = setting(10, "Updates between two lines of the log.", low=1)
    checkpoint_every: int = setting(200, "Updates between two checkpoints.", low=1)
    checkpoint_seconds: float = setting(90.0, "Write a checkpoint after this many seconds too; 0: never.", low=0)
    sheet_every: int = setting(500, "Updates between two preview sheets.", low=1)


UNBOUND = ("steps", "minutes", "memory", "log_every", "checkpoint_every", "checkpoint_seconds", "sheet_every")
"""Options that may change when a training is resumed."""


@dataclass(frozen=True)
class PainterOptions(GradientOptions):
    """Training of the painter; painter.py has the sources of the numbers."""

    steps: int = setting(10_000, "Updates in all, over which the learning rates fall.", low=1)
    batch: int = setting(4, "Crops per update. Default: 4, on a GPU 16.", low=1)
    crop: int = setting(192, "Side of a crop in pixels, a multiple of 8. Default: 192, on a GPU 256.", low=32)
    rate: float = setting(1e-4, "Largest learning rate of the 3x3 convolutions.", low=0)
    fusion_rate: float = setting(3e-4, "Largest learning rate of the fusions.", low=0)
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(3.0, "the style loss (means and deviations)")
    remd_weight: float = _weight(10.0, "the relaxed earth mover's distance")
    patch_weight: float = _weight(5.0, "the distance from the matched patches")
    similarity_weight: float = _weight(12.0, "the difference in self-similarity")
    identity_weight: float = _weight(50.0, "the difference in pixels of reconstructed paintings")
    grid_weight: float = _weight(50.0, "detail that repeats every eight pixels")
    average: float = _share(0.999, "Decay of the moving average of the weights, which is written.")


@dataclass(frozen=True)
class PairOptions(GradientOptions):
    """What the trainings of pairs.py share."""

    short_side: int = setting(512, "Crops are taken from pictures with this short side, in pixels.", low=32)
    rate: float = setting(1e-4, "Learning rate of the first update.", low=0)


@dataclass(frozen=True)
class AdaINOptions(PairOptions):
    """Training of the AdaIN decoder; adain.py has the sources of the numbers."""

    steps: int = setting(160_000, "Updates in all.", low=1)
    rate_decay: float = setting(5e-5, "The rate of update n is divided by 1 + n times this.", low=0)
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(10.0, "the style loss")


@dataclass(frozen=True)
class AttentionOptions(PairOptions):
    """What the trainings of attention.py share; it has the sources of the numbers."""

    crop: int = setting(256, "Side of a crop in pixels, a multiple of 16.", low=32)


@dataclass(frozen=True)
class SANetOptions(AttentionOptions):
    """Training of SANet."""

    steps: int = setting(160_000, "Updates in all.", low=1)
    batch: int = setting(5, "Crops per update.", low=1)
    rate_decay: float = setting(5e-5, "The rate of update n is divided by 1 + n times this.", low=0)
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(3.0, "the style loss")
    pixel_weight: float = _weight(50.0, "the difference in pixels of pictures painted in their own style")
    feature_weight: float = _weight(1.0, "their difference in features")


@dataclass(frozen=True)
class AdaAttNOptions(AttentionOptions):
    """Training of AdaAttN."""

    steps: int = setting(50_000, "Updates in all; after two fifths the rate falls to 0.", low=1)
    rate: float = setting(2e-4, "Learning rate of the first updates.", low=0)
    global_weight: float = _weight(10.0, "the global style loss (means and deviations)")
    local_weight: float = _weight(3.0, "the local style loss (attention)")


@dataclass(frozen=True)
class FastOptions(GradientOptions):
    """Training of a network for given styles; fast.py has the losses."""

    steps: int = setting(20_000, "Updates in all, over which the learning rate falls.", low=1)
    batch: int = setting(4, "Crops per update. Default: 4, on a GPU 8.", low=1)
    crop: int = setting(256, "Side of a crop in pixels, a multiple of 4.", low=32)
    smallest_crop: float = _smallest_crop(0.4)
    style_size: int = setting(512, "Long side to which larger styles are reduced: sets how large strokes are.", low=16)
    rate: float = setting(1e-3, "Largest learning rate; it falls to 0.", low=0)
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(60.0, "the style loss (Gram matrices)")
    tv_weight: float = _weight(1.0, "the total variation")
    temporal: float = _weight(0.0, "the temporal loss, which makes a steadier network for clips: 500 or so")
    average: float = _share(0.998, "Decay of the moving average of the weights, which is written.")


@dataclass(frozen=True)
class AutoencoderOptions(GradientOptions):
    """Training of the art autoencoder: a decoder of quantized features, and its codebook."""

    steps: int = setting(20_000, "Updates in all, over which the learning rate falls.", low=1)
    batch: int = setting(4, "Crops per update.", low=1)
    crop: int = setting(192, "Side of a crop in pixels, a multiple of 8.", low=64)
    smallest_crop: float = _smallest_crop(0.35)
    reconstructions: float = _share(0.5, "Share of a batch that reconstructs paintings; the rest stylizes photographs.")
    mixed: float = _share(0.25, "Share of the updates at a fidelity between 0.3 and 1; the others are at 1.")
    rate: float = setting(3e-4, "Largest learning rate of the decoder; it falls to 0.", low=0)
    adversary_rate: float = setting(8e-4, "Learning rate of the discriminator.", low=0)
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(0.5, "the style loss (means and deviations)")
    gram_weight: float = _weight(0.5, "the style loss (Gram matrices)")
    pixel_weight: float = _weight(2.0, "the difference in pixels of reconstructed paintings")
    perceptual_weight: float = _weight(0.5, "their difference in features")
    texture_weight: float = _weight(3.0, "their difference in local means and deviations")
    adversary_weight: float = _weight(0.0, "the discriminator, relative to all other losses, at its full lead")
    adversary_after: int = setting(300, "Updates before the discriminator begins to learn.", low=0)
    codebook_decay: float = _share(0.999, "Decay of the moving averages of the entries; 1 keeps the codebook.")
    average: float = _share(0.998, "Decay of the moving average of the decoder, which is written.")


@dataclass(frozen=True)
class VQGANOptions(GradientOptions):
    """Training of an f16 VQGAN; vqgan.py has the sources of the numbers."""

    batch: int = setting(5, "Crops per update.", low=1)
    crop: int = setting(256, "Side of a crop in pixels, a multiple of 16.", low=32)
    smallest_crop: float = _smallest_crop(0.5)
    checkpoint_every: int = setting(1000, "Updates between two checkpoints, of 0.9 GB each.", low=1)
    checkpoint_seconds: float = setting(900.0, "Write a checkpoint after this many seconds too; 0: never.", low=0)
    rate: float = setting(4.5e-6, "Learning rate for each crop of a batch.", low=0)
    pixel_weight: float = _weight(1.0, "the difference in pixels")
    perceptual_weight: float = _weight(1.0, "the perceptual loss")
    perceptual: str = setting(
        "auto",
        "LPIPS, or features of the included VGG-19; auto: LPIPS if it is installed.",
        choices=("auto", "lpips", "vgg"),
    )
    codebook_weight: float = _weight(1.0, "the codebook loss")
    beta: float = setting(0.25, "Weight, within that, of moving the entries towards the latents.", low=0)
    adversary_weight: float = _weight(0.8, "the discriminator, relative to the losses above")
    adversary_after: int = setting(10_000, "Updates before the discriminator begins to learn.", low=0)
    entries: int = setting(1024, "Entries of the codebook.", low=2)
    width: int = setting(256, "Channels of an entry.", low=1)
    channels: int = setting(128, "Channels at full resolution; the coarsest level has four times as many.", low=1)
    blocks: int = setting(2, "Residual blocks of each resolution.", low=1)


@dataclass(frozen=True)
class VQVAEOptions(GradientOptions):
    """Training of a VQ-VAE with a decoder of two pictures' codes; vqvae.py has the losses."""

    steps: int = setting(20_000, "Updates in all, over which the learning rate falls.", low=1)
    batch: int = setting(4, "Photographs, and paintings, per update. Default: 4, on a GPU 32.", low=1)
    crop: int = setting(128, "Side of a crop in pixels, a multiple of 8.", low=32)
    smallest_crop: float = _smallest_crop(0.4)
    rate: float = setting(5e-4, "Largest learning rate; it falls to 0.", low=0)
    entries: int = setting(512, "Entries of the codebook.", low=2)
    width: int = setting(64, "Numbers of an entry.", low=1)
    channels: int = setting(128, "Channels of the hidden layers, a multiple of 4.", low=4)
    quantize_after: int = setting(200, "Updates before the codes are quantized.", low=0)
    style_after: int = setting(2000, "Updates that reconstruct by pixels only; then VGG losses and the style.", low=0)
    beta: float = _weight(0.25, "the commitment of the encoder to the entries")
    codebook_decay: float = _share(0.99, "Decay of the moving averages of the entries.")
    pixel_weight: float = _weight(10.0, "the difference in pixels of reconstructions")
    perceptual_weight: float = _weight(1.0, "their difference in features")
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(3.0, "the style loss (means and deviations)")
    average: float = _share(0.99, "Decay of the moving average of the weights, which is written.")


@dataclass(frozen=True)
class TransferOptions(GradientOptions):
    """Training of the style transfer of a VQGAN; transfer_vqgan.py has the losses."""

    steps: int = setting(10_000, "Updates in all.", low=1)
    crop: int = setting(192, "Side of a crop in pixels, a multiple of the network's stride.", low=64)
    smallest_crop: float = _smallest_crop(0.4)
    blocks: int = setting(6, "Style-guided blocks.", low=1, high=32)
    rate: float = setting(2e-4, "Learning rate of the blocks.", low=0)
    adversary_rate: float = setting(4e-4, "Learning rate of the discriminators.", low=0)
    content_weight: float = _weight(1.0, "the content loss")
    style_weight: float = _weight(10.0, "the style loss (means and deviations)")
    gram_weight: float = _weight(1.0, "the style loss (Gram matrices)")
    codebook_weight: float = _weight(0.25, "the distance from the entries of the codebook")
    adversary_weight: float = _weight(0.5, "the discriminators, relative to the other losses, at their full lead")
    adversary_after: int = setting(500, "Updates before the discriminators begin to learn.", low=0)
    average: float = _share(0.998, "Decay of the moving average of the blocks, which is written.")


@dataclass(frozen=True)
class PackOptions(TrainingOptions):
    """Packing of pictures for ``train painter``."""

    side: int = setting(320, "Short side of packed pictures in pixels; detail paintings: three times that.", low=64)
    megabytes: float = setting(56.0, "Size of all shards together.", low=0.001)
