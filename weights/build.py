"""How the embedded weights were made from the published checkpoints; needed only to make them again.

    python weights/build.py vgg19-normalised vgg_normalised.pth
    python weights/build.py adain-decoder decoder.pth

The published file's sha256 is checked, its tensors are renamed, halved to fp16 and written beside this script; the
size and sha256 to put into manifest.toml are printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch
import torch

from quantart_cli.checkpoints.loading import fill_strictly, sha256_of
from quantart_cli.checkpoints.published import decoder_from_published, vgg19_from_published
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.vgg import VGG19

RECIPES = {
    "vgg19-normalised": (
        "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
        vgg19_from_published,
        VGG19,
    ),
    "adain-decoder": (
        "379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472",
        decoder_from_published,
        Decoder,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("published", type=Path)
    arguments = parser.parse_args()
    expected, convert, network = RECIPES[arguments.name]
    if sha256_of(arguments.published) != expected:
        parser.error(f"{arguments.published} is not the published file: its sha256 is not {expected}")
    published = torch.load(arguments.published, weights_only=True)
    tensors = {key: value.half().contiguous() for key, value in convert(published).items()}
    fill_strictly(lambda _: network(), tensors, arguments.name)
    target = Path(__file__).with_name(f"{arguments.name}.safetensors")
    safetensors.torch.save_file(tensors, target)
    print(f"file = {target.name!r}\nbytes = {target.stat().st_size}\nsha256 = {sha256_of(target)!r}")


if __name__ == "__main__":
    main()
