"""One run of a painting command: check, read, paint, write, report. The same for every method."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import INTERRUPTED, bytes_bar, progress_bar, say, waiting
from quantart_cli.cli.options import painting, with_parameters
from quantart_cli.cli.runtime import load_model
from quantart_cli.engine.choices import (
    ACCEPTS,
    DEVICES,
    PRECISIONS,
    PRESERVE_COLOR,
    RUNTIMES,
    normalise_weights,
    parse_tile,
)
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import Picture, check_output, read_picture, save_picture, to_size
from quantart_cli.methods.controls import CONTROLS, Controls

if TYPE_CHECKING:
    from quantart_cli.api import Model, Style
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.engine.canvas import Painted


def register(app: typer.Typer, command: str, method: str, doc: str) -> None:
    """Give the application a command that paints with a method; ``doc`` is its help."""
    app.command(command)(with_parameters(lambda values: run(method, values), doc, painting(CONTROLS[method])))


class Extras:
    """What a command adds to a run of its own; this one nothing.

    Attributes:
        notes: told at the end, one line each.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def read(self, content: Picture, styles: list[Picture]) -> None:
        """Read and check what it needs, before torch is imported."""

    def prepare(self, model: Model, content: Picture, style: Style, controls: Controls) -> dict[str, Any]:
        """More keyword arguments of ``model.paint``."""
        return {}

    def step(self, record: Any) -> None:
        """After each step of an optimisation."""

    def done(self, stopped: bool) -> None:
        """After the picture has been written; ``stopped``: Ctrl-C ended the optimisation."""


def run(method: str, values: dict[str, Any], extras: Extras | None = None) -> int:
    """Paint one picture; returns the exit status.

    What can be known to fail is found before torch is imported, which takes seconds.

    Args:
        method: its name.
        values: every parameter of the command by name.
        extras: what the command does beside.

    Raises:
        QuantArtError: whatever a person can put right.
    """
    start = time.perf_counter()
    extras = extras or Extras()
    kind = CONTROLS[method]
    controls = kind.of({name: values[name] for name in kind.__dataclass_fields__})
    weights = _check_options(values)
    content, styles = _read(values)
    output = values["output"]
    check_output(
        output,
        [values["content"], *values["styles"]],
        format=values["format"],
        has_alpha=content.alpha is not None,
        background=values["background"],
    )
    extras.read(content, styles)
    file = model_asked_for(method, values)
    with waiting("Loading", values["quiet"]):
        tell = (lambda _: None) if values["quiet"] else say
        model = load_model(method, values, file, tell, content.width * content.height)
    with waiting("Reading the style" if len(styles) == 1 else "Reading the styles", values["quiet"]):
        style = model.encode_style(styles, weights=weights, size=values["style_size"])
    if values["dry_run"]:
        return _predict(method, model, content, style, controls, values)
    painted = _paint(model, content, style, controls, values, extras)
    save_picture(
        painted.picture,
        output,
        format=values["format"],
        background=values["background"],
        quality=values["quality"],
        strip_metadata=values["strip_metadata"],
    )
    extras.done(painted.stopped)
    seconds = time.perf_counter() - start
    notes = [*content.notes, *(note for style in styles for note in style.notes), *painted.notes, *extras.notes]
    if not values["quiet"]:
        for note in notes:
            say(note)
        where = "stdout" if output == "-" else output
        say(f"{where}: {content.width} × {content.height}, {method} in {seconds:.1f} s")
    if values["json"]:
        print(json.dumps(_report(method, values, controls, content, notes, weights, model, painted, seconds)))
    return INTERRUPTED if painted.stopped else 0


def _check_options(values: dict[str, Any]) -> tuple[float, ...]:
    """Check the shared options; returns the style weights, normalised."""
    check_shared(values)
    if values["output"] == "-" and values["json"]:
        raise QuantArtError("--json and -o - both write to stdout: give the picture a file")
    if [values["content"], *values["styles"]].count("-") > 1:
        raise QuantArtError("stdin holds one picture: give - once")
    return parse_style_weights(values["style_weights"], len(values["styles"]))


def check_shared(values: dict[str, Any]) -> None:
    """Check the options that every painting command shares, as far as that needs no picture."""
    check_choice("--preserve-color", values["preserve_color"], PRESERVE_COLOR)
    check_choice("--device", values["device"], DEVICES)
    check_choice("--precision", values["precision"], PRECISIONS)
    check_choice("--runtime", values["runtime"], RUNTIMES)
    parse_tile(values["tile"])
    for name, least in (("size", 1), ("style_size", 1), ("max_pixels", 1), ("quality", 1), ("seed", 0)):
        if values[name] is not None and values[name] < least:
            raise QuantArtError(f"--{name.replace('_', '-')} must be at least {least}, not {values[name]}")
    if values["quality"] > 100:
        raise QuantArtError(f"--quality must be at most 100, not {values['quality']}")


