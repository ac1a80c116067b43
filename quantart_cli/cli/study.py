"""``quantart study``: a blind pairwise study as one HTML file, and the scores of its votes."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import Bar, progress_bar, say, write_json
from quantart_cli.cli.options import EvaluationOptions, check_range, option
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.systems import SystemSpec, check_model, check_names, parse_system
from quantart_cli.files import check_target

if TYPE_CHECKING:
    import numpy as np

    from quantart_cli.evaluation.pictures import Pair, Source
    from quantart_cli.evaluation.study import QuestionScore
    from quantart_cli.evaluation.systems import Outputs, System

_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class StudyOptions(EvaluationOptions):
    """Make a blind pairwise study as one HTML file, or score its votes.

    The page shows two outputs of the same content and style side by side, each pair twice with its sides swapped, and
    asks which is better, closer to the style, and keeps the content. It needs no server and holds no names: these are
    in the key, a file beside it. The page saves votes as a CSV file. Scores are win rates with 95 % intervals and
    Bradley-Terry strengths, without the pairs that were answered differently the second time.

    quantart study photos/ --styles art/ --compare quantart --compare adain -o study.html

    quantart study --score votes*.csv --key study.key.json

    quantart study photos/ --styles art/ --compare nnst --compare gatys -o slow.html
    """

    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONTENTS", help="Pictures and folders; with --score, CSV files of votes."),
    ] = None
    styles: Annotated[str | None, option("FOLDER|@NAME", "Paintings whose style is taken, or a preset.")] = None
    compare: Annotated[list[str], option("METHOD[:NAME=VALUE,…]", "A method to paint with; several times.")] = field(
        default_factory=list
    )
    outputs: Annotated[
        list[str], option("NAME=FOLDER", "Finished pictures CONTENT--STYLE.png, under a name; several times.")
    ] = field(default_factory=list)
    output: Annotated[
        str | None, option("FILE", "The page, an HTML file. The key is written beside it.", "--output", "-o")
    ] = None
    pairs: Annotated[int, option("N", "Pairs of a content and a style that are shown.")] = 24
    size: Annotated[int, option("N", "Long side of the pictures.")] = 512
    score: Annotated[bool, option(None, "Score votes instead.", "--score")] = False
    key: Annotated[str | None, option("FILE", "The key of the study, for --score.")] = None


def run(options: StudyOptions) -> int:
    """Make the page or score the votes; returns the exit status."""
    if options.score:
        return _score(options)
    start = time.perf_counter()
    specs, folders, page = _check(options)
    names = [*(spec.name for spec in specs), *folders]
    key_file = page.with_suffix(".key.json")
    pairs, outputs = _pairs(options, folders)

    from quantart_cli.evaluation.study import make_page, make_trials
    from quantart_cli.files import write_atomically

    trials = make_trials([(pair.content.name, pair.style.name) for pair in pairs], names, options.seed)
    with progress_bar("pictures", options.quiet) as bar:
        html, key = make_page(trials, *_pictures(options, specs, outputs, pairs, bar))
    write_atomically(str(key_file), key.to_json().encode())
    write_atomically(str(page), html.encode())
    if not options.quiet:
        say(f"{page}: {len(trials)} trials, {len(html) / 1e6:.1f} MB; keep {key_file} for --score")
    if options.json:
        facts: dict[str, Any] = {"quantart": __version__, "study": key.study, "page": str(page), "key": str(key_file)}
        facts |= {"systems": names, "pairs": len(pairs), "trials": len(trials)}
        write_json({**facts, "seconds": round(time.perf_counter() - start, 2)})
    return 0


def _check(options: StudyOptions) -> tuple[list[SystemSpec], dict[str, Path], Path]:
    """Check all options; returns the methods, the folders of finished pictures by name, and the page."""
    for name, value in (("CONTENTS", options.inputs), ("--styles", options.styles), ("--output", options.output)):
        if not value:
            raise QuantArtError(f"{name} is missing: quantart study CONTENTS --styles FOLDER --output study.html")
    check_range("pairs", options.pairs, 1, 10_000)
    check_range("size", options.size, 64, 4096)
    specs = [parse_system(text) for text in options.compare]
    folders = [text.partition("=") for text in options.outputs]
    for name, _, folder in folders:
        if not (name and folder):
            raise QuantArtError(
                f"--outputs {name or folder} is not NAME=FOLDER: give a name, =, and a folder of pictures"
            )
    names = [*(spec.name for spec in specs), *(name for name, _, _ in folders)]
    check_names(names)
    check_model(specs, options.model)
    if len(names) < 2:
        raise QuantArtError("a study compares two systems or more: give --compare or --outputs twice")
    page = Path(options.output or "")
    if page.suffix.lower() not in (".html", ".htm"):
        raise QuantArtError(f"{page}: the page is an HTML file: name it {page.stem}.html")
    for target in (page, page.with_suffix(".key.json")):
        check_target(str(target), [])
    return specs, {name: Path(folder) for name, _, folder in folders}, page


def _pairs(options: StudyOptions, folders: dict[str, Path]) -> tuple[list[Pair], list[Outputs]]:
    """The pairs to show, and the finished pictures."""
    from quantart_cli.evaluation.pictures import PATTERN, choose_pairs, find_outputs, find_pictures, named, shared_pairs
    from quantart_cli.evaluation.systems import Outputs

    paths = [path for given in options.inputs or [] for path in find_pictures(given)]
    contents = named(list(dict.fromkeys(path.resolve() for path in paths)))
    styles = named(find_pictures(options.styles or ""))
    outputs = [Outputs(name, find_outputs(folder, PATTERN, contents, styles)) for name, folder in folders.items()]
    if not outputs:
        return choose_pairs(contents, styles, options.pairs, options.seed), []
    pairs = shared_pairs([dict(each.files) for each in outputs], contents, styles)
    if not pairs:
        raise QuantArtError(f"the folders of finished pictures share no pair: name the files {PATTERN}.png")
    count = min(options.pairs, len(pairs))
    return [pairs[i * len(pairs) // count] for i in range(count)], outputs  # evenly spaced


def _pictures(
    options: StudyOptions, specs: list[SystemSpec], outputs: list[Outputs], pairs: list[Pair], bar: Bar
) -> tuple[dict[str, bytes], dict[str, bytes], dict[tuple[str, str, str], bytes]]:
    """JPEG files of the contents, the styles and the outputs."""
    from quantart_cli.evaluation.pictures import reduced

    systems: list[System] = [*options.load(specs, options.model), *outputs]
    contents: dict[str, bytes] = {}
    styles: dict[str, bytes] = {}
    painted: dict[tuple[str, str, str], bytes] = {}
    for number, pair in enumerate(pairs):
        content, style = reduced(pair.content.path, options.size), reduced(pair.style.path, options.size)
        contents[pair.content.name], styles[pair.style.name] = _jpeg(content), _jpeg(style)
        for each in outputs:
            _check_ratio(each.files[pair.content.name, pair.style.name], content, pair.content)
        for done, system in enumerate(systems, 1):
            picture = system.output(pair, content, style)
            painted[pair.content.name, pair.style.name, system.name] = _jpeg(picture)
            bar(number * len(systems) + done, len(pairs) * len(systems))
    return contents, styles, painted


def _check_ratio(path: Path, content: np.ndarray, source: Source) -> None:
    """A picture that was cropped would be recognised."""
    from quantart_cli.images.reading import picture_size

    width, height = picture_size(str(path))
    if abs(math.log(width / height * content.shape[0] / content.shape[1])) > 0.03:
        raise QuantArtError(
            f"{path} has another shape than its content {source.path}: give the contents it was made of"
        )


def _jpeg(rgb: np.ndarray) -> bytes:
    from quantart_cli.images import Picture, encode_picture

    return encode_picture(Picture(rgb), "jpeg", quality=_QUALITY)


def _score(options: StudyOptions) -> int:
    from quantart_cli.evaluation.study import Key, read_votes, score_votes

    if not options.inputs or not options.key:
        raise QuantArtError("scores need votes and the key: quantart study --score votes*.csv --key study.key.json")
    key = Key.from_json(_text(options.key), options.key)
    answers = [answer for name in options.inputs for answer in read_votes(_text(name), key, name)]
    if not answers:
        raise QuantArtError("the files hold no votes: give the CSV files that the page saves")
    scores = score_votes(answers, key)
    if options.json:
        report = {
            "quantart": __version__,
            "study": key.study,
            "files": len(options.inputs),
            "voters": len({answer.voter for answer in answers}),
            "questions": {score.question: asdict(score) for score in scores},
        }
        write_json(report)
    else:
        print("\n\n".join(map(_lines, scores)))
    return 0


def _text(name: str) -> str:
    from quantart_cli.files import reason

    try:
        return Path(name).read_text("utf-8")
    except OSError as error:
        raise QuantArtError(f"{name} cannot be read: {reason(error)}") from None
    except ValueError:
        raise QuantArtError(f"{name} is not a text file: give the CSV files that the page saves") from None


_TITLES = {"better": "better picture", "style": "closer to the style", "content": "content kept"}


def _lines(score: QuestionScore) -> str:
    """The scores of one question for people."""
    answered = score.consistent + score.inconsistent
    once = f", {score.incomplete} answered once" if score.incomplete else ""
    lines = [f"{_TITLES[score.question]}: {score.consistent} of {answered} pairs answered alike twice{once}"]
    rates = [rate for rate in score.rates if rate.other or len(score.bradley_terry) > 2]
    titles = [f"{rate.system} against {rate.other or 'all others'}" for rate in rates]
    for title, rate in zip(titles, rates, strict=True):
        share = "  –" if rate.rate is None else f"{rate.rate:.0%}".rjust(4)
        interval = f"95 %: {rate.low:.0%} to {rate.high:.0%}"
        lines.append(f"  {title.ljust(max(map(len, titles)))}  {share}  {interval}  of {rate.count}")
    ranked = sorted(score.bradley_terry.items(), key=lambda item: -item[1])
    return "\n".join([*lines, "  Bradley-Terry: " + ", ".join(f"{name} {value:+.2f}" for name, value in ranked)])
