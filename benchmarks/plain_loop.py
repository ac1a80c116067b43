"""What a careful person writes for a folder of pictures: the networks loaded once, then a loop over the files.

    python benchmarks/plain_loop.py FOLDER STYLE OUT

The same networks in the same precision as `quantart batch --method adain`, each picture read, painted whole and written
before the next is read; the style is encoded once. Prints a JSON object: seconds in all, seconds in the networks.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(folder: str, style: str, out: str) -> None:
    start = time.perf_counter()
    import numpy as np
    import torch
    from PIL import Image

    from quantart_cli.engine.build import build
    from quantart_cli.engine.device import choose
    from quantart_cli.methods.controls import AdaINControls

    machine = choose()
    adain = build("adain", machine)

    def read(path: Path) -> torch.Tensor:
        pixels = np.array(Image.open(path).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    networks = 0.0
    Path(out).mkdir(exist_ok=True)
    with torch.inference_mode():
        encoded = adain.encode_style([(read(Path(style)), None)], (1.0,))
        for path in sorted(Path(folder).iterdir()):
            image = read(path)
            before = time.perf_counter()
            painted = adain.stylize(image, encoded, AdaINControls())[0].clamp(0, 1).mul(255).round().byte()
            painted = painted.permute(1, 2, 0).cpu().numpy()
            networks += time.perf_counter() - before
            Image.fromarray(painted).save(Path(out) / path.name, quality=95)
    print(json.dumps({"seconds": time.perf_counter() - start, "networks": networks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
