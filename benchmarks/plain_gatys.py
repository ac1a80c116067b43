"""What a script of today does: Gatys in plain eager float32, for quantart to be compared with.

    python benchmarks/plain_gatys.py CONTENT STYLE OUT.npy --weights FOLDER [--iterations 500]

One size, from the content, torch's L-BFGS with its history of 100, features and Gram matrices of the whole picture, no
total variation, colours clamped at the end. The network is that of baseline.py with average pooling; losses and their
weights are quantart's, written out once more, so that both lower the same number. Nothing of quantart is imported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import baseline

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"
_NAMES = [f"relu{b}_{i}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)]
# Losses near 1 make a first step of torch's L-BFGS that moves nothing: scripts take weights of thousands and more.
_SCALE = 1e5


def features(network: nn.Sequential, x: Tensor) -> dict[str, Tensor]:
    """All that the losses look at, (1, C, h, w) by name."""
    names, found = iter(_NAMES), {}
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            name = next(names)
            if name in STYLE or name == CONTENT:
                found[name] = x
            if name == STYLE[-1]:
                break
    return found


def gram(z: Tensor) -> Tensor:
    rows = z.flatten(2)[0]
    return rows @ rows.T / rows.shape[1]


Goal = tuple[Tensor, dict[str, Tensor]]
"""The content's features, and the style's Gram matrices by layer."""


def goal_of(network: nn.Sequential, content: Tensor, style: Tensor) -> Goal:
    with torch.no_grad():
        grams = {name: gram(z) for name, z in features(network, style).items() if name in STYLE}
        return features(network, content)[CONTENT], grams


def loss_of(network: nn.Sequential, image: Tensor, goal: Goal, weights: tuple[float, float]) -> Tensor:
    found, (target, grams) = features(network, image), goal
    off = (found[CONTENT] - target).square().sum() / target.square().sum()
    unlike = sum((gram(found[name]) - g).square().sum() / g.square().sum() for name, g in grams.items())
    return weights[0] * off + weights[1] * unlike / len(grams)


def paint(
    network: nn.Sequential, content: Tensor, style: Tensor, iterations: int, weights: tuple[float, float]
) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    goal = goal_of(network, content, style)
    image = content.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [image], max_iter=iterations, max_eval=2 * iterations, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _SCALE * loss_of(network, image, goal, weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    return image.detach().clamp(0, 1)


def load(folder: Path, device: str = "cpu") -> nn.Sequential:
    """The network of baseline.py with average pooling."""
    network = baseline.vgg19()
    network.load_state_dict(torch.load(folder / "vgg_normalised.pth", weights_only=True))
    for i, layer in enumerate(network):
        if isinstance(layer, nn.MaxPool2d):
            network[i] = nn.AvgPool2d(2, 2, ceil_mode=True)
    return network.eval().requires_grad_(False).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="folder of vgg_normalised.pth and decoder.pth")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--content-weight", type=float, default=1.0)
    parser.add_argument("--style-weight", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = load(arguments.weights, arguments.device)
    content, style = (baseline.read(path, arguments.device) for path in (arguments.content, arguments.style))
    weights = arguments.content_weight, arguments.style_weight
    image = paint(network, content, style, arguments.iterations, weights)
    np.save(arguments.output, image.cpu().numpy())


if __name__ == "__main__":
    main()
