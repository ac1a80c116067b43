"""Groups of options as dataclasses, written once; cli/command.py makes Typer parameters from them.

A new option of every painting command is a field here, its use, and its line in docs/settings.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import DEFAULT_MAX_PIXELS, writable_formats
from quantart_cli.registry import methods
from quantart_cli.settings import (
    BACKENDS,
    DEVICES,
    PRECISIONS,
    PRESERVE_COLOR,
    STYLE_SIZE,
    Settings,
    normalise_shares,
    parse_tile,
)

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.evaluation.systems import System, SystemSpec
    from quantart_cli.model import Model
    from quantart_cli.registry import Method

# Panels of the help, in their order.
PICTURE, STYLE, METHOD, OUTPUT, SPEED = "Picture", "Style", "Method", "Output", "Speed and memory"
PIXELS = "PIXELS"
"""Metavar of sizes; messages about mistakes name the unit."""


def option(metavar: str | None, help: str, *flags: str, panel: str | None = None) -> Any:
    """A Typer option for an annotation; without flags it is named as its field. None is for flags without a value.

    Its panel in the help is that of its class unless it is given.
    """
    return typer.Option(*flags, help=help, metavar=metavar, rich_help_panel=panel)


def one_of(names: tuple[str, ...]) -> str:
    """Metavar of a choice."""
    return "|".join(names)


def preset_names(incomplete: str) -> list[str]:
    """Completions of a style: of ``@``, the presets. Files are completed by the shell."""
    from quantart_cli.presets import presets

    return [f"@{name}" for name in presets() if f"@{name}".startswith(incomplete)] if incomplete[:1] == "@" else []


def check_range(name: str, value: int | float | None, low: float, high: float | None = None) -> None:
    """Raises QuantArtError unless low <= value <= high; None was not given."""
    if value is None:
        return
    if high is None and not math.isfinite(value):
        raise QuantArtError(f"{name} must be a number, not {value}")
    if high is not None and not low <= value <= high:
        raise QuantArtError(f"{name} must be between {low:.12g} and {high:.12g}, not {value:.12g}")
    if value < low:
        raise QuantArtError(f"{name} must be at least {low:.12g}, not {value:.12g}")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is reported."""

    PANEL: ClassVar = OUTPUT

    json: Annotated[bool, option(None, "Print one JSON object about the run on stdout.")] = False
    quiet: Annotated[bool, option(None, "Print errors only.")] = False


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(ReportOptions):
    """Where networks run."""

    PANEL: ClassVar = SPEED

    device: Annotated[
        str, option(one_of(DEVICES), "Where to compute; cuda:1 is the second GPU. auto: a GPU if there is one.")
    ] = DEVICES[0]
    precision: Annotated[
        str, option(one_of(PRECISIONS), "auto: bf16 where the hardware computes in it, else fp32.")
    ] = PRECISIONS[0]

    def check(self) -> None:
        """Check what can be checked without a picture.

        Raises:
            QuantArtError: the first mistake.
        """
        if not (self.device.startswith("cuda:") and self.device[5:].isdigit()):
            check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class ComputeOptions(DeviceOptions):
    """How pictures are computed."""

    PANEL: ClassVar = SPEED

    backend: Annotated[
        str,
        option(
            one_of(BACKENDS),
            "What computes. auto: on a CPU OpenVINO where it is installed and the faster one, else torch.",
            "--backend",
            "--runtime",
        ),
    ] = BACKENDS[0]
    tile: Annotated[
        str, option("auto|none|N", "Compute in tiles of at most N pixels a side; auto: as fits the memory.")
    ] = "auto"
    max_pixels: Annotated[int, option("N", "Refuse pictures with more pixels.")] = DEFAULT_MAX_PIXELS
    seed: Annotated[int, option("N", "Seed of all random numbers.", panel=METHOD)] = 0

    def check(self) -> None:
        super().check()
        check_choice("backend", self.backend, BACKENDS)
        parse_tile(self.tile)
        check_range("max-pixels", self.max_pixels, 1)
        check_range("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Other weights."""

    PANEL: ClassVar = METHOD

    model: Annotated[
        str | None,
        option(
            "MODEL",
            "Other weights: a name of quantart download-weights, a .safetensors file, or "
            "hf://owner/repo/file.safetensors. Default: those that come with quantart.",
        ),
    ] = None
    download: Annotated[bool, option(None, "Download the model if it is not here yet.")] = False


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """How pictures are written."""

    PANEL: ClassVar = OUTPUT

    format: Annotated[
        str | None, option("FORMAT", f"Format of the output: {', '.join(writable_formats())}. Default: by its suffix.")
    ] = None
    quality: Annotated[int, option("1..100", "Quality of JPEG, WebP and AVIF.")] = 95
    background: Annotated[
        str | None, option("COLOR", "Colour behind transparency, for formats without it: white, #20304a.")
    ] = None
    strip_metadata: Annotated[bool, option(None, "Drop EXIF, XMP, comments and the like.")] = False
    no_recipe: Annotated[
        bool, option(None, "Do not note in the output how it was painted, which quantart repaint reads.")
    ] = False

    @property
    def writing(self) -> dict[str, Any]:
        """Keyword arguments of ``save_picture``."""
        names = ("format", "background", "quality", "strip_metadata")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class StyleOptions:
    """How styles are used."""

    PANEL: ClassVar = STYLE

    style_weights: Annotated[str | None, option("W,W,…", "Weights of several styles: 0.3,0.7.")] = None
    style_size: Annotated[
        int | None,
        option(PIXELS, f"Long side to which larger styles are reduced, never enlarged. Default: at most {STYLE_SIZE}."),
    ] = None
    preserve_color: Annotated[
        str,
        option(
            one_of(PRESERVE_COLOR),
            "luma: only brightness is painted; match: the style is recoloured to the content.",
        ),
    ] = PRESERVE_COLOR[0]

    def shares_for(self, count: int) -> tuple[float, ...]:
        """Shares of so many styles, which sum to 1.

        Raises:
            QuantArtError: not a list of so many numbers of at least 0.
        """
        if self.style_weights is None:
            return normalise_shares(None, count)
        try:
            shares = [float(part) for part in self.style_weights.split(",")]
        except ValueError:
            raise QuantArtError(f"style-weights {self.style_weights!r} is not a list of numbers: 0.3,0.7") from None
        return normalise_shares(shares, count)


@dataclass(frozen=True, kw_only=True)
class SharedOptions(ComputeOptions, PictureOptions, ModelOptions, StyleOptions):
    """Options of every command that paints."""

    PANEL: ClassVar = PICTURE

    size: Annotated[int | None, option(PIXELS, "Long side of the result. Default: the content's.")] = None
    dry_run: Annotated[
        bool, option(None, "Write nothing: predict time and memory by painting a sample.", panel=SPEED)
    ] = False

    def check(self) -> None:
        super().check()
        check_choice("preserve-color", self.preserve_color, PRESERVE_COLOR)
        check_range("size", self.size, 1)
        check_range("style-size", self.style_size, 1)
        check_range("quality", self.quality, 1, 100)

    def find_model(self, method: Method) -> ModelFile | None:
        """The model given with ``--model``; None: the method's own weights. Either is downloaded if asked for."""
        accepts = tuple(method.models)
        if self.model == "":
            raise QuantArtError("model is empty: give its name or its file, or leave it out")
        if self.model is None:
            if self.download:
                from quantart_cli.cli.methods import missing_weights

                missing = missing_weights(method)
                if not missing:
                    raise QuantArtError(f"--download needs --model: {method.name}'s own weights are here already")
                for name in missing:
                    self._find(name, accepts)
            return None
        if not accepts:
            raise QuantArtError(f"{method.command_name} takes no other weights: leave --model out")
        return self._find(self.model, accepts)

    def _find(self, name: str, accepts: tuple[str, ...]) -> ModelFile:
        from quantart_cli.checkpoints.models import find_model
        from quantart_cli.cli.console import bytes_bar

        if not self.download:
            return find_model(name, accepts)
        with bytes_bar(self.quiet) as bar:
            notify = None if self.quiet else bar.say
            return find_model(name, accepts, download=True, tell=notify, progress=bar.of(name))

    def load(self, method: str, file: ModelFile | None, pixels: int) -> Model:
        """The model, with everything that these options say.

        Args:
            file: of :meth:`find_model`.
            pixels: of one picture, by which the backend is chosen.
        """
        from quantart_cli.cli.console import say
        from quantart_cli.model import load

        return load(
            method,
            model=file,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
            max_pixels=self.max_pixels,
            pixels=pixels,
            cache_styles=True,
            notify=(lambda line: None) if self.quiet else say,
        )


@dataclass(frozen=True, kw_only=True)
class AnyMethodOptions(SharedOptions):
    """Options of commands that paint many pictures by any method; ``settings`` are those that were given."""

    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help=f"How to paint: {', '.join(methods())}. With --help after it: its settings.",
            rich_help_panel=METHOD,
            is_eager=True,
        ),
    ] = next(iter(methods()))
    settings: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        check_choice("--method", self.method, methods())
        super().check()


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """Regions of a picture."""

    PANEL: ClassVar = PICTURE

    mask: Annotated[
        list[str],
        option(
            "FILE|alpha",
            "A region of the content: white is inside; alpha: what is opaque; not:FILE or not:alpha: the rest. Several "
            "times: one for each style or --style-mask. With a single one the rest is not painted. labels:FILE, with "
            "one in --style-mask: a region for each colour.",
        ),
    ] = field(default_factory=list)
    style_mask: Annotated[list[str], option("FILE", "The part of a style that the region of --mask takes.")] = field(
        default_factory=list
    )


