"""What a person can set on the trainings from scratch, with defaults and ranges. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.methods.controls import control
from quantart_cli.training.options import FolderOptions


@dataclass(frozen=True)
class AdaINOptions(FolderOptions):
    """Training of the AdaIN decoder; see adain.py for the sources of the numbers."""

    steps: int = control(160_000, "Updates in all; more may be asked of an unfinished training.", low=1)
    short_side: int = control(512, "Crops are taken from pictures with this short side, in pixels.", low=32)
    rate: float = control(1e-4, "Learning rate of the first update.", low=0)
    rate_decay: float = control(5e-5, "The rate of update n is divided by 1 + n times this.", low=0)
    content_weight: float = control(1.0, "Weight of the content loss.", low=0)
    style_weight: float = control(10.0, "Weight of the style loss.", low=0)


@dataclass(frozen=True)
class VQGANOptions(FolderOptions):
    """Training of an f16 VQGAN; see vqgan.py for the sources of the numbers."""

    batch: int = control(5, "Crops an update.", low=1)
    crop: int = control(256, "Side of a crop in pixels, a multiple of 16.", low=32)
    smallest_crop: float = control(
        0.5, "Crops are squares of this share of a picture's short side, or more.", low=0.05, high=1
    )
    checkpoint_every: int = control(1000, "Updates between two checkpoints, of 0.9 GB each.", low=1)
    rate: float = control(4.5e-6, "Learning rate for each crop of a batch.", low=0)
    pixel_weight: float = control(1.0, "Weight of the difference in pixels.", low=0)
    perceptual_weight: float = control(1.0, "Weight of the perceptual loss.", low=0)
    perceptual: str = control(
        "auto",
        "LPIPS, or features of the VGG-19 that comes with quantart; auto: LPIPS if it is here.",
        choices=("auto", "lpips", "vgg"),
    )
    codebook_weight: float = control(1.0, "Weight of the codebook loss.", low=0)
    beta: float = control(0.25, "Weight, within that, of moving the entries towards the latents.", low=0)
    adversary_weight: float = control(
        0.8, "Weight of the discriminator, relative to the losses above at each time.", low=0
    )
    adversary_after: int = control(10_000, "Updates before there is a discriminator.", low=0)
    entries: int = control(1024, "Entries of the codebook.", low=2)
    width: int = control(256, "Channels of an entry.", low=1)
    channels: int = control(128, "Channels at full resolution; at the coarsest it is four times as many.", low=1)
    blocks: int = control(2, "Residual blocks of each resolution.", low=1)


@dataclass(frozen=True)
class TransferOptions(FolderOptions):
    """Training of the guides of a QuantArt model; see transfer.py for the losses."""

    steps: int = control(10_000, "Updates in all; more may be asked of an unfinished training.", low=1)
    crop: int = control(192, "Side of a crop in pixels, a multiple of 8.", low=64)
    smallest_crop: float = control(
        0.4, "Crops are squares of this share of a picture's short side, or more.", low=0.05, high=1
    )
    blocks: int = control(
        0, "Blocks of a guide; 0: 2, or on a VQGAN the authors' 6. A guide that is there keeps its own.", low=0, high=32
    )
    rate: float = control(2e-4, "Learning rate of the guides.", low=0)
    adversary_rate: float = control(4e-4, "Learning rate of the discriminators.", low=0)
    content_weight: float = control(1.0, "Weight of the content loss.", low=0)
    style_weight: float = control(10.0, "Weight of the style loss, in means and deviations.", low=0)
    gram_weight: float = control(1.0, "Weight of the style loss, in correlations.", low=0)
    codebook_weight: float = control(0.25, "Weight of keeping near to entries of the codebook.", low=0)
    adversary_weight: float = control(
        0.5, "Weight of the discriminators, relative to content and correlations at each time.", low=0
    )
    adversary_after: int = control(500, "Updates before the discriminators begin to learn.", low=0)
    average: float = control(0.998, "Decay of the moving average of the guides, which is what is kept.", low=0, high=1)