def parse_style_weights(given: str | None, count: int) -> tuple[float, ...]:
    """``--style-weights`` for so many styles, normalised."""
    if given is None:
        return normalise_weights(None, count)
    try:
        weights = [float(part) for part in given.split(",")]
    except ValueError:
        raise QuantArtError(f"--style-weights {given!r} is no list of numbers: 0.3,0.7") from None
    if len(weights) != count:
        raise QuantArtError(f"--style-weights has {len(weights)} for {count} styles: give one a style")
    return normalise_weights(weights, count)


def model_asked_for(method: str, values: dict[str, Any]) -> ModelFile | None:
    """The weights asked for; None means quantart's own."""
    if values["model"] is None:
        if values["download"]:
            raise QuantArtError("--download needs --model: quantart's own weights are here already")
        return None
    from quantart_cli.checkpoints.models import find_model

    wanted, accepts, quiet = values["model"], ACCEPTS[method], values["quiet"]
    if not values["download"]:
        return find_model(wanted, accepts)
    with bytes_bar(quiet) as bar:
        tell = None if quiet else bar.say
        return find_model(wanted, accepts, download=True, tell=tell, progress=bar.of(wanted))


def _read(values: dict[str, Any]) -> tuple[Picture, list[Picture]]:
    """The content at the size to paint it, and the styles at their own."""
    limit = values["max_pixels"]
    content = to_size(read_picture(values["content"], max_pixels=limit), values["size"], limit)
    return content, [read_picture(style, max_pixels=limit) for style in values["styles"]]


def _paint(
    model: Model, content: Picture, style: Style, controls: Controls, values: dict[str, Any], extras: Extras
) -> Painted:
    quiet = values["quiet"]
    chosen = {"preserve_color": values["preserve_color"], "tile": values["tile"], "seed": values["seed"]}
    chosen |= extras.prepare(model, content, style, controls)
    if not model.optimises:
        with waiting("Painting", quiet):
            return model.paint(content, style, controls, **chosen)
    with progress_bar("Painting", quiet) as bar:

        def tell(record: Any) -> None:
            words = "  ".join(f"{name} {loss:.4g}" for name, loss in record.losses.items())
            bar(record.step, record.steps, f"{record.size[0]} × {record.size[1]}  {words}")
            extras.step(record)

        return model.paint(content, style, controls, progress=tell, **chosen)


def _predict(
    method: str,
    model: Model,
    content: Picture,
    style: Style,
    controls: Controls,
    values: dict[str, Any],
) -> int:
    """Say what painting would take, and write nothing."""
    from quantart_cli.engine.prediction import predict

    with waiting("Painting a sample", values["quiet"]):
        found = predict(model, content, style, controls, values["tile"], values["preserve_color"])
    if not values["quiet"]:
        tiles = "whole" if found.tile is None else f"in tiles of {found.tile}"
        say(
            f"{values['output']} would be {content.width} × {content.height}, {method}, painted {tiles}: "
            f"about {found.bytes / 1e9:.1f} GB of memory and {found.seconds:.0f} s; nothing was written"
        )
    if values["json"]:
        facts = {"dry_run": True, "method": method, "width": content.width, "height": content.height}
        print(json.dumps({**facts, "bytes": found.bytes, "seconds": round(found.seconds, 2), "tile": found.tile}))
    return 0


def _report(
    method: str,
    values: dict[str, Any],
    controls: Controls,
    content: Picture,
    notes: list[str],
    weights: tuple[float, ...],
    model: Model,
    painted: Painted,
    seconds: float,
) -> dict[str, Any]:
    """The object ``--json`` prints."""
    inputs = ("content", "styles", "output", "json", "quiet")
    return {
        "quantart": __version__,
        "method": method,
        "content": values["content"],
        "styles": values["styles"],
        "output": values["output"],
        "width": content.width,
        "height": content.height,
        "options": {
            **{name: value for name, value in values.items() if name not in inputs},
            **asdict(controls),  # type: ignore[call-overload]
            "style_weights": list(weights),
        },
        "device": model.machine.device,
        "runtime": model.machine.runtime,
        "precision": painted.precision,
        "seconds": round(seconds, 3),
        "weights": model.weights,
        "notes": notes,
        "stopped": painted.stopped,
    }
