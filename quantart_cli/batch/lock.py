"""One run at a time in an output folder; shards of one plan may run side by side.

The operating system holds the lock on an open file and releases it when the process ends, however that happens. A JSON
file beside it says who holds the lock, for people.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quantart_cli.batch.ledger import FOLDER
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason

_NAME = re.compile(r"run(?:-(\d+)-of-(\d+))?")


@contextmanager
def output_lock(folder: Path, shard: tuple[int, int] | None = None) -> Iterator[str | None]:
    """Hold an output folder, which is made if it does not exist.

    Args:
        shard: (k, n): other shards of n may hold it too.

    Yields:
        a line about an earlier run that was killed, or None.

    Raises:
        QuantArtError: another run holds it, or the folder cannot be made, written or locked.
    """
    place = folder / FOLDER
    name = "run" if shard is None else f"run-{shard[0]}-of-{shard[1]}"
    about = place / f"{name}.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with _acquired(folder, place / f"{name}.lock"):
        for path in sorted(place.glob("run*.lock")):
            found = _NAME.fullmatch(path.stem)
            parallel = shard is not None and found is not None and found[2] == str(shard[1])
            if found is not None and path.stem != name and not parallel:
                with _acquired(folder, path):
                    pass
        before = _read(about)
        facts = {"pid": os.getpid(), "host": platform.node(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        with contextlib.suppress(OSError):  # it is only for people
            about.write_text(json.dumps(facts))
        try:
            yield f"continuing a run that was killed (process {before.get('pid')})" if before else None
        finally:
            with contextlib.suppress(OSError):
                about.unlink()


@contextmanager
def _acquired(folder: Path, path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer versions fall back to a lock without flock
            lock.acquire(timeout=0)
    except Timeout:
        facts, who = _read(path.with_suffix(".json")) or {}, "another run, or its file system cannot lock files"
        if len(facts) == 3:
            who = f"process {facts['pid']} on {facts['host']}, since {facts['started']}"
        message = f"{printable(folder)} is in use by {who}: wait for it, or give another folder"
        raise QuantArtError(message) from None
    except NotImplementedError as error:
        message = f"the file system of {printable(folder)} cannot lock files: give an output folder on another disk"
        raise QuantArtError(message) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(folder: Path, error: OSError) -> QuantArtError:
    return QuantArtError(f"the output folder {printable(folder)} cannot be written: {reason(error)}")


def _read(about: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(about.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
