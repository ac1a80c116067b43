"""``quantart download-weights``: the weights that are not embedded, verified; and what is here."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import INTERRUPTED, USER_ERROR, Bytes, bytes_bar, say
from quantart_cli.cli.options import with_parameters
from quantart_cli.errors import QuantArtError, suggest

if TYPE_CHECKING:
    from quantart_cli.checkpoints.hub import HubReference
    from quantart_cli.checkpoints.inventory import Row
    from quantart_cli.checkpoints.manifest import Artefact

_DOC = """Download weights, every byte verified.

Without arguments: what there is, and what of it is here.

quantart download-weights vgg19

quantart download-weights hf://owner/repo@revision/model.safetensors
"""


def _flag(flag: str, help: str) -> tuple[Any, Any]:
    return Annotated[bool, typer.Option(flag, help=help)], False


_PARAMETERS: dict[str, tuple[Any, Any]] = {
    "names": (
        Annotated[
            list[str] | None,
            typer.Argument(metavar="NAME", help="Names of the list, or hf://owner/repo[@revision]/file.safetensors."),
        ],
        None,
    ),
    "all": _flag("--all", "Everything that can be downloaded."),
    "list": _flag("--list", "Show the list: what for, size, licence, present or missing, where."),
    "verify": _flag("--verify", "Hash everything that is here (exit status 1 if one fails), and show the list."),
    "offline": _flag("--offline", "Ask no network; what is in the Hub's cache still counts."),
    "dir": (
        Annotated[
            str | None,
            typer.Option(metavar="FOLDER", help="Cache folder for this run. Default: QUANTART_CACHE, or the system's."),
        ],
        None,
    ),
    "json": _flag("--json", "Print one JSON object on stdout."),
    "quiet": _flag("--quiet", "Say nothing but errors."),
}


def register(app: typer.Typer) -> None:
    app.command("download-weights")(with_parameters(_run, _DOC, _PARAMETERS))


def _run(values: dict[str, Any]) -> int:
    from quantart_cli.checkpoints import cache

    with cache.using(Path(values["dir"]).expanduser() if values["dir"] is not None else None):
        wanted = _wanted(values["names"] or [], values["all"])
        if values["list"] or values["verify"] or not wanted:
            return _show(wanted, values)
        return _download(wanted, values)


def _wanted(names: list[str], everything: bool) -> list[Artefact | HubReference]:
    """What the names stand for, each once; every name is checked before anything is downloaded."""
    from quantart_cli.checkpoints.hub import parse_reference
    from quantart_cli.checkpoints.manifest import manifest

    known = manifest()
    wanted: list[Artefact | HubReference] = []
    if everything:
        wanted += [item for item in known.values() if item.embedded is None and item.carriers]
    for name in names:
        if name.startswith("hf:"):
            wanted.append(parse_reference(name))
        elif name in known:
            wanted.append(known[name])
        else:
            hint = "" if "/" not in name else "; a file of the Hub is hf://owner/repo/file.safetensors"
            raise QuantArtError(f"weights {name!r} are not known: {suggest(name, known)}{hint}")
    return list(dict.fromkeys(wanted))


def _show(wanted: list[Artefact | HubReference], values: dict[str, Any]) -> int:
    """The list. Exit status 1 when a file that should be here is damaged, or missing and asked for by name."""
    from quantart_cli.checkpoints.cache import cache_folder
    from quantart_cli.checkpoints.inventory import survey

    verify = values["verify"]
    with bytes_bar(values["quiet"] or not verify) as bar:
        rows = survey(wanted or None, verify=verify, progress=lambda name: bar.of(name))
    if values["json"]:
        print(json.dumps(_report(rows)))
    elif not values["quiet"]:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in _table(rows):
            print(line[:width].rstrip())
        print(f"cache: {cache_folder()}")
        if any(row.state == "by hand" for row in rows):
            print("by hand: quantart download-weights NAME says how")
    for row in rows:
        if row.state == "damaged":
            say(f"quantart: {row.name} is damaged: {row.note}")
    needed = bool(values["names"])
    wrong = [row for row in rows if row.state == "missing" and (needed or row.where == "embedded")]
    wrong += [row for row in rows if row.state == "damaged"]
    return 1 if verify and wrong else 0


def _table(rows: list[Row]) -> list[str]:
    """Aligned columns, what it is for last since it is the longest."""
    cells = [("name", "state", "size", "licence", "where", "for")]
    cells += [(row.name, row.state, _size(row), row.licence, row.where, row.purpose) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    lines = []
    for name, state, size, licence, where, purpose in cells:
        aligned = (name.ljust(widths[0]), state.ljust(widths[1]), size.rjust(widths[2]), licence.ljust(widths[3]))
        lines.append("  ".join((*aligned, where.ljust(widths[4]), purpose)))
    return lines


def _size(row: Row) -> str:
    if row.bytes is None:
        return "-"
    return f"{row.bytes / 1e6:.0f} MB" if row.bytes >= 1e6 else f"{row.bytes / 1e6:.2f} MB"


def _report(rows: list[Row], failed: dict[str, str] | None = None) -> dict[str, Any]:
    """The object ``--json`` prints."""
    from quantart_cli.checkpoints.cache import cache_folder

    return {
        "quantart": __version__,
        "cache": str(cache_folder()),
        "weights": [
            {
                "name": row.name,
                "for": row.purpose,
                "bytes": row.bytes,
                "exact": row.exact,
                "sha256": row.sha256,
                "licence": row.licence,
                "state": row.state,
                "where": row.where,
                "path": None if row.path is None else str(row.path),
                "note": (failed or {}).get(row.name, row.note),
            }
            for row in rows
        ],
    }


def _download(wanted: list[Artefact | HubReference], values: dict[str, Any]) -> int:
    """Get each; one that fails does not keep the others. Exit status 2 when one failed."""
    from quantart_cli.checkpoints.inventory import survey
    from quantart_cli.checkpoints.package_index import forget_archives

    failed: dict[str, str] = {}
    with ExitStack() as after:
        after.callback(forget_archives)
        with bytes_bar(values["quiet"]) as bar:
            try:
                for item in wanted:
                    _get(item, values, bar, failed)
            except KeyboardInterrupt:
                bar.say("quantart: interrupted; what is in the cache is whole")
                return INTERRUPTED
    for message in failed.values():
        say(f"quantart: {message}")
    if values["json"]:
        print(json.dumps(_report(survey(wanted), failed)))
    return USER_ERROR if failed else 0


def _get(item: Artefact | HubReference, values: dict[str, Any], bar: Bytes, failed: dict[str, str]) -> None:
    from quantart_cli.checkpoints import cache
    from quantart_cli.checkpoints.download import fetch, fetch_hub
    from quantart_cli.checkpoints.manifest import Artefact

    name = item.name if isinstance(item, Artefact) else str(item)
    tell: Callable[[str], None] | None = None if values["quiet"] else bar.say
    options = {"offline": values["offline"], "progress": bar.of(name), "tell": tell}
    try:
        if isinstance(item, Artefact):
            path = fetch(item, keep_archives=True, **options)
            entry = None if item.embedded else cache.find(item.key)
        else:
            path = fetch_hub(item, **options)
            entry = cache.find(item.key)
    except QuantArtError as error:
        failed[name] = str(error)
        return
    if tell is not None:
        came = "comes with quantart" if entry is None else f"verified, from {entry.source.get('carrier')}"
        tell(f"{name}: {path} ({came})")
