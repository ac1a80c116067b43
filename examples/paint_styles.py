"""Paint the example style pictures: numpy and Pillow only, seeded, so that every run gives the same six files.

Usage: python examples/paint_styles.py [OUT_FOLDER] [--only NAME]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from painting import expressionist, inkwash, neoplastic, pointillism, starry, woodcut
from PIL import Image

PICTURES: dict[str, Callable[[], Image.Image]] = {
    "starry-oil": starry.paint,
    "woodcut-wave": woodcut.paint,
    "pointillism": pointillism.paint,
    "neoplastic": neoplastic.paint,
    "ink-wash": inkwash.paint,
    "expressionist": expressionist.paint,
}


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
        paint().save(target, quality=92, optimize=True)
        print(f"{target}  {target.stat().st_size // 1024} KB  {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
