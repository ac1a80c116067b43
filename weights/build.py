"""How the embedded weights were made from the published checkpoints; needed only to make them again.

    python weights/build.py vgg19-normalised vgg_normalised.pth
    python weights/build.py adain-decoder decoder.pth

The published file's sha256 is checked, its tensors are read as ``quantart convert --half`` reads them and written
beside this script, without metadata, as they were first; the size and sha256 to put into manifest.toml are printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from quantart_cli.checkpoints.convert import tensors_of
from quantart_cli.checkpoints.streams import sha256_of
from quantart_cli.checkpoints.writing import write_tensors

PUBLISHED = {
    "vgg19-normalised": "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
    "adain-decoder": "379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472",
}


def build(name: str, published: Path, target: Path) -> tuple[int, str]:
    """Write the embedded file of that name; returns its size and sha256."""
    return write_tensors(target, tensors_of(published, name), {}, half=True, source=str(published))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PUBLISHED)
    parser.add_argument("published", type=Path)
    arguments = parser.parse_args()
    expected = PUBLISHED[arguments.name]
    if sha256_of(arguments.published) != expected:
        parser.error(f"{arguments.published} is not the published file: its sha256 is not {expected}")
    target = Path(__file__).with_name(f"{arguments.name}.safetensors")
    size, sha256 = build(arguments.name, arguments.published, target)
    print(f"file = {target.name!r}\nbytes = {size}\nsha256 = {sha256!r}")


if __name__ == "__main__":
    main()
