"""``quantart compare``: methods, and fidelity × strength, side by side in one picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__, registry
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.cli.console import Bar, progress_bar, say, write_json
from quantart_cli.cli.methods import missing_weights
from quantart_cli.cli.options import EvaluationOptions, check_range, option, preset_names
from quantart_cli.errors import QuantArtError, counted
from quantart_cli.evaluation.systems import PHOTOGRAPHS, Painting, System, SystemSpec, parse_system
from quantart_cli.images import Picture, check_output, read_picture, resize, save_picture

if TYPE_CHECKING:
    from PIL import Image

_MAX_PICTURES = 100
_COLUMNS = 4  # of the rows of methods, or as many as the grid has
_SMALL = 256  # long side of what is optimised, where nobody asked for it


@dataclass(frozen=True, kw_only=True)
class CompareOptions(EvaluationOptions):
    """Lay all methods, and fidelity × strength, side by side in one labelled picture.

    First the photograph, the style, and every method whose weights are here. Those that optimise the picture take
    minutes: without --method they are painted at 256 pixels, as their labels say, or left out with --quick. The rows
    below are QuantArt: fidelity from left to right, strength from top to bottom.

    quantart compare photo.jpg painting.jpg -o sheet.png

    quantart compare photo.jpg painting.jpg --method adain --method nnst -o sheet.png

    quantart compare photo.jpg @mosaic -o sheet.png --fidelity 0,1 --strength 0.5,1 --size 768
    """

    content: Annotated[str, typer.Argument(metavar="CONTENT", help="The picture to paint.")]
    style: Annotated[
        str,
        typer.Argument(
            metavar="STYLE", help="The picture whose style is taken, or @NAME.", autocompletion=preset_names
        ),
    ]
    output: Annotated[str, option("FILE", "The sheet, its format by its suffix.", "--output", "-o")] = "comparison.png"
    fidelity: Annotated[str, option("X,X,…", "Of the columns.", "--fidelity", "--alpha")] = "0,0.35,0.7,1"
    strength: Annotated[str, option("X,X,…", "Of the rows.", "--strength", "--beta")] = "0.5,1"
    method: Annotated[
        list[str],
        option(
            "METHOD[:NAME=VALUE,…]", "Only these beside QuantArt; several times. Default: all whose weights are here."
        ),
    ] = field(default_factory=list)
    quick: Annotated[bool, option(None, "Leave out the methods that optimise the picture.")] = False
    model: Annotated[str | None, option("MODEL", "Other weights for QuantArt.")] = None
    size: Annotated[int, option("N", "Long side at which the pictures are painted.")] = 512
    cell: Annotated[int, option("N", "Width of a picture on the sheet.")] = 320


def run(options: CompareOptions) -> int:
    """Paint the sheet; returns the exit status."""
    start = time.perf_counter()
    fidelities, strengths = _numbers("fidelity", options.fidelity), _numbers("strength", options.strength)
    grid = [
        [replace(parse_system(f"quantart:fidelity={x:g},strength={y:g}"), model=options.model) for x in fidelities]
        for y in strengths
    ]
    methods, left_out = _methods(options)
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
    systems = options.load([*methods, *(spec for row in grid for spec in row)])
    if not options.quiet:
        say(f"painting {counted(len(fidelities) * len(strengths) + len(methods), 'picture')} for {options.output}")
    with progress_bar("painting", options.quiet) as bar:
        page = _page(content, style, methods, grid, systems, options, bar)
    import numpy

    save_picture(Picture(numpy.array(page)), options.output)
    seconds = time.perf_counter() - start
    if not options.quiet:
        say(f"{options.output}: {page.width} × {page.height} in {seconds:.1f} s")
        if left_out:
            say(f"without {', '.join(left_out)}: their weights are not here, see quantart methods")
    if options.json:
        facts = {name: getattr(options, name) for name in ("content", "style", "output", "model", "size")}
        facts |= {
            "quantart": __version__,
            "methods": [each.name for each in methods],
            "fidelity": fidelities,
            "strength": strengths,
        }
        facts |= {"left_out": left_out, "width": page.width, "height": page.height, "seconds": round(seconds, 2)}
        write_json(facts)
    return 0


def _methods(options: CompareOptions) -> tuple[list[SystemSpec], list[str]]:
    """What stands beside QuantArt, and the methods whose weights are not here."""
    if options.method:
        return [parse_system(text) for text in options.method], []
    chosen, left_out = [], []
    for row in registry.methods().values():
        if row.name == "quantart" or not row.needs_style or (row.optimises and options.quick):
            continue  # without pictures of styles, the style of the sheet cannot be painted
        if all(options.download and artefact(name).carriers for name in missing_weights(row)):
            chosen.append(parse_system(row.name))
        else:
            left_out.append(row.command_name)
    return chosen, left_out


def _is_small(spec: SystemSpec, options: CompareOptions) -> bool:
    """Whether a system is painted at a smaller size: methods that optimise, unless they were asked for."""
    return not options.method and options.size > _SMALL and registry.find(spec.method).optimises


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
    systems: Sequence[System],
    options: CompareOptions,
    bar: Bar,
) -> Image.Image:
    from quantart_cli.evaluation.sheets import Cell, sheet

    specs = [*methods, *(spec for row in grid for spec in row)]
    encoded: dict[int, Any] = {}
    cells = []
    for done, system in enumerate(systems, 1):
        assert isinstance(system, Painting)
        if id(system.model) not in encoded:
            encoded[id(system.model)] = system.encode(style)
        small = _is_small(specs[done - 1], options)
        picture = resize(content, _SMALL, enlarge=False) if small else content
        cells.append(system.paint(picture, encoded[id(system.model)]).to_pil())
        bar(done, len(specs))
    labels = [f"{spec.name}, {_SMALL} px" if _is_small(spec, options) else spec.name for spec in methods]
    labels += [spec.name.replace(":", " ").replace(",", " ").replace("=", " ") for row in grid for spec in row]
    painted = [Cell(image, label) for image, label in zip(cells, labels, strict=True)]
    first = [Cell(content.to_pil(), "photograph"), Cell(style.to_pil(), "style"), *painted[: len(methods)]]
    columns = max(_COLUMNS, len(grid[0]))
    rows = [first[start : start + columns] for start in range(0, len(first), columns)]
    for start in range(len(methods), len(painted), len(grid[0])):
        rows.append(painted[start : start + len(grid[0])])
    return sheet(rows, cell=options.cell)
