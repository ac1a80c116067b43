"""``quantart train autoencoder``: from two folders to one file; see updates.py for what is trained and how."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from quantart_cli.errors import QuantArtError
from quantart_cli.images.output import write_atomically
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import FREE, Progress, learn, read, to_show
from quantart_cli.training.gather import pictures_below
from quantart_cli.training.loop import Places, updates_done
from quantart_cli.training.options import AutoencoderOptions
from quantart_cli.training.updates import Autoencoder

_SHOWN_SIZE = 256  # side of the preview sheet's pictures in pixels


@dataclass(frozen=True)
class Report:
    """What a training of an autoencoder saw."""

    photographs: int
    paintings: int
    unreadable: list[str]
    updates: int
    skipped: int
    """Updates left out because something in them was not finite."""


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
    folders = {"photographs": contents, "paintings": styles}
    paths = {name: pictures_below(folder, options.hold_out) for name, folder in folders.items()}
    identity = {
        "contents": str(contents.resolve()),
        "styles": str(styles.resolve()),
        "pictures": [len(each) for each in paths.values()],
        "start": _digest(codebook, decoder),
        "precision": str(vgg.conv1_1.weight.dtype).removeprefix("torch."),
        **{name: value for name, value in asdict(options).items() if name not in FREE},
    }
    places = Places(target)
    places.open(identity, restart)
    held = read(paths, options.memory, stop, progress)
    shown = to_show(folders, options.hold_out, _SHOWN_SIZE)
    trainee = Autoencoder(vgg, codebook, decoder, *held.values(), tuple(shown.values()), options)
    skipped = learn(trainee, places, options, stop, progress)
    done = updates_done(places)  # more than was asked for, where that was less than there was
    unreadable = [line for each in held.values() for line in each.unreadable]
    report = Report(*(len(each) for each in held.values()), unreadable, done, skipped)
    _write(target, trainee.model(), options, report)
    shutil.rmtree(places.partial)
    return report


def _digest(*networks: torch.nn.Module) -> str:
    """A sha256 of all weights a training begins with."""
    digest = hashlib.sha256()
    for network in networks:
        for value in network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write(target: Path, tensors: dict[str, Tensor], options: AutoencoderOptions, report: Report) -> None:
    """The model as fp16 safetensors, with its options and what it saw as metadata."""
    seen = {key: value for key, value in asdict(report).items() if key != "unreadable"}
    data = safetensors.torch.save(
        {key: value.detach().half().contiguous().cpu() for key, value in tensors.items()},
        # One entry: safetensors writes several in an order that changes from run to run.
        metadata={"quantart": json.dumps({"options": asdict(options), "report": seen})},
    )
    write_atomically(str(target), data)
