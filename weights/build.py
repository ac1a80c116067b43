"""How the embedded weights were made from what they were made of; needed only to make them again.

    python weights/build.py vgg19-normalised vgg_normalised.pth
    python weights/build.py adain-decoder decoder.pth
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
    "vgg19-normalised": "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
    "adain-decoder": "379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472",
}


def build(name: str, published: Path, target: Path) -> tuple[int, str]:
    """Write the embedded file of that name; returns its size and sha256."""
    return write_tensors(target, tensors_of(published, name), {}, half=True, source=str(published))


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
        expected, (published,) = PUBLISHED[arguments.name], arguments.files
        if sha256_of(published) != expected:
            parser.error(f"{published} is not the published file: its sha256 is not {expected}")
        size, sha256 = build(arguments.name, published, target)
    else:
        size, sha256 = mean(arguments.files, target)
    print(f"file = {target.name!r}\nbytes = {size}\nsha256 = {sha256!r}")


if __name__ == "__main__":
    main()
