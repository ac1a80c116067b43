"""``quantart compare``: methods, and fidelity × strength, side by side in one picture."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.command import add_command
from quantart_cli.cli.console import Bar, progress_bar, say, write_json
from quantart_cli.cli.options import EvaluationOptions, check_range, option
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.systems import PHOTOGRAPHS, SHEET_METHODS, Painting, SystemSpec, parse_system
from quantart_cli.images import Picture, check_output, read_picture, resize, save_picture

if TYPE_CHECKING:
    from PIL import Image

_MAX_PICTURES = 100


@dataclass(frozen=True, kw_only=True)
class CompareOptions(EvaluationOptions):
    """Lay methods and fidelity × strength side by side in one labelled picture.

    The first row has the photograph, the style and the methods; the rows below are QuantArt: fidelity from left to
    right, strength from top to bottom.

    quantart compare photo.jpg painting.jpg -o sheet.png
    """

    content: Annotated[str, typer.Argument(metavar="CONTENT", help="The picture to paint.")]
    style: Annotated[str, typer.Argument(metavar="STYLE", help="The picture whose style is taken.")]
    output: Annotated[str, option("FILE", "The sheet, its format by its suffix.", "--output", "-o")]
    fidelity: Annotated[str, option("X,X,…", "Of the columns.", "--fidelity", "--alpha")] = "0,0.35,0.7,1"
    strength: Annotated[str, option("X,X,…", "Of the rows.", "--strength", "--beta")] = "0.5,1"
    method: Annotated[list[str], option("METHOD[:NAME=VALUE,…]", "In the first row; several times.")] = field(
        default_factory=lambda: list(SHEET_METHODS)
    )
    model: Annotated[str | None, option("MODEL", "Other weights for QuantArt.")] = None
    size: Annotated[int, option("N", "Long side at which the pictures are painted.")] = 512
    cell: Annotated[int, option("N", "Width of a picture on the sheet.")] = 320


def register(app: typer.Typer) -> None:
    add_command(app, "compare", CompareOptions, run)


def run(options: CompareOptions) -> int:
    """Paint the sheet; returns the exit status.

    Raises:
        QuantArtError: an input is wrong.
    """
    start = time.perf_counter()
    fidelities, strengths = _numbers("fidelity", options.fidelity), _numbers("strength", options.strength)
    grid = [
        [replace(parse_system(f"quantart:fidelity={x:g},strength={y:g}"), model=options.model) for x in fidelities]
        for y in strengths
    ]
    methods = [parse_system(text) for text in options.method]
    if any(each.method == PHOTOGRAPHS for each in methods):
        raise QuantArtError(f"--method {PHOTOGRAPHS}: the photograph is on the sheet already")
    check_range("size", options.size, 16, 8192)
    check_range("cell", options.cell, 64, 2048)
    if len(fidelities) * len(strengths) + len(methods) > _MAX_PICTURES:
        raise QuantArtError(
            f"a sheet holds at most {_MAX_PICTURES} pictures: give fewer of --fidelity, --strength or --method"
        )
    check_output(options.output, [options.content, options.style])
    content, style = (
        resize(read_picture(file), options.size, enlarge=False) for file in (options.content, options.style)
    )
    with progress_bar("painting", options.quiet) as bar:
        page = _page(content, style, methods, grid, options, bar)
    import numpy

    save_picture(Picture(numpy.array(page)), options.output)
    seconds = time.perf_counter() - start
    if not options.quiet:
        say(f"{options.output}: {page.width} × {page.height} in {seconds:.1f} s")
    if options.json:
        facts = {name: getattr(options, name) for name in ("content", "style", "output", "model", "size")}
        facts |= {"quantart": __version__, "methods": options.method, "fidelity": fidelities, "strength": strengths}
        facts |= {"width": page.width, "height": page.height, "seconds": round(seconds, 2)}
        write_json(facts)
    return 0


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise QuantArtError(f"--{name} {text!r} is no list of numbers: 0,0.5,1") from None


def _page(
    content: Picture,
    style: Picture,
    methods: list[SystemSpec],
    grid: list[list[SystemSpec]],
    options: CompareOptions,
    bar: Bar,
) -> Image.Image:
    from quantart_cli.evaluation.sheets import Cell, sheet

    specs = [*methods, *(spec for row in grid for spec in row)]
    encoded: dict[int, Any] = {}
    cells = []
    for done, system in enumerate(options.load(specs), 1):
        assert isinstance(system, Painting)
        if id(system.model) not in encoded:
            encoded[id(system.model)] = system.model.encode_style(style)
        cells.append(system.paint(content, encoded[id(system.model)]).to_pil())
        bar(done, len(specs))
    labels = [spec.name.removeprefix("quantart:").replace(",", " · ").replace("=", " ") for spec in specs]
    labels[: len(methods)] = [spec.name for spec in methods]
    painted = [Cell(image, label) for image, label in zip(cells, labels, strict=True)]
    rows = [[Cell(content.to_pil(), "photograph"), Cell(style.to_pil(), "style"), *painted[: len(methods)]]]
    for start in range(len(methods), len(painted), len(grid[0])):
        rows.append(painted[start : start + len(grid[0])])
    return sheet(rows, cell=options.cell)
