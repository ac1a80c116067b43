"""The painting commands."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from quantart_cli.checkpoints.manifest import manifest
from tests.conftest import scene

EXACT = ("--device", "cpu", "--precision", "fp32", "--backend", "torch")


@pytest.mark.parametrize(
    "arguments", [("stylize", "--fidelity", "0.4"), ("adain", "--alpha", "0.9"), ("gatys", "--steps", "2")]
)
def test_each_command_paints_at_the_contents_size(run, content_file, style_file, tmp_path, arguments):
    output = tmp_path / "out.png"
    status, out, err = run(arguments[0], content_file, style_file, "-o", output, *arguments[1:], *EXACT)
    assert (status, out) == (0, b"")
    assert err.count("\n") == 1
    assert "out.png: 96 × 64" in err
    image = PIL.Image.open(output)
    assert image.size == (96, 64)
    assert np.asarray(image).std() > 5


def test_json_says_everything(run, content_file, style_file, tmp_path):
    output = tmp_path / "out.png"
    status, out, err = run(
        "stylize", content_file, style_file, content_file, "-o", output, "--style-weights", "1,3", "--beta", "0.5",
        "--seed", "7", "--json", "--quiet", *EXACT,
    )  # fmt: skip
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["method"] == "quantart"
    assert report["content"] == str(content_file)
    assert report["styles"] == [str(style_file), str(content_file)]
    assert report["output"] == str(output)
    assert (report["width"], report["height"]) == (96, 64)
    assert report["options"]["fidelity"] == 0.7
    assert report["options"]["strength"] == 0.5
    assert report["options"]["style_weights"] == [0.25, 0.75]
    assert report["options"]["seed"] == 7
    assert (report["device"], report["precision"]) == ("cpu", "fp32")
    assert report["seconds"] > 0
    assert report["backend"] == "torch"
    for name in ("vgg19-normalised", "quantart-painter", "adain-decoder"):
        assert report["weights"][name] == manifest()[name].sha256


def test_the_same_command_gives_the_same_bytes_by_every_path(
    run, content_file, style_file, tmp_path, monkeypatch, quantart_model
):
    outputs = []
    for name in ("one.png", "two.png"):
        run("stylize", content_file, style_file, "-o", tmp_path / name, *EXACT)
        outputs.append((tmp_path / name).read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content_file.read_bytes())))
    status, out, _ = run("stylize", "-", style_file, "-o", "-", *EXACT)
    assert status == 0
    outputs.append(out)
    assert outputs[0] == outputs[1] == outputs[2]
    by_api = quantart_model.stylize(content_file, style_file)
    assert np.array_equal(np.asarray(by_api), np.asarray(PIL.Image.open(io.BytesIO(outputs[0]))))


def test_size_format_and_metadata(run, style_file, tmp_path):
    content = tmp_path / "content.jpg"
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    PIL.Image.fromarray(scene(90, 60)).save(content, exif=exif)
    for name, options, size in (("a.jpg", (), (60, 90)), ("b.webp", ("--size", "45"), (30, 45))):
        status, _, err = run("adain", content, style_file, "-o", tmp_path / name, *options, *EXACT)
        assert status == 0, err
        image = PIL.Image.open(tmp_path / name)
        assert image.size == size
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "A camera"
        assert image.info["icc_profile"]
    run("adain", content, style_file, "-o", tmp_path / "c.jpg", "--strip-metadata", *EXACT)
    assert 0x010F not in PIL.Image.open(tmp_path / "c.jpg").getexif()


def test_transparency_into_jpeg_needs_a_background(run, style_file, tmp_path):
    content = tmp_path / "content.png"
    PIL.Image.fromarray(np.dstack([scene(40, 30), np.full((30, 40), 80, np.uint8)])).save(content)
    status, _, err = run("adain", content, style_file, "-o", tmp_path / "o.jpg", *EXACT)
    assert status == 2
    assert "--background" in err
    status, _, err = run("adain", content, style_file, "-o", tmp_path / "o.jpg", "--background", "white", *EXACT)
    assert status == 0, err
    assert PIL.Image.open(tmp_path / "o.jpg").mode == "RGB"


def broken(tmp_path):
    """Inputs a person may give by mistake, by name."""
    good = io.BytesIO()
    PIL.Image.fromarray(scene(64, 64)).save(good, "JPEG")
    (tmp_path / "truncated.jpg").write_bytes(good.getvalue()[: len(good.getvalue()) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("dear diary")
    (tmp_path / "folder.png").mkdir()
    bomb = io.BytesIO()
    PIL.Image.new("1", (8, 8)).save(bomb, "PNG")
    data = bytearray(bomb.getvalue())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["truncated.jpg", "empty.png", "text.jpg", "folder.png", "bomb.png", "missing.png"])
@pytest.mark.parametrize("place", ["content", "style"])
def test_broken_inputs_are_one_line_and_status_2(run, content_file, style_file, tmp_path, name, place):
    broken(tmp_path)
    before = sorted(tmp_path.iterdir())
    inputs = (tmp_path / name, style_file) if place == "content" else (content_file, tmp_path / name)
    status, out, err = run("stylize", *inputs, "-o", tmp_path / "out.png")
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1
    assert err.startswith("quantart: ")
    assert name in err
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "OUT/none/out.png"], "folder"),
        (["-o", "OUT/content.png/out.png"], "not a folder"),
        (["-o", "OUT"], "is a folder"),
        (["-o", "OUT/out.pgn"], "png"),
        (["-o", "OUT/out"], "format"),
        (["-o", "OUT/content.png"], "is an input"),
        (["-o", "/proc/out.png"], "/proc"),
        (["-o", "OUT/o.png", "--preserve-color", "lumma"], "did you mean luma?"),
        (["-o", "OUT/o.png", "--device", "cude"], "did you mean cuda?"),
        (["-o", "OUT/o.png", "--precision", "fp23"], "did you mean fp32?"),
        (["-o", "OUT/o.png", "--format", "jpgg"], "jpeg"),
        (["-o", "OUT/o.png", "--fidelity", "1.5"], "--fidelity must be between 0 and 1"),
        (["-o", "OUT/o.png", "--fidelity", "nan"], "--fidelity must be a number"),
        (["-o", "OUT/o.png", "--fidelity", "much"], "--fidelity takes a number in 0..1, not 'much'"),
        (["-o", "OUT/o.png", "--fidelty", "1"], "did you mean --fidelity?"),
        (["-o", "OUT/o.png", "--style-weights", "1,2"], "2 style weights for 1 style:"),
        (["-o", "OUT/o.png", "--style-weights", "a"], "--style-weights 'a' is not a list of numbers"),
        (["-o", "OUT/o.png", "--style-weights", "-1"], "at least 0"),
        (["-o", "OUT/o.png", "--size", "0"], "--size must be at least 1"),
        (["-o", "OUT/o.png", "--size", "big"], "--size takes pixels, one number: 512, not 'big'"),
        (["-o", "OUT/o.png", "--style-size", "-3"], "--style-size must be at least 1"),
        (["-o", "OUT/o.png", "--quality", "101"], "--quality must be between 1 and 100"),
        (["-o", "OUT/o.png", "--seed", "-1"], "--seed must be at least 0"),
        (["-o", "OUT/o.png", "--size", "9999999"], "--max-pixels"),
        (["-o", "OUT/o.png", "--size", "9" * 400], "999 is too large a number"),
        (["-o", "OUT/o.png", "--refine", "-1" + "0" * 400], "000 is too large a number"),
        (["-o", "OUT/o.png", "--model", ""], "--model is empty"),
        (["OUT/b.png", "-o", "OUT/o.png"], "b.png does not exist"),
        (["-o", "OUT/o.jpg", "--background", "whiet"], "whiet"),
        (["-o", "OUT/o.png", "--max-pixels", "100"], "above the limit"),
        (["-o", "-", "--json"], "both write to stdout"),
        (["-o", "OUT/o.png", "--device", "cuda:x"], "--device"),
        (["-o", "OUT/o.png", "--zebra", "1"], "is not an option of stylize: see quantart stylize --help"),
        (["-o", "OUT/o.png", "--steps", "1"], "--steps is an option of gatys and nnst; see quantart stylize --help"),
        ([], "--output is missing. Usage: quantart stylize [OPTIONS] CONTENT STYLE..."),
    ],
)
def test_mistaken_options_are_one_line_and_status_2(run, content_file, style_file, tmp_path, arguments, message):
    before = sorted(tmp_path.iterdir())
    options = [argument.replace("OUT", str(tmp_path)) for argument in arguments]
    status, out, err = run("stylize", content_file, style_file, *options)
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stylise",), "stylise is not a command: did you mean stylize?"),
        (("photo.jpg", "style.jpg"), "did you mean quantart stylize photo.jpg …?"),
        (("xyzzy",), "use one of stylize, adain, "),
        (("adain", "--fidelity", "1"), "--fidelity is an option of stylize; adain has --alpha"),
        (("gatys", "--alpha", "1"), " and nnst; see quantart gatys --help"),
        (("stylize",), "CONTENT is missing. Usage: quantart stylize [OPTIONS] CONTENT STYLE..."),
        (("stylize", "a.jpg"), "STYLE is missing"),
        (("stylize", "a.jpg", "b.jpg", "-o"), "-o takes a value: write it after -o"),
        (("stylize", "a.jpg", "--quiet=1"), "--quiet takes no value: write nothing after --quiet"),
        (("cache", "clear"), "clear: more than quantart cache takes: did you mean --clear?"),
        (("styles", "ink"), "ink: more than quantart styles takes. Usage: quantart styles [OPTIONS]"),
        (("train", "adam"), "adam is not a command: did you mean adain? (one of painter, pack, "),
        (("repaint",), "PAINTED is missing. Usage: quantart repaint [OPTIONS] PAINTED CONTENT [STYLE...]"),
        (("stylize", "a.jpg", "b.jpg", "c.png"), "--output is missing: give -o before c.png. Usage: "),
    ],
)
def test_a_mistaken_command_line_gets_the_nearest_right_words(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, b"")
    assert err.count("\n") == 1
    assert message in err


def test_several_styles_are_counted_and_a_glob_of_photographs_is_refused(run, content_file, style_file, tmp_path):
    status, _, err = run("adain", content_file, style_file, style_file, "-o", tmp_path / "o.png", *EXACT)
    assert status == 0, err
    assert "1 content, 2 styles: " in err
    others = [tmp_path / f"photo{i}.png" for i in range(6)]
    status, _, err = run("adain", content_file, *others, style_file, "-o", tmp_path / "o2.png", *EXACT)
    assert status == 2
    assert f"quantart batch {tmp_path} {style_file} --method adain -o FOLDER" in err
    assert not (tmp_path / "o2.png").exists()


def test_strength_goes_from_the_content_to_the_style(run, content_file, style_file, tmp_path):
    outputs = []
    for options in (("--strength", "0.3"), ("--alpha", "0.3"), ()):
        run("adain", content_file, style_file, "-o", tmp_path / "o.png", *options, *EXACT)
        outputs.append((tmp_path / "o.png").read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]


def test_tiles_are_counted(run, content_file, style_file, tmp_path, monkeypatch):
    monkeypatch.setattr("quantart_cli.cli.console._PLAIN_EVERY", 0.0)
    status, _, err = run("adain", content_file, style_file, "-o", tmp_path / "o.png", "--tile", "64", *EXACT)
    assert status == 0
    assert "Painting: encode 1/2" in err
    assert "Painting: decode 2/2" in err


def test_stdin_is_one_picture(run, tmp_path):
    status, _, err = run("adain", "-", "-", "-o", tmp_path / "o.png")
    assert status == 2
    assert "give - once" in err


def test_a_bug_shows_its_traceback(run, monkeypatch, content_file, style_file, tmp_path):
    def bug(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("quantart_cli.model.Model.paint", bug)
    with pytest.raises(ZeroDivisionError):
        run("adain", content_file, style_file, "-o", tmp_path / "o.png", *EXACT)
    assert not (tmp_path / "o.png").exists()


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "quantart_cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def handles(process, number):
    """Whether a process has a handler of its own for a signal; where the system does not say, True."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_ctrl_c_keeps_the_picture_an_optimisation_reached(content_file, style_file, tmp_path):
    output = tmp_path / "out.png"
    process = start("gatys", content_file, style_file, "-o", output, "--steps", "100000", *EXACT)
    deadline = time.monotonic() + 90
    # Its first plain line says that it optimises; on a slow machine that may take a while.
    line = ""
    while "Painting" not in line and time.monotonic() < deadline:
        line = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped at step" in err
    assert "Traceback" not in err
    assert PIL.Image.open(output).size == (96, 64)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_ctrl_c_before_anything_is_painted_writes_nothing(run, monkeypatch, content_file, style_file, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("quantart_cli.model.Model", interrupt)
    status, _, err = run("adain", content_file, style_file, "-o", tmp_path / "o.png", *EXACT)
    assert status == 130
    assert "nothing was written" in err
    assert not (tmp_path / "o.png").exists()


def test_a_picture_as_large_as_its_name_is_strange(run, style_file, tmp_path):
    content = tmp_path / "-ein Bild, schön & 日本.PNG"
    PIL.Image.fromarray(scene(33, 21)).save(content, "PNG")
    output = tmp_path / "ööö out.PNG"
    status, _, err = run("adain", "-o", output, *EXACT, "--", content, style_file)
    assert status == 0, err
    assert PIL.Image.open(output).size == (33, 21)


def test_dev_null_and_pipes(content_file, style_file):
    process = start("adain", content_file, style_file, "-o", os.devnull, "--format", "png", "--json", *EXACT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert json.loads(out)["output"] == os.devnull


def closed(redirection, *arguments):
    """Status and stdout of a command in a shell with a redirection such as ``2>&-``."""
    command = " ".join(shlex.quote(str(part)) for part in (sys.executable, "-m", "quantart_cli", *arguments))
    done = subprocess.run(f"{command} {redirection}", shell=True, stdout=subprocess.PIPE, timeout=120, check=False)
    return done.returncode, done.stdout


def test_a_closed_stderr_leaves_picture_and_json_alone(content_file, style_file, tmp_path):
    status, out = closed("2>&-", "adain", content_file, style_file, "-o", "-", *EXACT)
    assert status == 0
    assert out.endswith(b"IEND\xaeB`\x82")
    status, out = closed("2>&-", "adain", content_file, style_file, "-o", tmp_path / "o.png", "--json", *EXACT)
    assert status == 0
    assert json.loads(out)["output"] == str(tmp_path / "o.png")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [("cache", "--json"), ("--version",), ("methods",)])
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_words_that_cannot_be_written_are_status_2(arguments, redirection):
    assert closed(f"{redirection} 2>/dev/null", *arguments)[0] == 2


def test_a_console_of_another_encoding_ends_no_command(content_file, style_file, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    command = [sys.executable, "-m", "quantart_cli"]
    for arguments in (("stylize", "--help"), ("adain", content_file, style_file, "-o", tmp_path / "ö.png", *EXACT)):
        done = subprocess.run([*command, *map(str, arguments)], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_at_any_time_leave_nothing_behind(content_file, style_file, tmp_path, number):
    """From when the command handles them; before, Python itself shows a traceback at SIGINT."""
    before = sorted(tmp_path.iterdir())
    for delay in (0.0, 0.3, 0.6, 1.2, 2.4):
        process = start("gatys", content_file, style_file, "-o", tmp_path / "o.png", "--steps", "100000", *EXACT)
        deadline = time.monotonic() + 60
        while not handles(process, signal.SIGHUP) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (128 + number, -number), err
        assert "Traceback" not in err
        if number != signal.SIGINT:
            assert sorted(tmp_path.iterdir()) == before
        for path in tmp_path.iterdir():  # Ctrl-C keeps the picture reached
            if path not in before:
                path.unlink()


def test_masks(run, content_file, style_file, tmp_path):
    content = np.asarray(PIL.Image.open(content_file).convert("RGB"))
    mask, output = np.zeros(content.shape[:2], np.uint8), tmp_path / "out.png"
    mask[:, :40] = 255
    cut = tmp_path / "cut.png"
    PIL.Image.fromarray(np.dstack([content, mask])).save(cut)
    PIL.Image.fromarray(mask[::2]).save(tmp_path / "mask.png")
    painted = []
    for given, source in ((tmp_path / "mask.png", content_file), ("alpha", cut), ("not:alpha", cut)):
        status, out, err = run("adain", source, style_file, "-o", output, "--mask", given, "--json", *EXACT)
        assert status == 0, err
        painted.append(np.asarray(PIL.Image.open(output)))
        assert json.loads(out)["options"]["mask"] == [str(given)]
        assert ("mask.png of 96 × 32 was resized to 96 × 64" in err) == (source == content_file)
    inside, same, outside = painted
    assert np.array_equal(inside, same)
    assert np.array_equal(inside[:, 40:], content[:, 40:])
    assert np.array_equal(outside[:, :40], content[:, :40])
    assert not np.array_equal(inside[:, :40], content[:, :40])


def test_masks_of_a_dry_run_and_mistakes(run, content_file, style_file, tmp_path):
    mask = tmp_path / "mask.png"
    PIL.Image.fromarray(np.full((4, 4), 255, np.uint8)).save(mask)
    paint = ("adain", content_file, style_file, "-o", tmp_path / "out.png", *EXACT)
    assert run(*paint, "--mask", mask, "--dry-run")[0] == 0
    for options, said in (
        (("--mask", "alpha"), "has no transparency"),
        (("--mask", mask, "--mask", mask), "give a style mask for each"),
        (("--mask", f"not:{mask}"), "mask.png is white all over"),
        (("--mask", "nowhere.png"), "nowhere.png"),
        (("--mask", mask, "-o", mask), "mask.png"),
    ):
        status, out, err = run(*paint, *options)
        assert (status, out, err.count("\n")) == (2, b"", 1)
        assert said in err
    assert mask.exists()
    assert not (tmp_path / "out.png").exists()
