"""``quantart cache``: where the cache is, how large it is, and clearing it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from quantart_cli.checkpoints.cache import cache_folder
from quantart_cli.cli.console import write_json, write_line
from quantart_cli.cli.options import ReportOptions, option
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason


@dataclass(frozen=True, kw_only=True)
class CacheOptions(ReportOptions):
    """Show where the cache is and how large it is, or clear it.

    The cache holds downloaded weights, networks prepared for OpenVINO, and statistics of styles. QUANTART_CACHE moves
    it.

    quantart cache --clear

    quantart cache

    quantart cache --json
    """

    clear: Annotated[bool, option(None, "Remove all of it. What is needed again is downloaded or computed again.")] = (
        False
    )


@dataclass(frozen=True)
class Part:
    """A folder in the cache: its name, bytes and files."""

    name: str
    bytes: int
    files: int


def run(options: CacheOptions) -> int:
    """Print sizes, or clear the cache; returns the exit status."""
    folder = cache_folder()
    parts = parts_of(folder)
    total = sum(part.bytes for part in parts)
    if options.clear and folder is not None:
        _clear(folder, [part.name for part in parts])
    if options.json:
        rows = [{"name": part.name, "bytes": part.bytes, "files": part.files} for part in parts]
        shown = None if folder is None else str(folder)
        write_json({"cache": shown, "bytes": total, "parts": rows, "cleared": options.clear})
    elif not options.quiet:
        if not options.clear:
            for part in parts:
                write_line(f"{part.bytes / 1e6:8.1f} MB  {part.files:5} files  {printable(part.name)}")
        write_line(describe(folder, total) + (", cleared" if options.clear and parts else ""))
    return 0


def describe(folder: Path | None, total: int) -> str:
    """One line about the cache."""
    if folder is None:
        return "there is no cache folder: QUANTART_CACHE chooses one"
    return f"cache {printable(folder)}: {total / 1e6:.1f} MB"


def parts_of(folder: Path | None) -> list[Part]:
    """The folders and files in the cache, the largest first; none where it does not exist or cannot be read."""
    if folder is None:
        return []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    parts = []
    for entry in entries:
        sizes = [_size(Path(entry.path))] if not entry.is_dir(follow_symlinks=False) else _sizes(entry.path)
        parts.append(Part(entry.name, sum(sizes), len(sizes)))
    return sorted(parts, key=lambda part: -part.bytes)


def _sizes(folder: str) -> list[int]:
    return [_size(Path(root, name)) for root, _, names in os.walk(folder) for name in names]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


# What quantart keeps in its cache beside entries, which have a record.
_OWN = {"styles", "computed", "locks"}


def _clear(folder: Path, names: list[str]) -> None:
    """Remove what quantart wrote; anything else that lies there is left, since a person may have chosen the folder."""
    try:
        for name in names:
            path = folder / name
            if name in _OWN or (path / "record.json").exists():
                shutil.rmtree(path)
    except OSError as error:
        raise QuantArtError(f"the cache {printable(folder)} cannot be cleared: {reason(error)}") from None
