"""Make the sheets in this folder again.

    python examples/contact_sheets.py [--only styles fidelity alpha-beta gallery methods nnst gatys] [--size 640]

``styles.jpg``: the presets, each with a photograph painted in it.

``fidelity.jpg``: three pairs from photograph to fully quantized. ``alpha-beta.jpg``: α × β of one pair.
``gallery.jpg``: photographs × styles at the default. ``methods.jpg``: QuantArt, AdaIN, NNST and Gatys side by side, the
last two at 512 pixels (they take minutes). ``nnst.jpg``: two pairs at 1,024. ``gatys.jpg``: four pairs at the defaults
of Gatys and other settings, at 512.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

import quantart_cli as quantart

HERE = Path(__file__).resolve().parent
PAIRS = (("boats", "starry-oil"), ("raccoon", "expressionist"), ("pagoda", "ink-wash"))
PHOTOS = ("boats", "raccoon", "astronaut", "pagoda", "coffee")
STYLES = ("starry-oil", "woodcut-wave", "pointillism", "neoplastic", "ink-wash", "expressionist")
GATYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("boats", "starry-oil", {"style_weight": 20}),
    ("raccoon", "expressionist", {"style_loss": "bn"}),
    ("pagoda", "ink-wash", {"preserve_color": "luma"}),
    ("astronaut", "pointillism", {"style_scale": 1}),
)
GATYS_SIZE = 512
NNST = (("boats", "pointillism"), ("raccoon", "starry-oil"))
NNST_SIZE = 1024
GAP, LABEL = 6, 26

Cell = tuple[PIL.Image.Image, str]


def photo(name: str) -> Path:
    return HERE / "photos" / f"{name}.jpg"


def style(name: str) -> Path:
    return HERE / "styles" / f"{name}.jpg"


def sheet(rows: list[list[Cell]], width: int) -> PIL.Image.Image:
    """Rows of labelled pictures, every cell ``width`` wide and cropped to the shape of its row's last picture."""
    font = PIL.ImageFont.load_default(size=17)
    heights = [round(width * row[-1][0].height / row[-1][0].width) for row in rows]
    columns = max(len(row) for row in rows)
    labels = [LABEL if any(label for _, label in row) else 0 for row in rows]
    size = (columns * (width + GAP) + GAP, sum(heights) + sum(labels) + GAP * (len(rows) + 1))
    page = PIL.Image.new("RGB", size, "white")
    draw = PIL.ImageDraw.Draw(page)
    top = GAP
    for row, height, label_height in zip(rows, heights, labels, strict=True):
        for column, (image, label) in enumerate(row):
            left = GAP + column * (width + GAP)
            page.paste(PIL.ImageOps.fit(image.convert("RGB"), (width, height)), (left, top))
            draw.text((left + 2, top + height + 3), label, fill="black", font=font)
        top += height + label_height + GAP
    return page


def fidelity(size: int) -> PIL.Image.Image:
    model = quantart.load("quantart")
    rows = []
    for content_name, style_name in PAIRS:
        encoded = model.encode_style(style(style_name))
        row = [(PIL.Image.open(photo(content_name)), "photograph"), (PIL.Image.open(style(style_name)), "style")]
        for alpha in (0.0, 0.5, 1.0):
            row.append((model.stylize(photo(content_name), encoded, fidelity=alpha, size=size), f"fidelity {alpha:g}"))
        rows.append(row)
    return sheet(rows, 400)


def alpha_beta(size: int) -> PIL.Image.Image:
    model = quantart.load("quantart")
    content_name, style_name = PAIRS[0]
    encoded = model.encode_style(style(style_name))
    return sheet(
        [
            [
                (
                    model.stylize(photo(content_name), encoded, fidelity=alpha, strength=beta, size=size),
                    f"fidelity {alpha:g}, strength {beta:g}",
                )
                for alpha in (0.0, 0.35, 0.7, 1.0)
            ]
            for beta in (0.0, 0.5, 1.0)
        ],
        480,
    )


def gallery(size: int) -> PIL.Image.Image:
    model = quantart.load("quantart")
    encoded = {name: model.encode_style(style(name)) for name in STYLES}
    blank = PIL.Image.new("RGB", (4, 3), "white")
    rows: list[list[Cell]] = [[(blank, "")] + [(PIL.Image.open(style(name)), name) for name in STYLES]]
    for content_name in PHOTOS:
        row: list[Cell] = [(PIL.Image.open(photo(content_name)), "")]
        row += [(model.stylize(photo(content_name), encoded[name], size=size), "") for name in STYLES]
        rows.append(row)
    return sheet(rows, 300)


def methods(size: int) -> PIL.Image.Image:
    rows = []
    for content_name, style_name in PAIRS:
        row: list[Cell] = [(PIL.Image.open(photo(content_name)), "photograph")]
        for name in ("quantart", "adain"):
            row.append((quantart.load(name).stylize(photo(content_name), style(style_name), size=size), name))
        row += [(optimised(name, content_name, style_name), name) for name in ("nnst", "gatys")]
        rows.append(row)
    return sheet(rows, 400)


def nnst(_: int) -> PIL.Image.Image:
    model, rows = quantart.load("nnst"), []
    for content_name, style_name in NNST:
        painted = model.stylize(photo(content_name), style(style_name), size=NNST_SIZE)
        rows.append([(PIL.Image.open(style(style_name)), style_name), (painted, f"nnst --size {NNST_SIZE}")])
    return sheet(rows, 800)


def gatys(_: int) -> PIL.Image.Image:
    rows = []
    for content_name, style_name, settings in GATYS:
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
        row: list[Cell] = [(PIL.Image.open(style(style_name)), style_name)]
        row.append((optimised("gatys", content_name, style_name), "the defaults"))
        rows.append([*row, (optimised("gatys", content_name, style_name, **settings), options)])
    return sheet(rows, GATYS_SIZE)


@cache
def optimised(method: str, content_name: str, style_name: str, **settings: Any) -> PIL.Image.Image:
    """Painted by a method that optimises, which takes a minute or more."""
    return quantart.load(method).stylize(photo(content_name), style(style_name), size=GATYS_SIZE, **settings)


def styles(size: int) -> PIL.Image.Image:
    model, rows = quantart.load("quantart"), []
    names = sorted(path.stem for path in (HERE / "styles").glob("*.jpg"))
    for start in range(0, len(names), 3):
        row: list[Cell] = []
        for name in names[start : start + 3]:
            row.append((PIL.Image.open(style(name)), f"@{name}"))
            row.append((model.stylize(photo("boats"), style(name), size=size), ""))
        rows.append(row)
    return sheet(rows, 260)


SHEETS: dict[str, Callable[[int], PIL.Image.Image]] = {
    "styles": styles,
    "fidelity": fidelity,
    "alpha-beta": alpha_beta,
    "gallery": gallery,
    "methods": methods,
    "nnst": nnst,
    "gatys": gatys,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SHEETS, nargs="+", default=list(SHEETS))
    parser.add_argument("--size", type=int, default=1024, help="long side at which pictures are painted")
    arguments = parser.parse_args()
    for name, make in SHEETS.items():
        if name in arguments.only:
            make(arguments.size).save(HERE / f"{name}.jpg", quality=88)
            print(HERE / f"{name}.jpg")


if __name__ == "__main__":
    main()
