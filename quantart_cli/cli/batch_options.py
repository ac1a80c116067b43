"""The options of ``quantart batch``: their parameters, checks, and the request and job they describe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from quantart_cli.cli.command import typed
from quantart_cli.cli.options import OUTPUT, PICTURE, SPEED, STYLE, AnyMethodOptions, SharedOptions, one_of, option
from quantart_cli.cli.startup import cpus
from quantart_cli.errors import QuantArtError, check_choice, counted
from quantart_cli.masks import mask_files
from quantart_cli.presets import locate
from quantart_cli.registry import find
from quantart_cli.settings import rule_of

if TYPE_CHECKING:
    from quantart_cli.batch.job import PaintJob
    from quantart_cli.batch.plan import Plan, Request
    from quantart_cli.checkpoints.models import ModelFile

EXECUTORS = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class BatchOptions(AnyMethodOptions):
    """Options of ``quantart batch``."""

    PANEL: ClassVar = PICTURE

    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTOS... STYLE",
            help="Folders, globs and files, then the style. With --style all are photographs; with --input or "
            "--from-file all are styles.",
        ),
    ] = None
    output: Annotated[str, option("OUT", "The folder to write to.", "--output", "-o", panel=OUTPUT)]
    style: Annotated[
        list[str] | None, option("STYLE", "A style; several are blended, or see --each-style.", panel=STYLE)
    ] = None
    input: Annotated[list[str] | None, option("PHOTOS", "A folder, glob or file; may be given several times.")] = None
    from_file: Annotated[list[str] | None, option("LIST|-", "A file with one path a line; - is stdin.")] = None
    recursive: Annotated[bool, option(None, "Whether subfolders are read.", "--recursive/--no-recursive")] = True
    mask: Annotated[
        list[str] | None,
        option(
            "FOLDER|alpha",
            "A region of every picture: the mask of its name in a folder, or alpha; not:FOLDER, not:alpha: the rest. "
            "Several times: one for each style.",
        ),
    ] = None
    each_style: Annotated[
        bool, option(None, "Every picture in every style, and folders of styles; no blend.", panel=STYLE)
    ] = False
    name: Annotated[
        str | None,
        option(
            "TEMPLATE",
            "Names of the results, of {stem}, {style}, {ext} and {suffix}. Default: {stem}{suffix}, or "
            "{stem}_{style}{suffix} with several styles.",
            panel=OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool, option(None, "Paint everything again, and replace files quantart did not paint.", panel=OUTPUT)
    ] = False
    fail_fast: Annotated[bool, option(None, "Stop at the first picture that fails.", panel=OUTPUT)] = False
    report: Annotated[
        str | None, option("FILE.jsonl", "Write one JSON object a picture, as it happens.", panel=OUTPUT)
    ] = None
    shard: Annotated[
        str | None, option("K/N", "The Kth of N parts of the plan, for as many machines.", panel=SPEED)
    ] = None
    nice: Annotated[bool, option(None, "Work in the background: low priority, and one CPU left free.", panel=SPEED)] = (
        False
    )
    executor: Annotated[str, option(one_of(EXECUTORS), "Paint here, or on a Ray cluster.", panel=SPEED)] = EXECUTORS[0]
    address: Annotated[str | None, option("ray://HOST:PORT", "The Ray cluster. Default: a new one.", panel=SPEED)] = (
        None
    )
    workers: Annotated[int | None, option("N", "Ray workers. Default: as many as fit.", panel=SPEED)] = None

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.output)

    def request(self) -> Request:
        """Check everything that needs no look into a folder; returns what is to be painted."""
        from quantart_cli.batch.plan import Request, parse_shard
        from quantart_cli.images.encoding import parse_background
        from quantart_cli.images.formats import SUFFIXES, format_name

        self.check()
        check_choice("--executor", self.executor, EXECUTORS)
        parse_background(self.background)
        if self.format is not None:
            format_name(self.format)
        if self.report is not None and not self.report.endswith(".jsonl"):
            raise QuantArtError(f"--report {self.report} must end in .jsonl")
        for name in ("address", "workers"):
            if getattr(self, name) is not None and self.executor != "ray":
                raise QuantArtError(f"--{name} is for --executor ray: give both, or none")
        if self.workers is not None and self.workers < 1:
            raise QuantArtError(f"--workers must be at least 1, not {self.workers}")
        if self.each_style and self.style_weights is not None:
            raise QuantArtError("--style-weights blends styles, and --each-style paints each alone: give one of them")
        if self.folder.exists() and not self.folder.is_dir():
            raise QuantArtError(f"{self.folder} is a file: -o takes a folder")
        if self.folder.suffix.lower() in SUFFIXES and not self.folder.exists():
            raise QuantArtError(
                f"-o {self.output} would become a folder: give a folder such as {self.folder.stem}; "
                "quantart stylize paints one picture into a file"
            )
        inputs, styles = self._contents_and_styles()
        self._check_masks(1 if self.each_style else max(1, len(styles)))
        return Request(
            inputs=tuple(inputs),
            lists=tuple(self.from_file or ()),
            styles=tuple(styles),
            output=str(self.folder),
            recursive=self.recursive,
            each_style=self.each_style,
            needs_style=find(self.method).needs_style,
            name=self.name,
            format=self.format,
            shard=None if self.shard is None else parse_shard(self.shard),
            masks=tuple(self.mask or ()),
        )

    def _check_masks(self, styles: int) -> None:
        if not self.mask:
            return
        if len(self.mask) != styles:
            raise QuantArtError(f"{len(self.mask)} --mask for {counted(styles, 'style')}: give one for each style")
        if self.style_weights is not None:
            raise QuantArtError("--style-weights blends styles, and with --mask each region takes one: leave it out")
        if self.executor == "ray" and mask_files(self.mask):
            raise QuantArtError("--executor ray takes --mask alpha only, no files: leave the executor out")

    def paint_job(self, plan: Plan, model: ModelFile | None) -> PaintJob:
        """How the pictures of a plan are painted."""
        from quantart_cli.batch.job import PaintJob
        from quantart_cli.model_files import files_of

        row = find(self.method)
        names = {item.name for item in fields(SharedOptions)} & {item.name for item in fields(PaintJob)}
        shared = {name: getattr(self, name) for name in names}
        shared["style_weights"] = self.shares_for(len(plan.styles[0]))
        return PaintJob(
            method=self.method,
            settings=row.settings.of(typed(row.settings, self.settings)),
            checksums={file.name: file.checksum for file in files_of(row, model)[0].values()},
            model_file=model,
            threads=max(1, cpus() - 1) if self.nice else None,
            tiles_matter=model is not None and row.target_for(model.kind) != row.target,
            **shared,
        )

    def _contents_and_styles(self) -> tuple[list[str], list[str]]:
        """Which paths are photographs and which are styles."""
        paths, inputs = self.paths or [], self.input or []
        if self.style:
            contents, styles = [*inputs, *paths], self.style
        elif inputs or self.from_file:
            contents, styles = inputs, paths
        else:
            contents, styles = paths[:-1] or paths, paths[1:] and paths[-1:]
        if not contents and not self.from_file:
            raise QuantArtError("there is nothing to paint: give folders, globs or files, and then a style")
        method = find(self.method)
        if not method.needs_style:
            if self.style:
                # Its own option of that name is here another one.
                own = [item.name for item in fields(method.settings) if "style" in rule_of(item).aliases]
                instead = f", or name styles of its network with --{own[0].replace('_', '-')}" if own else ""
                raise QuantArtError(f"--style takes pictures, and {self.method} takes none: leave it out{instead}")
            return [*contents, *styles], []
        if not styles:
            raise QuantArtError("there is no style: give a picture in the style to take, after the photographs")
        return contents, [locate(style) for style in styles]
