"""``--show``: half blocks, the library where it is installed, and no terminal."""

import io
import sys
import types

import numpy as np
import PIL.Image
import pytest
from rich.text import Text

from quantart_cli.cli import showing


def stream_of_a_terminal(monkeypatch, columns, lines):
    """What is written to a terminal of that many characters."""
    written = io.StringIO()
    written.isatty = lambda: True
    for name, value in {"COLUMNS": columns, "LINES": lines, "TERM": "xterm", "COLORTERM": "truecolor"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return written


@pytest.fixture
def terminal(monkeypatch):
    """Shows a picture in a terminal of 12 × 8 characters; returns what is written to it."""
    written = stream_of_a_terminal(monkeypatch, "12", "8")

    def show(picture):
        with monkeypatch.context() as patch:  # here, since pytest replaces stdout after its fixtures
            patch.setattr(sys, "stdout", written)
            showing.show(picture)
        return written.getvalue()

    return show


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "textual_image.renderable", None)


def two_halves(size, upper=(200, 10, 20), lower=(10, 60, 220)):
    picture = PIL.Image.new("RGB", size, upper)
    picture.paste(lower, (0, size[1] // 2, *size))
    return picture


def test_a_character_is_two_pixels():
    text = showing.half_blocks(two_halves((30, 20)), 3, 1)
    assert text.plain == "▀▀▀"
    for span in text.spans:
        assert tuple(span.style.color.triplet) == (200, 10, 20)
        assert tuple(span.style.bgcolor.triplet) == (10, 60, 220)


def test_the_picture_fills_the_terminal(terminal, no_library):
    lines = terminal(PIL.Image.new("RGB", (60, 30), "red")).splitlines()
    assert [line.count("▀") for line in lines] == [12, 12, 12]
    assert "38;2;255;0;0" in lines[0]


def test_transparency_is_grey(terminal, no_library):
    assert "38;2;128;128;128" in terminal(PIL.Image.new("RGBA", (4, 4), (255, 0, 0, 0)))


def test_the_library_draws_where_it_is_installed(terminal, monkeypatch):
    library = types.ModuleType("textual_image.renderable")
    library.Image = lambda picture, columns, rows: Text(f"{picture.size} {columns}x{rows}")
    monkeypatch.setitem(sys.modules, "textual_image.renderable", library)
    assert terminal(PIL.Image.new("RGB", (10, 20))).split() == ["(10,", "20)", "6x6"]


def test_without_a_terminal_it_says_so(capsys):
    showing.show(PIL.Image.new("RGB", (10, 20)))
    assert capsys.readouterr().err == "--show: there is no terminal to draw in\n"
    showing.show(PIL.Image.new("RGB", (10, 20)), quiet=True)
    assert capsys.readouterr().err == ""


def test_the_command_draws_the_result(run, content_file, style_file, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(showing, "show", lambda picture, quiet: shown.append(picture))
    options = ("--size", 40, "--backend", "torch", "--device", "cpu")
    status, _, err = run("adain", content_file, style_file, "-o", tmp_path / "out.png", *options, "--show")
    assert status == 0, err
    (picture,) = shown
    assert picture.tobytes() == PIL.Image.open(tmp_path / "out.png").tobytes()


def test_the_current_frame_is_drawn_above_the_bar(monkeypatch):
    from quantart_cli.cli import console
    from quantart_cli.images import Picture

    written = stream_of_a_terminal(monkeypatch, "60", "12")
    monkeypatch.setattr(sys, "stderr", written)
    with console.pictures_bar(3, quiet=False) as bar:
        bar.done(1, 0)
        bar.draw(Picture(np.full((20, 20, 3), (255, 0, 0), np.uint8)))
    lines = [line for line in written.getvalue().splitlines() if "▀" in line]
    assert len(lines) >= 9  # of 12: three for the bar and the prompt
    assert "38;2;255;0;0" in lines[0]
