"""How the embedded weights were made from what they were made of; needed only to make them again.

    python weights/build.py vgg19-normalised vgg_normalised.pth
    python weights/build.py adain-decoder decoder.pth
    python weights/build.py microast content_encoder_iter_160000.pth.tar style_encoder_iter_160000.pth.tar \
        modulator_iter_160000.pth.tar decoder_iter_160000.pth.tar
    python weights/build.py quantart-vgg19 second.safetensors

A published file's sha256 is checked, its tensors are read as ``quantart convert --half`` reads them and written beside
this script, without metadata, as they were first. ``quantart-vgg19`` is a model of ``quantart train autoencoder``, or
the mean of several. The size and sha256 to put into manifest.toml are printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from quantart_cli.checkpoints.convert import tensors_of
from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.checkpoints.loading import open_tensors
from quantart_cli.checkpoints.writing import write_tensors

PUBLISHED = {
    "vgg19-normalised": ["804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a"],
    "adain-decoder": ["379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472"],
    "microast": [
        "c8d895c0eec52507c157e102fab217c37f0c399ef3e168ef8b0b2677714660a4",
        "94f6b3fa386828692c20809a0af8bd0eba9c04e90a7d8842086976e4d223c5af",
        "8588055baf7d5ad8398d595d5518c6f030e3ff8dbb6007a7c1779776e11da28b",
        "32e04a46b953fd9f94ec9e20f351511305a5260e000c18f9aef6570d5f1e23d9",
    ],
}


def build(name: str, published: list[Path], target: Path) -> tuple[int, str]:
    """Write the embedded file of that name; returns its size and sha256."""
    tensors = tensors_of(published[0], name, published[1:])
    return write_tensors(target, tensors, {}, half=True, source=str(published[0]))


def mean(models: list[Path], target: Path) -> tuple[int, str]:
    """Write the mean of models of ours, tensor by tensor; returns size and sha256."""
    opened = [open_tensors(path) for path in models]
    tensors = {name: sum(each[name].float() for each in opened) / len(opened) for name in opened[0]}
    return write_tensors(target, tensors, {}, half=True, source=str(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*PUBLISHED, "quantart-vgg19"])
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    target = Path(__file__).with_name(f"{arguments.name}.safetensors")
    if arguments.name in PUBLISHED:
        for published, expected in zip(arguments.files, PUBLISHED[arguments.name], strict=True):
            if sha256_of(published) != expected:
                parser.error(f"{published} is not the published file: its sha256 is not {expected}")
        size, sha256 = build(arguments.name, arguments.files, target)
    else:
        size, sha256 = mean(arguments.files, target)
    print(f"file = {target.name!r}\nbytes = {size}\nsha256 = {sha256!r}")


if __name__ == "__main__":
    main()
