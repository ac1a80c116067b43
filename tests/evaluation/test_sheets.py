"""Contact sheets."""

import numpy as np
import PIL.Image

from quantart_cli.evaluation.sheets import Cell, sheet


def plain(width, height, color):
    return PIL.Image.new("RGB", (width, height), color)


def test_every_picture_is_there_whole():
    rows = [[Cell(plain(50, 100, "red"), "a"), Cell(plain(100, 50, "lime"))], [Cell(plain(10, 10, "blue"))]]
    page = np.asarray(sheet(rows, cell=60))
    for color, size in (((255, 0, 0), (45, 90)), ((0, 255, 0), (60, 30)), ((0, 0, 255), (60, 60))):
        ys, xs = np.nonzero((page == color).all(2))
        assert (np.ptp(xs) + 1, np.ptp(ys) + 1) == size
        assert len(xs) == size[0] * size[1]
        assert xs.min() >= 8
        assert xs.max() < page.shape[1] - 8


def test_labels_are_written_within_their_place():
    blank, labelled = (np.asarray(sheet([[Cell(plain(9, 9, "red"), text)] * 2], cell=90)) for text in ("I", "W" * 80))
    assert blank.shape == labelled.shape
    edges = labelled[:, [*range(10), *range(labelled.shape[1] - 10, labelled.shape[1])]]
    assert (edges == labelled[0, 0]).all()
    assert (blank != labelled).any()


def test_headings():
    cells = [[Cell(plain(9, 9, "red"))] * 2]
    assert sheet(cells, headings=["one", "two"]).height > sheet(cells).height


def test_transparent_parts_show_the_page():
    page = sheet([[Cell(PIL.Image.new("RGBA", (20, 20), (255, 0, 0, 0)))]])
    assert len(page.getcolors()) == 1
