"""``quantart evaluate`` from the command line, with metric networks whose results are known."""

import json
from pathlib import Path

import PIL.Image
import pytest

from quantart_cli.evaluation import networks
from quantart_cli.evaluation.networks import DOWNLOADS, MetricNetworks
from quantart_cli.training.pictures import name_hash
from tests.conftest import scene
from tests.evaluation.metric_networks import metric_networks


@pytest.fixture
def folders(tmp_path):
    """--contents, --styles and --artworks with three small pictures each."""
    arguments = []
    for number, name in enumerate(("contents", "styles", "artworks")):
        (tmp_path / name).mkdir()
        for each in range(3):
            picture = PIL.Image.fromarray(scene(80, 70, 10 * number + each))
            picture.save(tmp_path / name / f"{name[0]}{each}.png")
        arguments += [f"--{name}", tmp_path / name]
    return arguments


@pytest.fixture
def all_networks(monkeypatch, vgg):
    monkeypatch.setattr(networks, "absent", lambda: [])
    monkeypatch.setattr(MetricNetworks, "load", lambda device: metric_networks(vgg))


NEED_NOTHING = ("painted", "positions", "high_band", "self_similarity", "gram", "moments")
SMALL = ("--size", "64", "--pairs", "4", "--device", "cpu", "--precision", "fp32")


def test_methods(run, folders, all_networks, tmp_path):
    compared = ("photographs", "adain:alpha=0.5", "quantart:fidelity=1")
    options = [part for name in compared for part in ("--compare", name)]
    kept, sheet = tmp_path / "kept", tmp_path / "sheet.png"
    status, out, err = run("evaluate", *folders, *SMALL, *options, "--json", "--keep", kept, "--sheet", sheet)
    assert status == 0, err
    report = json.loads(out)
    assert [each["name"] for each in report["candidates"]] == list(compared)
    assert report["artworks"] == 3
    photographs, adain, quantart = report["candidates"]
    assert photographs["scores"]["lpips_vgg"]["value"] == 0
    assert adain["scores"]["lpips_vgg"]["value"] > 0
    assert set(adain["scores"]) == {*NEED_NOTHING, *DOWNLOADS, "kid", "artfid"} == set(quantart["scores"])
    assert photographs["scores"]["painted"] == {"value": 0, "error": 0}
    assert 0 < quantart["scores"]["positions"]["value"] < 1
    values = [pair["scores"]["adain:alpha=0.5"]["gram"] for pair in report["pairs"]]
    assert sum(values) / len(values) == pytest.approx(adain["scores"]["gram"]["value"], rel=1e-3)
    ratio = adain["scores"]["gram"]["value"] / photographs["scores"]["gram"]["value"]
    assert adain["over_first"]["gram"]["value"] == pytest.approx(ratio, rel=1e-3)
    assert "quantart:fidelity=1" in err
    assert "ArtFID" in err
    names = [pair["name"] for pair in report["pairs"]]
    assert len(set(names)) == 4
    assert {path.stem for path in (kept / "adain_alpha=0.5").iterdir()} == set(names)
    assert {path.name for path in (kept / "contents").iterdir()} <= {"c0.png", "c1.png", "c2.png"}
    with PIL.Image.open(kept / "styles" / "s0.png") as square:
        assert square.size == (64, 64)
    with PIL.Image.open(sheet) as page:
        assert page.width > 5 * 200
    # What was kept is what another tool would bring: measured again it scores the same, on the same pairs.
    status, out, err = run("evaluate", *folders, *SMALL, "--outputs", kept / "adain_alpha=0.5", "--json", "--quiet")
    assert status == 0, err
    assert err == ""
    again = json.loads(out)
    assert {pair["name"] for pair in again["pairs"]} == set(names)
    for name, score in again["candidates"][0]["scores"].items():
        assert score["value"] == pytest.approx(adain["scores"][name]["value"], rel=1e-4, abs=1e-5)


