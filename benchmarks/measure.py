"""Commands timed side by side, and what was found as a table. The standard library alone.

Nothing large is imported here: the peak that Linux reports of a process begins at the size of the one it came from.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Around what ``--write`` replaces in benchmarks/README.md."""

_PACKAGES = ("quantart-cli", "torch", "torchvision", "openvino", "numpy", "pillow")
_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
_UNITS = {"s": "{:.2f} s", "ms": "{:.1f} ms", "GB": "{:.2f} GB", "MB": "{:.0f} MB", "/s": "{:.2f} /s", "%": "{:.0f} %",
          "dB": "{:.1f} dB", "s/MP": "{:.3f} s/MP", "TFLOP/s": "{:.2f} TFLOP/s", "scale": "{:.1e}"}  # fmt: skip


class Run(NamedTuple):
    """One run of a command: wall time in seconds, peak resident memory in bytes, seconds of all CPUs together."""

    seconds: float
    peak: float
    cpu: float = 0.0


class Failed(Exception):
    """A command that did not end well; the message is its last line."""


def execute(command: Sequence[str | Path], cache: Path | None = None) -> Run:
    """Run a command in a fresh process.

    Args:
        command: its words.
        cache: where quantart keeps its cache; None: where it always does.

    Raises:
        Failed: another exit status than 0.
    """
    # An installed program finds its modules compiled: one that may not write them would compile them again and again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if cache is not None:
        environment["QUANTART_CACHE"] = str(cache)
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise Failed(f"{Path(command[0]).name} ended with {process.returncode}: {lines[-1]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(seconds, peak, usage.ru_utime + usage.ru_stime)


def alternate(commands: Mapping[str, Callable[[int], Run]], repeat: int, warm: bool = True) -> dict[str, Run]:
    """Medians of several runs of each command, in turns, so that all see the same machine.

    Args:
        commands: by name; each is given the number of its run, 0 being one that does not count: it fills the caches.
        repeat: runs that count.
        warm: whether there is a run that does not.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for i in range(0 if warm else 1, repeat + 1):
        for name, command in commands.items():
            found = command(i)
            if i > 0:
                runs[name].append(found)
    return {name: Run(*map(statistics.median, zip(*each, strict=True))) for name, each in runs.items()}


@dataclass(frozen=True)
class Target:
    """What is to be reached, of the ratio where there is one to a baseline, otherwise of the figure itself."""

    relation: str
    limit: float
    unit: str = "×"

    def met(self, value: float) -> bool:
        return value <= self.limit if self.relation == "≤" else value >= self.limit

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g} {self.unit}".removesuffix(" scale")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        case: what was measured.
        ours: the figure.
        unit: of it, a key of ``_UNITS``.
        target: what it was to be; None: it is there to be read.
        baseline: what ours is compared with, in the same unit.
    """

    case: str
    ours: float
    unit: str
    target: Target | None = None
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.ours / self.baseline if self.baseline else None

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.target.met(self.ours if self.ratio is None else self.ratio)

    def cells(self) -> list[str]:
        """As the table shows it."""
        show = _UNITS[self.unit].format
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        baseline = "" if self.baseline is None else show(self.baseline)
        return [self.case, show(self.ours), baseline, ratio, "" if self.target is None else str(self.target), met]

    def record(self) -> dict[str, object]:
        """As JSON has it."""
        target = None if self.target is None else str(self.target)
        return {"case": self.case, "ours": self.ours, "baseline": self.baseline, "unit": self.unit,
                "ratio": self.ratio, "target": target, "met": self.met}  # fmt: skip


def render(machine: Mapping[str, str], rows: Sequence[Row], notes: Sequence[str]) -> str:
    """The machine, the table and remarks, as Markdown."""
    lines = [f"* {name}: {value}" for name, value in machine.items()]
    heads = ["case", "ours", "baseline", "ratio", "target", "met"]
    table = [heads, ["---", "--:", "--:", "--:", "--:", ":-:"], *(row.cells() for row in rows)]
    lines += ["", *(f"| {' | '.join(cells)} |" for cells in table), ""]
    lines += [f"* {note}" for note in notes]
    return "\n".join(lines).strip() + "\n"


def replace(text: str, figures: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """A README with what stands between two markers replaced.

    Raises:
        ValueError: it has no such markers.
    """
    before, begin, rest = text.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not begin or not end:
        raise ValueError(f"no {' … '.join(markers)} to write between")
    return f"{before}{begin}\n\n{figures}\n{end}{after}"


def write_figures(figures: str, markers: tuple[str, str] = (BEGIN, END)) -> None:
    """Put figures between two markers of benchmarks/README.md."""
    readme = Path(__file__).resolve().parent / "README.md"
    readme.write_text(replace(readme.read_text("utf-8"), figures, markers), "utf-8")


def machine() -> dict[str, str]:
    """Figures of this machine."""
    cpu, flags = platform.processor() or platform.machine(), ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            cpu = value.strip()
        elif name.strip() == "flags":
            flags = ", ".join(f"{told}: {'yes' if flag in value.split() else 'no'}" for flag, told in _FLAGS.items())
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    return {
        "CPU": "; ".join(filter(None, (f"{cpu}, {os.cpu_count()} cores", flags))),
        "memory": f"{memory:.0f} GB",
        "versions": ", ".join(versions),
        "load before the first case": f"{os.getloadavg()[0]:.2f}",
    }
