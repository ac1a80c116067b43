"""NNST in plain eager float32, for quantart to be compared with.

    python benchmarks/plain_nnst.py CONTENT STYLE OUT.npy --weights FOLDER [--steps 100,80,25,8,4]

The algorithm of Kolkin et al. 2022 as a script would have it: hypercolumns of all 1,920 channels, compared with all of
the style's and of its three turns, one picture as a whole. The last pass looks at 64 × 64 positions of each layer and
at 2,048 of the style's, as ours does: all of them do not fit into any memory. The network is that of baseline.py;
nothing of quantart is imported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import baseline

_LAYERS = 9  # relu1_1 to relu4_1
_COARSEST, _DEPTH = 48, 8
_ALPHA, _RATE = 0.25, 2e-3
_CHUNK = 512  # queries compared at a time
_SAMPLES, _DETAILS = 64, 2048


def features(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    """All layers after their rectifier, (1, C, h, w)."""
    found: list[Tensor] = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            found.append(x)
            if len(found) == _LAYERS:
                break
    return found


def rows(z: Tensor) -> Tensor:
    return z[0].flatten(1).T


def columns(network: nn.Sequential, x: Tensor) -> Tensor:
    """Hypercolumns at a quarter of the sides, (n, 1920)."""
    found = features(network, x)
    size = found[4].shape[2:]
    return torch.cat([rows(F.interpolate(z, size, mode="bilinear", antialias=True)) for z in found], 1)


def nearest(queries: Tensor, keys: Tensor) -> Tensor:
    """For each query the key with the least centred cosine distance."""
    queries, keys = (F.normalize(z - z.mean(0), dim=1) for z in (queries, keys))
    return torch.cat([(part @ keys.T).argmax(1) for part in queries.split(_CHUNK)])


def decompose(image: Tensor) -> list[Tensor]:
    bands = []
    for _ in range(_DEPTH):
        if min(image.shape[2:]) < 2:
            break
        smaller = F.interpolate(image, [(n + 1) // 2 for n in image.shape[2:]], mode="bilinear")
        bands.append(image - F.interpolate(smaller, image.shape[2:], mode="bilinear"))
        image = smaller
    return [*bands, image]


def collapse(bands: list[Tensor]) -> Tensor:
    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + F.interpolate(image, band.shape[2:], mode="bilinear")
    return image


def turned(style: Tensor, side: int) -> list[Tensor]:
    """The style at this long side, turned four times."""
    scale = min(1.0, side / max(style.shape[2:]))
    size = [max(1, round(n * scale)) for n in style.shape[2:]]
    image = F.interpolate(style, size, mode="bilinear", antialias=True)
    return [torch.rot90(image, turn, (2, 3)) for turn in range(4)]


def paint(network: nn.Sequential, content: Tensor, style: Tensor, updates: list[int], final: int) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    side = max(content.shape[2:])
    scales = sum(side >= _COARSEST * 2**i for i in range(_DEPTH))
    updates = [updates[0]] * (scales - len(updates)) + updates[-scales:]
    c = decompose(content)
    o = [torch.zeros_like(band) if i < min(3, scales - 1) else band.clone() for i, band in enumerate(c)]
    for i, count in zip(reversed(range(scales)), updates, strict=True):
        with torch.no_grad():
            target = collapse(c[i:])
            if i < scales - 1:
                target = (1 - _ALPHA) * target + _ALPHA * collapse([c[i], *o[i + 1 :]])
            keys = torch.cat([columns(network, turn) for turn in turned(style, max(c[i].shape[2:]))])
            wanted = keys[nearest(columns(network, target), keys)]
            del keys

        def hypercolumns(image: Tensor, wanted: Tensor = wanted) -> Tensor:
            return (1 - F.cosine_similarity(columns(network, image), wanted)).mean()

        o[i:] = minimise(o[i:], hypercolumns, count)
    with torch.no_grad():
        parts = [features(network, turn) for turn in turned(style, side)]
        keys_of = [drawn(torch.cat([rows(part[i]) for part in parts])) for i in range(_LAYERS)]

    def splitting(image: Tensor) -> Tensor:
        total = torch.zeros(())
        for z, keys in zip(features(network, image), keys_of, strict=True):
            every = max(1, -(-max(z.shape[2:]) // _SAMPLES))
            own = rows(z[:, :, ::every, ::every])
            with torch.no_grad():
                wanted = keys[nearest(own, keys)] - keys.mean(0)
            total = total + (1 - F.cosine_similarity(own - own.mean(0), wanted)).mean()
        return total

    return collapse(minimise(o, splitting, final)).clamp(0, 1)


def drawn(z: Tensor) -> Tensor:
    return z[torch.randperm(len(z), generator=torch.Generator().manual_seed(0))[:_DETAILS]]


def minimise(bands: list[Tensor], loss: object, count: int) -> list[Tensor]:
    """So many updates by Adam of all bands."""
    assert callable(loss)
    leaves = [band.clone().requires_grad_() for band in bands]
    optimizer = torch.optim.Adam(leaves, lr=_RATE)
    for _ in range(count):
        optimizer.zero_grad()
        loss(collapse(leaves)).backward()
        optimizer.step()
    return [leaf.detach() for leaf in leaves]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="folder of vgg_normalised.pth and decoder.pth")
    parser.add_argument("--steps", default="100,80,25,8,4")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = baseline.vgg19()
    network.load_state_dict(torch.load(arguments.weights / "vgg_normalised.pth", weights_only=True))
    network = network.eval().requires_grad_(False).to(arguments.device)
    content, style = (baseline.read(path, arguments.device) for path in (arguments.content, arguments.style))
    *updates, final = map(int, arguments.steps.split(","))
    np.save(arguments.output, paint(network, content, style, updates, final).cpu().numpy())


if __name__ == "__main__":
    main()
