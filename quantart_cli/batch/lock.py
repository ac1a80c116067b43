"""One run at a time in an output folder; shards of one plan may run side by side.

The lock is the operating system's, on an open file: it goes with its process, however that ends, so a dead process
holds nothing and the next run takes over. Who holds it stands in a file beside it, for people.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quantart_cli.batch.ledger import FOLDER
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable, reason

_NAME = re.compile(r"run(?:-(\d+)-of-(\d+))?\.lock")


@contextmanager
def alone(folder: Path, shard: tuple[int, int] | None = None) -> Iterator[str | None]:
    """Hold an output folder, which is made if it does not exist.

    Args:
        folder: the output folder.
        shard: (k, n): other shards of n may hold it too.

    Yields:
        what to tell about a run before that died, or None.

    Raises:
        QuantArtError: another run holds it (it is named), or the folder cannot be made or written.
    """
    place = folder / FOLDER
    name = "run" if shard is None else f"run-{shard[0]}-of-{shard[1]}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / f"{name}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise _held(folder, place / f"{name}.json") from None
    except OSError as error:
        raise QuantArtError(f"the output folder {printable(folder)} cannot be written: {reason(error)}") from error
    about = place / f"{name}.json"
    try:
        _refuse_others(folder, place, name, shard)
        before = _read(about)
        facts = {"pid": os.getpid(), "host": platform.node(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        with contextlib.suppress(OSError):  # it is only for people
            about.write_text(json.dumps(facts))
        try:
            yield before and f"going on after a run that ended in the middle (process {before.get('pid')})"
        finally:
            with contextlib.suppress(OSError):
                about.unlink()
    finally:
        lock.release()


def _refuse_others(folder: Path, place: Path, own: str, shard: tuple[int, int] | None) -> None:
    for path in sorted(place.glob("run*.lock")):
        found = _NAME.fullmatch(path.name)
        if found is None or path.stem == own:
            continue
        if shard is not None and found[2] is not None and int(found[2]) == shard[1]:
            continue
        other = FileLock(path)
        try:
            other.acquire(timeout=0)
        except Timeout:
            raise _held(folder, path.with_suffix(".json")) from None
        other.release()


def _held(folder: Path, about: Path) -> QuantArtError:
    facts = _read(about) or {}
    who = f"process {facts['pid']} on {facts['host']}, since {facts['started']}" if len(facts) == 3 else "another run"
    return QuantArtError(f"{printable(folder)} is being painted into by {who}: wait for it, or give another folder")


def _read(about: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(about.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
