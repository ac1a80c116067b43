"""A codebook of art for the vgg19 backbone: principal components of relu4_1, then k-means.

QuantArt (Huang et al. 2023) learns its codebook with an autoencoder; here the encoder is VGG-19 and
fixed, and what is left of vector quantization's objective (van den Oord et al. 2017, equation 3, second term) is
k-means, in each of some parts of the components (product quantization, Jégou et al. 2011). Of eight parts each has
every eighth component, so that all vary about as much. Features are standardised painting by painting; a channel weighs
as much as it usually varies.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.images.output import write_atomically
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.gather import Sampled, gather, pictures_below
from quantart_cli.training.kmeans import Components, lloyd, plus_plus, principal_components, seeding_rows
from quantart_cli.training.options import CodebookOptions

# A pass that lowers the residual by less than this share is the last.
_TOLERANCE = 5e-4


@dataclass(frozen=True)
class Report:
    """What a training of a codebook measured on the features it was trained on."""

    paintings: int
    unreadable: list[str]
    samples: int
    explained: float
    """Share of the variance kept by the principal components, 0 to 1."""
    residual: float
    """Share of the variance lost after quantization, lost components included, 0 to 1."""
    used: int
    """Entries that have a sample, of all parts."""
    perplexity: float
    """A mean over parts."""
    passes: int
    """Of k-means, of the part that took most."""


@dataclass
class Progress:
    """Where a training stands: a name for the stage, and units done of all."""

    stage: str
    done: int
    total: int


def train_codebook(
    folder: Path,
    target: Path,
    options: CodebookOptions,
    vgg: VGG19,
    *,
    restart: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Train a codebook on a folder of paintings and write it as fp16 safetensors.

    Work in hand is kept in ``TARGET.partial/``; the same call again goes on from there to the same result.

    Args:
        folder: pictures of artworks, searched below it.
        target: the file to write; its tensors are those of :class:`quantart_cli.nets.codebook.Codebook`.
        vgg: the encoder, on the device and in the precision to use.
        restart: forget an earlier unfinished training.

    Raises:
        QuantArtError: no pictures, too few samples, a width that cannot be parted so, or an unfinished training with
            other options.
    """
    if options.width % options.parts:
        raise QuantArtError(f"--parts must divide --width {options.width}, not {options.parts}")
    paintings = pictures_below(folder, options.hold_out)
    partial = _open_partial(target, folder, options, len(paintings), restart)
    device = next(vgg.parameters()).device

    def report(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(Progress(stage, done, total))

    sampled = gather(
        vgg,
        paintings,
        partial,
        samples=options.samples,
        smallest_scale=options.smallest_scale,
        seed=options.seed,
        progress=report("features"),
    )
    if len(sampled.rows) < options.entries:
        raise QuantArtError(
            f"{len(sampled.rows)} samples are too few for {options.entries} entries: "
            "give more paintings or fewer --entries"
        )
    components = principal_components(sampled.rows, torch.from_numpy(sampled.spread).to(device), options.width)
    parts = [_cluster(sampled.rows, components, part, options, partial, report) for part in range(options.parts)]
    done = _report(len(paintings) - len(sampled.unreadable), sampled, components, parts)
    _write(target, components, [part.centres for part in parts], options, done)
    shutil.rmtree(partial)
    return done


def _open_partial(target: Path, folder: Path, options: CodebookOptions, count: int, restart: bool) -> Path:
    """The folder of work in hand, checked to belong to this very training."""
    partial = target.with_name(target.name + ".partial")
    identity = {"folder": str(folder.resolve()), "pictures": count, **asdict(options)}
    if restart:
        shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(exist_ok=True)
    except OSError as error:
        raise QuantArtError(f"{partial} cannot be made: {error.strerror}") from None
    ledger = partial / "training.json"
    if not ledger.exists():
        write_atomically(str(ledger), json.dumps(identity, indent=1).encode())
    elif json.loads(ledger.read_text()) != identity:
        raise QuantArtError(f"{partial} holds an unfinished training with other options: give them, or --restart")
    return partial


@dataclass(frozen=True)
class _Part:
    """Entries of one part, and what was measured of them."""

    centres: torch.Tensor
    residual: float
    used: int
    entropy: float
    passes: int


def _report(paintings: int, sampled: Sampled, components: Components, parts: list[_Part]) -> Report:
    lost = components.variance * (1 - components.explained) + sum(part.residual for part in parts)
    return Report(
        paintings=paintings,
        unreadable=sampled.unreadable,
        samples=len(sampled.rows),
        explained=components.explained,
        residual=lost / components.variance if components.variance else 0.0,
        used=sum(part.used for part in parts),
        perplexity=sum(math.exp(part.entropy) for part in parts) / len(parts),
        passes=max(part.passes for part in parts),
    )


def _order(options: CodebookOptions) -> torch.Tensor:
    """The components part by part, (D,)."""
    return torch.arange(options.width).view(-1, options.parts).T.flatten()


def _cluster(
    features: np.ndarray,
    components: Components,
    part: int,
    options: CodebookOptions,
    partial: Path,
    report: Callable[[str], Callable[[int, int], None]],
) -> _Part:
    """k-means of one part to convergence, from the checkpoint of the last pass if there is one."""
    device = components.mean.device
    components = replace(components, basis=components.basis[part :: options.parts])
    checkpoint = partial / f"kmeans{part}.safetensors"
    which = f" of part {part + 1}/{options.parts}" if options.parts > 1 else ""
    if checkpoint.exists():
        state = safetensors.torch.load_file(checkpoint, device=str(device))
    else:
        generator = torch.Generator().manual_seed(options.seed)
        rows = seeding_rows(features, components, generator, device)
        seeded = report(f"k-means++{which}")
        centres = plus_plus(rows, options.entries, generator, lambda done: seeded(done, options.entries))
        state = {"centres": centres, "passes": torch.tensor(0), "residual": torch.tensor(math.inf, dtype=torch.float64)}
    while True:
        passes = int(state["passes"]) + 1
        stage = f"k-means {passes}/{options.iterations}" if passes <= options.iterations else "measuring"
        found = lloyd(features, components, state["centres"], report(stage + which))
        gain = 1 - found.residual / float(state["residual"])
        settled = gain < _TOLERANCE and found.used == options.entries
        if settled or passes > options.iterations:
            # The numbers are of the centres before this pass moved them: those are the ones to keep.
            return _Part(state["centres"], found.residual, found.used, found.entropy, passes - 1)
        state = {
            "centres": found.centres,
            "passes": torch.tensor(passes),
            "residual": torch.tensor(found.residual, dtype=torch.float64),
        }
        write_atomically(str(checkpoint), safetensors.torch.save(state))


def _write(
    target: Path, components: Components, parts: list[torch.Tensor], options: CodebookOptions, done: Report
) -> None:
    """The codebook as fp16 safetensors, with its options and measurements as metadata."""
    weight = components.weight  # at least the square root of the epsilon in every variance
    basis = components.basis[_order(options).to(weight.device)]
    tensors = {
        "project.weight": basis * weight,
        "project.bias": -basis @ components.mean,
        "expand.weight": basis.T / weight[:, None],
        "expand.bias": components.mean / weight,
        "entries": torch.stack(parts) if options.parts > 1 else parts[0],
    }
    measured = {key: value for key, value in asdict(done).items() if key != "unreadable"}
    data = safetensors.torch.save(
        {key: value.half().contiguous().cpu() for key, value in tensors.items()},
        # One entry: safetensors writes several in an order that changes from run to run.
        metadata={"quantart": json.dumps({"options": asdict(options), "report": measured})},
    )
    write_atomically(str(target), data)
