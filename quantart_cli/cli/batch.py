"""``quantart batch``: folders of pictures, by any method."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import INTERRUPTED, TERMINATED, pictures_bar, say, waiting
from quantart_cli.cli.options import SHARED, of_any, with_parameters
from quantart_cli.cli.painting import check_shared, model_asked_for, parse_style_weights
from quantart_cli.engine.choices import VQGAN_MODEL
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.methods.controls import CONTROLS

if TYPE_CHECKING:
    from quantart_cli.batch.plan import Plan, Request
    from quantart_cli.batch.recipe import Recipe
    from quantart_cli.batch.run import Due, Run, Tally
    from quantart_cli.checkpoints.models import ModelFile

FAILED = 1
EXECUTORS = ("local", "ray")
_ENDED = {KeyboardInterrupt: "interrupted", SystemExit: "told to end"}  # by Ctrl-C, by SIGTERM
_STATUS = {"interrupted": INTERRUPTED, "told to end": TERMINATED}
_SHOWN = 50  # failures told line by line

_DOC = """Paint many pictures: a folder, a glob in quotes, a list.

Results go below OUT in the order of the folders they come from. What goes wrong with one picture is told at the end and
stops no other. The same command again paints only what is missing or changed. Exit status 1: some failed.

quantart batch photos/ painting.jpg -o out/

quantart batch 'photos/**/*.jpg' paintings/ --each-style -o out/

