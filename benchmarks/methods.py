"""Time and memory of every method at 512 × 512, and the table of the README made of them.

    python benchmarks/methods.py [METHOD...] [--write]     # measure; --write: into quantart_cli/measured.json
    python benchmarks/methods.py --table                   # write the table of the README again

Each method paints one picture in a process of its own: PyTorch on the CPU, one thread, default settings. The time is
that of the CPU, which other programs change less than that of the clock, and AdaIN is measured again beside each
method. A feed-forward method has painted a picture before. Weights that are not here are replaced by random ones of the
same shapes: time and memory do not depend on their values. A method that cannot be loaded keeps what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import machine, replace

ROOT = Path(__file__).resolve().parents[1]
SIDE = 512
README_MARKERS = "<!-- methods: begin -->", "<!-- methods: end -->"


def measure(name: str) -> dict[str, float]:
    """Paint here and now."""
    import torch

    import quantart_cli as quantart
    from benchmarks.materials import draw

    torch.set_num_threads(1)
    content, style = draw(SIDE, SIDE, 1), draw(SIDE, SIDE, 2)
    with tempfile.TemporaryDirectory() as folder:
        model = quantart.load(name, model=stand_in(name, Path(folder)), device="cpu", backend="torch")
        for _ in range(1 if model.optimises else 2):
            start = time.process_time()
            model.stylize(content, style if model.method.needs_style else ())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": time.process_time() - start, "megabytes": peak / 1e6}


def stand_in(method: str, folder: Path) -> Path | None:
    """A file of random weights in place of the one file that is not here; None: all are here."""
    import safetensors.torch

    from quantart_cli.checkpoints.layouts import KINDS
    from quantart_cli.cli.methods import missing_weights
    from quantart_cli.registry import find

    missing = missing_weights(find(method))
    if not missing:
        return None
    (kind,) = missing
    if kind == "magenta":  # a network of fast whose sizes depend on the file
        from quantart_cli.nets.fast import StyleNetwork
        from quantart_cli.nets.magenta import Predictor

        network = StyleNetwork(biased=("contract1", "contract2", "contract3"))
        network.predictor = Predictor(network.channels)
    else:
        where = KINDS[kind].network
        assert isinstance(where, str)
        module, _, name = where.partition(":")
        network = getattr(__import__(module, fromlist=[name]), name)()
    tensors = network.state_dict()
    path = folder / f"{kind}.safetensors"
    safetensors.torch.save_file(tensors, path, {"format": "pt", "kind": kind})
    return path


def in_a_process(name: str) -> dict[str, float] | None:
    """The measurement in a process of its own; None if it failed, which is said."""
    command = [sys.executable, __file__, "--measure", name]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if ended.returncode:
        print(f"{name}: {(ended.stderr.strip().splitlines() or ['it said nothing'])[-1]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def table() -> None:
    """Write the table of the README again."""
    from quantart_cli.cli.methods import table as rows

    readme = ROOT / "README.md"
    readme.write_text(replace(readme.read_text("utf-8"), f"{rows()}\n", README_MARKERS), "utf-8")


def main() -> None:
    from quantart_cli.cli.methods import MEASURED
    from quantart_cli.device import choose_device
    from quantart_cli.registry import methods

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", nargs="*", metavar="METHOD", help="Default: all that come with quantart.")
    parser.add_argument("--write", action="store_true", help="Write what was measured, and the table.")
    parser.add_argument("--table", action="store_true", help="Measure nothing, write the table.")
    parser.add_argument("--measure", metavar="METHOD", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    if arguments.table:
        table()
        return
    own = [name for name, row in methods().items() if row.target.startswith("quantart_cli.")]
    kept: dict[str, Any] = json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else {"methods": {}}
    for name in arguments.method or own:
        found = in_a_process(name)
        adain = found if name == "adain" else in_a_process("adain")
        if found is None or adain is None:
            continue
        found = {
            "seconds": round(found["seconds"], 3),
            "times_adain": round(found["seconds"] / adain["seconds"], 2),
            "megabytes": round(found["megabytes"]),
        }
        print(name, json.dumps(found), flush=True)
        kept["methods"][name] = found
        if arguments.write:  # after each: a method may take minutes
            cpu, precision = machine()["CPU"].split(",")[0], choose_device("cpu").precision
            kept["machine"] = (
                f"one picture of {SIDE} × {SIDE} px by PyTorch in {precision} on one core ({cpu}); × is relative to "
                "adain, memory that of the whole process. Measured with benchmarks/methods.py."
            )
            kept["methods"] = {each: kept["methods"][each] for each in own if each in kept["methods"]}
            MEASURED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
            table()


if __name__ == "__main__":
    main()
