"""``quantart batch --dry-run``: what would be painted, how long it would take, and the room it needs."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantart_cli.cli.console import progress_bar, say, time_in_words, waiting
from quantart_cli.errors import QuantArtError

if TYPE_CHECKING:
    from quantart_cli.batch.run import Due, Run
    from quantart_cli.batch.work import Task

_SHOWN = 10


@dataclass(frozen=True)
class _Sample:
    """One picture painted to measure: its pixels, the seconds from file to file, the bytes of the output."""

    pixels: int
    seconds: float
    bytes: int


def show(asked: Any, run: Run, due: Due) -> int:
    """Tell the plan and write nothing; the exit status."""
    quiet = asked["quiet"]
    pixels, unreadable = _pixels(run, due.tasks, quiet)
    sample = _measure(asked, run, due.tasks) if due.tasks else None
    seconds = bytes_needed = None
    if sample is not None:
        seconds = sample.seconds * pixels / sample.pixels
        bytes_needed = round(sample.bytes * pixels / sample.pixels)
    settled = _count(due)
    if not quiet:
        _print_plan(asked.folder, run, due, settled, unreadable)
        megapixels = f"{pixels / 1e6:,.1f} megapixels"
        if sample is not None and seconds is not None and bytes_needed is not None:
            free = shutil.disk_usage(_existing(asked.folder)).free
            say(
                f"{len(due.tasks):,} to paint, {megapixels}: about {time_in_words(seconds)} and "
                f"{bytes_needed / 1e6:,.0f} MB of disk ({free / 1e6:,.0f} MB are free); nothing was written"
            )
        else:
            say(f"{len(due.tasks):,} to paint; nothing was written")
    if asked["json"]:
        facts = {
            "dry_run": True,
            "output": str(asked.folder),
            "to_paint": len(due.tasks),
            "why": dict(due.why),
            "settled": settled,
            "unreadable": unreadable,
            "pixels": pixels,
            "seconds": None if seconds is None else round(seconds, 1),
            "bytes": bytes_needed,
            "passed_over": run.plan.passed_over,
            "plan": [{"content": t.source, "output": t.output, "styles": run.plan.styles[t.style]} for t in due.tasks],
        }
        json.dump(facts, sys.stdout)
        print()
    return 0


def _print_plan(folder: Path, run: Run, due: Due, settled: dict[str, int], unreadable: list[str]) -> None:
    from quantart_cli.images.names import printable

    for task in due.tasks[:_SHOWN]:
        say(f"{printable(task.source)} -> {printable(folder / task.output)}")
    if len(due.tasks) > _SHOWN:
        say(f"… and {len(due.tasks) - _SHOWN:,} more")
    counts = {**due.why, **settled, **{f"passed over, {why}": n for why, n in run.plan.passed_over.items() if n}}
    for words, count in counts.items():
        say(f"{count:,} {words}")
    for line in (*run.plan.troubles, *unreadable[:_SHOWN]):
        say(line)
    if len(unreadable) > _SHOWN:
        say(f"… and {len(unreadable) - _SHOWN:,} more that cannot be read")


def _count(due: Due) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, outcome in due.settled:
        words = outcome if isinstance(outcome, str) else "in the way"
        found[words] = found.get(words, 0) + 1
    return found


def _pixels(run: Run, tasks: list[Task], quiet: bool) -> tuple[int, list[str]]:
    """Pixels to paint, by the headers of the files; and why some cannot be read, a line each."""
    from quantart_cli.images.reading import picture_size

    recipe, total, unreadable = run.recipe, 0, []
    known: dict[str, int] = {}
    with progress_bar("Looking", quiet) as bar:
        for number, task in enumerate(tasks):
            if task.source not in known:
                known[task.source] = 0
                try:
                    width, height = picture_size(task.source, max_pixels=recipe.max_pixels)
                    longest = max(width, height) if recipe.size is None else recipe.size
                    known[task.source] = round(width * height * (longest / max(width, height)) ** 2)
                except QuantArtError as error:
                    unreadable.append(str(error))
            total += known[task.source]
            bar(number + 1, len(tasks))
    return total, unreadable


def _measure(asked: Any, run: Run, tasks: list[Task]) -> _Sample | None:
    """One picture from the middle of the plan, read, painted and encoded after a first one warmed everything up."""
    from quantart_cli.batch import work
    from quantart_cli.batch.local import Styles
    from quantart_cli.cli.runtime import load_model

    with waiting("Painting a sample", asked["quiet"]):
        model = load_model(asked["method"], asked.values, asked.file, lambda _: None)
        styles = Styles(model, run.plan.styles, run.recipe)
        middle = len(tasks) // 2
        for task in (*tasks[middle : middle + 20], *tasks[:20]):
            try:
                style = styles(task.style)
                work.paint(model, work.decode(work.load(task.source)[0], task.source, run.recipe), style, run.recipe)
                start = time.perf_counter()
                picture = work.decode(work.load(task.source)[0], task.source, run.recipe)
                painted, seconds = work.paint(model, picture, style, run.recipe)
                finished = work.encode(picture, painted, seconds, task.format, run.recipe)
                return _Sample(picture.width * picture.height, time.perf_counter() - start, len(finished.data))
            except QuantArtError:
                continue
    return None


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
