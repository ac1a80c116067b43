"""``quantart download-weights``: download weights, verified, and list what is here."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import INTERRUPTED, USER_ERROR, Bytes, bytes_bar, say, write_json
from quantart_cli.errors import QuantArtError, suggest

if TYPE_CHECKING:
    from quantart_cli.checkpoints.hub import HubReference
    from quantart_cli.checkpoints.inventory import Row
    from quantart_cli.checkpoints.manifest import Artefact

_WIDTH = 80


def register(app: typer.Typer) -> None:
    app.command("download-weights")(download_weights)


def download_weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Names of the list, or hf://owner/repo[@revision]/file.safetensors."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that can be downloaded.")] = False,
    brought: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Keep this file, made by convert, as the weights of that NAME."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Show the list: purpose, size, licence, present or missing, where.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash every file that is here (exit status 1 if one fails), show the list.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network; what is in the Hub's cache still counts.")
    ] = False,
    folder: Annotated[
        str | None,
        typer.Option(
            "--dir", metavar="FOLDER", help="Cache folder for this run. Default: QUANTART_CACHE, or the system's."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors.")] = False,
) -> int:
    """Download weights, every byte verified.

    Without arguments: show which weights exist and which are here.

    quantart download-weights vgg19

    quantart download-weights hf://owner/repo@revision/model.safetensors

    quantart download-weights sanet --from sanet.safetensors
    """
    from quantart_cli.checkpoints import cache

    with cache.using(Path(folder).expanduser() if folder is not None else None):
        wanted = _wanted(names or [], everything)
        if brought is not None:
            return _keep(wanted, Path(brought), as_json, quiet)
        if show or verify or not wanted:
            return _show(wanted, verify, bool(names), as_json, quiet)
        return _download(wanted, offline, as_json, quiet)


def _wanted(names: list[str], everything: bool) -> list[Artefact | HubReference]:
    """The files of these names, each once; every name is checked before anything is downloaded."""
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
            available = [item.name for item in known.values() if item.carriers]
            hint = "" if "/" not in name else "; a file of the Hub is hf://owner/repo/file.safetensors"
            raise QuantArtError(f"weights {name!r} are not known: {suggest(name, available)}{hint}")
    return list(dict.fromkeys(wanted))


def _show(wanted: list[Artefact | HubReference], verify: bool, named: bool, as_json: bool, quiet: bool) -> int:
    """The list. Exit status 1 when a file is damaged, or missing although it is embedded or was named."""
    from quantart_cli.checkpoints.inventory import survey

    with bytes_bar(quiet or not verify) as bar:
        rows = survey(wanted or None, verify=verify, progress=bar.of)
    if as_json:
        write_json(_report(rows))
    elif not quiet:
        for line in _table(rows):
            print(line)
    damaged = [row for row in rows if row.state == "damaged"]
    for row in damaged:
        say(f"quantart: {row.name} is damaged: {row.note}")
    missing = any(row.state == "missing" and (named or row.where == "embedded") for row in rows)
    return 1 if verify and (damaged or missing) else 0


def _table(rows: list[Row]) -> list[str]:
    """Two lines or more per row, none wider than 80 columns but for long names of the Hub."""
    from quantart_cli.checkpoints.cache import cache_folder, size

    width = max((len(row.name) for row in rows if row.where != "Hub" and "//" not in row.name), default=4)
    lines = [f"{'name':{width}}  {'state':8}  {'size':>7}  where"]
    for row in rows:
        lines.append(f"{row.name:{width}}  {row.state:8}  {_size(row):>7}  {row.where}")
        lines += textwrap.wrap(
            f"{row.purpose} (licence: {row.licence})", _WIDTH, initial_indent="  ", subsequent_indent="  "
        )
    if any(row.state == "by hand" for row in rows):
        lines.append("by hand: quantart download-weights NAME says how")
    used, folder = size(), cache_folder()
    lines.append(f"cache: {folder}" if folder is not None else "cache: none, no folder can be used: give --dir")
    lines.append(f"  {used.downloads / 1e6:.0f} MB downloaded, {used.computed / 1e6:.0f} MB computed")
    return lines


def _size(row: Row) -> str:
    if row.bytes is None:
        return "-"
    return f"{row.bytes / 1e6:.0f} MB" if row.bytes >= 1e6 else f"{row.bytes / 1e6:.2f} MB"


def _report(rows: list[Row], failed: dict[str, str] | None = None) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    from quantart_cli.checkpoints.cache import cache_folder

    weights = []
    for row in rows:
        fields = asdict(row)
        path = None if row.path is None else str(row.path)
        note = (failed or {}).get(row.name, row.note)
        weights.append({**fields, "for": fields.pop("purpose"), "path": path, "note": note})
    folder = cache_folder()
    return {"quantart": __version__, "cache": None if folder is None else str(folder), "weights": weights}


def _keep(wanted: list[Artefact | HubReference], file: Path, as_json: bool, quiet: bool) -> int:
    """Keep a file that a person brought."""
    from quantart_cli.checkpoints.download import keep
    from quantart_cli.checkpoints.inventory import survey
    from quantart_cli.checkpoints.manifest import Artefact

    if len(wanted) != 1 or not isinstance(wanted[0], Artefact):
        raise QuantArtError("--from takes one NAME of the list: quantart download-weights NAME --from FILE")
    path = keep(wanted[0], file, None if quiet else say)
    if not quiet:
        say(f"{wanted[0].name}: {path} (from {file})")
    if as_json:
        write_json(_report(survey(wanted)))
    return 0


def _download(wanted: list[Artefact | HubReference], offline: bool, as_json: bool, quiet: bool) -> int:
    """Download each, also after one has failed. Exit status 2 when one failed."""
    from quantart_cli.checkpoints.inventory import survey
    from quantart_cli.checkpoints.package_index import forget_archives

    failed: dict[str, str] = {}
    with ExitStack() as after:
        after.callback(forget_archives)
        with bytes_bar(quiet) as bar:
            try:
                for item in wanted:
                    _download_one(item, offline, quiet, bar, failed)
            except KeyboardInterrupt:
                bar.say("quantart: interrupted; the files in the cache are complete")
                return INTERRUPTED
    for message in failed.values():
        say(f"quantart: {message}")
    if as_json:
        write_json(_report(survey(wanted), failed))
    return USER_ERROR if failed else 0


def _download_one(
    item: Artefact | HubReference, offline: bool, quiet: bool, bar: Bytes, failed: dict[str, str]
) -> None:
    from quantart_cli.checkpoints import cache
    from quantart_cli.checkpoints.download import fetch, fetch_hub
    from quantart_cli.checkpoints.manifest import Artefact

    name = item.name if isinstance(item, Artefact) else str(item)
    tell: Callable[[str], None] | None = None if quiet else bar.say
    try:
        if isinstance(item, Artefact):
            path = fetch(item, offline=offline, progress=bar.of(name), tell=tell, keep_archives=True)
            entry = None if item.embedded else cache.find(item.key)
        else:
            path = fetch_hub(item, offline=offline, progress=bar.of(name), tell=tell)
            entry = cache.find(item.key)
    except QuantArtError as error:
        failed[name] = str(error)
        return
    if tell is not None:
        origin = "comes with quantart" if entry is None else f"verified, from {entry.source.get('carrier')}"
        tell(f"{name}: {path} ({origin})")
