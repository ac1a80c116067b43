"""Paint the example style pictures: numpy and Pillow only, seeded, so that every run gives the same files.

Usage: python examples/paint_styles.py [OUT_FOLDER] [--only NAME]
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

from painting import (
    charcoal,
    engraving,
    expressionist,
    gouache,
    inkwash,
    mosaic,
    neoplastic,
    pointillism,
    stainedglass,
    starry,
    watercolour,
    woodcut,
)
from PIL import Image

PICTURES: dict[str, Callable[[], Image.Image]] = {
    "starry-oil": starry.paint,
    "woodcut-wave": woodcut.paint,
    "pointillism": pointillism.paint,
    "neoplastic": neoplastic.paint,
    "ink-wash": inkwash.paint,
    "expressionist": expressionist.paint,
    "watercolour": watercolour.paint,
    "charcoal": charcoal.paint,
    "engraving": engraving.paint,
    "stained-glass": stainedglass.paint,
    "mosaic": mosaic.paint,
    "gouache": gouache.paint,
}
MOST_BYTES = 350_000  # they are all in the wheel


def save(picture: Image.Image, target: Path) -> None:
    """Write a JPEG of the best quality that is small enough."""
    for quality in range(92, 60, -2):
        file = io.BytesIO()
        picture.save(file, "jpeg", quality=quality, optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    target.write_bytes(file.getvalue())


def main() -> None:
    """Paint the pictures asked for into the folder."""
    parser = argparse.ArgumentParser(description="Paint the example style pictures.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent / "styles")
    parser.add_argument("--only", choices=sorted(PICTURES), help="paint just this one")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, paint in PICTURES.items():
        if options.only not in (None, name):
            continue
        start = time.perf_counter()
        target = options.folder / f"{name}.jpg"
        save(paint(), target)
        print(f"{target}  {target.stat().st_size // 1024} KB  {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
