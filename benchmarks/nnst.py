"""``quantart nnst`` against a plain implementation: time and memory of the same updates.

    python benchmarks/nnst.py            # every case, a table on stdout
    python benchmarks/nnst.py compare    # some of them
    python benchmarks/nnst.py --write    # puts it into benchmarks/README.md

``compare``: ``plain_nnst.py`` and ours take the same updates at the same scales. ``large``: one picture of 2048² in
tiles, with one update at each scale, for its peak memory. Times are seconds of all CPUs together, which other work on
the machine changes less than wall time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measure import Failed, Row, Run, Target, execute, machine, render, write_figures  # noqa: E402

MARKERS = "<!-- nnst: begin -->", "<!-- nnst: end -->"
Case = Callable[[Path, argparse.Namespace], Iterator[Row]]


def quantart(given: argparse.Namespace, *options: object) -> Run:
    command = [sys.executable, "-m", "quantart_cli", "nnst", given.content, given.style, "--quiet", *options]
    return execute([*map(str, command)])


def compare(folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    """Ours against the plain one."""
    shrink = (
        "import sys, PIL.Image; image = PIL.Image.open(sys.argv[1]).convert('RGB');"
        "image.thumbnail([int(sys.argv[3])] * 2, PIL.Image.LANCZOS); image.save(sys.argv[2])"
    )
    content, style = folder / "content.png", folder / "style.png"
    for source, target in ((given.content, content), (given.style, style)):
        execute([sys.executable, "-c", shrink, source, target, str(given.size)])
    execute([sys.executable, ROOT / "benchmarks/materials.py", folder, "--weights"])
    script = [sys.executable, ROOT / "benchmarks/plain_nnst.py", content, style, folder / "plain.npy"]
    plain = execute([*map(str, [*script, "--weights", folder, "--steps", given.steps])])
    given = argparse.Namespace(**{**vars(given), "content": content, "style": style})
    ours = quantart(given, "-o", folder / "ours.png", "--steps", given.steps)
    case = f"`nnst`, {given.size} px, {given.steps} updates"
    yield Row(f"{case}: CPU time", ours.cpu, "s", Target("≤", 0.4), plain.cpu)
    yield Row(f"{case}: peak memory", ours.peak / 1e6, "MB", Target("≤", 0.6), plain.peak / 1e6)


def large(folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    """One large picture, in tiles."""
    side = given.large
    run = quantart(given, "-o", folder / "large.png", "--size", side, "--tile", 512, "--steps", 1)
    yield Row(f"`nnst`, {side}², in tiles of 512: peak memory", run.peak / 1e9, "GB", Target("≤", 4, "GB"))
    yield Row(f"`nnst`, {side}², one update a scale: CPU time", run.cpu, "s")


CASES: dict[str, Case] = {case.__name__: case for case in (compare, large)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", default="100,80,25,8,4")
    parser.add_argument("--large", type=int, default=2048)
    parser.add_argument("--content", type=Path, default=ROOT / "examples/photos/astronaut.jpg")
    parser.add_argument("--style", type=Path, default=ROOT / "examples/styles/starry-oil.jpg")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    arguments = parser.parse_args()
    here, rows, notes = machine(), [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.cases or CASES:
            try:
                rows += list(CASES[name](Path(folder), arguments))
            except Failed as error:
                notes.append(f"**{name} failed**: {error}")
    figures = render(here, rows, notes)
    print(figures)
    if arguments.write:
        write_figures(figures, MARKERS)


if __name__ == "__main__":
    main()
