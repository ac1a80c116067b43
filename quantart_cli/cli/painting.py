"""One run of a painting command: check, read, paint, write, report. The same for every method.

What can fail is checked before torch is imported, which takes seconds.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import typer

from quantart_cli import __version__
from quantart_cli.checkpoints.location import cache_folder
from quantart_cli.cli.command import add_command
from quantart_cli.cli.console import INTERRUPTED, progress_bar, say, waiting, write_json
from quantart_cli.cli.optimising import Previews, Session
from quantart_cli.cli.options import OptimisingOptions, PaintingOptions, PreviewingOptions, TrainedStyleOptions
from quantart_cli.cli.startup import keep_memory, lean_torch
from quantart_cli.errors import QuantArtError
from quantart_cli.files import is_stream, printable
from quantart_cli.images import Picture, check_output, read_picture, save_picture, to_size
from quantart_cli.methods.inputs import Masks
from quantart_cli.registry import Method

if TYPE_CHECKING:
    from quantart_cli.methods.base import Step
    from quantart_cli.model import Model
    from quantart_cli.result import Result
    from quantart_cli.style import Style

_HANDFUL = 5
# Added to the help of methods that have fewer than three.
_EXAMPLES = (
    "quantart {} photo.jpg @starry-oil -o out.png",
    "quantart {} photo.jpg one.jpg two.jpg -o out.png --style-weights 0.3,0.7",
    "quantart {} photo.jpg painting.jpg -o out.png --preserve-color luma",
)
_WITHOUT_STYLE = (
    "quantart {} photo.jpg -o out.png --model network.safetensors --size 1600",
    "quantart {} photo.jpg -o out.png --model network.safetensors --preserve-color luma",
)


def register(app: typer.Typer, method: Method) -> None:
    """Add the command of a method."""
    options = PaintingOptions if method.needs_style else TrainedStyleOptions
    if method.optimises:
        options = OptimisingOptions
    elif any(each.name == "refine" for each in fields(method.settings)):
        options = PreviewingOptions
    paper = f" {method.paper}." if method.paper else ""
    lines = [line.format(method.command_name) for line in (_EXAMPLES if method.needs_style else _WITHOUT_STYLE)]
    missing = max(0, 3 - sum(part.startswith("quantart ") for part in method.help.split("\n\n")))
    add_command(
        app,
        method.command_name,
        options,
        lambda options: run(method, options),
        settings=method.settings,
        help="\n\n".join([method.summary + paper, method.help, *lines[:missing]]),
    )


def run(method: Method, options: PaintingOptions) -> int:
    """Paint one picture; returns the exit status."""
    start = time.perf_counter()
    options.check()
    shares = options.shares_for(len(options.styles))
    _check_styles(method, options)
    content = read_picture(options.content, frame=options.frame, max_pixels=options.max_pixels)
    content = to_size(content, options.size, options.max_pixels)
    styles = [read_picture(style, max_pixels=options.max_pixels) for style in options.styles]
    if len(styles) > 1 and not options.quiet:  # says what was taken for what
        shown = ", ".join(map(printable, options.styles[:_HANDFUL])) + (", …" if styles[_HANDFUL:] else "")
        say(f"1 content, {len(styles)} styles: {shown}")
    content, masks, notes = _read_masks(options, content, styles, shares)
    check_output(
        options.output,
        options.inputs,
        format=options.format,
        has_alpha=content.alpha is not None,
        background=options.background,
    )
    session: Previews | None = None
    if isinstance(options, OptimisingOptions):
        session = Session(options, content, masks)
    elif isinstance(options, PreviewingOptions):
        session = Previews(options, content, masks)
    model = _load(method, options, content)
    with waiting("Reading the style" if len(styles) == 1 else "Reading the styles", options.quiet):
        style = model.encode_style(
            styles, weights=shares, size=options.style_size, settings=options.settings, encode=not masks.masks
        )
    if options.dry_run:
        return _predict(method, model, content, style, options, len(masks.masks))
    result = _paint(model, content, style, options, masks, session)
    if not options.no_recipe:
        result = replace(result, picture=result.picture.with_recipe(_recipe(model, content, styles, result, options)))
    save_picture(result.picture, options.output, **options.writing)
    notes = [*content.notes, *(note for each in styles for note in each.notes), *notes, *result.notes]
    if session is not None:
        session.finish(result.stopped)
        notes += session.notes
    seconds = time.perf_counter() - start
    if not options.quiet:
        for note in notes:
            say(note)
        where = "stdout" if options.output == "-" else printable(options.output)
        say(f"{where}: {content.width} × {content.height}, {method.name} in {seconds:.1f} s")
    if options.show:
        from quantart_cli.cli import showing

        showing.show(result.picture.to_pil(), options.quiet)
    if options.json:
        write_json(_report(method, options, model, result, shares, notes, seconds))
    return INTERRUPTED if result.stopped else 0


def _read_masks(
    options: PaintingOptions, content: Picture, styles: list[Picture], shares: Sequence[float]
) -> tuple[Picture, Masks, list[str]]:
    """The content, opaque if its alpha is a mask; the masks; remarks for a person."""
    from quantart_cli.masks import read_regions

    def read(path: str) -> Picture:
        return read_picture(path, max_pixels=options.max_pixels)

    content, masks, notes = read_regions(options.mask, options.style_mask, content, styles, read)
    masks.styles_of_regions(shares)
    return content, masks, notes


def _recipe(model: Model, content: Picture, styles: Sequence[Picture], result: Result, options: PaintingOptions) -> str:
    """How the picture was painted, as its file holds it."""
    from quantart_cli.recipe import REGIONS, recipe_of, region

    given = {name: getattr(options, name, None) for name in REGIONS}
    regions = {
        name: [region(each) for each in ([value] if isinstance(value, str) else value or ())]
        for name, value in given.items()
    }
    chosen = {each.name: getattr(options, each.name) for each in fields(options)}
    chosen["style_weights"] = options.shares_for(len(styles))
    return recipe_of(model, options.settings, content, styles, result, chosen, regions).text()


def _check_styles(method: Method, options: PaintingOptions) -> None:
    """Refuse what looks like a glob of photographs."""
    styles = options.styles
    if len(styles) > _HANDFUL and not is_stream(options.content):
        folder = os.path.dirname(options.content)
        if all(_folder(style) == _folder(options.content) for style in styles[:-1]):
            chosen = shlex.quote(folder or "."), shlex.quote(styles[-1])
            raise QuantArtError(
                f"1 content and {len(styles)} styles, most of them in the folder of the content: to paint them all, "
                f"type quantart batch {' '.join(chosen)} --method {method.name} -o FOLDER"
            )


def _folder(path: str) -> str:
    return os.path.realpath(os.path.dirname(path))


def _load(method: Method, options: PaintingOptions, content: Picture) -> Model:
    file = options.find_model(method)
    if cache_folder() is None and not options.quiet:
        say("without a cache, everything is computed again next time: QUANTART_CACHE chooses its folder")
    with waiting("Loading", options.quiet):
        from quantart_cli.model import refines

        plain = not method.optimises and not refines(options.settings)
        if plain and method.target.startswith("quantart_cli."):  # others may need all of torch
            lean_torch()
        model = options.load(method.name, file, content.width * content.height)
    # Blocks of many sizes, and larger than those of tiles, cost more when they are kept than they save.
    if model.spec.backend == "torch" and not model.changes_with_tiles and options.tile != "none":
        keep_memory()
    return model


def _paint(
    model: Model, content: Picture, style: Style, options: PaintingOptions, masks: Masks, session: Previews | None
) -> Result:
    """Paint with a progress bar: of steps, or of the tiles of each stage where there are several."""
    with progress_bar("Painting", options.quiet) as bar:

        def show(step: Step) -> None:
            if step.stage and step.steps > 1:
                bar(step.step, step.steps, stage=f"Painting: {step.stage}")
            elif not step.stage:
                losses = "  ".join(f"{name} {loss:.4g}" for name, loss in step.losses.items())
                bar(step.step, step.steps, f"{step.size[0]} × {step.size[1]}  {losses}")
            if session is not None:
                session.step(step)

        return model.paint(
            content,
            style,
            options.settings,
            preserve_color=options.preserve_color,
            tile=options.tile,
            seed=options.seed,
            progress=show,
            inputs=masks if session is None else session.prepare(model, style),
        )


def _predict(
    method: Method, model: Model, content: Picture, style: Style, options: PaintingOptions, regions: int
) -> int:
    """Say what painting would take, and write nothing."""
    from quantart_cli.prediction import predict

    with waiting("Painting a sample", options.quiet):
        found = predict(model, content, style, options.settings, options.tile, options.preserve_color, regions)
    if not options.quiet:
        tiles = "whole" if found.tile is None else f"in tiles of {found.tile}"
        say(
            f"{printable(options.output)} would be {content.width} × {content.height}, {method.name}, painted {tiles}: "
            f"about {found.bytes / 1e9:.1f} GB of memory and {found.seconds:.0f} s; nothing was written"
        )
    if options.json:
        facts = {"dry_run": True, "method": method.name, "width": content.width, "height": content.height}
        write_json({**facts, "bytes": found.bytes, "seconds": round(found.seconds, 2), "tile": found.tile})
    return 0


def _report(
    method: Method,
    options: PaintingOptions,
    model: Model,
    result: Result,
    shares: Sequence[float],
    notes: list[str],
    seconds: float,
) -> dict[str, Any]:
    """The object ``--json`` prints."""
    others = ("content", "styles", "output", "json", "quiet", "settings")
    chosen = {each.name: getattr(options, each.name) for each in fields(options) if each.name not in others}
    return {
        "quantart": __version__,
        "method": method.name,
        "content": options.content,
        "styles": options.styles,
        "output": options.output,
        "width": result.picture.width,
        "height": result.picture.height,
        "options": {**chosen, **asdict(options.settings), "style_weights": list(shares)},
        "device": model.spec.device,
        "backend": model.spec.backend,
        "precision": result.precision,
        "seconds": round(seconds, 3),
        "weights": model.checksums,
        "notes": notes,
        "stopped": result.stopped,
    }
