"""``quantart methods``: the table of the methods."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from quantart_cli.cli.console import write_json, write_line
from quantart_cli.cli.options import ReportOptions
from quantart_cli.errors import QuantArtError
from quantart_cli.registry import Method, methods

MEASURED = Path(__file__).resolve().parents[1] / "measured.json"
"""Time and memory of the methods, written by benchmarks/methods.py."""
_WIDTH = 100
_UNKNOWN = "–"


@dataclass(frozen=True, kw_only=True)
class MethodsOptions(ReportOptions):
    """Show the methods: command, paper, what each is good for, its time and memory, and whether its weights are here.

    Methods of installed packages are shown, too.

    quantart methods

    quantart methods --json

    quantart stylize --help
    """


def run(options: MethodsOptions) -> int:
    """Print the table; returns the exit status."""
    rows = [_facts(method) for method in methods().values()]
    if options.json:
        write_json({"methods": rows, "machine": _measured()["machine"]})
        return 0
    for row in rows:
        write_line(f"{row['command']}  {row['paper']}")
        cost = f"; {time_of(row['name'])}, {memory_of(row['name'])}" if row["measured"] else ""
        _write_wrapped(f"{row['good_for'] or row['summary']}{cost}")
        for line in _weights_lines(row["missing"]):
            _write_wrapped(line)
    write_line(f"Time and memory: {_measured()['machine']}")
    return 0


def table(links: Iterable[str] = ()) -> str:
    """The methods that come with quantart as Markdown: for the README, and for the pages of docs/.

    Args:
        links: names of methods or commands that have a page in docs/methods/, which is linked.
    """
    pages = set(links)
    lines = ["| command | paper | good for | time | memory | weights |", "|---|---|---|--:|--:|---|"]
    for method in methods().values():
        if not method.target.startswith("quantart_cli."):
            continue
        name, command = method.name, f"`{method.command_name}`"
        page = next((each for each in (name, method.command_name) if each in pages), None)
        cells = (
            command if page is None else f"[{command}]({page}.md)",
            method.paper,
            method.good_for,
            time_of(name),
            memory_of(name),
            _weights_in_short(method),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Time and memory: {_measured()['machine']}"])


def time_of(name: str) -> str:
    """Time of a picture of 512 × 512, and how many times that of AdaIN it is: ``1.2 s, 2.1 ×``."""
    found = _measured()["methods"].get(name)
    if found is None:
        return _UNKNOWN
    seconds, times = (f"{found[name]:.{int(found[name] < 10)}f}" for name in ("seconds", "times_adain"))
    return f"{seconds} s, {times} ×"


def memory_of(name: str) -> str:
    """Peak memory of the whole process in that time: ``900 MB``."""
    found = _measured()["methods"].get(name)
    return _UNKNOWN if found is None else f"{found['megabytes']:.0f} MB"


@cache
def _measured() -> Any:
    return json.loads(MEASURED.read_text("utf-8"))


def _weights_in_short(method: Method) -> str:
    """``included``, ``download, 80 MB`` or ``you bring them, 34 MB``."""
    from quantart_cli.checkpoints.manifest import manifest

    items = [manifest()[name] for name in dict.fromkeys(method.weights.values()) if name in manifest()]
    foreign = [item for item in items if item.embedded is None]
    if not foreign:
        return "included"
    how = "download" if all(item.carriers for item in foreign) else "you bring them"
    sizes = [item.size for item in foreign]
    if None in sizes:
        return how
    return f"{how}, {sum(size for size in sizes if size is not None) / 1e6:.0f} MB"


def _weights_lines(missing: list[str]) -> list[str]:
    """What is said about the weights of a method."""
    from quantart_cli.checkpoints.download import missing as error
    from quantart_cli.checkpoints.manifest import artefact

    if not missing:
        return ["weights are here"]
    items = [artefact(name) for name in missing]
    by_carrier = [item for item in items if item.carriers]
    lines = [str(error(item)) for item in items if not item.carriers]
    if by_carrier:
        sizes = ", ".join(item.megabytes for item in by_carrier)
        names = " ".join(item.name for item in by_carrier)
        lines.append(f"weights: quantart download-weights {names} ({sizes})")
    return lines


def _facts(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "command": method.command_name,
        "summary": method.summary,
        "paper": method.paper,
        "good_for": method.good_for,
        "optimises": method.optimises,
        "backends": list(method.backends),
        "settings": [item.name for item in fields(method.settings)],
        "weights": dict(method.weights),
        "missing": missing_weights(method),
        "measured": _measured()["methods"].get(method.name),
    }


def missing_weights(method: Method) -> list[str]:
    """Names of the default weights of a method that are not here; no file is hashed."""
    return [name for name in dict.fromkeys(method.weights.values()) if not _is_here(name)]


def _is_here(name: str) -> bool:
    from quantart_cli.checkpoints.inventory import survey
    from quantart_cli.checkpoints.manifest import artefact

    try:
        return all(row.state in ("present", "verified") for row in survey([artefact(name)]))
    except QuantArtError:  # not in the manifest: the package that has the method brings it
        return True


def _write_wrapped(text: str) -> None:
    for line in textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False):
        write_line(line)
