"""A run killed at any moment: nothing half-written, nothing painted twice, the same bytes in the end."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from pathlib import Path

import PIL.Image
import pytest

from quantart_cli.batch.ledger import Ledger
from tests.batch.stand_in import Process
from tests.conftest import scene

PICTURES, KILLS = 200, 25


def start(folder: Path, out: str, seconds: float = 0.004, *options: str) -> Process:
    """A run over ``folder/in`` in a process of its own; the names it paints go to ``folder/log``."""
    paths = folder / "in", folder / "style.png", "-o", folder / out
    return Process(folder / "log", seconds, folder / "stderr", "batch", *paths, *options)


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


def tree(folder: Path) -> dict[str, bytes]:
    """Every picture below a folder, by name; hidden files but those of the ledger count."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".quantart" not in path.relative_to(folder).parts
    }


def done(out: Path) -> set[str]:
    try:
        ledger = Ledger(out, read_only=True)
    except sqlite3.Error:
        return set()
    names = {name for name in ledger.outputs() if ledger.find(name).state == "done"}
    ledger.close()
    return names


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "more").mkdir(parents=True)
    for number in range(PICTURES):
        place = tmp_path / "in" / ("more" if number % 3 else "") / f"{number:03}.png"
        PIL.Image.fromarray(scene(8 + number % 5, 8, number)).save(place)
    PIL.Image.fromarray(scene(8, 8, 1)).save(tmp_path / "style.png")
    return tmp_path


def test_killed_again_and_again(folder):
    status, told = start(folder, "whole", 0).wait()
    assert status == 0, told
    wanted = tree(folder / "whole")
    assert len(wanted) == PICTURES
    log, out = folder / "log", folder / "out"
    dice = random.Random()
    settled: set[str] = set()
    for _ in range(KILLS):
        log.write_text("")
        process = start(folder, "out")
        some = dice.randrange(8)
        while process.status is None and log.read_text().count("\n") < some:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.03))
        process.send(signal.SIGKILL)
        status, _ = process.wait()
        assert status == -signal.SIGKILL  # it was not done yet
        painted = {Path(name).stem for name in log.read_text().split()}
        assert not painted & {Path(name).stem for name in settled}  # nothing again that the ledger had
        if not (out / ".quantart" / "ledger.sqlite").exists():
            continue
        settled = done(out)
        for name, data in tree(out).items():
            assert Path(name).name.startswith(".quantart-") or data == wanted[name]
        for name in settled:
            assert (out / name).read_bytes() == wanted[name]
    status, told = start(folder, "out", 0).wait()
    assert status == 0, told
    assert tree(out) == wanted  # temporary files would show here
    assert done(out) == set(wanted)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop(folder, kind):
    process = start(folder, "out", 0.02)
    wait_for(lambda: (folder / "out").exists() and len(tree(folder / "out")) > 3)
    process.send(kind)
    status, told = process.wait(20)
    assert status == 128 + kind, told
    assert "are left: the same command continues" in told
    assert "Traceback" not in told
    found = tree(folder / "out")
    assert 0 < len(found) < PICTURES
    assert done(folder / "out") == set(found)
    assert start(folder, "out", 0).wait()[0] == 0
    assert len(tree(folder / "out")) == PICTURES


def test_asked_to_stop_at_any_moment(folder):
    """Also while folders are searched, the ledger is opened and the summary is written."""
    for number in range(20, PICTURES):
        for path in (folder / "in").rglob(f"{number:03}.png"):
            path.unlink()
    dice = random.Random()
    for number in range(15):
        process = start(folder, f"out{number % 5}", 0)
        time.sleep(dice.uniform(0.01, 0.25))
        kind = dice.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        process.send(kind)
        status, told = process.wait(20)
        assert "Traceback" not in told
        assert status in (0, 128 + kind, -kind), told  # -kind: before the command began or after it ended
        assert not any(name.endswith(".tmp") for name in tree(folder / f"out{number % 5}"))


def test_asked_twice(folder):
    process = start(folder, "out", 3)
    wait_for((folder / "log").exists)
    process.send(signal.SIGINT)
    process.send(signal.SIGINT)
    assert process.wait(2)[0] == 130
    assert not any(name.endswith(".tmp") for name in tree(folder / "out"))
