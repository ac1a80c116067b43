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

    from quantart_cli.backends.torch_backend import load_network
    from quantart_cli.checkpoints.models import embedded_model
    from quantart_cli.device import choose_device
    from quantart_cli.nets.decoder import Decoder
    from quantart_cli.nets.vgg import VGG19

    spec = choose_device()
    vgg, decoder = (
        load_network(kind, embedded_model(name)).to(spec.device, spec.dtype).to(memory_format=torch.channels_last)
        for kind, name in ((VGG19, "vgg19-normalised"), (Decoder, "adain-decoder"))
    )

    def read(path: Path) -> torch.Tensor:
        pixels = np.array(Image.open(path).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    def encode(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features of relu4_1, (1, 512, h, w) float32, with the mean and the deviation of each channel."""
        z = vgg(image.to(spec.device).float() / 255)["relu4_1"].float()
        return z, z.mean((2, 3), keepdim=True), (z.var((2, 3), keepdim=True) + 1e-5).sqrt()

    networks = 0.0
    Path(out).mkdir(exist_ok=True)
    with torch.inference_mode():
        _, style_mean, style_std = encode(read(Path(style)))
        for path in sorted(Path(folder).iterdir()):
            image = read(path)
            before = time.perf_counter()
            z, mean, std = encode(image)
            painted = decoder((z - mean) / std * style_std + style_mean)[0, :, : image.shape[2], : image.shape[3]]
            painted = painted.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
            networks += time.perf_counter() - before
            Image.fromarray(painted).save(Path(out) / path.name, quality=95)
    print(json.dumps({"seconds": time.perf_counter() - start, "networks": networks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
