"""A training from folders of pictures to one file of weights: all but what is learned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision.transforms import v2

from quantart_cli.checkpoints.formats import FORMAT
from quantart_cli.checkpoints.writing import write_tensors
from quantart_cli.training.gather import name_hash, pictures_below
from quantart_cli.training.loop import Places, Plan, Stopped, Trainee, run, updates_done
from quantart_cli.training.options import FolderOptions
from quantart_cli.training.pictures import Pictures

_SHOWN = 6  # pictures of each folder on a preview sheet
# What may differ between a training and its continuation.
FREE = ("steps", "log_every", "checkpoint_every", "sheet_every", "memory")

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the stage, units done of all, and losses."""


class Model(Trainee, Protocol):
    """What is trained, and becomes a file."""

    def model(self) -> dict[str, Tensor]:
        """Its weights as the file has them."""


@dataclass(frozen=True)
class Report:
    """What a training saw."""

    pictures: dict[str, int]
    """How many each folder has, those left out not counted."""
    unreadable: list[str]
    updates: int
    skipped: int
    """Updates left out because something in them was not finite."""


@dataclass(frozen=True)
class Product:
    """What kind of file is written.

    Attributes:
        kind: one of :data:`quantart_cli.checkpoints.layouts.KINDS`.
        config: sizes of the network.
        half: whether it is written as fp16, and not as float32.
    """

    kind: str
    config: Mapping[str, Any]
    half: bool = False


def train(
    folders: Mapping[str, Path],
    target: Path,
    product: Product,
    options: FolderOptions,
    identity: Mapping[str, Any],
    begin: Callable[[Mapping[str, Pictures], Mapping[str, Tensor]], Model],
    *,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Read the pictures, train, and write the model as safetensors.

    Work in hand is kept in ``TARGET.partial/``; the same call again goes on from there, on a CPU to the very same
    result. A log and preview sheets are left in ``TARGET.training/``.

    Args:
        folders: by what they hold; searched with their subfolders.
        target: the file to write.
        product: what it is.
        options: of the training.
        identity: whatever else makes it this training and no other.
        begin: makes what is trained from the pictures of each folder to learn from, and from its first ones to show,
            (n, 3, crop, crop) each, of those held out where some are.
        restart: forget an earlier unfinished training.
        stop: asked between pictures and updates whether to stop.
        progress: called with (stage, done, total, losses).

    Raises:
        QuantArtError: no pictures, an unfinished training with other options, or nothing finite any more.
        Stopped: when asked to; all that was done is kept.
    """
    paths = {name: pictures_below(folder, options.hold_out) for name, folder in folders.items()}
    places = Places(target)
    places.open(
        {
            "folders": {name: str(folder.resolve()) for name, folder in folders.items()},
            "pictures": {name: len(found) for name, found in paths.items()},
            **identity,
            **{name: value for name, value in asdict(options).items() if name not in FREE},
        },
        restart,
    )
    pictures = read(paths, options.memory, stop, progress)
    model = begin(pictures, to_show(folders, options.hold_out, options.crop))
    skipped = learn(model, places, options, stop, progress)
    unreadable = [line for each in pictures.values() for line in each.unreadable]
    done = updates_done(places)  # more than was asked for, where that was less than there was
    report = Report({name: len(each) for name, each in pictures.items()}, unreadable, done, skipped)
    _write(target, product, model.model(), options, report)
    shutil.rmtree(places.partial)
    return report


def read(
    paths: Mapping[str, Sequence[Path]], memory: float, stop: Callable[[], bool], progress: Progress
) -> dict[str, Pictures]:
    """The pictures of each folder, by its name, which is also the stage that is told.

    Args:
        paths: files by the folder's name.
        memory: gigabytes of decoded pictures held, of each folder.
        stop: asked after each picture whether to stop.
        progress: as of :func:`train`.

    Raises:
        QuantArtError: none of a folder's files can be read.
        Stopped: when asked to.
    """

    def told(stage: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if stop():
                raise Stopped(0)
            progress(stage, done, total, {})

        return report

    return {name: Pictures(found, memory * 1e9, told(name)) for name, found in paths.items()}


def learn(model: Trainee, places: Places, options: Any, stop: Callable[[], bool], progress: Progress) -> int:
    """Train as long as the options say; see :func:`quantart_cli.training.loop.run`, whose result it is."""
    plan = Plan(options.steps, options.log_every, options.checkpoint_every, options.sheet_every)
    return run(
        model,
        places,
        plan,
        stop=stop,
        progress=lambda done, total, losses: progress("training", done, total, losses),
    )


def to_show(folders: Mapping[str, Path], hold_out: float, side: int) -> dict[str, Tensor]:
    """The first pictures of each folder for the preview sheet, of those held out where some are.

    Returns:
        (n, 3, side, side) float32 in [0, 1] by the folder's name, equally many of each.
    """
    view = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop(side), v2.ToDtype(torch.float32, scale=True)])
    shown = {}
    for name, folder in folders.items():
        everything = pictures_below(folder)
        held_out = [path for path in everything if name_hash(path.name) < hold_out]
        pictures = Pictures((held_out or everything)[:_SHOWN], 0, lambda *_: None)
        shown[name] = torch.stack([view(pictures[number]) for number in range(len(pictures))])
    fewest = min(len(each) for each in shown.values())
    return {name: each[:fewest] for name, each in shown.items()}


def _write(
    target: Path, product: Product, tensors: Mapping[str, Tensor], options: FolderOptions, report: Report
) -> None:
    seen = {key: value for key, value in asdict(report).items() if key != "unreadable"}
    metadata = {
        "format": FORMAT,
        "kind": product.kind,
        "config": json.dumps(product.config, sort_keys=True),
        "quantart": json.dumps({"options": asdict(options), "report": seen}),
    }
    write_tensors(
        target,
        {name: value.detach().cpu() for name, value in tensors.items()},
        metadata,
        half=product.half,
        source=str(target),
    )
