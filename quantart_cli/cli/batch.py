"""``quantart batch``: folders of pictures, by any method."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

from quantart_cli import __version__
from quantart_cli.cli.batch_options import BatchOptions
from quantart_cli.cli.command import add_command
from quantart_cli.cli.console import pictures_bar, say, waiting, write_json
from quantart_cli.cli.startup import stoppable
from quantart_cli.errors import QuantArtError, counted
from quantart_cli.registry import find, methods

if TYPE_CHECKING:
    from quantart_cli.batch.pipeline import Pipeline
    from quantart_cli.batch.plan import Plan
    from quantart_cli.batch.run import Due, Recorder, Run

FAILED = 1
_SHOWN = 50  # failures, and files that cannot be read, shown line by line
_NICE = 10

_DOC = """Paint many pictures: folders, globs, files, a list.

Results go below OUT in the order of the folders they come from. Failures are listed at the end and stop no other
picture. The same command again paints only what is missing or changed. Exit status 1: some failed. --method NAME
--help shows the options of another method.

quantart batch photos/ painting.jpg -o out/

quantart batch pictures/*.jpg painting.jpg -o out/

quantart batch 'photos/**/*.jpg' paintings/ --each-style -o out/

find photos -newer last | quantart batch --from-file - painting.jpg -o out/
"""


def register(app: typer.Typer) -> None:
    settings = {name: method.settings for name, method in methods().items()}
    add_command(app, "batch", BatchOptions, _batch, settings=settings, help=_DOC)


def _batch(options: BatchOptions) -> int:
    with stoppable() as received:
        try:
            return _run(options)
        except BaseException:
            if not received:
                raise
            # Whatever the signal interrupted may have raised an error of its own.
            say(f"quantart: {_ended(received[0])}")
            return 128 + received[0]


def _run(options: BatchOptions) -> int:
    start = time.perf_counter()
    request = options.request()
    from quantart_cli.batch.ledger import Ledger
    from quantart_cli.batch.lock import output_lock
    from quantart_cli.batch.plan import make_plan
    from quantart_cli.batch.run import Run, own_outputs

    model = options.find_model(find(options.method))
    if options.nice and hasattr(os, "nice"):
        os.nice(_NICE)
    with ExitStack() as stack:
        ledger = Ledger(options.folder, request.shard, read_only=True)
        stack.callback(ledger.close)
        plan = make_plan(request, own_outputs(options.folder, ledger))
        job = options.paint_job(plan, model)
        if options.dry_run:
            from quantart_cli.cli.batch_plan import show_plan

            run = Run(plan, job, options.folder, ledger, options.format)
            return show_plan(options, run, run.due(options.overwrite))
        ledger.close()
        note = stack.enter_context(output_lock(options.folder, request.shard))
        if note:
            _tell(options, note)
        ledger = Ledger(options.folder, request.shard)
        stack.callback(ledger.close)
        run = Run(plan, job, options.folder, ledger, options.format)
        run.reconcile()
        return _paint(options, run, run.due(options.overwrite), start)


def _paint(options: BatchOptions, run: Run, due: Due, start: float) -> int:
    """Paint what is due, and report; returns the exit status."""
    from quantart_cli.batch.run import Recorder
    from quantart_cli.files import reason

    ended: str | None = None
    status = 0
    with ExitStack() as stack:
        report = stack.enter_context(_open_report(options.report)) if options.report else None
        recorder = Recorder(run, report, options.fail_fast)
        recorder.settle(due)
        if due.items:
            with waiting("Starting Ray workers" if options.executor == "ray" else "Loading", options.quiet):
                executor = stack.enter_context(_executor(options, run, recorder))
            _announce(options, run.plan, due)
            bar = stack.enter_context(pictures_bar(len(due.items), options.quiet))
            recorder.on_change = lambda now: bar.done(now.painted, now.attempted - now.painted)
            executor.started = lambda item: bar.now(item.source)
            executor.progress = lambda step: bar.step(step.step, step.steps)
            try:
                executor.run(due.items)
            except KeyboardInterrupt:
                ended, status = _ended(signal.SIGINT), 128 + signal.SIGINT
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else FAILED
                ended = _ended(status - 128)
            except OSError as error:
                if error.errno is None:
                    raise
                ended = f"{options.folder}: {reason(error)}"
            except QuantArtError as error:  # the Ray cluster is lost
                ended = str(error)
            recorder.on_change = lambda _: None
    failed = bool(ended or recorder.failures or run.plan.found.troubles)
    _conclude(options, recorder, len(due.items) - recorder.attempted, ended, time.perf_counter() - start)
    return status or (FAILED if failed else 0)


def _executor(options: BatchOptions, run: Run, recorder: Recorder) -> AbstractContextManager[Pipeline]:
    """What paints; inside the context models are loaded and the only style is encoded."""
    given = run.job, run.plan.styles, recorder.record, recorder.stop, lambda line: _tell(options, line)
    if options.executor == "ray":
        from quantart_cli.batch.ray_executor import ray_executor

        return ray_executor(*given, options.address, options.workers)
    from quantart_cli.batch.pipeline import local_executor

    return local_executor(*given)


def _open_report(path: str) -> IO[str]:
    from quantart_cli.files import printable, reason

    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise QuantArtError(f"--report {printable(path)} cannot be written: {reason(error)}") from None


def _announce(options: BatchOptions, plan: Plan, due: Due) -> None:
    """Say what was taken for what, and what will be painted over."""
    from quantart_cli.batch.run import CHANGED
    from quantart_cli.files import printable

    names = [" + ".join(map(printable, files[:5])) + (" + …" if files[5:] else "") for files in plan.styles[:3]]
    shown = ", ".join(names) + (", …" if plan.styles[3:] else "")
    styles = f", {counted(len(plan.styles), 'style')}: {shown}" if shown else ""  # none: they are in the weights
    _tell(options, f"{counted(plan.contents, 'content')}{styles}")
    if due.why[CHANGED] and not options.overwrite:
        _tell(
            options,
            f"painting over {counted(due.why[CHANGED], 'picture')} in {options.folder} that other options or styles "
            "gave: to keep them give another -o or a --name such as '{stem}_2{suffix}'",
        )


def _conclude(options: BatchOptions, recorder: Recorder, left: int, ended: str | None, seconds: float) -> None:
    """Say what became of the run."""
    from quantart_cli.files import printable

    plan, failures = recorder.run.plan, recorder.failures
    for line in plan.found.troubles:
        say(line)
    for source, _, why in failures[:_SHOWN]:
        shown = printable(source)
        say(why if shown in why else f"{shown}: {why}")
    if len(failures) > _SHOWN:
        say(f"… and {len(failures) - _SHOWN:,} more: --report FILE.jsonl lists them all")
    if recorder.trace is not None:
        say(recorder.trace.rstrip())
    if ended is not None:
        say(f"quantart: {ended}")
    if not options.quiet:
        _say_unreadable(plan)
        say(_summary(options.folder, recorder, seconds))
    if left:
        say(f"{left:,} are left: the same command continues")
    if options.json:
        facts = {
            "quantart": __version__,
            "method": options.method,
            "output": str(options.folder),
            "painted": recorder.painted,
            **{name.replace(" ", "_"): count for name, count in recorder.settled.items()},
            "failed": len(failures),
            "left": left,
            "passed_over": plan.found.passed_over,
            "unreadable": [{"content": path, "reason": what} for path, what in plan.found.unreadable.items()],
            "failures": [{"content": source, "output": output, "reason": why} for source, output, why in failures],
            "troubles": plan.found.troubles,
            "seconds": round(seconds, 3),
            "weights": recorder.run.job.checksums,
        }
        write_json(facts)


def _say_unreadable(plan: Plan) -> None:
    """Name the pictures and films that quantart does not read."""
    from quantart_cli.files import printable

    unreadable = plan.found.unreadable
    for path, what in list(unreadable.items())[:_SHOWN]:
        say(f"{printable(path)} is {what}")
    if len(unreadable) > _SHOWN:
        say(f"… and {len(unreadable) - _SHOWN:,} more that quantart does not read")


def _summary(folder: Path, recorder: Recorder, seconds: float) -> str:
    """The last line: counts, in words."""
    rate = f" in {seconds:.0f} s ({recorder.painted / seconds:.2f} a second)" if recorder.painted else ""
    parts = [f"{recorder.painted:,} painted{rate}"]
    parts += [f"{count:,} {name}" for name, count in recorder.settled.items()]
    if recorder.failures:
        parts.append(f"{len(recorder.failures):,} failed")
    passed = recorder.run.plan.found.describe()
    return f"{folder}: {', '.join(parts)}" + (f"; passed over: {passed}" if passed else "")


def _ended(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else "terminated"


def _tell(options: BatchOptions, line: str) -> None:
    if not options.quiet:
        say(line)
