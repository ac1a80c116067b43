"""Options written once: the method's own from its controls dataclass, and those every painting command shares."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, get_type_hints

import typer

from quantart_cli.cli.console import INTERRUPTED, say
from quantart_cli.engine.choices import DEVICES, PRECISIONS, PRESERVE_COLOR, RUNTIMES, STYLE_SIZE
from quantart_cli.images import DEFAULT_MAX_PIXELS, writable_formats


def _either(names: tuple[str, ...]) -> str:
    return "|".join(names)


_POSITIONAL: dict[str, tuple[Any, Any]] = {
    "content": (
        Annotated[str, typer.Argument(metavar="CONTENT", help="The picture to paint; - reads it from stdin.")],
        inspect.Parameter.empty,
    ),
    "styles": (
        Annotated[list[str], typer.Argument(metavar="STYLE", help="One or several pictures in the style to take.")],
        inspect.Parameter.empty,
    ),
    "output": (
        Annotated[
            str,
            typer.Option(
                "--output",
                "-o",
                metavar="FILE",
                help="The picture to write, its format by its suffix; - writes to stdout.",
            ),
        ],
        inspect.Parameter.empty,
    ),
}


def _option(kind: Any, default: Any, help: str, metavar: str | None = None, flag: str | None = None) -> Any:
    names = (flag,) if flag else ()
    return Annotated[kind, typer.Option(*names, help=help, metavar=metavar)], default


SHARED: dict[str, tuple[Any, Any]] = {
    "style_weights": _option(str | None, None, "Weights of several styles, e.g. 0.3,0.7.", "W,W,…"),
    "size": _option(int | None, None, "Long side of the result in pixels. Default: the content's.", "N"),
    "style_size": _option(
        int | None,
        None,
        f"Long side of the styles in pixels, never enlarged. Default: their own, at most {STYLE_SIZE}.",
        "N",
    ),
    "tile": _option(
        str,
        "auto",
        "Paint in tiles of at most N pixels a side: the same picture, with VQGAN a close one. auto: what suits.",
        "auto|none|N",
    ),
    "preserve_color": _option(
        str,
        PRESERVE_COLOR[0],
        "luma: the content's colours, only brightness is painted; match: the style recoloured to the content first.",
        _either(PRESERVE_COLOR),
    ),
    "format": _option(str | None, None, "Format of the output, whatever its suffix.", _either(writable_formats())),
    "quality": _option(int, 95, "Quality of JPEG, WebP and AVIF, 1 to 100.", "N"),
    "background": _option(
        str | None, None, "Colour behind transparency, for formats without it: white, #20304a.", "COLOR"
    ),
    "strip_metadata": _option(bool, False, "Drop EXIF, XMP, comments and the like.", flag="--strip-metadata"),
    "model": _option(
        str | None,
        None,
        "Other weights: a name of quantart download-weights --list, a .safetensors file, or "
        "hf://owner/repo/file.safetensors. Default: those that come with quantart.",
        "MODEL",
    ),
    "download": _option(bool, False, "Download the model if it is not here yet.", flag="--download"),
    "dry_run": _option(bool, False, "Write nothing: say what it would take, measured on a sample.", flag="--dry-run"),
    "json": _option(bool, False, "Print one JSON object about the run on stdout.", flag="--json"),
    "quiet": _option(bool, False, "Say nothing but errors.", flag="--quiet"),
    "device": _option(str, DEVICES[0], "Where to compute.", _either(DEVICES)),
    "precision": _option(str, PRECISIONS[0], "auto is bf16 where the hardware has it, else fp32.", _either(PRECISIONS)),
    "runtime": _option(
        str,
        RUNTIMES[0],
        "What computes; auto: on a CPU OpenVINO if it is installed, but for large pictures on AMX, else torch.",
        _either(RUNTIMES),
    ),
    "seed": _option(int, 0, "Seed of all random numbers.", "N"),
    "max_pixels": _option(int, DEFAULT_MAX_PIXELS, "Refuse pictures with more pixels than this.", "N"),
}
"""Options of every command that paints."""

MACHINE = {name: SHARED[name] for name in ("device", "precision", "json")}
"""Options of commands that paint nothing."""


def from_controls(controls: type) -> dict[str, tuple[Any, Any]]:
    """A controls dataclass as options: its field names and aliases, ranges in the help, defaults from nowhere else."""
    hints = get_type_hints(controls)
    return {item.name: _from_field(item, hints[item.name]) for item in fields(controls)}


def _from_field(item: Field[Any], kind: Any) -> tuple[Any, Any]:
    assert item.default is not MISSING
    rules = item.metadata
    names = [f"--{name.replace('_', '-')}" for name in (item.name, *rules["aliases"])]
    metavar = "N" if kind is int else "X"
    if rules["metavar"]:
        metavar = rules["metavar"]
    elif rules["choices"]:
        metavar = _either(rules["choices"])
    elif rules["low"] is not None and rules["high"] is not None:
        metavar = f"{rules['low']:g}..{rules['high']:g}"
    option = typer.Option(*names, help=rules["help"], metavar=metavar)
    return Annotated[kind, option], item.default


def of_any(kinds: dict[str, type]) -> dict[str, tuple[Any, Any]]:
    """The options of several methods as one set, under every name they have; what is not given is None.

    Args:
        kinds: method name -> its controls dataclass.
    """
    made: dict[str, tuple[Any, Any]] = {}
    told: dict[str, list[str]] = {}
    for method, kind in kinds.items():
        hints = get_type_hints(kind)
        for item in fields(kind):
            annotation, default = _from_field(item, hints[item.name])
            about = annotation.__metadata__[0]
            for name in (item.name, *item.metadata["aliases"]):
                told.setdefault(name, []).append(f"{method}: {item.metadata['help']} [default: {default}]")
                option = typer.Option(
                    f"--{name.replace('_', '-')}",
                    help=" ".join(told[name]) if name == item.name else f"The same as --{item.name}.",
                    metavar=about.metavar,
                )
                made[name] = Annotated[hints[item.name] | None, option], None
    return made


def painting(controls: type) -> dict[str, tuple[Any, Any]]:
    """All parameters of a command that paints."""
    return {**_POSITIONAL, **from_controls(controls), **SHARED}


def with_parameters(
    run: Callable[[dict[str, Any]], int | None], doc: str, parameters: dict[str, tuple[Any, Any]]
) -> Callable[..., int | None]:
    """A function Typer can read: these parameters in its signature, handed on as one dict."""

    def command(**values: Any) -> int | None:
        try:
            return run(values)
        except KeyboardInterrupt:  # told here: Typer would leave without a word
            say("quantart: interrupted, nothing was written")
            return INTERRUPTED

    kind = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, kind, annotation=hint, default=default)
            for name, (hint, default) in parameters.items()
        ]
    )
    command.__annotations__ = {name: hint for name, (hint, _) in parameters.items()}
    command.__doc__ = doc
    return command
