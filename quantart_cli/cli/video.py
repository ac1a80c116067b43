"""``quantart video``: films, animations and folders of frames, by any method, without flicker."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from quantart_cli import __version__
from quantart_cli.cli.command import add_command, typed
from quantart_cli.cli.console import INTERRUPTED, pictures_bar, say, time_in_words, waiting, write_json
from quantart_cli.cli.options import AnyMethodOptions, check_range, one_of, option
from quantart_cli.cli.startup import stoppable
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.files import printable
from quantart_cli.registry import find, methods

if TYPE_CHECKING:
    from quantart_cli.images import Picture
    from quantart_cli.model import Model
    from quantart_cli.settings import Settings
    from quantart_cli.style import Style
    from quantart_cli.video.clips import Clip
    from quantart_cli.video.render import Job, Report
    from quantart_cli.video.steady import Steady

SOUND = ("copy", "none")
FLOWS = ("dis", "raft")
CODECS = ("h264", "hevc", "av1", "vp9", "prores", "ffv1")
_RATE = 25  # of a folder
_LONGEST = Fraction(10**9)  # seconds: no clip lasts so long, and decoders count in 64 bits
_PREVIEW_SIZE = 320
_SAMPLE = 3  # frames painted for a dry run
_SHOWN = 20  # broken frames that are named

_DOC = """Paint a moving picture: a film, an animated GIF, WebP or PNG, or a folder of numbered frames.

Strokes stay on what they paint: --steady says how much. Ctrl-C leaves a film of what was painted; the same command
continues it. --method NAME --help shows the options of another method.

quantart video clip.mp4 painting.jpg -o out.mp4

quantart video clip.mov painting.jpg -o frames/ --method adain --start 10 --end 1:05