find photos -newer last | quantart batch --from-file - painting.jpg -o out/
"""

_OWN: dict[str, tuple[Any, Any]] = {
    "given": (
        Annotated[
            list[str],
            typer.Argument(
                metavar="PHOTOS STYLE...",
                help="A folder or a glob in quotes, then one or several styles, blended. With --input or --from-file: "
                "styles alone.",
            ),
        ],
        ...,
    ),
    "output": (
        Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="The folder to write to.")],
        ...,
    ),
    "method": (
        Annotated[str, typer.Option("--method", metavar="|".join(CONTROLS), help="How to paint.")],
        "quantart",
    ),
    "input": (
        Annotated[
            list[str] | None,
            typer.Option("--input", metavar="PHOTOS", help="A folder, glob or file; may be given several times."),
        ],
        None,
    ),
    "from_file": (
        Annotated[
            list[str] | None,
            typer.Option("--from-file", metavar="LIST|-", help="A file that names one picture a line; - is stdin."),
        ],
        None,
    ),
    "recursive": (
        Annotated[bool, typer.Option("--recursive/--no-recursive", help="Whether folders within folders count.")],
        True,
    ),
    "each_style": (
        Annotated[
            bool, typer.Option("--each-style", help="Every picture in every style, and folders of styles; no blend.")
        ],
        False,
    ),
    "name": (
        Annotated[
            str | None,
            typer.Option(
                "--name",
                metavar="TEMPLATE",
                help="Names of the results, of {stem}, {style}, {ext} and {suffix}. Default: {stem}{suffix}, or "
                "{stem}_{style}{suffix} with several styles.",
            ),
        ],
        None,
    ),
    "overwrite": (
        Annotated[bool, typer.Option("--overwrite", help="Paint everything again, replace what is in the way.")],
        False,
    ),
    "fail_fast": (Annotated[bool, typer.Option("--fail-fast", help="Stop at the first picture that fails.")], False),
    "report": (
        Annotated[
            str | None,
            typer.Option("--report", metavar="FILE.jsonl", help="Write one JSON object a picture, as it happens."),
        ],
        None,
    ),
    "shard": (
        Annotated[
            str | None,
            typer.Option("--shard", metavar="K/N", help="The Kth of N parts of the plan, for as many machines."),
        ],
        None,
    ),
    "executor": (
        Annotated[str, typer.Option("--executor", metavar="|".join(EXECUTORS), help="What runs the plan.")],
        EXECUTORS[0],
    ),
    "address": (
        Annotated[
            str | None,
            typer.Option("--address", metavar="ray://HOST:PORT", help="The Ray cluster. Default: one for this run."),
        ],
        None,
    ),
    "workers": (
        Annotated[int | None, typer.Option("--workers", metavar="N", help="Ray workers. Default: as many as fit.")],
        None,
    ),
}


def register(app: typer.Typer) -> None:
    app.command("batch")(with_parameters(_batch, _DOC, {**_OWN, **of_any(CONTROLS), **SHARED}))


@dataclass
class _Asked:
    """The command as it was given, checked."""

    values: dict[str, Any]
    request: Request
    file: ModelFile | None
    folder: Path

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def _batch(values: dict[str, Any]) -> int:
    start = time.perf_counter()
    asked = _check(values)
    from quantart_cli.batch.ledger import Ledger
    from quantart_cli.batch.lock import alone
    from quantart_cli.batch.plan import make_plan
    from quantart_cli.batch.run import Run, own_outputs

    shard = asked.request.shard
    before = Ledger(asked.folder, shard, read_only=True)
    plan = make_plan(asked.request, set(own_outputs(asked.folder, before)))
    recipe = _recipe(asked, plan)
    with ExitStack() as stack:
        if values["dry_run"]:
            ledger = before
        else:
            before.close()
            note = stack.enter_context(alone(asked.folder, shard))
            if note:
                _tell(values, note)
            ledger = Ledger(asked.folder, shard)
        stack.callback(ledger.close)
        run = Run(plan, recipe, asked.folder, ledger, values["format"])
        if not values["dry_run"]:
            run.reconcile()
        due = run.due(values["overwrite"])
        if values["dry_run"]:
            from quantart_cli.cli.batch_plan import show

            return show(asked, run, due)
        return _paint(asked, run, due, start)


def _check(values: dict[str, Any]) -> _Asked:
    """Everything that can be known to be wrong before a folder is looked into."""
    from quantart_cli.batch.plan import Request, parse_shard
    from quantart_cli.images.encoding import parse_background
    from quantart_cli.images.formats import format_name

    check_choice("--method", values["method"], CONTROLS)
    check_choice("--executor", values["executor"], EXECUTORS)
    check_shared(values)
    parse_background(values["background"])
    format = None if values["format"] is None else format_name(values["format"]) and values["format"]
    inputs, lists = list(values["input"] or ()), list(values["from_file"] or ())
    given = list(values["given"])
    if not inputs and not lists:
        inputs.append(given.pop(0))
        if Path(inputs[0]).is_file():
            raise QuantArtError(
                f"{inputs[0]} is a file: give a folder or a glob in quotes, files with --input; "
                "one picture is painted by quantart stylize"
            )
    if not given:
        raise QuantArtError("there is no style: give at least one picture in the style to take, after the photographs")
    if values["report"] is not None and not values["report"].endswith(".jsonl"):
        raise QuantArtError(f"--report {values['report']} must end in .jsonl")
    for name in ("address", "workers"):
        if values[name] is not None and values["executor"] != "ray":
            raise QuantArtError(f"--{name} is for --executor ray")
    if values["workers"] is not None and values["workers"] < 1:
        raise QuantArtError(f"--workers must be at least 1, not {values['workers']}")
    folder = Path(values["output"])
    if folder.exists() and not folder.is_dir():
        raise QuantArtError(f"{folder} is a file: -o takes a folder")
    request = Request(
        inputs=tuple(inputs),
        lists=tuple(lists),
        styles=tuple(given),
        output=str(folder),
        recursive=values["recursive"],
        each_style=values["each_style"],
        name=values["name"],
        format=format,
        shard=None if values["shard"] is None else parse_shard(values["shard"]),
    )
    return _Asked(values, request, model_asked_for(values["method"], values), folder)


def _recipe(asked: _Asked, plan: Plan) -> Recipe:
    from quantart_cli.batch.recipe import Recipe
    from quantart_cli.checkpoints.models import weights_of

    values, method = asked.values, asked["method"]
    given = {name: values[name] for name in of_any(CONTROLS) if values[name] is not None}
    if asked["each_style"] and values["style_weights"] is not None:
        raise QuantArtError("--style-weights blends styles, and --each-style paints each alone: give one of them")
    return Recipe(
        method=method,
        controls=CONTROLS[method].of(given),
        style_weights=parse_style_weights(values["style_weights"], len(plan.styles[0])),
        weights={file.name: file.checksum for file in weights_of(method, asked.file).values()},
        tiles_matter=asked.file is not None and asked.file.kind == VQGAN_MODEL,
        **{name: values[name] for name in Recipe.__dataclass_fields__ if name in SHARED and name != "style_weights"},
    )


def _paint(asked: _Asked, run: Run, due: Due, start: float) -> int:
    from quantart_cli.batch.run import Tally, recorder
    from quantart_cli.batch.signals import interruptible

    values, stop = asked.values, threading.Event()
    ended: str | None = None
    with ExitStack() as stack:
        tally = Tally(stack.enter_context(_report(values["report"])))
        for job, outcome in due.settled:
            tally.add(job.source, job.output, run.plan.styles[job.style], outcome, attempted=False)
        if due.tasks:
            execute = _executor(asked, run)
            bar = stack.enter_context(pictures_bar(len(due.tasks), values["quiet"]))
            tally.tell = lambda now: bar.done(now.painted, now.attempted - now.painted)
            record = recorder(run, tally, stop, values["fail_fast"])
            try:
                with interruptible():
                    execute(due.tasks, record, stop, lambda task: bar.now(task.source))
            except (KeyboardInterrupt, SystemExit) as asked_to:
                ended = _ENDED[type(asked_to)]
            except OSError as error:
                if error.errno is None:
                    raise
                from quantart_cli.images.names import reason

                ended = f"{asked.folder}: {reason(error)}"
            except QuantArtError as error:  # a cluster that is lost midway
                ended = str(error)
            tally.tell = lambda _: None
    return _conclude(asked, run, due, tally, ended, time.perf_counter() - start)


def _executor(asked: _Asked, run: Run) -> Any:
    """A function that paints tasks; models are loaded and the first style is encoded before it is returned."""
    values = asked.values
    if values["executor"] == "ray":
        from quantart_cli.batch.remote import remote_executor

        with waiting("Starting Ray workers", values["quiet"]):
            return remote_executor(run, asked.file, values, tell=lambda line: _tell(values, line))
    from quantart_cli.batch.local import Pipeline, Styles
    from quantart_cli.cli.runtime import load_model

    with waiting("Loading", values["quiet"]):
        model = load_model(values["method"], values, asked.file, lambda line: _tell(values, line))
    styles = Styles(model, run.plan.styles, run.recipe)
    if len(run.plan.styles) == 1:
        with waiting("Reading the style", values["quiet"]):
            styles(0)

    def execute(tasks: Any, record: Any, stop: threading.Event, now: Any) -> None:
        Pipeline(model, styles, run.recipe, record, stop, now).run(tasks)

    return execute


@contextmanager
def _report(path: str | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    from quantart_cli.images.names import printable, reason

    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "w", encoding="utf-8"))
        except OSError as error:
            raise QuantArtError(f"--report {printable(path)} cannot be written: {reason(error)}") from None
        yield file


def _conclude(asked: _Asked, run: Run, due: Due, tally: Tally, ended: str | None, seconds: float) -> int:
    """Tell what became of it; the exit status."""
    from quantart_cli.images.names import printable

    values, failures = asked.values, tally.failures
    left = len(due.tasks) - tally.attempted
    status = _STATUS.get(ended, FAILED) if ended else FAILED if failures or run.plan.troubles else 0
    for line in run.plan.troubles:
        say(line)
    for source, _, why in failures[:_SHOWN]:
        shown = printable(source)
        say(why if shown in why else f"{shown}: {why}")
    if len(failures) > _SHOWN:
        say(f"… and {len(failures) - _SHOWN:,} more: --report FILE.jsonl lists them all")
    if tally.trace is not None:
        say(tally.trace.rstrip())
    if ended is not None:
        say(f"quantart: {ended}")
    if not values["quiet"]:
        say(summary(asked.folder, tally, run.plan, seconds))
    if left:
        say(f"{left:,} are left: the same command goes on")
    if values["json"]:
        facts = {
            "quantart": __version__,
            "method": values["method"],
            "output": str(asked.folder),
            "painted": tally.painted,
            **{name.replace(" ", "_"): count for name, count in tally.settled.items()},
            "failed": len(failures),
            "left": left,
            "passed_over": run.plan.passed_over,
            "failures": [{"content": source, "output": output, "reason": why} for source, output, why in failures],
            "troubles": list(run.plan.troubles),
            "seconds": round(seconds, 3),
            "weights": run.recipe.weights,
        }
        print(json.dumps(facts))
    return status


def summary(folder: Path, tally: Tally, plan: Plan, seconds: float) -> str:
    """The last line: counts, in words."""
    from quantart_cli.batch.inputs import describe

    rate = f" in {seconds:.0f} s ({tally.painted / seconds:.2f} a second)" if tally.painted else ""
    parts = [f"{tally.painted:,} painted{rate}"]
    parts += [f"{count:,} {name}" for name, count in tally.settled.items()]
    if tally.failures:
        parts.append(f"{len(tally.failures):,} failed")
    passed = describe(plan.passed_over)
    return f"{folder}: {', '.join(parts)}" + (f"; passed over: {passed}" if passed else "")


def _tell(values: dict[str, Any], line: str) -> None:
    if not values["quiet"]:
        say(line)
