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
from torchvision.transforms import v2

from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.images.output import write_atomically
from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.gather import name_hash, pictures_below
from quantart_cli.training.loop import Places, Plan, Stopped, run
from quantart_cli.training.options import AutoencoderOptions
from quantart_cli.training.pictures import Pictures
from quantart_cli.training.updates import Autoencoder

_SHOWN, _SHOWN_SIZE = 6, 256  # pairs of a preview sheet, and their side in pixels
# What may differ between a training and its continuation.
_FREE = ("steps", "log_every", "checkpoint_every", "sheet_every", "memory")


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
    codebook: Codebook,
    decoder: Decoder,
    start: Decoder | None = None,
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str, int, int, dict[str, float]], None] = lambda *_: None,
) -> Report:
    """Train D̂ and the codebook, and write them as fp16 safetensors: ``project.*``, ``expand.*``, ``entries`` and
    ``decoder.*``.

    Work in hand is kept in ``TARGET.partial/``; the same call again goes on from there, on a CPU to the very same
    result. A log and preview sheets are left in ``TARGET.training/``.

    Args:
        contents, styles: folders of photographs and of paintings, searched below.
        target: the file to write.
        vgg: the encoder, on the device and in the precision to use.
        codebook: where it begins, float32 on the same device.
        decoder: D, the decoder of the continuous end, likewise; it stays.
        start: where D̂ begins, likewise; None: as D.
        restart: forget an earlier unfinished training.
        stop: asked between pictures and updates whether to stop.
        progress: called with (stage, done, total, losses).

    Raises:
        QuantArtError: no pictures, an unfinished training with other options, or nothing finite any more.
        Stopped: when asked to; all that was done is kept.
    """
    if options.crop % 8:
        raise QuantArtError(f"--crop must be a multiple of 8, not {options.crop}")
    paths = [pictures_below(folder, options.hold_out) for folder in (contents, styles)]
    places = Places(target)
    places.open(
        {
            "contents": str(contents.resolve()),
            "styles": str(styles.resolve()),
            "pictures": [len(each) for each in paths],
            "start": _digest(codebook, start or decoder),
            "precision": str(vgg.conv1_1.weight.dtype).removeprefix("torch."),
            **{name: value for name, value in asdict(options).items() if name not in _FREE},
        },
        restart,
    )

    def told(stage: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if stop():
                raise Stopped(0)
            progress(stage, done, total, {})

        return report

    photographs, paintings = (
        Pictures(each, options.memory * 1e9, told(stage))
        for each, stage in zip(paths, ("photographs", "paintings"), strict=True)
    )
    shown = tuple(_shown(folder, options.hold_out) for folder in (contents, styles))
    count = min(len(each) for each in shown)
    trainee = Autoencoder(
        vgg, codebook, decoder, start, photographs, paintings, (shown[0][:count], shown[1][:count]), options
    )
    plan = Plan(options.steps, options.log_every, options.checkpoint_every, options.sheet_every)
    skipped = run(
        trainee,
        places,
        plan,
        stop=stop,
        progress=lambda done, total, losses: progress("training", done, total, losses),
    )
    report = Report(
        len(photographs), len(paintings), photographs.unreadable + paintings.unreadable, options.steps, skipped
    )
    _write(target, trainee.model(), options, report)
    shutil.rmtree(places.partial)
    return report


def beginning(model: ModelFile) -> tuple[Codebook, Decoder | None]:
    """Codebook and D̂ of a file that was trained before, float32; None where it is a codebook only.

    Raises:
        QuantArtError: it is damaged, or of another network.
    """
    tensors = open_tensors(model.path)
    own = {key.removeprefix("decoder."): tensors.pop(key) for key in list(tensors) if key.startswith("decoder.")}
    codebook = fill_strictly(Codebook.like, tensors, model.name)
    return codebook, fill_strictly(lambda _: Decoder(), own, model.name) if own else None


def _digest(*networks: torch.nn.Module) -> str:
    """A sha256 of all weights a training begins with."""
    digest = hashlib.sha256()
    for network in networks:
        for value in network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shown(folder: Path, hold_out: float) -> Tensor:
    """The first pictures of a folder for the preview sheet, of those held out where some are: (n, 3, 256, 256)."""
    everything = pictures_below(folder)
    held_out = [path for path in everything if name_hash(path.name) < hold_out]
    view = v2.Compose(
        [v2.Resize(_SHOWN_SIZE, antialias=True), v2.CenterCrop(_SHOWN_SIZE), v2.ToDtype(torch.float32, scale=True)]
    )
    pictures = Pictures((held_out or everything)[:_SHOWN], 0, lambda *_: None)
    return torch.stack([view(pictures[number]) for number in range(len(pictures))])


def _write(target: Path, tensors: dict[str, Tensor], options: AutoencoderOptions, report: Report) -> None:
    """The model as fp16 safetensors, with its options and what it saw as metadata."""
    seen = {key: value for key, value in asdict(report).items() if key != "unreadable"}
    data = safetensors.torch.save(
        {key: value.detach().half().contiguous().cpu() for key, value in tensors.items()},
        # One entry: safetensors writes several in an order that changes from run to run.
        metadata={"quantart": json.dumps({"options": asdict(options), "report": seen})},
    )
    write_atomically(str(target), data)
