"""A run killed at any moment: nothing half-written, nothing painted twice, the same bytes in the end."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from quantart_cli.batch.ledger import Ledger
from tests.conftest import scene

PICTURES, KILLS = 200, 25


def start(folder: Path, out: str, seconds: float = 0.004, *options: str) -> subprocess.Popen:
    """A run over ``folder/in`` in a process of its own; the names it paints go to ``folder/log``."""
    command = [sys.executable, "-m", "tests.batch.stand_in", str(folder / "log"), str(seconds)]
    command += ["batch", str(folder / "in"), str(folder / "style.png"), "-o", str(folder / out), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


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
    whole = start(folder, "whole", 0)
    assert whole.wait() == 0, whole.stderr.read()
    wanted = tree(folder / "whole")
    assert len(wanted) == PICTURES
    log, out = folder / "log", folder / "out"
    dice = random.Random()
    settled: set[str] = set()
    for _ in range(KILLS):
        log.write_text("")
        process = start(folder, "out")
        some = dice.randrange(8)
        while process.poll() is None and log.read_text().count("\n") < some:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.03))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL  # it was not done yet
        painted = {Path(name).stem for name in log.read_text().split()}
        assert not painted & {Path(name).stem for name in settled}  # nothing again that the ledger had
        if not (out / ".quantart" / "ledger.sqlite").exists():
            continue
        settled = done(out)
        for name, data in tree(out).items():
            assert Path(name).name.startswith(".quantart-") or data == wanted[name]
        for name in settled:
            assert (out / name).read_bytes() == wanted[name]
    last = start(folder, "out", 0)
    _, told = last.communicate()
    assert last.returncode == 0, told
    assert tree(out) == wanted  # temporary files would show here
    assert done(out) == set(wanted)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop(folder, kind):
    process = start(folder, "out", 0.02)
    for _ in range(200):
        time.sleep(0.05)
        if (folder / "out").exists() and len(tree(folder / "out")) > 3:
            break
    process.send_signal(kind)
    _, told = process.communicate(timeout=20)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[kind], told
    assert "are left: the same command continues" in told
    assert "Traceback" not in told
    found = tree(folder / "out")
    assert 0 < len(found) < PICTURES
    assert done(folder / "out") == set(found)
    again = start(folder, "out", 0)
    assert again.wait() == 0
    assert len(tree(folder / "out")) == PICTURES


def test_asked_twice(folder):
    process = start(folder, "out", 3)
    for _ in range(200):
        time.sleep(0.05)
        if (folder / "log").exists():
            break
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=2)
    assert process.returncode == 130
    assert not any(name.endswith(".tmp") for name in tree(folder / "out"))
