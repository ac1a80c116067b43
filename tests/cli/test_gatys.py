"""``quantart gatys``: previews, interruptions, continuing, regions, mistakes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest
import safetensors

from quantart_cli.cli import optimising
from tests.conftest import scene

EXACT = ("--device", "cpu", "--precision", "fp32")
QUICK = ("--size", "40", "--style-layers", "relu1_1,relu2_1", "--content-layers", "relu2_2", *EXACT)


@pytest.fixture
def paint(run, content_file, style_file, tmp_path):
    def call(*options, output="out.png", styles=(style_file,)):
        return run("gatys", content_file, *styles, "-o", tmp_path / output, *QUICK, *options)

    return call


def pixels(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"), int)


def grey(path, array):
    PIL.Image.fromarray(np.uint8(array)).save(path)
    return path


def test_previews_frames_and_a_trace(paint, tmp_path):
    watching = ("--preview-every", "3", "--preview", tmp_path / "now.jpg", "--trace", tmp_path / "t.csv")
    frames = ("--save-frames", tmp_path / "deep" / "frames", "--frames-every", "2")
    status, _, err = paint("--steps", "5", "--pyramid", "20,40", *watching, *frames)
    assert status == 0, err
    head, *rows = (tmp_path / "t.csv").read_text().splitlines()
    assert head == "step,width,height,seconds,total,content,style,tv"
    table = [[float(cell) for cell in row.split(",")] for row in rows]
    assert [row[:3] for row in table] == [[1, 20, 14], [2, 20, 14], [3, 20, 14], [4, 40, 27], [5, 40, 27]]
    for row in table:
        assert row[4] == pytest.approx(sum(row[5:]), rel=1e-6)
    assert sorted(os.listdir(tmp_path / "deep" / "frames")) == ["frame-000002.png", "frame-000004.png"]
    for file in (tmp_path / "now.jpg", tmp_path / "deep" / "frames" / "frame-000002.png"):
        assert pixels(file).shape == (27, 40, 3)


def test_watching_changes_nothing(paint, tmp_path):
    paint("--steps", "4")
    status, _, err = paint("--steps", "4", "--preview-every", "1", output="other.png")
    assert status == 0, err
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content.png", "other.png", "out.png", "style.png"]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_interrupted_and_gone_on_with_it_is_the_same_picture(paint, tmp_path, monkeypatch, optimizer):
    command = ("--steps", "9", "--pyramid", "20,40", "--optimizer", optimizer, "--trace", tmp_path / "t.csv")
    status, _, _ = paint(*command, output="straight.png")
    assert status == 0
    step = optimising.Session.step

    def interrupt(self, record):
        step(self, record)
        if record.step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optimising.Session, "step", interrupt)
        status, _, err = paint(*command)
    assert status == 130
    assert "stopped at step 7" in err
    assert "--resume continues" in err
    checkpoint = tmp_path / "out.png.checkpoint.safetensors"
    with safetensors.safe_open(checkpoint, "np") as file:
        assert json.loads(file.metadata()["state"])["step"] == 7
    stopped = (tmp_path / "out.png").read_bytes()
    with (tmp_path / "t.csv").open("a") as trace:  # as a kill leaves it, steps after the last checkpoint
        trace.write("8,40,27,0,0,0,0,0\n9,40,2")
    status, _, err = paint(*command, "--resume")
    assert status == 0, err
    assert not checkpoint.exists()
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "straight.png").read_bytes() != stopped
    steps = [int(row.split(",")[0]) for row in (tmp_path / "t.csv").read_text().splitlines()[1:]]
    assert steps == list(range(1, 10))


def test_a_checkpoint_of_something_else_is_one_line(paint, tmp_path, monkeypatch, content_file):
    def interrupt(self, record):
        self._last = record
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optimising.Session, "step", interrupt)
        paint("--steps", "6", "--checkpoint", tmp_path / "c.safetensors")
    resume = ("--resume", "--checkpoint", tmp_path / "c.safetensors")
    before = (tmp_path / "c.safetensors").read_bytes()
    for options, said in (
        (("--steps", "7"), "was made with --steps 6, not 7"),
        (("--steps", "6", "--style-weight", "7"), "with --style-weight 5.0, not 7"),
        (("--steps", "6", "--seed", "2"), "with --seed 0, not 2"),
        (("--steps", "6", "--size", "41"), "another content"),
        (("--steps", "6", "--style-size", "20"), "another styles"),
    ):
        status, _, err = paint(*options, *resume)
        assert status == 2
        assert said in err
        assert err.count("\n") == 1
    PIL.Image.fromarray(scene(96, 64, 9)).save(content_file)
    status, _, err = paint("--steps", "6", *resume)
    assert (status, err.count("\n")) == (2, 1)
    assert "another content" in err
    assert (tmp_path / "c.safetensors").read_bytes() == before


def test_a_checkpoint_is_written_now_and_then(paint, tmp_path, monkeypatch):
    monkeypatch.setattr(optimising, "_CHECKPOINT_EVERY", 0.0)
    written = []
    keep = optimising.Session._keep
    monkeypatch.setattr(
        optimising.Session, "_keep", lambda self, step: written.append(step.state().step) or keep(self, step)
    )
    status, _, err = paint("--steps", "3")
    assert status == 0, err
    assert written == [1, 2, 3]
    assert not (tmp_path / "out.png.checkpoint.safetensors").exists()


def test_a_disk_that_fails_on_the_way_ends_nothing(paint, tmp_path):
    (tmp_path / "frames" / "frame-000002.png").mkdir(parents=True)
    status, _, err = paint("--steps", "3", "--save-frames", tmp_path / "frames", "--frames-every", "1")
    assert status == 0, err
    assert "frame-000002.png" in err
    assert (tmp_path / "out.png").exists()


def test_ctrl_c_leaves_a_checkpoint_that_goes_on(content_file, style_file, tmp_path):
    command = [sys.executable, "-m", "quantart_cli", "gatys", str(content_file), str(style_file), "-o"]
    command += [str(tmp_path / "out.png"), *QUICK, "--steps", "100000", "--tolerance", "0", "--trace"]
    command += [str(tmp_path / "t.csv")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (
        (tmp_path / "t.csv").exists() and b"\n3," in (tmp_path / "t.csv").read_bytes()
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert pixels(tmp_path / "out.png").shape == (27, 40, 3)
    with safetensors.safe_open(tmp_path / "out.png.checkpoint.safetensors", "np") as file:
        assert json.loads(file.metadata()["state"])["step"] >= 3


def test_a_mask_of_another_size_is_resized_and_that_is_said(paint, tmp_path):
    half = np.zeros((10, 10))
    half[:, :5] = 255
    mask = grey(tmp_path / "mask.png", half)
    status, out, err = paint("--mask", mask, "--steps", "8", "--tv-weight", "0", "--json")
    assert status == 0, err
    assert "mask.png of 10 × 10 was resized to 40 × 27" in err
    assert any("resized" in note for note in json.loads(out)["notes"])
    paint("--steps", "1", "--style-weight", "0", "--tv-weight", "0", output="content.out.png")
    change = np.abs(pixels(tmp_path / "out.png") - pixels(tmp_path / "content.out.png")).mean((0, 2))
    assert change[:12].mean() > 5 * change[28:].mean()


def test_pairs_of_masks(paint, tmp_path):
    left = np.zeros((27, 40))
    left[:, :20] = 255
    masks = grey(tmp_path / "left.png", left), grey(tmp_path / "right.png", 255 - left)
    guided = ("--mask", masks[0], "--mask", masks[1], "--style-mask", masks[1], "--style-mask", masks[0])
    outs = []
    for name, options in (("a.png", guided), ("b.png", ())):
        status, _, err = paint("--steps", "4", *options, output=name)
        assert status == 0, err
        outs.append(pixels(tmp_path / name))
    assert np.abs(outs[0] - outs[1]).mean() > 1


def test_a_picture_to_start_from(paint, tmp_path):
    start = grey(tmp_path / "start.png", np.full((5, 5), 250))
    status, out, err = paint(
        "--init", start, "--steps", "1", "--style-weight", "0", "--content-weight", "0", "--tv-weight", "0", "--json"
    )
    assert status == 0, err
    assert (pixels(tmp_path / "out.png") == 250).all()
    assert json.loads(out)["options"]["start"] == str(start)


def test_seeds_and_starts_decide(paint, tmp_path):
    for name, options in (("a", ("--seed", "1")), ("b", ("--seed", "1")), ("c", ("--seed", "2"))):
        paint("--init", "noise", "--steps", "2", *options, output=f"{name}.png")
    a, b, c = (pixels(tmp_path / f"{name}.png") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_tiles_change_nothing(run, content_file, style_file, tmp_path):
    options = ("--size", "150", "--pyramid", "none", "--steps", "2", "--style-layers", "relu1_1,relu2_1", *EXACT)
    for tile in ("none", "64"):
        out = tmp_path / f"{tile}.png"
        status, _, err = run("gatys", content_file, style_file, "-o", out, "--tile", tile, *options)
        assert status == 0, err
    assert np.abs(pixels(tmp_path / "none.png") - pixels(tmp_path / "64.png")).max() <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--style-layers", "relu1_1,relu9_1"), "did you mean"),
        (("--style-layers", "conv4_1"), "did you mean relu4_1?"),
        (("--content-layers", "relu4_2:x"), "weight of relu4_2"),
        (("--style-loss", "grm"), "did you mean gram?"),
        (("--pyramid", "1,b"), "auto, none or sizes"),
        (("--init", "contnet"), "did you mean content?"),
        (("--init", "nowhere.png"), "nowhere.png"),
        (("--start", "nowhere.png"), "nowhere.png"),
        (("--mask", "nowhere.png"), "nowhere.png"),
        (("--mask", "BLACK"), "black.png is black all over"),
        (("--style-mask", "WHITE"), "0 masks and 1 style mask:"),
        (("--mask", "WHITE", "--style-mask", "alpha"), "give a file with --style-mask"),
        (("--mask", "WHITE", "--mask", "WHITE"), "give a style mask for each"),
        (("--style-scale", "0"), "--style-scale must be between"),
        (("--optimizer", "sgd"), "use one of auto, lbfgs, adam"),
        (("--pooling", "avg"), "pooling"),
        (("--preview-every", "0"), "at least 1"),
        (("--preview", "p.png"), "--preview needs --preview-every"),
        (("--preview-every", "1", "--preview", "p.xyz"), "xyz"),
        (("--trace", "CONTENT"), "is an input"),
        (("--trace", "none/t.csv"), "none/t.csv"),
        (("--save-frames", "CONTENT"), "cannot be made"),
        (("--checkpoint", "OUT"), "is the output"),
        (("--checkpoint", "CONTENT"), "is an input"),
        (("--mask", "WHITE", "--checkpoint", "WHITE"), "is an input"),
        (("--checkpoint", "BLACK"), "is not a checkpoint of a painting"),
        (("--trace", "t.csv", "--checkpoint", "t.csv"), "is --checkpoint as well"),
        (("--checkpoint", "none/c"), "make the folder"),
        (("--resume",), "there is no checkpoint"),
    ],
)
def test_mistakes_are_one_line_and_status_2(paint, tmp_path, content_file, options, said):
    files = {
        "BLACK": grey(tmp_path / "black.png", np.zeros((4, 4))),
        "WHITE": grey(tmp_path / "white.png", np.full((4, 4), 255)),
        "CONTENT": content_file,
        "OUT": tmp_path / "out.png",
    }
    before = sorted(tmp_path.iterdir())
    status, out, err = paint(*(files.get(option, option) for option in options))
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1, err
    assert said in err
    assert sorted(tmp_path.iterdir()) == before


def test_the_python_api_takes_the_same(tmp_path):
    import quantart_cli as quantart

    model = quantart.load("gatys", device="cpu", precision="fp32")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 255
    settings = {"steps": 2, "style_layers": "relu1_1", "content_layers": "relu1_2", "tv_weight": 0}
    seen = []
    picture = model.stylize(scene(48, 32), scene(40, 40, 1), masks=[mask], progress=seen.append, **settings)
    assert picture.size == (48, 32)
    assert [record.step for record in seen] == [1, 2]
    assert np.array_equal(np.asarray(picture)[:, 40:], scene(48, 32)[:, 40:])
    started = model.stylize(scene(48, 32), scene(40, 40, 1), start=scene(9, 9, 4), masks=[mask], **settings)
    assert not np.array_equal(np.asarray(picture), np.asarray(started))
