"""``quantart gatys`` against a plain implementation: time, memory and noise to the same loss.

    python benchmarks/gatys.py            # every case, a table on stdout
    python benchmarks/gatys.py compare    # some of them
    python benchmarks/gatys.py --write    # puts it into benchmarks/README.md

``compare``: ``plain_gatys.py`` takes its iterations at full size in float32. Both results are then looked at by one
and the same judge, in float32 at full size: α L_content + β L_style, without the total variation that only ours lowers;
with the paper's layers and its average pooling, which are not our defaults.
Ours runs with more and more steps, each time anew in a process of its own, until its loss is at most the plain one's;
the time and memory of that run count. Noise is the energy of the luminance above half the Nyquist frequency.

``large``: one picture of 2048² in tiles, for its peak memory and time.

``--keep FOLDER`` keeps the pictures, and what the plain run took: it is not run again. With a GPU, ``--device cuda``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measure import Failed, Row, Run, Target, execute, machine, render, write_figures  # noqa: E402

MARKERS = "<!-- gatys: begin -->", "<!-- gatys: end -->"
ALPHA, BETA = 1.0, 12.0  # quantart's defaults
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")  # all alike, as the paper has them
CONTENT = "relu4_2"
LARGE_STEPS = 100


class Bench:
    """Pictures and runs in one folder.

    Args:
        folder: scratch.
        arguments: of the command line.
    """

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder, self.arguments = folder, arguments
        self.content, self.style = folder / "content.png", folder / "style.png"
        self.notes: list[str] = []  # of a plain run that was kept

    def prepare(self) -> None:
        """The pictures at one size, and the weights as the plain script reads them."""
        given = self.arguments
        for source, target in ((given.content, self.content), (given.style, self.style)):
            program = (
                "import sys, PIL.Image; image = PIL.Image.open(sys.argv[1]).convert('RGB'); side = int(sys.argv[3]);"
                "scale = side / max(image.size);"
                "image.resize([max(1, round(n * scale)) for n in image.size], PIL.Image.LANCZOS).save(sys.argv[2])"
            )
            execute([sys.executable, "-c", program, source, target, str(given.size)])
        execute([sys.executable, ROOT / "benchmarks/materials.py", self.folder, "--weights"])

    def plain(self) -> Run:
        """What it takes to run the plain script; where its result was kept, what it took then."""
        given, kept = self.arguments, self.folder / "plain.json"
        script = [sys.executable, ROOT / "benchmarks/plain_gatys.py", self.content, self.style]
        options = ["--weights", self.folder, "--iterations", given.iterations, "--device", given.device]
        weights = ["--content-weight", ALPHA, "--style-weight", BETA]
        asked = [*map(str, [given.content.name, given.style.name, given.size, *options[2:], *weights])]
        if kept.exists() and (found := json.loads(kept.read_text()))["asked"] == asked:
            self.notes = found.get("notes", [])
            return Run(found["seconds"], found["peak"])
        run = execute([*map(str, [*script, self.folder / "plain.npy", *options, *weights])])
        kept.write_text(json.dumps({"asked": asked, "seconds": run.seconds, "peak": run.peak}))
        return run

    def ours(self, steps: int) -> Run:
        weights = ["--content-weight", ALPHA, "--style-weight", BETA]
        network = ["--pooling", "average", "--content-layers", CONTENT, "--style-layers", ",".join(STYLE)]
        options = ["--steps", steps, "--tolerance", 0, *network]
        return self.quantart(self.content, self.style, self.folder / "ours.png", *weights, *options)

    def quantart(self, content: Path, style: Path, output: Path, *options: object) -> Run:
        command = [sys.executable, "-m", "quantart_cli", "gatys", content, style, "-o", output, "--quiet"]
        return execute([*map(str, [*command, "--device", self.arguments.device, *options])])

    def judge(self, picture: Path) -> tuple[float, float]:
        """The loss of a result, in float32 at full size, and its noise."""
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from benchmarks.gatys import look;"
            "print(*look(*sys.argv[2:]), file=open(sys.argv[4] + '.txt', 'w'))"
        )
        execute([sys.executable, "-c", program, ROOT, self.content, self.style, picture])
        loss, noise = map(float, Path(f"{picture}.txt").read_text().split())
        return loss, noise


def look(content: str, style: str, picture: str) -> tuple[float, float]:
    """What :meth:`Bench.judge` tells, computed here and now."""
    import numpy as np
    import torch

    from quantart_cli.backends.torch_backend import load_network
    from quantart_cli.checkpoints.models import embedded_model
    from quantart_cli.images import read_picture
    from quantart_cli.methods.gatys import Optimisation
    from quantart_cli.methods.gatys_settings import GatysSettings
    from quantart_cli.methods.inputs import OptimisationInputs
    from quantart_cli.methods.optimising import Styles
    from quantart_cli.methods.pyramid import Level
    from quantart_cli.nets.vgg import VGG19
    from quantart_cli.tiling import Tiler

    def tensor(path: str) -> torch.Tensor:
        if path.endswith(".npy"):
            return torch.from_numpy(np.load(path))
        return torch.from_numpy(read_picture(path).rgb.copy()).permute(2, 0, 1)[None].float() / 255

    image, p, a = map(tensor, (picture, content, style))
    vgg = load_network(VGG19, embedded_model("vgg19-normalised"))
    layers = {"content_layers": CONTENT, "style_layers": ",".join(STYLE), "pooling": "average"}
    settings = GatysSettings(content_weight=ALPHA, style_weight=BETA, tv_weight=0, **layers)
    run = Optimisation(vgg, Styles(((a, None),), (1.0,)), settings, None, Tiler(512), OptimisationInputs(), 0)
    run.descent(p, image, Level(p.shape[3], p.shape[2], 1))
    return sum(run.latest.values()), noise_of(image)


def noise_of(image: object) -> float:
    """Energy of the luminance of (1, 3, H, W) above half the Nyquist frequency, along either axis, a pixel."""
    import torch

    assert isinstance(image, torch.Tensor)
    luminance = (image[0].clamp(0, 1) * image.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    energy = torch.fft.fft2(luminance - luminance.mean()).abs().square()
    down, across = (torch.fft.fftfreq(n).abs() for n in luminance.shape)
    high = torch.maximum(down[:, None], across[None]) > 0.25
    return (energy[high].sum() / luminance.numel() ** 2).item()


def compare(bench: Bench) -> Iterator[Row | str]:
    """Ours against the plain one."""
    size, iterations = bench.arguments.size, bench.arguments.iterations
    bench.prepare()
    plain = bench.plain()
    yield from bench.notes
    loss, noise = bench.judge(bench.folder / "plain.npy")
    for steps in bench.arguments.steps:
        run = bench.ours(steps)
        own_loss, own_noise = bench.judge(bench.folder / "ours.png")
        print(f"{steps} steps: loss {own_loss:.4f} to {loss:.4f}, {run.seconds:.0f} s", file=sys.stderr, flush=True)
        if own_loss <= loss:
            break
    else:
        yield f"**the loss of {iterations} plain iterations was not reached**: {own_loss:.4f}, not {loss:.4f}"
    case = f"`gatys`, {size} px, {steps} steps against {iterations} plain ones"
    yield f"{case}: float32 loss at full size {own_loss:.4f} against {loss:.4f}"
    yield Row(f"{case}: wall time", run.seconds, "s", Target("≤", 0.25), plain.seconds)
    yield Row(f"{case}: peak memory", run.peak / 1e6, "MB", Target("≤", 0.7), plain.peak / 1e6)
    yield Row(f"{case}: energy above half Nyquist", own_noise, "scale", Target("≤", 0.8), noise)


def large(bench: Bench) -> Iterator[Row | str]:
    """One large picture, in tiles where there is no GPU."""
    given = bench.arguments
    options = ["--size", given.large, "--steps", LARGE_STEPS, *(("--tile", 512) if given.device == "cpu" else ())]
    run = bench.quantart(given.content, given.style, bench.folder / "large.png", *options)
    side = given.large
    yield Row(f"`gatys`, {side}², {LARGE_STEPS} steps: peak memory", run.peak / 1e9, "GB", Target("≤", 3, "GB"))
    yield Row(f"`gatys`, {side}², {LARGE_STEPS} steps: wall time", run.seconds, "s")


CASES: dict[str, Callable[[Bench], Iterator[Row | str]]] = {case.__name__: case for case in (compare, large)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 600, 1200, 2400])
    parser.add_argument("--large", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--content", type=Path, default=ROOT / "examples/photos/astronaut.jpg")
    parser.add_argument("--style", type=Path, default=ROOT / "examples/styles/starry-oil.jpg")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where pictures and the plain run's figures stay")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    arguments = parser.parse_args()
    here = machine()
    rows: list[Row] = []
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, arguments)
        for name in arguments.cases or CASES:
            try:
                for found in CASES[name](bench):
                    (notes if isinstance(found, str) else rows).append(found)  # type: ignore[arg-type]
            except Failed as error:
                notes.append(f"**{name} failed**: {error}")
    figures = render(here, rows, notes)
    print(figures)
    if arguments.write:
        write_figures(figures, MARKERS)


if __name__ == "__main__":
    main()