@dataclass(frozen=True, kw_only=True)
class PaintingOptions(SharedOptions, RegionOptions):
    """Options of a command that paints one picture; ``settings`` are the method's own."""

    PANEL: ClassVar = PICTURE

    content: Annotated[str, typer.Argument(metavar="CONTENT", help="The picture to paint; - reads it from stdin.")]
    styles: Annotated[
        list[str],
        typer.Argument(
            metavar="STYLE",
            help="A picture in the style to take, or @NAME of quantart styles; several are blended.",
            autocompletion=preset_names,
        ),
    ]
    output: Annotated[
        str,
        option(
            "FILE",
            "The picture to write, its format by its suffix; - writes to stdout.",
            "--output",
            "-o",
            panel=OUTPUT,
        ),
    ]
    frame: Annotated[int | None, option("N", "The frame of an animated content to paint, from 0.")] = None
    show: Annotated[bool, option(None, "Draw the result in the terminal as well.")] = False
    settings: Settings

    @property
    def inputs(self) -> list[str]:
        """All files that are read."""
        from quantart_cli.masks import mask_files

        return [self.content, *self.styles, *mask_files([*self.mask, *self.style_mask])]

    def check(self) -> None:
        super().check()
        check_range("frame", self.frame, 0)
        if self.output == "-" and self.json:
            raise QuantArtError("--json and -o - both write to stdout: give the picture a file")
        if [self.content, *self.styles].count("-") > 1:
            raise QuantArtError("stdin holds one picture: give - once")


