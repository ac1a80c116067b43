"""What a person can set on each training, with defaults and ranges. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.methods.controls import Controls, control


@dataclass(frozen=True)
class CodebookOptions(Controls):
    """Training of a codebook of art."""

    entries: int = control(1024, "Entries of each part of the codebook.", low=2)
    width: int = control(256, "Channels of a code: principal components kept of the 512.", low=1, high=512)
    parts: int = control(
        8, "Parts of the components, each with entries of its own; 1 quantizes them as a whole.", low=1, high=16
    )
    samples: int = control(1_000_000, "Feature vectors drawn from the paintings.", low=1)
    smallest_scale: float = control(
        0.5, "Paintings are seen at random scales between this and their own size.", low=0.1, high=1
    )
    hold_out: float = control(
        0.0, "Share of the paintings never trained on, chosen by a hash of the file name.", low=0, high=0.9
    )
    iterations: int = control(30, "Passes of k-means over the samples, at most.", low=1)
    seed: int = control(0, "Seed of all random numbers; the same seed gives the same codebook.", low=0)


@dataclass(frozen=True)
class FolderOptions(Controls):
    """What every training from folders of pictures lets one set."""

    steps: int = control(100_000, "Updates in all; more may be asked of an unfinished training.", low=1)
    batch: int = control(8, "Crops an update.", low=1)
    crop: int = control(256, "Side of a crop in pixels.", low=32)
    hold_out: float = control(
        0.0, "Share of the pictures never trained on, chosen by a hash of the file name.", low=0, high=0.9
    )
    memory: float = control(4.0, "Gigabytes of decoded pictures held in memory, of each folder.", low=0)
    log_every: int = control(10, "Updates between two lines of the log.", low=1)
    checkpoint_every: int = control(200, "Updates between two checkpoints.", low=1)
    sheet_every: int = control(500, "Updates between two preview sheets.", low=1)
    seed: int = control(0, "Seed of all random numbers; the same seed gives the same weights.", low=0)


@dataclass(frozen=True)
class AutoencoderOptions(FolderOptions):
    """Training of the art autoencoder: a decoder of quantized features, and its codebook."""

    steps: int = control(
        20_000,
        "Updates in all, over which the rate falls; an unfinished training may be given more, or ended by fewer.",
        low=1,
    )
    batch: int = control(4, "Crops an update.", low=2)
    crop: int = control(192, "Side of a crop in pixels, a multiple of 8.", low=64)
    smallest_crop: float = control(
        0.35, "Crops are squares of this share of a picture's short side, or more.", low=0.05, high=1
    )
    reconstructions: float = control(
        0.5, "Share of a batch that are paintings to rebuild; the others are photographs to paint.", low=0, high=1
    )
    mixed: float = control(
        0.25, "Share of the updates at a fidelity between 0.3 and 1; the others are at 1.", low=0, high=1
    )
    rate: float = control(3e-4, "Learning rate of the decoder at first; it falls to nothing.", low=0)
    adversary_rate: float = control(8e-4, "Learning rate of the discriminator.", low=0)
    content_weight: float = control(1.0, "Weight of the content loss.", low=0)
    style_weight: float = control(0.5, "Weight of the style loss, in means and deviations.", low=0)
    gram_weight: float = control(0.5, "Weight of the style loss, in correlations.", low=0)
    sliced_weight: float = control(0.0, "Weight of the style loss, in distributions along random directions.", low=0)
    pixel_weight: float = control(2.0, "Weight of the difference of rebuilt paintings in pixels.", low=0)
    perceptual_weight: float = control(0.5, "Weight of their difference in features.", low=0)
    texture_weight: float = control(3.0, "Weight of their difference in means and deviations around a place.", low=0)
    adversary_weight: float = control(
        0.0, "Weight of the discriminator, relative to all other losses, when it is sure; none when it guesses.", low=0
    )
    adversary_after: int = control(300, "Updates before the discriminator begins to learn.", low=0)
    codebook_decay: float = control(
        0.999, "Decay of the entries' moving averages; 1 keeps the codebook.", low=0, high=1
    )
    average: float = control(0.998, "Decay of the moving average of the decoder, which is what is kept.", low=0, high=1)
