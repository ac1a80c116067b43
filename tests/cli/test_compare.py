"""``quantart compare`` from the command line."""

import json

import numpy as np
import PIL.Image
import pytest

from quantart_cli.cli.methods import missing_weights
from quantart_cli.evaluation import systems
from quantart_cli.registry import methods
from tests.conftest import scene


def test_sheet(run, content_file, style_file, tmp_path):
    sheet = tmp_path / "sheet.png"
    options = ("--fidelity", "0,1", "--strength", "0.5,1", "--cell", "64", "--size", "48", "--device", "cpu")
    status, out, err = run("compare", content_file, style_file, "-o", sheet, *options, "--method", "adain", "--json")
    assert status == 0, err
    report = json.loads(out)
    with PIL.Image.open(sheet) as page:
        assert page.size == (report["width"], report["height"])
        assert page.width > 3 * 64
        pixels = np.asarray(page.convert("RGB"))
    grey = (pixels == pixels[0, 0]).all(2)
    # Three rows of pictures, parted by lines of nothing but grey.
    rows = np.flatnonzero(np.diff((grey.mean(1) < 0.5).astype(int)) == 1)
    assert len(rows) == 3
    assert report["fidelity"] == [0, 1]
    assert "sheet.png" in err


def test_every_method_whose_weights_are_here_is_shown(run, style_file, tmp_path, monkeypatch):
    """What is optimised is small, unless it is asked for. Painting is replaced here: it is tested elsewhere."""
    sizes = {}
    monkeypatch.setattr(
        systems.Painting, "paint", lambda self, content, _: sizes.update({self.name: content.size}) or content
    )
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(scene(320, 200)).save("large.png")
    words = ("large.png", style_file, "--fidelity", "1", "--strength", "1", "--cell", "64", "--device", "cpu", "--json")
    status, out, err = run("compare", *words)
    assert status == 0, err
    report = json.loads(out)
    assert set(report["methods"]) == {
        name for name, row in methods().items() if row.needs_style and not missing_weights(row)
    } - {"quantart"}
    assert {"adaattn", "sanet"} <= set(report["left_out"])
    assert "their weights are not here, see quantart methods" in err
    assert (sizes["adain"], sizes["gatys"]) == ((320, 200), (256, 160))
    assert PIL.Image.open("comparison.png").width > 4 * 64
    assert json.loads(run("compare", *words, "--quick")[1])["methods"] == [
        name for name in report["methods"] if not methods()[name].optimises
    ]
    assert run("compare", *words, "--method", "gatys")[0] == 0
    assert sizes["gatys"] == (320, 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fidelity", "0,x"), "is no list of numbers"),
        (("--strength", "1.5"), "strength must be between 0 and 1"),
        (("--method", "photographs"), "on the sheet already"),
        (("--method", "gaty"), "quantart: --method 'gaty' is not known: did you mean gatys"),
        (("--method", "stylize"), "it is called quantart"),
        (("--cell", "1"), "--cell must be between"),
        (("--cell", "12345678"), "not 12345678"),
        (("--method", "adain:alpha"), "for example quantart:fidelity=1"),
        (("--model", "nosuch"), "neither a file nor known by name"),
        (("--fidelity", ",".join(["0"] * 101)), "at most 100 pictures"),
    ],
)
def test_mistakes(run, content_file, style_file, tmp_path, arguments, message):
    status, _, err = run("compare", content_file, style_file, "-o", tmp_path / "sheet.png", *arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "sheet.png").exists()