@dataclass(frozen=True, kw_only=True)
class TrainedStyleOptions(PaintingOptions):
    """Options of a command whose method takes no pictures of styles: its styles are in its weights."""

    PANEL: ClassVar = "Options"

    styles: list[str] = field(default_factory=list, init=False)
    style_weights: str | None = field(default=None, init=False)
    style_size: int | None = field(default=None, init=False)
    style_mask: list[str] = field(default_factory=list, init=False)


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Where the picture is shown while updates are taken."""

    PANEL: ClassVar = OUTPUT

    preview_every: Annotated[int | None, option("N", "Write the picture every N steps.")] = None
    preview: Annotated[str | None, option("FILE", "The file of --preview-every. Default: the output's.")] = None


@dataclass(frozen=True, kw_only=True)
class PreviewingOptions(PaintingOptions, PreviewOptions):
    """Options of a command that takes updates: all of them, or those of --refine."""

    PANEL: ClassVar = PICTURE

    def check(self) -> None:
        from quantart_cli.files import is_stream

        super().check()
        check_range("preview-every", self.preview_every, 1)
        if self.preview is not None and self.preview_every is None:
            raise QuantArtError("--preview needs --preview-every N")
        if self.preview_every is not None and getattr(self.settings, "refine", None) == 0:
            raise QuantArtError("--preview-every shows the updates of --refine: add --refine 30")
        if self.preview_every is not None and self.preview is None and is_stream(self.output):
            raise QuantArtError("-o - is written once: give --preview a file")


@dataclass(frozen=True, kw_only=True)
class ProgressOptions(PreviewOptions):
    """What else is written while a picture is optimised."""

    PANEL: ClassVar = OUTPUT

    trace: Annotated[str | None, option("FILE.csv", "Write the losses of each step to a table.")] = None
    save_frames: Annotated[str | None, option("FOLDER", "Write a picture every few steps, for a film.")] = None
    frames_every: Annotated[int, option("N", "Steps between two frames.")] = 5
    checkpoint: Annotated[
        str | None,
        option("FILE", "What --resume needs, written once a minute and at Ctrl-C. Default: beside the output."),
    ] = None
    resume: Annotated[bool, option(None, "Continue an interrupted run of the same command.")] = False


@dataclass(frozen=True, kw_only=True)
class OptimisingOptions(PreviewingOptions, ProgressOptions):
    """Options of a command that finds the picture by optimisation."""

    PANEL: ClassVar = PICTURE

    start: Annotated[str | None, option("FILE", "A picture to start from.")] = None

    def check(self) -> None:
        super().check()
        check_range("frames-every", self.frames_every, 1)

    @classmethod
    def adjust(cls, values: dict[str, Any]) -> None:
        """``--init FILE`` is ``--start FILE``."""
        init = values.get("init")
        if isinstance(init, str) and (os.path.exists(init) or os.path.splitext(init)[1]):
            values["start"] = values.pop("init")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(DeviceOptions, ModelOptions):
    """Options of commands that compare methods and print a report."""

    PANEL: ClassVar = SPEED

    seed: Annotated[int, option("N", "Seed of all random numbers.")] = 0

    def load(self, specs: Sequence[SystemSpec], model: str | None = None) -> list[System]:
        """Load what is compared, and name what cannot paint in the styles given; errors as of
        :func:`quantart_cli.evaluation.systems.load_systems`."""
        from quantart_cli.cli.console import say
        from quantart_cli.evaluation.systems import load_systems, with_own_styles

        for name in [] if self.quiet else with_own_styles(specs):
            say(f"{name} paints in styles of its own, not in those given: only the content is the same")
        machine = {"device": self.device, "precision": self.precision, "download": self.download}
        return load_systems(specs, model=model, seed=self.seed, **machine)