quantart video cat.gif painting.jpg -o cat_painted.gif --steady 0.9
"""


@dataclass(frozen=True, kw_only=True)
class VideoOptions(AnyMethodOptions):
    """Options of ``quantart video``."""

    PANEL: ClassVar = "Options"

    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A film, an animation, or a folder of numbered pictures.")]
    styles: Annotated[
        list[str],
        typer.Argument(
            metavar="STYLE", help="A picture in the style to take; several are blended.", show_default=False
        ),
    ] = field(default_factory=list)
    output: Annotated[
        str,
        option(
            "OUT",
            "A film or an animation, its kind by its suffix; without suffix a folder of frames.",
            "--output",
            "-o",
        ),
    ]
    steady: Annotated[
        float, option("0..1", "How firmly strokes stay on what they paint. 0: each frame is painted alone.")
    ] = 0.7
    flow: Annotated[
        str,
        option(one_of(FLOWS), "How motion is found: DIS, quickly, or RAFT, whose weights a person brings once."),
    ] = FLOWS[0]
    codec: Annotated[
        str | None,
        option(
            "CODEC", f"Of a film: {', '.join(CODECS)}. Default: h264; vp9 for .webm; prores for .mov with transparency."
        ),
    ] = None
    crf: Annotated[int | None, option("N", "Quality of the film, lower is better. Default: 18 for h264.")] = None
    sound: Annotated[str, option(one_of(SOUND), "What becomes of the sound: it is never encoded again.")] = SOUND[0]
    start: Annotated[str | None, option("TIME", "Where to begin: 12.5 or 1:02:03.")] = None
    end: Annotated[str | None, option("TIME", "Where to end.")] = None
    fps: Annotated[float | None, option("X", f"Frames a second of a folder. Default: {_RATE}.")] = None
    show: Annotated[bool, option(None, "Draw the current frame in the terminal.")] = False
    preview: Annotated[
        float | None, option("SECONDS", f"Paint one frame in so many seconds, at most {_PREVIEW_SIZE} pixels long.")
    ] = None

    def check(self) -> None:
        super().check()
        if not self.styles and find(self.method).needs_style:
            raise QuantArtError("there is no style: give a picture in the style to take, after the clip")
        check_choice("sound", self.sound, SOUND)
        check_choice("flow", self.flow, FLOWS)
        check_range("steady", self.steady, 0, 1)
        check_range("crf", self.crf, 0, 63)
        check_range("fps", self.fps, 0.01, 1000)
        check_range("preview", self.preview, 0.01)
        if self.codec is not None:
            check_choice("codec", self.codec, CODECS)
        begin, end = seconds_of("start", self.start), seconds_of("end", self.end)
        if end is not None and end <= (begin or 0):
            raise QuantArtError("--end must be after --start")


def seconds_of(name: str, text: str | None) -> Fraction | None:
    """Seconds of a time such as 12.5, 1:02 or 1:02:03.5; None stays None.

    Raises:
        QuantArtError: it is no time.
    """
    if text is None:
        return None
    try:
        parts = [Fraction(part) for part in text.split(":")]
        if len(parts) > 3 or min(parts) < 0 or "/" in text:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise QuantArtError(f"{name} takes a time, such as 12.5 or 1:02:03, not {text!r}") from None
    return min(_LONGEST, sum((part * 60**i for i, part in enumerate(reversed(parts))), Fraction(0)))


def register(app: typer.Typer) -> None:
    settings = {name: method.settings for name, method in methods().items()}
    add_command(app, "video", VideoOptions, run, settings=settings, help=_DOC)


def run(options: VideoOptions) -> int:
    """Paint a clip; returns the exit status."""
    with stoppable():
        return _run(options)


def _run(options: VideoOptions) -> int:
    begin = time.perf_counter()
    options.check()
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder prints errors only
    from quantart_cli import flow
    from quantart_cli.images import read_picture
    from quantart_cli.video.clips import check_target, open_clip
    from quantart_cli.video.render import render
    from quantart_cli.video.steady import Steady

    row = find(options.method)
    settings = row.settings.of(typed(row.settings, options.settings))
    options.shares_for(len(options.styles))
    rate = Fraction(options.fps or _RATE).limit_denominator(1001)
    clip = open_clip(options.clip, rate=rate, max_pixels=options.max_pixels)
    if options.fps is not None and not os.path.isdir(options.clip):
        raise QuantArtError(f"fps is of folders, and {printable(options.clip)} keeps its own frame rate: leave it out")
    job = _job(options, clip)
    check_target(clip, job.target, options.styles)
    styles = [read_picture(style, max_pixels=options.max_pixels) for style in options.styles]
    estimate = flow.estimate
    if options.flow == "raft":
        from quantart_cli import raft

        weights = raft.find()
    elif options.steady and not flow.available() and not options.quiet:
        say("motion is not followed without OpenCV: pip install 'quantart-cli[video]'")
    model, style = _load(options, job, styles, settings)
    job.recipe.update(_recipe(options, model, styles, settings))
    if options.flow == "raft":
        estimate = partial(flow.estimate, between=raft.load(weights, model.spec.device), exact=True)
    keep = "luma" if options.preserve_color == "luma" else "none"  # the style itself is recoloured for match
    painter = Steady(
        model, style, settings, options.steady, estimate, preserve_color=keep, tile=options.tile, seed=options.seed
    )
    if options.dry_run:
        return _predict(options, job, painter)
    with pictures_bar(_count(job), options.quiet) as bar:
        bar.now(options.output)

        def progress(done: int, picture: Picture) -> None:
            bar.done(done, 0)
            if options.show:
                bar.draw(picture)

        report = render(job, painter, progress)
    return _conclude(options, job, model, report, time.perf_counter() - begin)


def _job(options: VideoOptions, clip: Clip) -> Job:
    from quantart_cli.video.clips import Target
    from quantart_cli.video.render import Job

    size = options.size
    if options.preview is not None:
        size = min(_PREVIEW_SIZE, size or max(clip.size))
    scale = Fraction(size or max(clip.size), max(clip.size))
    target = Target(
        path=options.output,
        format=options.format or "png",
        codec=options.codec,
        crf=options.crf,
        quality=options.quality,
        strip_metadata=options.strip_metadata,
        sound=options.sound == "copy" and options.preview is None,
        size=(max(1, round(clip.size[0] * scale)), max(1, round(clip.size[1] * scale))),
        alpha=clip.alpha and options.background is None,
        start=seconds_of("start", options.start),
        end=seconds_of("end", options.end),
    )
    every = None if options.preview is None else Fraction(options.preview).limit_denominator(1000)
    return Job(clip, target, size, options.max_pixels, options.background, every, {})


def _count(job: Job) -> int:
    """How many frames will be painted, about; 0: the clip does not say."""
    clip, target = job.clip, job.target
    if clip.seconds is None:
        return 0
    seconds = min(clip.seconds, target.end or clip.seconds) - (target.start or 0)
    rate = clip.rate if job.every is None else 1 / job.every
    count = clip.frames if job.every is None and target.start is target.end is None else None
    return max(1, round(seconds * rate)) if count is None else count


def _load(options: VideoOptions, job: Job, styles: list[Picture], settings: Settings) -> tuple[Model, Style]:
    """The model and the style, recoloured to the first frame if that is wanted."""
    file = options.find_model(find(options.method))
    with waiting("Loading", options.quiet):
        model = options.load(options.method, file, job.target.size[0] * job.target.size[1])
        if options.preserve_color == "match":
            from quantart_cli.video.steady import recolored

            first = next((frame.picture for frame in job.frames() if frame.picture is not None), None)
            styles = [each if first is None else recolored(each, first) for each in styles]
        shares = options.shares_for(len(styles))
        return model, model.encode_style(styles, weights=shares, size=options.style_size, settings=settings)


def _recipe(options: VideoOptions, model: Model, styles: list[Picture], settings: Settings) -> dict[str, Any]:
    """Everything that the painted frames depend on, beside the clip."""
    digests = [hashlib.sha256(each.rgb.tobytes()).hexdigest() for each in styles]
    names = ("steady", "flow", "style_weights", "style_size", "preserve_color", "seed", "tile")
    chosen = {name: getattr(options, name) for name in names}
    return {"quantart": __version__, "model": model.identity, "settings": asdict(settings), "styles": digests, **chosen}


def _predict(options: VideoOptions, job: Job, painter: Steady) -> int:
    """Paint a few frames elsewhere, and say what all would take."""
    from quantart_cli.video.render import render

    ticks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.basename(os.path.abspath(options.output))
        start = job.target.start or Fraction(0)
        end = start + _SAMPLE * (1 / job.clip.rate if job.every is None else job.every)
        target = replace(job.target, path=os.path.join(folder, name), sound=False, start=start, end=end)
        with waiting("Painting a sample", options.quiet):
            report = render(replace(job, target=target), painter, lambda *_: ticks.append(time.perf_counter()))
        files = [os.path.join(place, each) for place, _, names in os.walk(folder) for each in names]
        size = sum(map(os.path.getsize, files)) / report.painted
    # The first frame takes longer: networks are prepared.
    each = (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else 0.0
    count = _count(job)
    if not options.quiet:
        say(
            f"{printable(options.output)} would be {count:,} frames of {job.target.size[0]} × {job.target.size[1]}, "
            f"{options.method}: about {time_in_words(each * count)}, {size * count / 1e6:.1f} MB; nothing was written"
        )
    if options.json:
        facts = {"dry_run": True, "method": options.method, "frames": count, "seconds": round(each * count, 1)}
        write_json({**facts, "bytes": round(size * count)})
    return 0


def _conclude(options: VideoOptions, job: Job, model: Model, report: Report, seconds: float) -> int:
    """Say what became of the clip; returns the exit status."""
    done, shown = report.painted + report.before, printable(options.output)
    notes = [*job.clip.notes, *report.notes]
    if not options.quiet:
        for moment, why in report.broken[:_SHOWN]:
            say(f"{printable(options.clip)}: the frame at {moment:.2f} s is broken, the last one is held: {why}")
        if len(report.broken) > _SHOWN:
            say(f"… and {len(report.broken) - _SHOWN:,} more broken frames")
        for note in notes:
            say(note)
        before = f", {report.before:,} of them before" if report.before else ""
        rate = f" ({report.painted / seconds:.2f} frames a second)" if report.painted else ""
        say(f"{shown}: {done:,} frames{before}, {options.method} in {seconds:.1f} s{rate}")
        if report.stopped:
            say(f"stopped: {shown} ends there; the same command continues it")
    if options.json:
        facts: dict[str, Any] = {
            "quantart": __version__,
            "method": options.method,
            "clip": options.clip,
            "styles": options.styles,
        }
        facts |= {"output": options.output, "frames": done, "painted": report.painted, "stopped": report.stopped}
        facts |= {"broken": [{"seconds": at, "reason": why} for at, why in report.broken], "notes": notes}
        facts |= {"device": model.spec.device, "backend": model.spec.backend, "precision": report.precision}
        write_json({**facts, "weights": model.checksums, "seconds": round(seconds, 2)})
    return INTERRUPTED if report.stopped else 0