def test_table_and_unpaired_outputs(run, folders, all_networks, tmp_path):
    outputs = tmp_path / "theirs"
    outputs.mkdir()
    for number in range(3):
        PIL.Image.fromarray(scene(64, 64, 40 + number)).save(outputs / f"{number}.png")
    status, out, err = run("evaluate", *folders, *SMALL, "--outputs", outputs)
    assert status == 0, err
    assert "only FID and KID" in err
    title, heading, row = out.decode().splitlines()
    assert title.startswith("3 pictures each of 64², 3 artworks")
    assert row.startswith("theirs")
    assert heading.split() == ["FID", "KID×10³", "s"]
    assert row.endswith("–")


def test_hold_out_is_what_training_leaves_out(run, folders, all_networks):
    held = {name for kind in "csa" for name in (f"{kind}{i}.png" for i in range(3)) if name_hash(name) < 0.8}
    assert held == {"c0.png", "c1.png", "c2.png", "s0.png", "s1.png", "a1.png", "a2.png"}
    options = ("--compare", "photographs", "--hold-out", 0.8, "--pairs", 9, "--json")
    status, out, err = run("evaluate", *folders, *SMALL, *options)
    assert status == 0, err
    report = json.loads(out)
    assert (len(report["pairs"]), report["artworks"]) == (6, 2)
    assert {Path(pair["style"]).name for pair in report["pairs"]} == {"s0.png", "s1.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compare", "adian"), "did you mean adain"),
        (("--compare", "quantart:fidelity=2"), "fidelity must be between 0 and 1"),
        (("--compare", "quantart:fidelty=1"), "did you mean fidelity"),
        (("--compare", "quantart:fidelity"), "is not NAME=VALUE"),
        (("--compare", "adain:alpha=x"), "alpha must be a number"),
        (("--compare", "photographs:alpha=1"), "take no settings"),
        (("--compare", "adain", "--compare", "adain"), "given twice"),
        (("--pattern", "{content}"), "pattern '{content}' must have"),
        (("--outputs", "nowhere"), "nowhere is no folder"),
        (("--pairs", "1"), "pairs must be at least 2"),
        (("--compare", "photographs", "--model", "x.safetensors"), "none of the compared methods takes other weights"),
        (("--sheet", "nowhere/sheet.png"), "nowhere"),
        (("--hold-out", "0.000001"), "held out"),
    ],
)
def test_mistakes(run, folders, all_networks, arguments, message):
    status, out, err = run("evaluate", *folders, *SMALL, *arguments)
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1
    assert message in err


def test_nothing_is_downloaded(run, folders):
    options = ("--compare", "adain", "--compare", "photographs", "--json")
    status, out, err = run("evaluate", *folders, *SMALL, *options)
    assert status == 0, err
    assert "styles of its own" not in err
    assert f"quantart download-weights {' '.join(DOWNLOADS.values())}" in err
    adain, photographs = json.loads(out)["candidates"]
    assert set(adain["scores"]) == set(NEED_NOTHING)
    assert adain["scores"]["painted"]["value"] > photographs["scores"]["painted"]["value"] == 0


def test_fid_alone_needs_its_network(run, folders, tmp_path):
    status, _, err = run("evaluate", *folders, *SMALL, "--outputs", tmp_path / "artworks", "--quiet")
    assert status == 2
    assert "quantart download-weights" in err


@pytest.mark.parametrize("option", ["--contents", "--styles", "--artworks"])
def test_folders_are_checked_before_weights(run, folders, option):
    status, _, err = run("evaluate", *folders, *SMALL, option, "nofolder")
    assert status == 2
    assert err == "quantart: nofolder is no folder: give a folder of pictures\n"


def test_methods_with_styles_of_their_own_are_named(run, folders, all_networks):
    options = (*folders[:2], "--styles", "@mosaic", *SMALL, "--compare", "fast", "--json")
    status, out, err = run("evaluate", *options)
    assert status == 0, err
    assert "fast paints in styles of its own, not in those given" in err
    assert {pair["style"].rpartition("/")[2] for pair in json.loads(out)["pairs"]} == {"mosaic.jpg"}
