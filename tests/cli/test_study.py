"""``quantart study`` from the command line."""

import base64
import csv
import io
import json
import re

import numpy as np
import PIL.Image
import pytest

from quantart_cli.evaluation.study import Key
from tests.conftest import scene


@pytest.fixture
def folders(tmp_path):
    """Two contents, 96 by 64, and two styles, and a folder with finished pictures of them all."""
    for kind, count in (("harbour", 2), ("cubist", 2), ("finished", 0)):
        (tmp_path / kind).mkdir()
        for number in range(count):
            PIL.Image.fromarray(scene(96, 64, number + len(kind))).save(tmp_path / kind / f"{kind}{number}.png")
    for c in range(2):
        for s in range(2):
            picture = PIL.Image.fromarray(scene(48, 32, 50 + 2 * c + s))
            picture.save(tmp_path / "finished" / f"harbour{c}--cubist{s}.png")
    return tmp_path


def make(run, folders, *arguments):
    twice = folders / "harbour", folders / "harbour" / "harbour0.png"
    return run("study", *twice, "--styles", folders / "cubist", "-o", folders / "page.html", *arguments)


def test_page_key_and_scores(run, folders):
    compared = (
        "--compare",
        "photographs",
        "--compare",
        "adain:alpha=0.5",
        "--outputs",
        f"rival={folders / 'finished'}",
    )
    options = ("--size", 64, "--pairs", 3, "--device", "cpu", "--precision", "fp32", "--json")
    status, out, err = make(run, folders, *compared, *options)
    assert status == 0, err
    facts = json.loads(out)
    assert (facts["pairs"], facts["trials"]) == (3, 18)
    assert "page.key.json" in err
    html, key = (folders / "page.html").read_text(), Key.from_json((folders / "page.key.json").read_text())
    for name in ("harbour", "cubist", "rival", "adain", "alpha", "photographs", str(folders)):
        assert name not in html
    data = json.loads(re.search(r"const data = (.*);\n", html)[1])
    for trial, numbers in zip(key.trials, data["trials"], strict=True):
        pictures = [base64.b64decode(data["pictures"][n].removeprefix("data:image/jpeg;base64,")) for n in numbers]
        assert not any(name.encode() in picture for name in ("harbour", "quantart") for picture in pictures)
        content, _, left, right = (np.asarray(PIL.Image.open(io.BytesIO(each))).astype(int) for each in pictures)
        assert content.shape == left.shape == right.shape == (43, 64, 3)
        for side, name in ((left, trial.left), (right, trial.right)):
            assert (np.abs(side - content).mean() < 1) == (name == "photographs")
    # Two voters who prefer the rival in every pair, and one answer that is given once.
    files = []
    for voter in "xy":
        rows = [(key.study, voter, n, *[side_of(trial)] * 3) for n, trial in enumerate(key.trials, 1)]
        with open(folders / f"votes-{voter}.csv", "w", newline="") as file:
            csv.writer(file).writerows([("study", "voter", "trial", "better", "style", "content"), *rows])
        files.append(folders / f"votes-{voter}.csv")
    status, out, err = run("study", "--score", *files, "--key", folders / "page.key.json", "--json")
    assert status == 0, err
    report = json.loads(out)
    assert (report["voters"], report["files"]) == (2, 2)
    rates = {(r["system"], r["other"]): r for r in report["questions"]["better"]["rates"]}
    assert (rates["rival", None]["wins"], rates["rival", None]["rate"]) == (12, 1)
    assert report["questions"]["style"]["inconsistent_share"] == 0
    ranks = report["questions"]["content"]["bradley_terry"]
    assert max(ranks, key=ranks.get) == "rival"
    status, out, err = run("study", "--score", *files, "--key", folders / "page.key.json")
    assert status == 0, err
    assert "closer to the style: 18 of 18 pairs answered alike twice" in out.decode()
    assert re.search(r"adain:alpha=0.5 against rival +0%  95 %: 0% to 39%  of 6", out.decode())


def side_of(trial):
    ranks = ("rival", "adain:alpha=0.5", "photographs")
    return "left" if ranks.index(trial.left) < ranks.index(trial.right) else "right"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compare", "adain"), "two systems or more"),
        (("--compare", "adian", "--compare", "photographs"), "did you mean adain"),
        (("--compare", "adain", "--compare", "adain"), "given twice"),
        (("--compare", "adain", "--outputs", "finished"), "is not NAME=FOLDER"),
        (("--compare", "adain", "--outputs", "x=nowhere"), "nowhere is no folder"),
        (("--compare", "adain", "--compare", "photographs", "-o", "page.png"), "name it page.html"),
        (("--compare", "adain", "--compare", "photographs", "-o", "none/page.html"), "make the folder"),
        (("--compare", "adain", "--compare", "photographs", "--styles", "none"), "none is no folder"),
        (("--compare", "adain", "--compare", "photographs", "--pairs", "0"), "--pairs must be between"),
        (("--compare", "photographs", "--compare", "adain:alpha=2"), "alpha must be between"),
        (("--score",), "study.key.json"),
    ],
)
def test_mistakes(run, folders, arguments, message, monkeypatch):
    monkeypatch.chdir(folders)
    status, out, err = make(run, folders, *arguments)
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1
    assert message in err
    assert not list(folders.glob("*.html"))


def test_finished_pictures_must_have_the_shape_of_their_content(run, folders):
    PIL.Image.fromarray(scene(40, 40)).save(folders / "finished" / "harbour0--cubist0.png")
    options = ("--compare", "photographs", "--outputs", f"x={folders / 'finished'}", "--device", "cpu")
    status, _, err = make(run, folders, *options)
    assert status == 2
    assert "another shape than its content" in err


def test_votes_that_are_none(run, folders):
    (folders / "key.json").write_text(Key("k", ()).to_json())
    (folders / "votes.csv").write_bytes(b"\xff\xd8\xff\xe0")
    for name, message in (("votes.csv", "not a text file"), ("none.csv", "cannot be read")):
        status, _, err = run("study", "--score", folders / name, "--key", folders / "key.json")
        assert status == 2
        assert message in err
