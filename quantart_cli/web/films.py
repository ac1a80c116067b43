"""A clip painted for the page, as ``quantart video`` does with its defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture
from quantart_cli.video.clips import Target, check_target, open_clip
from quantart_cli.video.render import Job, Report, render
from quantart_cli.video.steady import Steady
from quantart_cli.web.jobs import Session, Superseded, in_background
from quantart_cli.web.order import File, Order
from quantart_cli.web.studio import Studio

_ANIMATIONS = (".gif", ".webp", ".png")


def paint_film(
    studio: Studio, session: Session, job: float, order: Order, clip: File, steady: float
) -> Iterator[tuple[str, str | None]]:
    """Paint a film or an animation: a line after each frame, and at the end the file too.

    Args:
        order: how; its content is not used.
        steady: 0 to 1, how firmly strokes stay on what they paint.

    Raises:
        QuantArtError: the clip cannot be read or written, or it was stopped before the first frame.
    """
    settings = order.checked()
    if order.preserve_color == "match":
        raise QuantArtError("a film keeps its colours by luma only: choose luma or none")
    work = _job(studio, order, clip)

    def paint(report: Callable[[int], None]) -> Report:
        def progress(done: int, _: Picture) -> None:
            report(done)
            if session.stopped == job or session.newest != job:
                raise KeyboardInterrupt  # leaves a film of what was painted

        model, style = studio.model(order.method), studio.style(order)
        painter = Steady(model, style, settings, steady, preserve_color=order.preserve_color, **studio.painting)
        return render(work, painter, progress)

    yield f"Painting {clip.name}.", None
    try:
        for item in in_background(studio, session, job, paint, Report):
            if isinstance(item, int):
                yield f"{item} frames painted.", None
                continue
            stopped = " It was stopped." if item.stopped else ""
            notes = [f"{note}." for note in item.notes]
            yield " ".join([f"{item.painted} frames in all.{stopped}", *notes]), work.target.path
    except (KeyboardInterrupt, Superseded):
        raise QuantArtError("stopped") from None


def _job(studio: Studio, order: Order, clip: File) -> Job:
    """What is painted, and into which file."""
    source = open_clip(clip.path, rate=Fraction(25), max_pixels=studio.max_pixels)
    scale = Fraction(order.size or max(source.size), max(source.size))
    suffix = Path(clip.name).suffix.lower()
    target = Target(
        path=studio.new_file(f"{Path(clip.name).stem}--painted{suffix if suffix in _ANIMATIONS else '.mp4'}"),
        format="png",
        codec=None,
        crf=None,
        quality=95,
        strip_metadata=False,
        sound=True,
        size=(max(1, round(source.size[0] * scale)), max(1, round(source.size[1] * scale))),
        alpha=source.alpha and suffix in _ANIMATIONS,
        start=None,
        end=None,
    )
    check_target(source, target)
    background = None if target.alpha or not source.alpha else "white"
    return Job(source, target, order.size, studio.max_pixels, background, None, {})
