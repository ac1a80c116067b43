"""Outputs measured pair by pair, and what that comes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.codes import Use, counted, counting
from quantart_cli.evaluation.confidence import Estimate, halves
from quantart_cli.evaluation.distances import Products, artfid, fid, kid
from quantart_cli.evaluation.networks import Judges
from quantart_cli.evaluation.pictures import Pair, square
from quantart_cli.evaluation.style import Look

Watch = Callable[[Pair, str, np.ndarray], None]
"""Shown every output: its pair, the candidate's name, and (size, size, 3) uint8."""


class Candidate(Protocol):
    """Something that makes pictures to be measured."""

    name: str
    codebook: nn.Module | None
    """Whose use is counted while it paints, of ``size`` entries; None: it has none."""

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        """The picture of a pair, from (size, size, 3) uint8 to the same."""


@dataclass
class Measured:
    """What was found of one candidate, an entry a pair in each list.

    Attributes:
        counts: (K,) how often each entry of the codebook was asked for; None: there is none.
    """

    name: str
    lpips_vgg: list[float] = field(default_factory=list)
    lpips_alex: list[float] = field(default_factory=list)
    gram: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    counts: np.ndarray | None = None


def measure(
    candidates: Sequence[Candidate],
    pairs: Sequence[Pair],
    size: int,
    judges: Judges,
    progress: Callable[[int, int], None],
    watch: Watch = lambda pair, name, rgb: None,
) -> list[Measured]:
    """Let every candidate paint every pair, and measure.

    The first picture of each is painted twice, and timed the second time.

    Args:
        candidates: each with a name of its own.
        pairs: what to paint.
        size: side of the squares.
        judges: the networks that measure.
        progress: called with (pictures measured, pictures in all).
        watch: shown every output.

    Raises:
        QuantArtError: a picture cannot be read.
    """
    found = [Measured(candidate.name) for candidate in candidates]
    done = 0
    for number, pair in enumerate(pairs):
        content, style = square(pair.content.path, size), square(pair.style.path, size)
        aim = _Aim.of(content, style, judges)
        for candidate, into in zip(candidates, found, strict=True):
            if number == 0:
                candidate.output(pair, content, style)
            output = _timed(candidate, pair, content, style, into)
            _judge(output, aim, judges, into)
            watch(pair, candidate.name, output)
            done += 1
            progress(done, len(pairs) * len(candidates))
    return found


@dataclass(frozen=True)
class _Aim:
    """What every output of a pair is compared with: features of the content, the look of the style."""

    vgg: list[Tensor]
    alex: list[Tensor]
    look: Look

    @staticmethod
    @torch.inference_mode()
    def of(content: np.ndarray, style: np.ndarray, judges: Judges) -> _Aim:
        image = _tensor(content, judges.device)
        look = Look.of(judges.vgg, _tensor(style, judges.device))
        return _Aim(judges.lpips_vgg.features(image), judges.lpips_alex.features(image), look)


@torch.inference_mode()
def _judge(output: np.ndarray, aim: _Aim, judges: Judges, into: Measured) -> None:
    image = _tensor(output, judges.device)
    look = Look.of(judges.vgg, image)
    into.lpips_vgg.append(judges.lpips_vgg.distance(aim.vgg, judges.lpips_vgg.features(image)).item())
    into.lpips_alex.append(judges.lpips_alex.distance(aim.alex, judges.lpips_alex.features(image)).item())
    into.gram.append(look.gram_distance(aim.look).item())
    into.moments.append(look.moment_distance(aim.look).item())
    into.features.append(judges.inception(output))


def measure_unpaired(
    name: str, paths: Sequence[Path], size: int, judges: Judges, progress: Callable[[int, int], None]
) -> Measured:
    """Features alone, of outputs that nobody knows the content and style of; arguments as in :func:`measure`."""
    found = Measured(name)
    for number, path in enumerate(paths, 1):
        found.features.append(judges.inception(square(path, size)))
        progress(number, len(paths))
    if len(found.features) < 2:
        raise QuantArtError(f"{name} holds {len(found.features)} pictures: at least 2 are needed")
    return found


def _timed(candidate: Candidate, pair: Pair, content: np.ndarray, style: np.ndarray, into: Measured) -> np.ndarray:
    with counting(candidate.codebook) as asked:
        start = time.perf_counter()
        output = candidate.output(pair, content, style)
        into.seconds.append(time.perf_counter() - start)
    if candidate.codebook is not None:
        counts = counted(asked, candidate.codebook.size)
        into.counts = counts if into.counts is None else into.counts + counts
    return output


def _tensor(rgb: np.ndarray, device: str) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32 in [0, 1] on the device."""
    return torch.tensor(rgb).to(device).permute(2, 0, 1)[None].float().div_(255)


@dataclass(frozen=True)
class Scores:
    """What a candidate comes to; None where it could not be measured.

    Attributes:
        pictures: how many were measured.
        values: by name: "lpips_vgg", "lpips_alex", "gram", "moments", "fid", "kid", "artfid".
        seconds: a picture, the median.
        use: of the codebook.
    """

    name: str
    pictures: int
    values: dict[str, Estimate]
    seconds: float | None
    use: Use | None


def score(measured: Measured, reference: np.ndarray, seed: int, progress: Callable[[int, int], None]) -> Scores:
    """The scores of a candidate against the artworks.

    Args:
        measured: of it.
        reference: features of the artworks, (m, 2048).
        seed: of the random halves; candidates with equally many pictures share them.
        progress: called with (halves done, halves in all).
    """
    rows = halves(len(measured.features), seed)
    columns = halves(len(reference), seed + 1)
    values = {}
    for name in ("lpips_vgg", "lpips_alex", "gram", "moments"):
        each = np.array(getattr(measured, name))
        if len(each):
            values[name] = Estimate.of(float(each.mean()), [float(each[half].mean()) for half in rows])
    products = Products.of(np.stack(measured.features), reference)
    fids, kids = [], []
    for number, half in enumerate(zip(rows, columns, strict=True), 1):
        part = products.part(*half)
        fids.append(fid(part))
        kids.append(kid(part))
        progress(number, len(rows))
    values["fid"], values["kid"] = Estimate.of(fid(products), fids), Estimate.of(kid(products), kids)
    if "lpips_alex" in values:
        near = values["lpips_alex"]
        draws = [artfid(d, f) for d, f in zip(near.draws, fids, strict=True)]
        values["artfid"] = Estimate.of(artfid(near.value, values["fid"].value), draws)
    seconds = float(np.median(measured.seconds)) if measured.seconds else None
    use = None if measured.counts is None else Use(measured.counts)
    return Scores(measured.name, len(measured.features), values, seconds, use)
