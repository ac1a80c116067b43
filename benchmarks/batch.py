"""`quantart batch` against a loop of `quantart stylize`, and against a plain loop over the networks.

python benchmarks/batch.py            # every case, a table on stdout
python benchmarks/batch.py --write    # puts it into benchmarks/README.md
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.measure import Failed, Row, Run, Target, alternate, execute, machine, render, write_figures  # noqa: E402

MARKERS = "<!-- batch: begin -->", "<!-- batch: end -->"
ONE_BY_ONE = 8  # pictures painted by a process each: the others would take as long
Found = Iterator["Row | str"]


class Bench:
    """Where it is measured, and on what."""

    def __init__(self, folder: Path, pictures: int, many: int, repeat: int) -> None:
        self.folder, self.pictures, self.many, self.repeat = folder, pictures, many, repeat

    def photos(self, count: int, side: int) -> Path:
        """A folder of so many pictures: eight that are drawn, and copies of them."""
        place = self.folder / f"{count}x{side}"
        if not place.exists():
            drawn = [f"{side}x{side}-{seed}.jpg" for seed in range(8)]
            execute([sys.executable, HERE / "materials.py", self.folder, *drawn])
            place.mkdir()
            for number in range(count):
                shutil.copy(self.folder / drawn[number % 8], place / f"{number:05}.jpg")
        return place

    def style(self) -> Path:
        execute([sys.executable, HERE / "materials.py", self.folder, "1024x800-99.png"])
        return self.folder / "1024x800-99.png"

    def quantart(self, *words: object) -> Run:
        return execute([sys.executable, "-m", "quantart_cli", *map(str, words)], self.folder / "cache")

    def batch(self, photos: Path, *options: str) -> Run:
        """One run into an empty folder."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        return self.quantart("batch", photos, self.style(), "-o", out, "--method", "adain", "--quiet", *options)

    def loop(self, photos: Path) -> dict[str, float]:
        out = self.folder / "loop"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, HERE / "plain_loop.py", photos, self.style(), out]
        found = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if found.returncode:
            raise Failed((found.stderr.strip().splitlines() or ["the plain loop failed"])[-1])
        return json.loads(found.stdout)


def rate(bench: Bench) -> Found:
    """200 pictures of 512 px: `batch`, a plain loop over the networks, `quantart adain` on each."""
    count, photos = bench.pictures, bench.photos(bench.pictures, 512)
    loops: list[dict[str, float]] = []

    def loop(i: int) -> Run:
        start = time.perf_counter()
        loops.append(bench.loop(photos))
        return Run(time.perf_counter() - start, 0)

    def one_by_one(_: int) -> Run:
        start = time.perf_counter()
        for path in sorted(photos.iterdir())[:ONE_BY_ONE]:
            bench.quantart(
                "adain", path, bench.style(), "-o", bench.folder / "one.jpg", "--quiet", "--runtime", "torch"
            )
        return Run((time.perf_counter() - start) / ONE_BY_ONE * count, 0)

    commands = {
        "torch": lambda _: bench.batch(photos, "--runtime", "torch"),
        "loop": loop,
        "each": one_by_one,
        "openvino": lambda _: bench.batch(photos, "--runtime", "openvino"),
    }
    bench.batch(bench.photos(1, 512), "--runtime", "torch")  # so that what the first run reads is in memory
    try:
        bench.batch(bench.photos(1, 512), "--runtime", "openvino")
    except Failed as error:
        del commands["openvino"]
        yield f"OpenVINO left out: {error}"
    found = alternate(commands, bench.repeat, warm=False)
    networks = count / min(each["networks"] for each in loops)
    case = f"{count} pictures of 512²:"
    for runtime in ("torch", "openvino"):
        if runtime in found:
            ours = count / found[runtime].seconds
            goal = Target("≥", 0.95) if runtime == "torch" else None
            yield Row(
                f"{case} `batch`, {runtime}, against the plain loop", ours, "/s", goal, count / found["loop"].seconds
            )
            yield Row(f"{case} `batch`, {runtime}, against the networks alone in that loop", ours, "/s", None, networks)
            yield Row(
                f"{case} `batch`, {runtime}, against a process each", ours, "/s", None, count / found["each"].seconds
            )


def memory(bench: Bench) -> Found:
    """Peak memory of 2,000 pictures against that of 100, 128 px."""
    few, many = (bench.batch(bench.photos(n, 128), "--runtime", "torch").peak for n in (100, bench.many))
    yield Row(f"peak memory: {bench.many:,} pictures against 100", many / 1e6, "MB", Target("≤", 1.1), few / 1e6)


def together(bench: Bench) -> Found:
    """Networks on eight pictures at once against one after the other."""
    program = (
        "import json, time, torch\n"
        "from quantart_cli.backends.torch_backend import load_network\n"
        "from quantart_cli.checkpoints.models import embedded_model\n"
        "from quantart_cli.device import choose_device\n"
        "from quantart_cli.nets.decoder import Decoder\n"
        "from quantart_cli.nets.vgg import VGG19\n"
        "spec = choose_device()\n"
        "vgg, decoder = (load_network(kind, embedded_model(name)).to(spec.device, spec.dtype)"
        ".to(memory_format=torch.channels_last) "
        "for kind, name in ((VGG19, 'vgg19-normalised'), (Decoder, 'adain-decoder')))\n"
        "found = {}\n"
        "with torch.inference_mode():\n"
        "    for side in (64, 128, 256, 512):\n"
        "        x = torch.rand(8, 3, side, side, device=spec.device)\n"
        "        for name, count in (('one', 1), ('eight', 8)):\n"
        "            best = 1e9\n"
        "            for _ in range(4):\n"
        "                start = time.perf_counter()\n"
        "                for i in range(0, 8, count):\n"
        "                    decoder(vgg(x[i:i + count])['relu4_1']).cpu()\n"
        "                best = min(best, time.perf_counter() - start)\n"
        "            found[f'{name} {side}'] = 8 / best\n"
        "print(json.dumps(found))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=HERE.parent)
    if said.returncode:
        raise Failed(said.stderr.strip().splitlines()[-1])
    found = json.loads(said.stdout)
    for side in (64, 128, 256, 512):
        yield Row(f"networks, eight of {side}² at once, against one by one", found[f"eight {side}"], "/s", None,
                  found[f"one {side}"])  # fmt: skip


def planning(bench: Bench) -> Found:
    """A run over a folder that is done already: what looking costs."""
    photos = bench.photos(bench.many, 128)
    bench.batch(photos, "--runtime", "torch")
    run = bench.quantart("batch", photos, bench.style(), "-o", bench.folder / "out", "--method", "adain", "--quiet")
    yield Row(f"`batch` again, all {bench.many:,} up to date", run.seconds, "s")


CASES: dict[str, Callable[[Bench], Found]] = {case.__name__: case for case in (rate, memory, planning, together)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--pictures", type=int, default=200, metavar="N")
    parser.add_argument("--many", type=int, default=2000, metavar="N", help="pictures of the case memory")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs of each command that count")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    arguments = parser.parse_args()
    here = machine()
    rows, notes = [], []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.pictures, arguments.many, max(1, arguments.repeat))
        for name in arguments.cases or CASES:
            print(f"{name}: {CASES[name].__doc__}", file=sys.stderr, flush=True)
            try:
                for found in CASES[name](bench):
                    (notes if isinstance(found, str) else rows).append(found)
            except Failed as error:
                notes.append(f"{name} failed: {error}")
    figures = render(here, rows, notes)
    print(figures)
    if arguments.write:
        write_figures(figures, MARKERS)


if __name__ == "__main__":
    main()
