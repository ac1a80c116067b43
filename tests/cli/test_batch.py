"""``quantart batch`` as a person meets it; most of it with a model that only inverts colours."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from filelock import FileLock

from quantart_cli import files as file_helpers
from quantart_cli.batch import run as run_module
from quantart_cli.batch.job import PaintJob
from tests.batch.stand_in import Inverter
from tests.conftest import scene

EXACT = ("--device", "cpu", "--precision", "fp32", "--runtime", "torch")


def save(path, width=8, height=8, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(scene(width, height, seed)).save(path)
    return path


@pytest.fixture
def model(monkeypatch):
    """What paints instead of networks."""
    stand_in = Inverter()
    monkeypatch.setattr(PaintJob, "load_model", lambda *_: stand_in)
    return stand_in


@pytest.fixture
def painted(model, monkeypatch):
    """Names of the contents painted so far; clear it between runs."""
    names = []
    whole = model.paint

    def paint(picture, *arguments, **options):
        names.append(picture.name)
        return whole(picture, *arguments, **options)

    monkeypatch.setattr(model, "paint", paint)
    return names


@pytest.fixture
def photos(tmp_path):
    """Six pictures in a folder."""
    for number in range(6):
        save(tmp_path / "in" / ("sub" if number % 2 else "") / f"{number}.png", 8 + number, seed=number)
    save(tmp_path / "style.png", seed=9)
    return tmp_path / "in"


@pytest.fixture
def style(tmp_path):
    return save(tmp_path / "style.png", 40, 32, seed=9)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".quantart" not in p.parts)


def test_sixty_pictures_good_and_bad(run, tmp_path, style):
    """With the real networks: the good ones all painted, the bad ones all named."""
    folder, out = tmp_path / "in", tmp_path / "out"
    good, bad = [], []
    for number in range(40):
        good.append(save(folder / ("a", "b", "b/c")[number % 3] / f"{number}.png", 16 + number % 2, 20, number))
    good.append(save(folder / "a/X.jpg", 20, 20))
    good.append(save(folder / "a/x.png", 20, 20))
    good.append(save(folder / "a/X.webp", 20, 20))
    good.append(save(folder / "misnamed-png.jpg", 20, 20).rename(folder / "misnamed-jpg.png"))
    for number in range(8):
        bad.append(folder / f"broken{number}.png")
        data = (folder / "a/0.png").read_bytes()
        bad[-1].write_bytes(data[: 40 + 20 * number])
    for number in range(4):
        bad.append(folder / f"empty{number}.jpg")
        bad[-1].touch()
    bad.append(folder / "text.jpg")
    bad[-1].write_text("no picture")
    bad.append(save(folder / "huge.png", 400, 400))
    bad.append(folder / "nowhere.jpg")
    bad[-1].symlink_to(folder / "gone.jpg")
    os.mkfifo(folder / "pipe.png")
    bad.append(folder / "pipe.png")
    assert len(good) + len(bad) == 60
    report = tmp_path / "report.jsonl"
    status, stdout, err = run(
        "batch", folder, style, "-o", out, "--format", "png", "--max-pixels", "100000", "--report", report, "--json",
        *EXACT,
    )  # fmt: skip
    assert status == 1
    facts = json.loads(stdout)
    assert facts["painted"] == len(good)
    assert {failure["content"] for failure in facts["failures"]} == {str(path) for path in bad}
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(lines) == 60
    assert {line["content"] for line in lines if line["status"] == "painted"} == {str(path) for path in good}
    for line in lines:
        if line["status"] == "painted":
            with PIL.Image.open(line["content"]) as content, PIL.Image.open(out / line["output"]) as result:
                assert content.size == result.size
        else:
            assert line["content"] in line["reason"]
    assert {"a/x_png.png", "a/X_jpg.png", "a/X_webp.png"} < set(files(out))
    assert "44 painted" in err
    assert "16 failed" in err
    assert len([line for line in err.splitlines() if "broken" in line]) == 8


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_picture_without_permission_is_named(run, photos, tmp_path, model):
    (photos / "0.png").chmod(0)
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert status == 1
    assert "0.png cannot be read: permission denied" in err


def test_read_only_contents_are_no_trouble(run, photos, tmp_path, model):
    for path in (*photos.rglob("*.png"), photos / "sub", photos):
        path.chmod(0o555 if path.is_dir() else 0o444)
    status, *_ = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    for path in (photos, photos / "sub"):
        path.chmod(0o755)
    assert status == 0
    assert len(files(tmp_path / "out")) == 6


def test_the_same_pictures_as_one_by_one(run, photos, tmp_path, style):
    out = tmp_path / "out"
    assert run("batch", photos, style, "-o", out, "--fidelity", 0.5, *EXACT)[0] == 0
    for name in files(out)[2:5]:
        single = tmp_path / "single.png"
        assert run("stylize", photos / name, style, "-o", single, "--fidelity", 0.5, *EXACT)[0] == 0
        assert single.read_bytes() == (out / name).read_bytes()


def test_again_does_what_is_missing_or_changed(run, photos, tmp_path, painted):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert run(*command)[0] == 0
    assert len(painted) == 6
    painted.clear()
    status, _, err = run(*command)
    assert (status, painted) == (0, [])
    assert "0 painted, 6 up to date" in err
    (tmp_path / "out" / "2.png").unlink()
    save(photos / "4.png", 9, seed=77)
    os.utime(photos / "0.png")  # touched, the same bytes
    save(photos / "new.png")
    run(*command)
    assert sorted(painted) == ["2.png", "4.png", "new.png"]
    painted.clear()
    run(*command)
    assert painted == []


def test_another_option_or_style_makes_them_stale(run, photos, tmp_path, painted):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    run(*command)
    painted.clear()
    for options in (("--fidelity", 0.3), ("--fidelity", 0.3, "--preserve-color", "luma"), ("--method", "adain")):
        _, out, _ = run(*command, *options, "--dry-run", "--json")
        assert json.loads(out)["why"] == {"options changed": 6}
        painted.clear()  # a dry run paints a sample
        run(*command, *options)
        assert len(painted) == 6
        painted.clear()
        run(*command, *options, "--tile", "512", "--quiet")  # the same pictures
        assert painted == []
    save(tmp_path / "style.png", seed=10)
    run(*command, "--method", "adain")
    assert len(painted) == 6
    run(*command, "--method", "adain", "--overwrite")
    assert len(painted) == 12


def test_what_somebody_changed_is_kept(run, photos, tmp_path, painted):
    out = tmp_path / "out"
    command = ("batch", photos, tmp_path / "style.png", "-o", out)
    run(*command)
    painted.clear()
    retouched = save(out / "0.png", 5, seed=3).read_bytes()
    status, _, err = run(*command, "--fidelity", 0.1)
    assert status == 0
    assert (out / "0.png").read_bytes() == retouched
    assert "1 kept" in err
    assert len(painted) == 5
    run(*command, "--overwrite")
    assert (out / "0.png").read_bytes() != retouched


def test_a_file_in_the_way_is_not_replaced(run, photos, tmp_path, model):
    foreign = save(tmp_path / "out" / "0.png", 5)
    before = foreign.read_bytes()
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    status, _, err = run(*command)
    assert status == 1
    assert "0.png is there already" in err
    assert "5 painted" in err
    assert foreign.read_bytes() == before
    assert run(*command, "--overwrite")[0] == 0
    assert foreign.read_bytes() != before


def test_a_style_is_encoded_once_and_each_style_paints_each_picture(run, photos, tmp_path, model):
    styles = tmp_path / "styles"
    for number in range(3):
        save(styles / f"s{number}.png", seed=number)
    (styles / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    status, _, err = run("batch", photos, styles, "--each-style", "-o", tmp_path / "out")
    assert status == 1
    assert sorted(model.encoded) == [["s0.png"], ["s1.png"], ["s2.png"]]
    assert len(files(tmp_path / "out")) == 18
    assert "0_s1.png" in files(tmp_path / "out")
    assert "6 failed" in err
    assert "its style:" in err


def test_a_style_that_cannot_be_read_ends_it_before_it_begins(run, photos, tmp_path, model):
    (tmp_path / "style.png").write_bytes(b"")
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert status == 2
    assert err.count("\n") == 1
    assert "style.png is empty" in err


def test_a_full_disk_is_one_line_and_goes_on_later(run, photos, tmp_path, painted, monkeypatch):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    written = iter(range(100))

    def full(descriptor):
        if next(written) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file_helpers, "fsync", full)
        status, _, err = run(*command)
    assert status == 1
    assert err.count("no space left on the disk") == 1
    assert "3 are left: the same command continues" in err
    before = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
    assert len(before) == 3
    painted.clear()
    assert run(*command)[0] == 0
    assert len(painted) == 3
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in before.items())


def test_a_full_disk_in_the_ledger(run, photos, tmp_path, model, monkeypatch):
    class Full(run_module.Ledger):
        def put(self, entry):
            if entry.output.startswith("sub"):
                raise OSError(errno.ENOSPC, "no space left on the disk")
            super().put(entry)

    monkeypatch.setattr("quantart_cli.batch.ledger.Ledger", Full)
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert status == 1
    assert err.count("no space left") == 1


def test_a_folder_that_takes_no_file_fails_its_pictures_alone(run, photos, tmp_path, model):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file")
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert status == 1
    assert "3 painted" in err
    assert "3 failed" in err


def test_bugs_are_told_with_a_traceback_and_end_nothing(run, photos, tmp_path, model, monkeypatch):
    whole = model.paint

    def broken(picture, *arguments, **options):
        if picture.name == "2.png":
            raise ZeroDivisionError("ours")
        return whole(picture, *arguments, **options)

    monkeypatch.setattr(model, "paint", broken)
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert status == 1
    assert "5 painted" in err
    assert "2.png: a bug of quantart: ZeroDivisionError: ours" in err
    assert "Traceback" in err


def test_fail_fast(run, photos, tmp_path, model):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out", "--fail-fast")
    assert status == 1
    assert "0 painted, 1 failed" in err
    assert "5 are left: the same command continues" in err


def test_two_at_a_time_are_refused(run, photos, tmp_path, model):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    run(*command)
    place = tmp_path / "out" / ".quantart"
    (place / "run.json").write_text(json.dumps({"pid": 4711, "host": "atelier", "started": "2026-11-21 09:00:00"}))
    holder = FileLock(place / "run.lock")
    with holder:
        status, _, err = run(*command)
    assert status == 2
    assert "process 4711 on atelier" in err
    status, _, err = run(*command)  # its process is dead: only the note is left
    assert status == 0
    assert "a run that was killed (process 4711)" in err


def test_shards_side_by_side(run, photos, tmp_path, painted):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    place = tmp_path / "out" / ".quantart"
    assert run(*command, "--shard", "1/3")[0] == 0
    with FileLock(place / "run-1-of-3.lock"):
        assert run(*command, "--shard", "2/3")[0] == 0
        assert run(*command, "--shard", "1/2")[0] == 2
        assert run(*command)[0] == 2
    assert run(*command, "--shard", "3/3")[0] == 0
    assert sorted(painted) == [f"{number}.png" for number in range(6)]
    painted.clear()
    status, _, err = run(*command)  # all of it is done, by their ledgers
    assert (status, painted) == (0, [])
    assert "6 up to date" in err


def test_names_that_make_trouble(run, tmp_path, style, model):
    names = [
        "-o.png",
        "with space.png",
        "ünï¢ödé 写真 🎨.png",
        "UPPER.PNG",
        "dots.in.name.png",
        "n" * 251 + ".png",
        "[x]*.png",
    ]
    raw = os.fsdecode(b"caf\xe9.png")
    for name in (*names, raw):
        save(tmp_path / "in" / name)
    report = tmp_path / "report.jsonl"
    status, _, err = run("batch", tmp_path / "in", style, "-o", tmp_path / "out", "--report", report, "--json")
    assert status == 0, err
    assert set(files(tmp_path / "out")) == {*names, raw}
    assert len(report.read_text().splitlines()) == 8
    assert run("batch", tmp_path / "in", style, "-o", tmp_path / "out")[2].startswith(
        str(tmp_path / "out") + ": 0 painted, 8"
    )


def test_links_are_followed_once(run, photos, tmp_path, model):
    (photos / "round").symlink_to(photos)
    (photos / "again").symlink_to(photos / "sub")
    (photos / "link.png").symlink_to(photos / "0.png")
    assert run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")[0] == 0
    assert len(files(tmp_path / "out")) == 7


def test_painting_into_the_same_folder(run, photos, tmp_path, painted):
    command = ("batch", photos, tmp_path / "style.png", "-o", photos, "--name", "{stem} painted{suffix}")
    assert run(*command)[0] == 0
    assert len(painted) == 6
    status, _, err = run(*command)  # what it painted is no content
    assert (status, len(painted)) == (0, 6)
    assert "6 made by quantart itself" in err
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", photos)
    assert status == 2
    assert "would be overwritten" in err


def test_lists_and_globs(run, photos, tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("in/0.png\r\n\nin/sub/1.png\nin/not there.png\n")
    status, _, err = run("batch", "--from-file", "list", "--input", "in/*4.png", "style.png", "-o", "out")
    assert status == 1
    assert "in/not there.png does not exist" in err
    assert files(tmp_path / "out") == ["4.png", "in/0.png", "in/sub/1.png"]


def test_dry_run_writes_nothing(run, photos, tmp_path, style):
    (photos / "empty.png").touch()
    status, out, err = run("batch", photos, style, "-o", tmp_path / "out", "--dry-run", "--json", *EXACT)
    assert status == 0
    assert not (tmp_path / "out").exists()
    facts = json.loads(out)
    assert facts["to_paint"] == 6
    assert facts["pixels"] == sum((8 + number) * 8 for number in range(6))
    assert facts["seconds"] > 0
    assert facts["bytes"] > 6 * 100
    assert len(facts["plan"]) == facts["why"]["new"] == 6
    assert "empty.png is empty" in err
    assert "empty.png ->" not in err
    assert "nothing was written" in err


def test_dry_run_leaves_out_what_is_prepared_once(run, photos, tmp_path, model, monkeypatch):
    """As the export of networks for OpenVINO, which the first picture painted waits for."""
    now = 0.0
    whole = model.paint

    def paint(*arguments, **options):
        nonlocal now
        now += 1 if now else 1000
        return whole(*arguments, **options)

    monkeypatch.setattr(model, "paint", paint)
    monkeypatch.setattr("quantart_cli.cli.batch_plan.time.perf_counter", lambda: now)
    _, out, _ = run("batch", photos / "0.png", tmp_path / "style.png", "-o", tmp_path / "out", "--dry-run", "--json")
    assert json.loads(out)["seconds"] == 1


def test_progress_without_a_terminal_is_a_line_now_and_then(run, photos, tmp_path, model, monkeypatch):
    monkeypatch.setattr("quantart_cli.cli.console._PLAIN_EVERY", 0.0)
    _, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    lines = [line for line in err.splitlines() if " a second, " in line]
    assert len(lines) == 6
    assert lines[-1].startswith("6/6, ")
    assert ".png" in lines[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--method", "gattys"), "did you mean gatys?"),
        (("--method", "stylize"), "it is called quantart (one of"),
        (("--steps", "5"), "--steps is not a setting of this method: "),
        (("--method", "fast", "--steps", "5"), "--steps is not a setting of this method: use one of --style-names"),
        (("--fidelity", "2"), "fidelity must be between 0 and 1"),
        (("--fidelity", "0.5", "--alpha", "0.5"), "another name of"),
        (("--shard", "4/3"), "--shard 4/3"),
        (("--name", "{stem}_{stil}{suffix}"), "style"),
        (("--format", "jgp"), "did you mean jpg?"),
        (("--workers", "2"), "--executor ray"),
        (("--executor", "spark"), "one of local, ray"),
        (("--report", "report.txt"), "must end in .jsonl"),
        (("--each-style", "--style-weights", "1"), "give one of them"),
        (("--mask", "alpha", "--mask", "not:alpha"), "2 --mask for 1 style:"),
        (("--mask", "alpha", "--style-weights", "1"), "each region takes one"),
        (("--mask", "masks", "--executor", "ray"), "takes --mask alpha only"),
        (("--mask", "masks"), "mask masks is no folder"),
        (("--quality", "101"), "--quality must be between 1 and 100"),
    ],
)
def test_mistakes_are_one_line_before_anything(run, photos, tmp_path, model, options, said):
    status, _, err = run("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out", *options)
    assert status == 2
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "out").exists()


def test_files_first_and_the_last_is_the_style(run, photos, tmp_path, model):
    style = tmp_path / "style.png"
    single = sorted(photos.glob("*.png"))
    status, _, err = run("batch", *single, style, "-o", tmp_path / "out")
    assert status == 0
    assert files(tmp_path / "out") == ["0.png", "2.png", "4.png"]
    assert f"3 contents, 1 style: {style}\n" in err
    status, _, err = run(
        "batch", single[0], photos / "sub", "--style", single[1], "--style", style, "-o", tmp_path / "b"
    )
    assert status == 0
    assert files(tmp_path / "b") == ["0.png", "1.png", "3.png", "5.png"]
    assert f"4 contents, 1 style: {single[1]} + {style}\n" in err
    assert model.encoded == [["style.png"], ["2.png", "style.png"]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("in",), "there is no style"),
        (("--style", "style.png"), "there is nothing to paint"),
        (("--input", "in"), "there is no style"),
        (("style.png", "in"), "in is a folder: the order may be swapped, photographs come before the style"),
        (("in", "style.png", "-o", "style.png"), "style.png is a file: -o takes a folder"),
        (("in", "style.png", "-o", "new.png"), "-o new.png would become a folder: give a folder such as new;"),
        (("in", "style.png", "--format", "png", "--name", "{stem}.jpg"), "contradicts --format png"),
    ],
)
def test_what_is_missing_or_contradictory_is_one_line(run, photos, tmp_path, model, monkeypatch, given, said):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("batch", "-o", "out", *given)
    assert status == 2
    assert err.count("\n") == 1
    assert said in err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["in", "style.png"]


def test_other_options_say_that_they_paint_over(run, photos, tmp_path, model):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    assert "painting over" not in run(*command)[2]
    err = run(*command, "--fidelity", 0.1)[2]
    assert f"painting over 6 pictures in {tmp_path / 'out'} that other options or styles gave" in err
    assert "--name" in err
    assert "painting over" not in run(*command, "--overwrite")[2]


def test_what_cannot_be_read_is_named_and_counted_apart(run, photos, tmp_path, model):
    (photos / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (photos / "IMG_2").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (photos / "sub" / "work.psd").write_bytes(b"8BPS")
    (photos / "notes.txt").write_text("a picture of a camera raw file")
    os.mkfifo(photos / "pipe")
    report = tmp_path / "report.jsonl"
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out", "--json")
    status, out, err = run(*command, "--report", report)
    assert status == 0
    kinds = {"IMG_1.HEIC": "a HEIC picture", "IMG_2": "a HEIC picture", "sub/work.psd": "a Photoshop document"}
    wanted = {str(photos / name): kind for name, kind in kinds.items()}
    said = {line["content"]: line["reason"].partition(":")[0] for line in json.loads(out)["unreadable"]}
    assert said == wanted
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["content"] for line in lines if line["status"] == "unreadable"] == list(wanted)
    assert len(lines) == 6 + 3
    for path, kind in wanted.items():
        assert f"{path} is {kind}: " in err
    assert "6 painted" in err
    assert "2 not pictures, 3 unreadable (HEIC picture: 2, Photoshop document: 1)" in err
    (photos / "only").mkdir()
    (photos / "IMG_1.HEIC").rename(photos / "only" / "IMG_1.HEIC")
    status, _, err = run("batch", photos / "only", tmp_path / "style.png", "-o", tmp_path / "other")
    assert status == 2
    assert "1 unreadable (HEIC picture: 1)" in err


def test_nice_leaves_a_cpu_free(photos, tmp_path, style):
    program = (
        "import os, sys\n"
        "from quantart_cli.batch.job import PaintJob\n"
        "from quantart_cli.cli import main\n"
        "PaintJob.load_model = lambda job, tell: sys.exit(f'{os.nice(0)} {job.threads}')\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, "batch", str(photos), str(style), "-o", str(tmp_path / "out"), "--nice"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stderr
    assert told.splitlines()[-1] == f"{os.nice(0) + 10} {max(1, len(os.sched_getaffinity(0)) - 1)}"


def test_a_damaged_ledger_is_one_line(run, photos, tmp_path, model):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    run(*command)
    (tmp_path / "out" / ".quantart" / "ledger.sqlite").write_bytes(b"no ledger" * 100)
    status, _, err = run(*command)
    assert status == 2
    assert "ledger.sqlite is damaged" in err
    assert err.count("\n") == 1


def test_ledgers_of_a_newer_quantart_are_left_alone(run, photos, tmp_path, model):
    command = ("batch", photos, tmp_path / "style.png", "-o", tmp_path / "out")
    run(*command)
    with sqlite3.connect(tmp_path / "out" / ".quantart" / "ledger.sqlite") as ledger:
        ledger.execute("PRAGMA user_version = 99")
    status, _, err = run(*command)
    assert status == 2
    assert "newer quantart" in err


def test_gatys_interrupted_keeps_no_half_optimised_picture(photos, tmp_path, style):
    command = [sys.executable, "-m", "quantart_cli", "batch", str(photos), str(style), "-o", str(tmp_path / "out")]
    command += ["--method", "gatys", "--steps", "100000", *EXACT]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    while "1 style" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert files(tmp_path / "out") == []


def test_alpha_and_sizes_survive(run, tmp_path, style):
    rgba = np.dstack([scene(33, 21), np.full((21, 33), 128, np.uint8)])
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(rgba).save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.gif", 20, 30)
    command = ("batch", tmp_path / "in", style, "-o", tmp_path / "out", "--size", 40, *EXACT)
    assert run(*command)[0] == 0
    assert files(tmp_path / "out") == ["a.png", "b.png"]
    with PIL.Image.open(tmp_path / "out" / "a.png") as image:
        assert (image.size, image.mode) == ((40, 25), "RGBA")
    status, _, err = run("batch", tmp_path / "in", style, "-o", tmp_path / "jpeg", "--format", "jpg", *EXACT)
    assert status == 1
    assert "a.png has transparent parts" in err
    assert files(tmp_path / "jpeg") == ["b.jpg"]


def test_masks_by_the_names_of_the_pictures(run, tmp_path, style):
    """As stylize paints each; another mask makes its picture stale, and no other."""
    folder, masks, out = tmp_path / "in", tmp_path / "masks", tmp_path / "out"
    half = np.zeros((20, 24), np.uint8)
    half[:, :12] = 255
    masks.mkdir()
    for number, place in enumerate(("a.jpg", "sub/b.png")):
        save(folder / place, 24, 20, number)
        PIL.Image.fromarray(half).save(masks / f"{Path(place).stem}.png")
    other = save(tmp_path / "other.png", 30, 30, 5)
    styles = ("--style", style, "--style", other)
    regions = ("--mask", masks, "--mask", f"not:{masks}", "--method", "adain", *EXACT)
    assert run("batch", folder, *styles, "-o", out, *regions)[0] == 0
    single, mask = tmp_path / "single.png", masks / "b.png"
    words = (folder / "sub/b.png", style, other, "-o", single, "--mask", mask, "--mask", f"not:{mask}", *EXACT)
    assert run("adain", *words)[0] == 0
    assert single.read_bytes() == (out / "sub/b.png").read_bytes()
    PIL.Image.fromarray(255 - half).save(mask)
    _, found, _ = run("batch", folder, *styles, "-o", out, *regions, "--dry-run", "--json")
    assert [each["output"] for each in json.loads(found)["plan"]] == ["sub/b.png"]
    (masks / "a.png").unlink()
    status, _, err = run("batch", folder, *styles, "-o", out, *regions)
    assert (status, err.count("\n")) == (2, 1)
    assert f"has no mask for {folder / 'a.jpg'}: name masks as the pictures" in err


def test_alpha_as_mask(run, tmp_path, style):
    rgba = np.dstack([scene(24, 20), np.full((20, 24), 255, np.uint8)])
    rgba[:, 12:, 3] = 0
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(rgba).save(tmp_path / "in" / "cut.png")
    words = ("batch", tmp_path / "in", style, "-o", tmp_path / "out", "--method", "adain", *EXACT)
    assert run(*words, "--mask", "alpha")[0] == 0
    with PIL.Image.open(tmp_path / "out" / "cut.png") as painted:
        assert painted.mode == "RGB"
        assert np.array_equal(np.array(painted)[:, 12:], rgba[:, 12:, :3])
        assert not np.array_equal(np.array(painted)[:, :12], rgba[:, :12, :3])
