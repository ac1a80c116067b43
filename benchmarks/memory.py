"""Peak memory a pixel of each method: where the constants of quantart_cli/memory.py come from.

    python benchmarks/memory.py [--long-side 1024 2048]

Every case runs in a process of its own. The last column is what the program predicts before it starts over what was
measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CASES = [
    (method, backend, precision)
    for backend in ("torch", *(("openvino",) if importlib.util.find_spec("openvino") else ()))
    for method in ("adain", "quantart", "gatys")
    if (method, backend) != ("gatys", "openvino")
    for precision in ("bf16", "fp32")
]


def measure(method: str, backend: str, precision: str, side: int) -> dict[str, float]:
    """Run one case here and now."""
    import numpy as np

    import quantart_cli as quantart
    from quantart_cli.memory import needed, needed_to_optimise

    model = quantart.load(method, device="cpu", precision=precision, backend=backend)
    random = np.random.default_rng(0)
    content, style = (random.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8) for _ in range(2))
    encoded = model.encode_style(style, size=256)
    before = _peak()
    settings = {
        "gatys": {"steps": 25, "pyramid": "none", "tolerance": 0},  # until L-BFGS is full
        "quantart": {"brush": "none"},
    }.get(method, {})
    model.stylize(content, encoded, tile="none", **settings)
    pixels = side * side * 3 // 4
    if model.optimises:
        predicted = needed_to_optimise(side, side * 3 // 4, None, model.spec)
    else:
        predicted = needed(pixels, model.spec, model.network)
    return {"bytes": _peak() - before, "pixels": pixels, "predicted": predicted}


def _peak() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long-side", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--case", nargs=4, metavar=("METHOD", "BACKEND", "PRECISION", "SIDE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        *case, side = arguments.case
        print(json.dumps(measure(*case, int(side))))
        return
    print(
        "| method | backend | precision | long side | peak MB | bytes a pixel | predicted / measured |\n"
        "|---|---|---|---|---|---|---|"
    )
    for case in CASES:
        for side in arguments.long_side:
            command = [sys.executable, __file__, "--case", *case, str(side)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row = (*case, side, f"{found['bytes'] / 1e6:.0f}", f"{found['bytes'] / found['pixels']:.0f}")
            print(f"| {' | '.join(map(str, row))} | {found['predicted'] / found['bytes']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
