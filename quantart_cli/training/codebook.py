"""A codebook of art for VGG-19: principal components of relu4_1, then k-means.

QuantArt (Huang et al. 2023) trains its codebook with an autoencoder. Here the encoder is VGG-19 and frozen. What is
left of the objective of vector quantization (van den Oord et al. 2017, equation 3, second term) is k-means, done
separately in parts of the components (product quantization, Jégou et al. 2011). Part g of eight has the components g,
g + 8, g + 16 and so on, so that all parts have about the same variance. Features are standardised per painting; a
channel is weighted by its usual deviation.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from quantart_cli.errors import QuantArtError
from quantart_cli.files import write_atomically
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.feature_sampling import SampledFeatures, sample_features
from quantart_cli.training.folders import Progress, write_model
from quantart_cli.training.kmeans import (
    Components,
    Features,
    Iteration,
    lloyd,
    plus_plus,
    principal_components,
    seeding_rows,
)
from quantart_cli.training.loop import TrainingFiles
from quantart_cli.training.optimizer import device_and_dtype
from quantart_cli.training.options import CodebookOptions
from quantart_cli.training.pictures import pictures_below

# k-means has converged when an iteration lowers the residual by less than this share.
_TOLERANCE = 5e-4


@dataclass(frozen=True)
class CodebookReport:
    """What was measured on the features that the codebook was trained on."""

    paintings: int
    unreadable: list[str]
    samples: int
    explained: float
    """Share of the variance that the principal components keep, 0 to 1."""
    residual: float
    """Share of the variance lost by components and quantization together, 0 to 1."""
    used: int
    """Entries, of all parts, that have a sample."""
    perplexity: float
    """Mean over the parts."""
    iterations: int
    """Largest number of k-means iterations of a part."""


def train_codebook(
    folder: Path,
    target: Path,
    options: CodebookOptions,
    vgg: VGG19,
    *,
    restart: bool = False,
    progress: Progress = lambda *_: None,
) -> CodebookReport:
    """Train a codebook on a folder of paintings and write it as float16 safetensors.

    The state is in ``TARGET.partial/``; the same call resumes from it, with the same result.

    Args:
        folder: pictures of artworks; subfolders are searched.
        target: the file to write, with the tensors of :class:`quantart_cli.nets.codebook.Codebook`.
        vgg: the encoder, on the device and in the precision to use.
        restart: delete an unfinished training first.
        progress: called with (stage, done, total, {}).

    Raises:
        QuantArtError: no pictures, too few samples, a width that the parts do not divide, or an unfinished training
            with other options.
    """
    if options.width % options.parts:
        raise QuantArtError(f"parts must divide width {options.width}, not {options.parts}")
    paintings = pictures_below(folder, options.hold_out)
    files = TrainingFiles(target)
    identity = {"folder": str(folder.resolve()), "pictures": len(paintings), **asdict(options)}
    files.open(identity, restart, results=False)

    def report(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total, {})

    sampled = sample_features(vgg, paintings, files.partial, options, report("features"))
    if len(sampled.rows) < options.entries:
        raise QuantArtError(
            f"{len(sampled.rows)} samples are too few for {options.entries} entries: "
            "use more paintings or fewer entries"
        )
    spread = torch.from_numpy(sampled.spread).to(device_and_dtype(vgg)[0])
    components = principal_components(sampled.rows, spread, options.width)
    parts = [_cluster(sampled.rows, components, part, options, files.partial, report) for part in range(options.parts)]
    done = _report(len(paintings) - len(sampled.unreadable), sampled, components, parts)
    tensors = _tensors(components, [part.centres for part, _ in parts])
    write_model(target, "quantart-vgg19", tensors, options, done, {}, half=True)
    shutil.rmtree(files.partial)
    return done


_Part = tuple[Iteration, int]
"""Centres and measurements of one part, and how many iterations they took."""


def _report(paintings: int, sampled: SampledFeatures, components: Components, parts: list[_Part]) -> CodebookReport:
    lost = components.variance * (1 - components.explained) + sum(part.residual for part, _ in parts)
    return CodebookReport(
        paintings=paintings,
        unreadable=sampled.unreadable,
        samples=len(sampled.rows),
        explained=components.explained,
        residual=lost / components.variance if components.variance else 0.0,
        used=sum(part.used for part, _ in parts),
        perplexity=sum(math.exp(part.entropy) for part, _ in parts) / len(parts),
        iterations=max(count for _, count in parts),
    )


def _cluster(
    features: Features,
    components: Components,
    part: int,
    options: CodebookOptions,
    folder: Path,
    report: Callable[[str], Callable[[int, int], None]],
) -> _Part:
    """k-means of one part until it converges, from its checkpoint if there is one."""
    device = components.mean.device
    components = replace(components, basis=components.basis[part :: options.parts])
    checkpoint = folder / f"kmeans{part}.safetensors"
    which = f" of part {part + 1}/{options.parts}" if options.parts > 1 else ""
    if checkpoint.exists():
        state = safetensors.torch.load_file(checkpoint, device=str(device))
    else:
        generator = torch.Generator().manual_seed(options.seed)
        rows = seeding_rows(features, components, generator, device)
        seeded = report(f"k-means++{which}")
        centres = plus_plus(rows, options.entries, generator, lambda done: seeded(done, options.entries))
        state = {"centres": centres, "count": torch.tensor(0), "residual": torch.tensor(math.inf, dtype=torch.float64)}
    while True:
        number = int(state["count"]) + 1
        stage = f"k-means {number}/{options.iterations}" if number <= options.iterations else "measuring"
        found = lloyd(features, components, state["centres"], report(stage + which))
        gain = 1 - found.residual / float(state["residual"])
        converged = gain < _TOLERANCE and found.used == options.entries
        if converged or number > options.iterations:
            # The measurements are those of the centres before this iteration moved them.
            return replace(found, centres=state["centres"]), number - 1
        residual = torch.tensor(found.residual, dtype=torch.float64)
        state = {"centres": found.centres, "count": torch.tensor(number), "residual": residual}
        write_atomically(str(checkpoint), safetensors.torch.save(state))


def _tensors(components: Components, parts: list[Tensor]) -> dict[str, Tensor]:
    """The codebook by tensor name. The components' order is by part."""
    weight = components.weight  # at least the square root of the epsilon in every variance
    order = torch.arange(len(components.basis)).view(-1, len(parts)).T.flatten()
    basis = components.basis[order.to(weight.device)]
    return {
        "project.weight": basis * weight,
        "project.bias": -basis @ components.mean,
        "expand.weight": basis.T / weight[:, None],
        "expand.bias": components.mean / weight,
        "entries": torch.stack(parts) if len(parts) > 1 else parts[0],
    }
