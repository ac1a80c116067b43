"""What the benchmarks work on: pictures drawn here, always the same, and the weights as the baseline reads them.

    python benchmarks/materials.py FOLDER NAME... [--weights]

NAME is WIDTHxHEIGHT-SEED.png or .jpg. What is there already is left as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_BAND = 256  # rows given noise at a time: a picture of 100 megapixels has 300 MB as it is
_NOISE = 12


def draw(width: int, height: int, seed: int) -> PIL.Image.Image:
    """Ellipses, rectangles and lines in colour, with noise all over."""
    random = np.random.default_rng([width, height, seed])
    picture = PIL.Image.new("RGB", (width, height), tuple(random.integers(40, 216, 3).tolist()))
    pen = PIL.ImageDraw.Draw(picture)
    for i in range(60):
        colour = tuple(random.integers(0, 256, 3).tolist())
        x, y = random.integers(0, width), random.integers(0, height)
        a, b = random.integers(4, max(width, height) // 5 + 5, 2)
        if i % 3 == 0:
            pen.line([x - a, y - b, x + a, y + b], fill=colour, width=max(width // 200, 1))
        else:
            (pen.ellipse if i % 3 == 1 else pen.rectangle)([x - a, y - b, x + a, y + b], fill=colour)
    for top in range(0, height, _BAND):
        box = (0, top, width, min(top + _BAND, height))
        band = np.asarray(picture.crop(box), np.int16)
        noise = random.integers(-_NOISE, _NOISE + 1, band.shape, np.int8)
        picture.paste(PIL.Image.fromarray((band + noise).clip(0, 255).astype(np.uint8)), box)
    return picture


def make_pictures(folder: Path, names: Iterable[str]) -> None:
    """Draw and save what is not there yet."""
    for name in names:
        found = re.fullmatch(r"(\d+)x(\d+)-(\d+)\.(png|jpg)", name)
        if found is None:
            raise ValueError(f"{name} is not WIDTHxHEIGHT-SEED.png or .jpg")
        if not (folder / name).exists():
            draw(*map(int, found.groups()[:3])).save(folder / name, quality=92)


def make_weights(folder: Path) -> None:
    """``vgg_normalised.pth`` and ``decoder.pth``, float32 by their published names, of the embedded weights.

    Where the published file goes on beyond relu5_1 this one ends, to the baseline's advantage. Its first layer, which
    ours has folded into conv1_1, is taken out of it again.
    """
    import torch

    from benchmarks import baseline
    from quantart_cli.checkpoints.loading import load_tensors, read_verified
    from quantart_cli.checkpoints.manifest import artefact

    def numbered(network: torch.nn.Sequential, name: str, deepest_first: bool) -> dict[str, torch.Tensor]:
        """Weights by the places of the 3×3 convolutions in the network."""
        tensors = load_tensors(read_verified(artefact(name)), name)
        names = sorted({key.split(".")[0] for key in tensors}, reverse=deepest_first)
        places = [i for i, layer in enumerate(network) if getattr(layer, "kernel_size", None) == (3, 3)]
        pairs = zip(places, names, strict=True)
        return {f"{i}.{part}": tensors[f"{name}.{part}"].float() for i, name in pairs for part in ("weight", "bias")}

    vgg = numbered(baseline.vgg19(), "vgg19-normalised", deepest_first=False)
    vgg["0.weight"] = torch.eye(3).flip(0).mul(255)[:, :, None, None]  # RGB in [0, 1] -> BGR · 255
    vgg["0.bias"] = -torch.tensor([103.939, 116.779, 123.68])
    vgg["2.weight"] = vgg["2.weight"].flip(1) / 255
    decoder = numbered(baseline.decoder(), "adain-decoder", deepest_first=True)
    for name, tensors in (("vgg_normalised.pth", vgg), ("decoder.pth", decoder)):
        if not (folder / name).exists():
            torch.save({key: value.contiguous() for key, value in tensors.items()}, folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--weights", action="store_true")
    arguments = parser.parse_args()
    make_pictures(arguments.folder, arguments.names)
    if arguments.weights:
        make_weights(arguments.folder)


if __name__ == "__main__":
    main()
