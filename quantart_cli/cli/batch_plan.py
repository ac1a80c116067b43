"""``quantart batch --dry-run``: what would be painted, how long it would take, and the room it needs."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from quantart_cli.cli.batch_options import BatchOptions
from quantart_cli.cli.console import progress_bar, say, time_in_words, waiting, write_json
from quantart_cli.errors import QuantArtError

if TYPE_CHECKING:
    from quantart_cli.batch.plan import WorkItem
    from quantart_cli.batch.run import Due, Run

_SHOWN = 10


def show_plan(options: BatchOptions, run: Run, due: Due) -> int:
    """Show the plan and write nothing; returns the exit status."""
    sizes, failures = _pixels(run, due.items, options.quiet)
    if failures:  # neither listed nor counted as what is painted
        run.plan.items[:] = [item for item in run.plan.items if item.source not in failures]
        due = run.due(options.overwrite)
    pixels = sum(sizes[item.source] for item in due.items)
    unreadable = [*failures.values(), *(f"{path} is {what}" for path, what in run.plan.found.unreadable.items())]
    sample = _measure(options, run, due.items) if due.items else None
    seconds, size = (None, None) if sample is None else (sample[0] * pixels, round(sample[1] * pixels))
    settled = Counter(outcome if isinstance(outcome, str) else "in the way" for _, outcome in due.settled)
    if not options.quiet:
        _print_plan(options.folder, run, due, settled, unreadable)
        needs = ""
        if seconds is not None and size is not None:
            folder = options.folder.absolute()
            free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
            needs = f", {pixels / 1e6:,.1f} megapixels: about {time_in_words(seconds)} and {size / 1e6:,.0f} MB of disk"
            needs += f" ({free / 1e6:,.0f} MB are free)"
        say(f"{len(due.items):,} to paint{needs}; nothing was written")
    if options.json:
        styles = run.plan.styles
        facts = {
            "dry_run": True,
            "output": str(options.folder),
            "to_paint": len(due.items),
            "why": due.why,
            "settled": settled,
            "unreadable": unreadable,
            "pixels": pixels,
            "seconds": None if seconds is None else round(seconds, 1),
            "bytes": size,
            "passed_over": run.plan.found.passed_over,
            "plan": [{"content": i.source, "output": i.output, "styles": styles[i.style]} for i in due.items],
        }
        write_json(facts)
    return 0


def _print_plan(folder: Path, run: Run, due: Due, settled: Counter[str], unreadable: list[str]) -> None:
    from quantart_cli.files import printable

    found = run.plan.found
    for item in due.items[:_SHOWN]:
        say(f"{printable(item.source)} -> {printable(folder / item.output)}")
    if len(due.items) > _SHOWN:
        say(f"… and {len(due.items) - _SHOWN:,} more")
    for words, count in {
        **due.why,
        **settled,
        **{f"passed over, {w}": n for w, n in found.passed_over.items()},
    }.items():
        say(f"{count:,} {words}")
    for line in (*found.troubles, *unreadable[:_SHOWN]):
        say(printable(line))
    if len(unreadable) > _SHOWN:
        say(f"… and {len(unreadable) - _SHOWN:,} more that cannot be read")


def _pixels(run: Run, items: list[WorkItem], quiet: bool) -> tuple[dict[str, int], dict[str, str]]:
    """The number of pixels of each content, by its header; and a line for each that cannot be read."""
    from quantart_cli.images.reading import picture_size

    job = run.job
    known: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    with progress_bar("Reading sizes", quiet) as bar:
        for number, item in enumerate(items):
            if item.source not in known and item.source not in unreadable:
                try:
                    width, height = picture_size(item.source, max_pixels=job.max_pixels)
                    longest = max(width, height) if job.size is None else job.size
                    known[item.source] = round(width * height * (longest / max(width, height)) ** 2)
                except QuantArtError as error:
                    unreadable[item.source] = str(error)
            bar(number + 1, len(items))
    return known, unreadable


def _measure(options: BatchOptions, run: Run, items: list[WorkItem]) -> tuple[float, float] | None:
    """Seconds and bytes a pixel, from file to file, of a picture from the middle of the plan, painted twice."""
    from quantart_cli.batch.job import read_content
    from quantart_cli.batch.pipeline import style_encoder

    job = run.job
    with waiting("Painting a sample", options.quiet):
        model = job.load_model(lambda _: None)
        styles = style_encoder(job, model, run.plan.styles)
        middle = len(items) // 2
        for item in (*items[middle : middle + 20], *items[:20]):
            try:
                for _ in range(2):
                    style, start = styles(item.style), time.perf_counter()
                    picture = job.decode(read_content(item.source)[0], item.source)
                    painted = job.encode(picture, *job.paint(model, picture, style, masks=item.masks), item.format)
                pixels = picture.width * picture.height
                return (time.perf_counter() - start) / pixels, len(painted.data) / pixels
            except QuantArtError:
                continue
    return None
