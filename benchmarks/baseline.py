"""What a script of today does: AdaIN in plain eager float32, for quantart to be compared with.

    python benchmarks/baseline.py CONTENT STYLE OUT --weights FOLDER

The same networks and the same numbers as ``quantart adain``, in the layout they are published in: bare Sequentials with
padding, ReLU, pooling and upsampling as layers of their own, weights from .pth files (benchmarks/materials.py makes
them of the embedded ones), torchvision to read and write, each picture whole, the style encoded every time. Nothing
of quantart is imported.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import PIL.Image
import torch
from torch import Tensor, nn
from torchvision import transforms
from torchvision.utils import save_image

RELU4_1 = 31
"""Layers of the published VGG up to relu4_1."""


def padded(fan_in: int, fan_out: int) -> list[nn.Module]:
    """A 3×3 convolution that keeps the size."""
    return [nn.ReflectionPad2d(1), nn.Conv2d(fan_in, fan_out, 3)]


def vgg19() -> nn.Sequential:
    """The normalised VGG-19 to relu5_1, as published: a 1×1 convolution first, from RGB to BGR · 255 minus the mean."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    width = 3
    for block in ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,)):
        if width > 3:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        for channels in block:
            layers += [*padded(width, channels), nn.ReLU()]
            width = channels
    return nn.Sequential(*layers)


def decoder() -> nn.Sequential:
    """relu4_1 back to a picture."""
    layers: list[nn.Module] = [*padded(512, 256), nn.ReLU()]
    for block in ((256, 256, 256, 256, 128), (128, 128, 64), (64, 64)):
        layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        for fan_in, fan_out in itertools.pairwise(block):
            layers += [*padded(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, *padded(64, 3))


def load(folder: Path, device: str = "cpu") -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder with the weights of ``vgg_normalised.pth`` and ``decoder.pth``."""
    networks = vgg19(), decoder()
    for network, name in zip(networks, ("vgg_normalised.pth", "decoder.pth"), strict=True):
        network.load_state_dict(torch.load(folder / name, weights_only=True))
        network.eval().to(device)
    return networks[0][:RELU4_1], networks[1]


def mean_and_std(features: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel, (N, C, h, w) -> twice (N, C, 1, 1)."""
    flat = features.flatten(2)
    mean, std = flat.mean(2), (flat.var(2) + 1e-5).sqrt()
    return mean[..., None, None], std[..., None, None]


def adain(content: Tensor, style: Tensor) -> Tensor:
    """The content's features with the style's statistics, each (N, C, h, w)."""
    mean, std = mean_and_std(content)
    style_mean, style_std = mean_and_std(style)
    return (content - mean) / std * style_std + style_mean


def read(path: Path | str, device: str = "cpu") -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return transforms.ToTensor()(PIL.Image.open(path).convert("RGB"))[None].to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="folder of vgg_normalised.pth and decoder.pth")
    arguments = parser.parse_args()
    encode, decode = load(arguments.weights)
    content, style = read(arguments.content), read(arguments.style)
    with torch.no_grad():
        image = decode(adain(encode(content), encode(style)))
    save_image(image, arguments.output)


if __name__ == "__main__":
    main()
