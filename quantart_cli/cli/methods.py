"""``quantart methods``: the table of the methods."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import typer

from quantart_cli.cli.command import add_command
from quantart_cli.cli.console import write_json, write_line
from quantart_cli.cli.options import ReportOptions
from quantart_cli.errors import QuantArtError
from quantart_cli.registry import Method, methods


@dataclass(frozen=True, kw_only=True)
class MethodsOptions(ReportOptions):
    """Show the methods: command, paper, what it is good for, and whether its weights are here.

    Methods of installed packages are shown, too.

    quantart methods
    """


def register(app: typer.Typer) -> None:
    add_command(app, "methods", MethodsOptions, run)


def run(options: MethodsOptions) -> int:
    """Print the table; returns the exit status."""
    rows = [_facts(method) for method in methods().values()]
    if options.json:
        write_json({"methods": rows})
        return 0
    for row in rows:
        missing = row["missing"]
        weights = "weights are here" if not missing else f"weights: quantart download-weights {' '.join(missing)}"
        write_line(f"{row['command']}  {row['paper']}\n  {row['good_for'] or row['summary']}; {weights}")
    return 0


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
        "missing": [name for name in dict.fromkeys(method.weights.values()) if not _is_here(name)],
    }


def _is_here(name: str) -> bool:
    """Whether a file of the manifest is here; it is not hashed."""
    from quantart_cli.checkpoints.inventory import survey
    from quantart_cli.checkpoints.manifest import artefact

    try:
        return all(row.state in ("present", "verified") for row in survey([artefact(name)]))
    except QuantArtError:  # not in the manifest: the package that has the method brings it
        return True
