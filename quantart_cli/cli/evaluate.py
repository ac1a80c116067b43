"""``quantart evaluate``: outputs measured, so that nobody needs to believe anybody."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import Bar, bytes_bar, progress_bar, say
from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.engine.choices import ACCEPTS
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.candidates import PHOTOGRAPHS, Wanted, parse
from quantart_cli.evaluation.options import EvaluationOptions
from quantart_cli.images import check_output

if TYPE_CHECKING:
    import numpy as np

    from quantart_cli.evaluation.keeping import Keeper
    from quantart_cli.evaluation.measure import Candidate, Measured, Scores
    from quantart_cli.evaluation.networks import Judges
    from quantart_cli.evaluation.pictures import Pair, Source

_DOC = """Measure methods: near the content, like the style, among real artworks.

Each --compare is METHOD or METHOD:NAME=VALUE,…, with model=FILE for other weights; photographs are the contents as they
are. Every picture is cut to a square and resized. LPIPS is to the content, the style distances to the style, FID and
KID to the artworks; ArtFID = (1 + LPIPS)(1 + FID). Lower is better.

quantart evaluate --contents photos/ --styles art/ --compare adain --compare quantart:fidelity=1
"""


def _text(help: str, metavar: str, default: Any = None, kind: Any = str) -> tuple[Any, Any]:
    many = default is None and kind is list
    hint = list[str] if many else str if default is ... else str | None
    return Annotated[hint, typer.Option(help=help, metavar=metavar)], [] if many else default


_PARAMETERS: dict[str, tuple[Any, Any]] = {
    "contents": _text("Photographs to paint.", "FOLDER", ...),
    "styles": _text("Paintings whose style is taken.", "FOLDER", ...),
    "artworks": _text("Real artworks that outputs are to be like. Default: the styles.", "FOLDER"),
    "compare": _text(
        f"What to measure, several times: quantart, adain:alpha=0.8, {PHOTOGRAPHS}. Default: quantart.",
        "METHOD[:NAME=VALUE,…]",
        kind=list,
    ),
    "outputs": _text(
        "Pictures made by another tool, named by --pattern: their pairs are what everything is measured on. "
        "Where no name fits, FID and KID alone. Several times.",
        "FOLDER",
        kind=list,
    ),
    "pattern": _text(
        "Names of outputs, without suffix, from those of their content and style.", "TEXT", "{content}--{style}"
    ),
    "keep": _text("Keep squares and outputs here, named by the default pattern.", "FOLDER"),
    "sheet": _text("Write a contact sheet of the first pairs.", "FILE"),
    "model": _text("Other weights for methods that take them and name none of their own.", "MODEL"),
    "download": (
        Annotated[bool, typer.Option("--download", help="Download what is needed and not here yet.")],
        False,
    ),
    **from_controls(EvaluationOptions),
    **MACHINE,
    "quiet": (Annotated[bool, typer.Option("--quiet", help="Say nothing but errors and the result.")], False),
}

# Name of a score, how it is headed, factor and digits it is shown with.
_COLUMNS = (
    ("lpips_vgg", "LPIPS VGG", 1, 3),
    ("lpips_alex", "LPIPS Alex", 1, 3),
    ("gram", "Gram", 1, 3),
    ("moments", "mean/std", 1, 3),
    ("fid", "FID", 1, 1),
    ("kid", "KID×10³", 1000, 1),
    ("artfid", "ArtFID", 1, 1),
)


def register(app: typer.Typer) -> None:
    app.command("evaluate")(with_parameters(run, _DOC, _PARAMETERS))


def run(values: dict[str, Any]) -> int:
    """Measure; returns the exit status.

    Raises:
        QuantArtError: whatever a person can put right.
    """
    start = time.perf_counter()
    options = EvaluationOptions.of({name: values[name] for name in EvaluationOptions.__dataclass_fields__})
    wanted = _wanted(values)
    if values["sheet"]:
        check_output(values["sheet"], [])
    from quantart_cli.evaluation.keeping import Keeper
    from quantart_cli.evaluation.reference import features_of

    judges, checksum = _judges(values)
    found = _pictures(values, options)
    candidates = _candidates(wanted, found.outputs, values, options, judges.device)
    tell = (lambda line: None) if values["quiet"] else say
    if values["sheet"] and not candidates:
        raise QuantArtError("--sheet needs pairs: no output is named by the pattern")
    folder = None if values["keep"] is None else Path(values["keep"])
    keeper = Keeper(folder, bool(values["sheet"]), [each.name for each in candidates])
    with progress_bar("artworks", values["quiet"]) as bar:
        reference = features_of(found.artworks, options.size, judges.inception, checksum, _stage(bar, "artworks"), tell)
        measured = _measured(candidates, found, options, judges, keeper, bar)
        scores = _scored(measured, reference, options.seed, bar)
    if values["sheet"]:
        keeper.write_sheet(values["sheet"])
    seconds = time.perf_counter() - start
    _show(scores, len(reference), options, values)
    if values["json"]:
        print(json.dumps(_report(scores, found.pairs, len(reference), options, values, seconds)))
    return 0


def _wanted(values: dict[str, Any]) -> list[Wanted]:
    given = values["compare"] or ([] if values["outputs"] else ["quantart"])
    wanted = [parse(text) for text in given]
    names = [each.name for each in wanted] + [Path(folder).name for folder in values["outputs"]]
    for name in names:
        if names.count(name) > 1:
            raise QuantArtError(f"{name} is to be measured twice: once is enough, folders need names of their own")
    accepts = [kind for each in wanted if each.model is None for kind in ACCEPTS.get(each.method, ())]
    if values["model"] and not accepts:
        raise QuantArtError("--model: nothing that is measured takes it")
    return wanted


def _stage(bar: Bar, stage: str) -> Any:
    return lambda done, total: bar(done, total, stage=stage)


def _judges(values: dict[str, Any]) -> tuple[Judges, str]:
    """The networks that measure, and the sha256 of the one whose features are remembered."""
    from quantart_cli.checkpoints.manifest import artefact
    from quantart_cli.evaluation.networks import DOWNLOADS, Judges, absent

    if missing := absent():
        if not values["download"]:
            names = " ".join(missing)
            raise QuantArtError(f"measuring needs quantart download-weights {names}, once; or give --download")
        _fetch(missing, values["quiet"])
    from quantart_cli.engine.device import choose

    checksum = artefact(DOWNLOADS[-1]).sha256
    assert checksum is not None
    return Judges.load(choose(values["device"], values["precision"]).device), checksum


def _fetch(names: list[str], quiet: bool) -> None:
    from quantart_cli.checkpoints.download import fetch
    from quantart_cli.checkpoints.manifest import artefact
    from quantart_cli.checkpoints.package_index import forget_archives

    with bytes_bar(quiet) as bar:
        try:
            for name in names:
                fetch(artefact(name), progress=bar.of(name), tell=None if quiet else bar.say, keep_archives=True)
        finally:
            forget_archives()


class _Found:
    """The files of the folders, and the pairs.

    Attributes:
        pairs: to be measured.
        artworks: paths.
        outputs: by folder: files by pair, or a list of files that belong to no pair.
    """

    def __init__(self, pairs: list[Pair], artworks: list[Path], outputs: dict[str, Any]) -> None:
        self.pairs = pairs
        self.artworks = artworks
        self.outputs = outputs


def _pictures(values: dict[str, Any], options: EvaluationOptions) -> _Found:
    from quantart_cli.evaluation.pictures import check_pattern, choose_pairs, find_outputs, named

    check_pattern(values["pattern"])
    contents = named(_held_out(values["contents"], options.hold_out))
    styles = named(_held_out(values["styles"], options.hold_out))
    artworks = _held_out(values["artworks"] or values["styles"], options.hold_out)
    outputs: dict[str, Any] = {}
    for folder in values["outputs"]:
        files = find_outputs(Path(folder), values["pattern"], contents, styles)
        outputs[folder] = files or _held_out(folder, 0)
        if not files and not values["quiet"]:
            say(f"{folder}: no name fits {values['pattern']}, so only FID and KID are measured")
    paired = [set(files) for files in outputs.values() if isinstance(files, dict)]
    if not paired:
        return _Found(choose_pairs(contents, styles, options.pairs, options.seed), artworks, outputs)
    pairs = _pairs_of(set.intersection(*paired), contents, styles)
    if len(pairs) < 2:
        raise QuantArtError(f"the folders of outputs share {len(pairs)} pairs: at least 2 are needed")
    return _Found(pairs[: options.pairs], artworks, outputs)


def _pairs_of(names: set[tuple[str, str]], contents: list[Source], styles: list[Source]) -> list[Pair]:
    from quantart_cli.evaluation.pictures import Pair

    by_name = {source.name: source for source in contents}, {source.name: source for source in styles}
    return [Pair(by_name[0][content], by_name[1][style]) for content, style in sorted(names)]


def _held_out(folder: str, share: float) -> list[Path]:
    """Pictures of a folder; with a share, those a training with that ``--hold-out`` leaves out."""
    from quantart_cli.training.pictures import name_hash, pictures_below

    found = [path for path in pictures_below(Path(folder)) if share == 0 or name_hash(path.name) < share]
    if not found:
        raise QuantArtError(f"{folder}: none of its pictures is held out: raise --hold-out")
    return found


def _candidates(
    wanted: list[Wanted], outputs: dict[str, Any], values: dict[str, Any], options: EvaluationOptions, device: str
) -> list[Candidate]:
    """What paints or has painted, unpaired folders left out."""
    from quantart_cli.api import load
    from quantart_cli.evaluation.candidates import Outputs, Painting, Photographs, art_codebook

    loaded: dict[tuple[str, str | None], Any] = {}
    found: list[Candidate] = []
    for each in wanted:
        if each.controls is None:
            found.append(Photographs())
            continue
        file = each.model or _model_for(each.method, values["model"], [other.method for other in wanted])
        key = each.method, file
        if key not in loaded:
            machine = {"device": device, "precision": values["precision"]}
            loaded[key] = load(each.method, model=file, download=values["download"], **machine)
        codebook = art_codebook(loaded[key]._networks) if getattr(each.controls, "fidelity", 0) > 0 else None
        found.append(Painting(each.name, loaded[key], each.controls, options.seed, codebook))
    for folder, files in outputs.items():
        if isinstance(files, dict):
            found.append(Outputs(Path(folder).name, files))
    return found


def _model_for(method: str, model: str | None, methods: list[str]) -> str | None:
    """``--model`` for a method that takes it; one that none of them takes is refused as everywhere."""
    if model is None:
        return None
    from quantart_cli.checkpoints.models import find_model

    fitting = tuple({kind for each in methods for kind in ACCEPTS.get(each, ())})
    return model if find_model(model, fitting).kind in ACCEPTS[method] else None


def _measured(
    candidates: list[Candidate],
    found: _Found,
    options: EvaluationOptions,
    judges: Judges,
    keeper: Keeper,
    bar: Bar,
) -> list[Measured]:
    from quantart_cli.evaluation.measure import measure, measure_unpaired

    measured = []
    if candidates:
        painting = _stage(bar, "pictures")
        measured = measure(candidates, found.pairs, options.size, judges, painting, keeper)
    for folder, files in found.outputs.items():
        if not isinstance(files, dict):
            name = Path(folder).name
            measured.append(measure_unpaired(name, files, options.size, judges, _stage(bar, name)))
    return measured


def _scored(measured: list[Measured], reference: np.ndarray, seed: int, bar: Bar) -> list[Scores]:
    from quantart_cli.evaluation.measure import score

    return [score(each, reference, seed, _stage(bar, f"confidence of {each.name}")) for each in measured]


def _cells(scores: Scores) -> list[str]:
    """A row of the table."""
    cells = [scores.name]
    for name, _, factor, digits in _COLUMNS:
        value = scores.values.get(name)
        cells.append("–" if value is None else f"{factor * value.value:.{digits}f} ±{factor * value.error:.{digits}f}")
    if scores.use is None:
        cells.append("–")
    else:
        cells.append(f"{scores.use.used}/{len(scores.use.counts)}, {scores.use.perplexity:.0f}")
    return [*cells, "–" if scores.seconds is None else f"{scores.seconds:.2f}"]


def _show(scores: list[Scores], artworks: int, options: EvaluationOptions, values: dict[str, Any]) -> None:
    """The table: on stdout, or on stderr beside ``--json``."""
    stream = sys.stderr if values["json"] else sys.stdout
    if values["quiet"] and values["json"]:
        return
    counts = sorted({each.pictures for each in scores})
    pictures = " or ".join(map(str, counts))
    title = f"{pictures} pictures each of {options.size}², {artworks} artworks, ± 95 %"
    heads = ["", *(head for _, head, _, _ in _COLUMNS), "codes, perplexity", "s"]
    rows = [_cells(each) for each in scores]
    if stream.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*heads, title=title)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        Console(file=stream).print(table)
        return
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    print(title, file=stream)
    for row in [heads, *rows]:
        aligned = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join((row[0].ljust(widths[0]), *aligned)).rstrip(), file=stream)


def _report(
    scores: list[Scores],
    pairs: list[Pair],
    artworks: int,
    options: EvaluationOptions,
    values: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """The object ``--json`` prints."""
    folders = {name: values[name] for name in ("contents", "styles", "artworks", "outputs", "model")}
    return {
        "quantart": __version__,
        "options": {**asdict(options), **folders},
        "artworks": artworks,
        "candidates": [_reported(each, scores[0]) for each in scores],
        "pairs": [
            {"name": pair.name, "content": str(pair.content.path), "style": str(pair.style.path)} for pair in pairs
        ],
        "seconds": round(seconds, 1),
    }


def _reported(scores: Scores, first: Scores) -> dict[str, Any]:
    """One candidate; ``over_first`` are ratios to the first one, from the same halves of the pictures."""

    def told(value: Any) -> dict[str, float]:
        return {"value": round(value.value, 6), "error": round(value.error, 6)}

    ratios = {name: value.over(first.values[name]) for name, value in scores.values.items() if name in first.values}
    use = scores.use
    return {
        "name": scores.name,
        "pictures": scores.pictures,
        "scores": {name: told(value) for name, value in scores.values.items()},
        "over_first": {name: told(value) for name, value in ratios.items() if value is not None},
        "codebook": use and {"entries": len(use.counts), "used": use.used, "perplexity": round(use.perplexity, 1)},
        "seconds": scores.seconds and round(scores.seconds, 4),
    }
