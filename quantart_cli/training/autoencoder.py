"""``quantart train autoencoder``: from two folders to one file; see updates.py for what is trained and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quantart_cli.errors import QuantArtError
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Product, Progress, Report, train
from quantart_cli.training.learning import digest
from quantart_cli.training.options import AutoencoderOptions
from quantart_cli.training.updates import Autoencoder


def train_autoencoder(
    contents: Path,
    styles: Path,
    target: Path,
    options: AutoencoderOptions,
    vgg: VGG19,
    codebook: ArtCodebook,
    decoder: Decoder,
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Train D̂ and the codebook, and write them as fp16 safetensors: ``project.*``, ``expand.*``, ``entries`` and
    ``decoder.*``.

    Work in hand is kept in ``TARGET.partial/``; the same call again goes on from there, on a CPU to the very same
    result. A log and preview sheets are left in ``TARGET.training/``.

    Args:
        contents, styles: folders of photographs and of paintings, searched below.
        target: the file to write.
        vgg: the encoder, on the device and in the precision to use.
        codebook: where it begins, float32 on the same device; its decoder is where D̂ begins, D where it has none.
        decoder: D, the decoder of the continuous end, likewise; it stays.
        restart: forget an earlier unfinished training.
        stop: asked between pictures and updates whether to stop.
        progress: called with (stage, done, total, losses).

    Raises:
        QuantArtError: no pictures, an unfinished training with other options, nothing finite any more, or a model that
            has guides, which this would leave behind.
        Stopped: when asked to; all that was done is kept.
    """
    if codebook.transfer is not None:
        raise QuantArtError("the model has style guides, fitted to its decoder: train the decoder first, then transfer")
    if options.crop % 8:
        raise QuantArtError(f"--crop must be a multiple of 8, not {options.crop}")
    return train(
        {"photographs": contents, "paintings": styles},
        target,
        Product("quantart-vgg19", {}, half=True),
        options,
        {
            "precision": str(vgg.conv1_1.weight.dtype).removeprefix("torch."),
            "start": [digest(codebook), digest(decoder)],
        },
        lambda pictures, shown: Autoencoder(
            vgg, codebook, decoder, pictures["photographs"], pictures["paintings"], tuple(shown.values()), options
        ),
        restart=restart,
        stop=stop,
        progress=progress,
    )
