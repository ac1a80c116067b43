"""A training from folders of pictures to one model file, independent of what is trained."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from quantart_cli.checkpoints.formats import FORMAT
from quantart_cli.checkpoints.writing import write_tensors
from quantart_cli.training.loop import Trainable, TrainingFiles, TrainingStopped, run
from quantart_cli.training.options import UNBOUND, GradientOptions, TrainingOptions
from quantart_cli.training.pictures import SHORT_SIDE, Pictures, PictureSet, name_hash, pictures_below
from quantart_cli.training.shards import PackedPictures, sha256_of

_SHOWN = 6  # pictures of each folder on a preview sheet

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with (stage, done, total, losses)."""
PictureSets = Mapping[str, PictureSet]
Previews = Mapping[str, Tensor]


@dataclass(frozen=True)
class Training:
    """What is trained, for :func:`train`.

    Attributes:
        kind: of the model file, a name of :data:`quantart_cli.checkpoints.layouts.KINDS`.
        begin: makes the first state from the pictures of each folder, and from a few for the preview sheet,
            (n, 3, crop, crop) in [0, 1] each.
        identity: what must be equal to resume, besides folders and options.
        config: sizes of the network, for the metadata.
        half: whether the file is float16 instead of float32.
        short_sides: pictures of these folders are reduced to other short sides than the default.
    """

    kind: str
    begin: Callable[[PictureSets, Previews], Trainable]
    identity: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    half: bool = False
    short_sides: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunControl:
    """How a training is run.

    Attributes:
        restart: delete an unfinished training first.
        stop: called between pictures and between updates; True saves and stops the training.
        progress: see :data:`Progress`.
    """

    restart: bool = False
    stop: Callable[[], bool] = lambda: False
    progress: Progress = lambda *_: None


@dataclass(frozen=True)
class Report:
    """What a training used and did."""

    pictures: dict[str, int]
    """Readable pictures of each folder, without those held out."""
    unreadable: list[str]
    updates: int
    skipped: int
    """Updates skipped because a value was not finite."""
    complete: bool
    """False when the time limit came before the last update; the checkpoint is kept then."""


def train(
    training: Training,
    folders: Mapping[str, Path],
    target: Path,
    options: GradientOptions,
    control: RunControl = RunControl(),
) -> Report:
    """Read the pictures, train and write the model.

    The checkpoint is in ``TARGET.partial/``. The same call resumes from it, on a CPU to the same bytes. Log and preview
    sheets are in ``TARGET.training/``.

    Args:
        folders: by what they hold; subfolders are searched. A file is a shard of ``quantart train pack``.
        control: how it is run.

    Raises:
        QuantArtError: no pictures, another unfinished training, or no finite values.
        TrainingStopped: ``control.stop`` returned True; the checkpoint is kept.
    """
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else math.inf
    paths = {n: [p] if p.is_file() else pictures_below(p, options.hold_out) for n, p in folders.items()}
    files = TrainingFiles(target)
    bound = {name: value for name, value in asdict(options).items() if name not in UNBOUND}
    sources = {n: sha256_of(p) if p.is_file() else str(p.resolve()) for n, p in folders.items()}
    counts = {name: len(found) for name, found in paths.items()}
    files.open({"folders": sources, "pictures": counts, **training.identity, **bound}, control.restart)
    pictures: dict[str, PictureSet] = {}
    for name, found in paths.items():
        side = training.short_sides.get(name, SHORT_SIDE)
        packed = folders[name].is_file()
        pictures[name] = (
            PackedPictures(found[0]) if packed else Pictures(found, options.memory * 1e9, _reading(name, control), side)
        )
    trainable = training.begin(pictures, previews(folders, pictures, options))
    done, skipped = run(
        trainable,
        files,
        options,
        stop=control.stop,
        progress=lambda done, total, losses: control.progress("training", done, total, losses),
        deadline=deadline,
    )
    unreadable = [line for each in pictures.values() for line in each.unreadable]
    counts = {name: len(each) for name, each in pictures.items()}
    report = Report(counts, unreadable, done, skipped, done >= options.steps)
    write_model(target, training.kind, trainable.model(), options, report, training.config, training.half)
    if report.complete:
        shutil.rmtree(files.partial)
    return report


def _reading(stage: str, control: RunControl) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if control.stop():
            raise TrainingStopped(0)
        control.progress(stage, done, total, {})

    return report


def previews(
    folders: Mapping[str, Path], pictures: Mapping[str, PictureSet], options: GradientOptions
) -> dict[str, Tensor]:
    """The centres of the first pictures of each folder, of held-out ones where there are some; equally many of each.

    Returns:
        (n, 3, crop, crop) float32 in [0, 1] by the folder's name.
    """
    side = options.crop
    view = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop(side), v2.ToDtype(torch.float32, scale=True)])
    shown = {}
    for name, source in pictures.items():
        if folders[name].is_dir():
            held_out = [path for path in pictures_below(folders[name]) if name_hash(path.name) < options.hold_out]
            source = Pictures(held_out[:_SHOWN], 0) if held_out else source
        shown[name] = [view(source[number]) for number in range(min(_SHOWN, len(source)))]
    fewest = min(len(each) for each in shown.values())
    return {name: torch.stack(each[:fewest]) for name, each in shown.items()}


def write_model(
    target: Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    options: TrainingOptions,
    report: Any,
    config: Mapping[str, Any],
    half: bool,
) -> None:
    """Write a model file with the options and the report (a dataclass) of its training as metadata."""
    measured = {key: value for key, value in asdict(report).items() if key not in ("unreadable", "complete")}
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "config": json.dumps(config, sort_keys=True),
        "quantart": json.dumps({"options": asdict(options), "report": measured}),
    }
    on_cpu = {name: value.detach().cpu() for name, value in tensors.items()}
    write_tensors(target, on_cpu, metadata, half=half, source=str(target))
