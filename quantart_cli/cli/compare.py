"""``quantart compare``: methods, and fidelity × strength, side by side in one picture."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import Bar, progress_bar, say
from quantart_cli.cli.options import MACHINE, with_parameters
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.candidates import PHOTOGRAPHS, Wanted, parse
from quantart_cli.images import Picture, check_output, read_picture, resize, save_picture
from quantart_cli.methods.controls import CONTROLS

if TYPE_CHECKING:
    from PIL import Image

_DOC = """Lay methods and fidelity × strength side by side in one labelled picture.

The first row has the photograph, the style and the methods; below, QuantArt: fidelity from left to right, strength from
top to bottom.

quantart compare photo.jpg painting.jpg -o sheet.png
"""


def _option(kind: Any, default: Any, help: str, metavar: str | None, *flags: str) -> tuple[Any, Any]:
    return Annotated[kind, typer.Option(*flags, help=help, metavar=metavar)], default


_PARAMETERS: dict[str, tuple[Any, Any]] = {
    "content": (Annotated[str, typer.Argument(metavar="CONTENT", help="The picture to paint.")], ...),
    "style": (Annotated[str, typer.Argument(metavar="STYLE", help="The picture in the style to take.")], ...),
    "output": _option(str, ..., "The sheet, its format by its suffix.", "FILE", "--output", "-o"),
    "fidelity": _option(str, "0,0.35,0.7,1", "Of the columns.", "X,X,…", "--fidelity", "--alpha"),
    "strength": _option(str, "0.5,1", "Of the rows.", "X,X,…", "--strength", "--beta"),
    "methods": _option(
        list[str], ["adain"], "In the first row; several times, as --compare of evaluate.", "METHOD", "--method"
    ),
    "size": _option(int, 512, "Long side at which the pictures are painted.", "N"),
    "cell": _option(int, 320, "Width of a picture on the sheet.", "N"),
    "model": _option(str | None, None, "Other weights for QuantArt.", "MODEL"),
    "download": _option(bool, False, "Download the model if it is not here yet.", None, "--download"),
    "seed": _option(int, 0, "Seed of all random numbers.", "N"),
    **MACHINE,
    "quiet": _option(bool, False, "Say nothing but errors.", None, "--quiet"),
}
_MOST = 100  # pictures on a sheet


def register(app: typer.Typer) -> None:
    app.command("compare")(with_parameters(run, _DOC, _PARAMETERS))


def run(values: dict[str, Any]) -> int:
    """Paint the sheet; returns the exit status.

    Raises:
        QuantArtError: whatever a person can put right.
    """
    start = time.perf_counter()
    alphas, betas = (_numbers(name, values[name]) for name in ("fidelity", "strength"))
    kind = CONTROLS["quantart"]
    for alpha in alphas:
        for beta in betas:
            kind.of({"fidelity": alpha, "strength": beta})
    methods = [parse(text) for text in values["methods"]]
    if any(each.method == PHOTOGRAPHS for each in methods):
        raise QuantArtError(f"--method {PHOTOGRAPHS}: the photograph is on the sheet already")
    for name, least, most in (("size", 16, 8192), ("cell", 64, 2048)):
        if not least <= values[name] <= most:
            raise QuantArtError(f"--{name} must lie between {least} and {most}, not {values[name]}")
    if len(alphas) * len(betas) + len(methods) > _MOST:
        raise QuantArtError(f"a sheet holds at most {_MOST} pictures: give fewer of --fidelity, --strength or --method")
    check_output(values["output"], [values["content"], values["style"]])
    content, style = (
        resize(read_picture(values[name]), values["size"], enlarge=False) for name in ("content", "style")
    )
    with progress_bar("painting", values["quiet"]) as bar:
        page = _page(content, style, methods, alphas, betas, values, bar)
    import numpy

    save_picture(Picture(numpy.array(page)), values["output"])
    seconds = time.perf_counter() - start
    if not values["quiet"]:
        say(f"{values['output']}: {page.width} × {page.height} in {seconds:.1f} s")
    if values["json"]:
        names = ("content", "style", "output", "methods", "model", "size")
        facts = {"quantart": __version__, **{name: values[name] for name in names}}
        facts.update(fidelity=alphas, strength=betas, width=page.width, height=page.height, seconds=round(seconds, 2))
        print(json.dumps(facts))
    return 0


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise QuantArtError(f"--{name} {text!r} is no list of numbers: 0,0.5,1") from None


def _page(
    content: Picture,
    style: Picture,
    methods: list[Wanted],
    alphas: list[float],
    betas: list[float],
    values: dict[str, Any],
    bar: Bar,
) -> Image.Image:
    from quantart_cli.api import load
    from quantart_cli.evaluation.sheets import Cell, sheet

    machine = {name: values[name] for name in ("download", "device", "precision")}
    total, done = len(alphas) * len(betas) + len(methods), 0

    def painted(model: Any, encoded: Any, controls: Any) -> Image.Image:
        nonlocal done
        picture = model.paint(content, encoded, controls, seed=values["seed"]).picture.to_pil()
        done += 1
        bar(done, total)
        return picture

    top = [Cell(content.to_pil(), "photograph"), Cell(style.to_pil(), "style")]
    for each in methods:
        model = load(each.method, model=each.model, **machine)
        top.append(Cell(painted(model, model.encode_style(style), each.controls), each.name))
    model = load("quantart", model=values["model"], **machine)
    encoded = model.encode_style(style)
    rows = [top]
    for beta in betas:
        controls = [CONTROLS["quantart"](fidelity=alpha, strength=beta) for alpha in alphas]
        labels = [f"fidelity {alpha:g} · strength {beta:g}" for alpha in alphas]
        rows.append([Cell(painted(model, encoded, c), label) for c, label in zip(controls, labels, strict=True)])
    return sheet(rows, cell=values["cell"])
