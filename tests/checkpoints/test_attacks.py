"""Files made to harm: each is refused with its own sentence, nothing is run, nothing is left behind."""

import builtins
import os
import pickle
import random
import re
import stat
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.loading import load_tensors, open_tensors
from quantart_cli.errors import QuantArtError
from tests.checkpoints.makers import (
    Rebuilt,
    Storage,
    archive,
    checkpoint_archive,
    codebook,
    entry,
    lightning,
    numpy_pickle,
    pickled,
    safetensors_bytes,
    style_vqgan,
    tar_in_disguise,
)
from tests.cli.test_help import imported_by


class Attack:
    """Runs a function when a careless reader unpickles it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touches(marker):
    return Attack(os.system, f"echo > {marker}")


def evaluates(marker):
    return Attack(builtins.eval, f"open({str(marker)!r}, 'w').close()")


def saved(state, **options):
    return lambda path, marker: torch.save(state, path, **options)


def with_one(name, value):
    """The smallest model with one tensor replaced, or taken away."""
    state = {**codebook(), name: value}
    return saved({key: value for key, value in state.items() if value is not None})


def bytes_of(data):
    return lambda path, marker: path.write_bytes(data)


def without_end(path, marker):
    torch.save(style_vqgan("quantized"), path)
    path.write_bytes(path.read_bytes()[:-1000])


def with_changed_number(path, marker):
    torch.save({**codebook(), "entries": torch.full((4, 2), 3.25)}, path)
    path.write_bytes(path.read_bytes().replace(np.float32(3.25).tobytes(), np.float32(3.5).tobytes()))


def overlapping(path, marker):
    """Two records over the same bytes: the second's directory entry leads into the first."""
    checkpoint_archive(path, codebook_of(1))
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        first, second = (file.getinfo(f"archive/{name}").header_offset for name in ("data.pkl", "data/0"))
    path.write_bytes(data.replace(second.to_bytes(4, "little") + b"archive/data/0", b"\0\0\0\0archive/data/0"))
    assert first == 0 < second


def before_the_beginning(path, marker):
    """The directory says it lies four bytes further on: every record would be four bytes earlier."""
    torch.save(codebook(), path)
    data = bytearray(path.read_bytes())
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 4).to_bytes(4, "little")
    path.write_bytes(data)


def into_a_tensor(path, marker):
    """Items put into a tensor as if it were a dict: torch before 2.10 did so."""
    whole = pickled(codebook_of(8)["entries"])
    records = {"archive/data.pkl": whole[:-1] + b"K\x00K\x01s.", "archive/data/0": bytes(32)}
    archive(path, records)


def codebook_of(numbers, shape=(4, 2)):
    return {"entries": Rebuilt(Storage(numbers), shape, (2, 1))}


NUMBERS = {"w": entry([2], 0, 8)}
PICKLES = {
    "os.system, zip": (lambda path, m: torch.save(touches(m), path), "asks to run (posix|nt).system"),
    "os.system, old format": (
        lambda path, m: torch.save(touches(m), path, _use_new_zipfile_serialization=False),
        "asks to run (posix|nt).system",
    ),
    "eval, protocol 4": (
        lambda path, m: torch.save(evaluates(m), path, pickle_protocol=4),
        "is refused: it needs more than weights",
    ),
    "eval, in a checkpoint": (
        lambda path, m: torch.save(lightning({**codebook(), "deep": {"er": [evaluates(m)]}}), path),
        r"asks to run ((__builtin__|builtins)\.)?eval",
    ),
    "eval, beside the weights": (
        lambda path, m: torch.save(lightning(codebook(), hyper_parameters=evaluates(m)), path),
        r"asks to run ((__builtin__|builtins)\.)?eval",
    ),
    "os.system, LPIPS": (
        lambda path, m: path.write_bytes(numpy_pickle({"AlexNet_0": {"Conv_0": touches(m)}})),
        "asks to run (posix|nt).system",
    ),
    "eval, LPIPS, protocol 2": (
        lambda path, m: path.write_bytes(pickle.dumps({"VGG16_0": evaluates(m)}, 2)),
        r"asks to run ((__builtin__|builtins)\.)?eval",
    ),
    "objects in an array": (
        lambda path, m: path.write_bytes(numpy_pickle({"AlexNet_0": np.array([touches(m)], dtype=object)})),
        "O8 instead of floats|asks to run (posix|nt).system",
    ),
    "another class": (lambda path, m: torch.save(torch.nn.Linear(1, 1), path), "asks to run torch.nn.modules.linear"),
    "a sparse tensor": (saved({"w": torch.zeros(2).to_sparse()}), "none of the checkpoints quantart knows"),
    "reading far into memory": (bytes_of(b"\x80\x04Nr\xff\xff\xff\x7f."), "holds something else than arrays"),
    "tar": (bytes_of(tar_in_disguise()), "is a damaged checkpoint"),
}
ARCHIVES = {
    "zip bomb": (
        lambda path, m: checkpoint_archive(path, codebook_of(8), bytes(1 << 24), compression=zipfile.ZIP_DEFLATED),
        "in it is compressed, which torch never does",
    ),
    "more declared than there is": (
        lambda path, m: checkpoint_archive(path, codebook_of(10**12)),
        "none of the checkpoints quantart knows",
    ),
    "less than it declares": (lambda path, m: checkpoint_archive(path, codebook_of(4)), "damaged checkpoint"),
    "one number a million million times": (
        saved({**codebook(), "entries": torch.zeros(1).expand(10**12).view(-1, 2)}),
        "more numbers than the file holds",
    ),
    "no folder": (lambda path, m: archive(path, {"data.pkl": pickled({})}), "not a PyTorch checkpoint"),
    "no pickle": (lambda path, m: archive(path, {"a/data/0": b"1"}), "not a PyTorch checkpoint"),
    "a path upwards": (
        lambda path, m: archive(path, {"archive/data.pkl": pickled({}), "archive/../../evil": b"x"}),
        "holds no tensors by name",
    ),
    "an absolute path": (
        lambda path, m: archive(path, {"/etc/data.pkl": pickled({})}),
        "is a damaged checkpoint",
    ),
    "a path on Windows": (
        lambda path, m: archive(path, {"archive/data.pkl": pickled({}), "archive/..\\..\\evil": b"x"}),
        "holds no tensors by name",
    ),
    "a million records": (
        lambda path, m: archive(path, {f"a/{i}": b"" for i in range(50_001)}),
        "not a PyTorch checkpoint",
    ),
    "into a tensor": (into_a_tensor, "is refused: it needs more than weights"),
    "a name twice": (
        lambda path, m: archive(path, {"a/data.pkl": pickled({}), "a/DATA.pkl": touch_of(m)}),
        "asks to run (posix|nt).system|holds no tensors by name",
    ),
    "overlapping records": (overlapping, "damaged"),
    "TorchScript": (
        lambda path, m: archive(path, {"a/data.pkl": pickled({}), "a/constants.pkl": touch_of(m), "a/code/x.py": b""}),
        "TorchScript program",
    ),
    "cut short": (without_end, "damaged or incomplete archive"),
    "more behind the end": (
        lambda path, m: (torch.save(codebook(), path), path.write_bytes(path.read_bytes() + b"PK\5\6")),
        "damaged or incomplete archive",
    ),
    "one number changed": (with_changed_number, "damaged or incomplete archive .*data/0"),
}
INVALID = "is not a valid safetensors file"
SAFETENSORS = {
    "overlapping": (bytes_of(safetensors_bytes({**NUMBERS, "v": entry([2], 4, 12)}, bytes(12))), INVALID),
    "100 GB header": (bytes_of(safetensors_bytes(b"{}  ", length=100 << 30)), INVALID),
    "no JSON": (bytes_of(safetensors_bytes(b"{'w'}")), INVALID),
    "a name twice": (bytes_of(safetensors_bytes(b'{"w":{},"w":{}}')), INVALID),
    "beyond the end": (bytes_of(safetensors_bytes({"w": entry([3], 0, 12)}, bytes(8))), INVALID),
    "not its bytes": (bytes_of(safetensors_bytes({"w": entry([3], 0, 8)}, bytes(8))), INVALID),
    "empty": (bytes_of(b""), "is empty"),
}
NETWORKS = {
    "NaN": (with_one("expand.bias", torch.tensor([1.0, float("nan"), 0])), "expand.bias holds numbers that are not f"),
    "Inf": (with_one("expand.bias", torch.tensor([1.0, float("inf"), 0])), "expand.bias holds numbers that are not f"),
    "-Inf": (with_one("expand.bias", torch.tensor([-float("inf"), 1, 0])), "expand.bias holds numbers that are not f"),
    "one missing": (with_one("expand.bias", None), "lacks the tensor expand.bias"),
    "one extra": (with_one("more", torch.zeros(1)), "a tensor too many, more"),
    "a name of two lines": (with_one("a\n\x1b[2J", torch.zeros(1)), r"a tensor too many, a\\n\\x1b\[2J"),
    "transposed": (with_one("expand.weight", torch.zeros(2, 3)), r"expand.weight has shape \[2, 3\], not \[3, 2\]"),
    "int8": (with_one("entries", torch.zeros(4, 2, dtype=torch.int8)), "entries holds int8, not floats"),
    "impossible sizes": (
        saved({**codebook(), "project.weight": torch.zeros(0, 2**62), "entries": torch.zeros(2**62, 0)}),
        "impossible sizes|has shape",
    ),
    "something else": (saved({"weight": torch.zeros(3)}), "none of the checkpoints quantart knows"),
    "text": (bytes_of(b"#!/bin/sh\necho hello\n"), "is a text file, not weights"),
    "empty": (bytes_of(b""), "is empty"),
    "cut short, old format": (
        lambda path, m: (
            torch.save(codebook(), path, _use_new_zipfile_serialization=False),
            path.write_bytes(path.read_bytes()[:-9]),
        ),
        "damaged",
    ),
}


def touch_of(marker):
    return pickle.dumps(touches(marker), 2)


def listed(attacks):
    return [pytest.param(make, message, id=name) for name, (make, message) in attacks.items()]


@pytest.mark.parametrize(
    ("make", "message"), listed(PICKLES) + listed(ARCHIVES) + listed(SAFETENSORS) + listed(NETWORKS)
)
def test_attacks_are_refused(run, tmp_path, make, message):
    marker, out = tmp_path / "marker", tmp_path / "out"
    out.mkdir()
    (out / "model.safetensors").write_bytes(b"as it was")
    make(tmp_path / "attack.ckpt", marker)
    status, stdout, err = run("convert", tmp_path / "attack.ckpt", "-o", out / "model.safetensors")
    assert status == 2, err
    assert err.count("\n") == 1
    assert err.startswith("quantart: ")
    assert "attack.ckpt" in err
    assert re.search(message, err), err
    assert stdout == b""
    assert not marker.exists()
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]
    assert (out / "model.safetensors").read_bytes() == b"as it was"


def test_an_older_torch_reads_no_pickle(tmp_path, monkeypatch):
    """Before 2.10 weights_only let a file write into memory: into_a_tensor above."""
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    into_a_tensor(tmp_path / "m.pth", None)
    assert "needs torch 2.10" in refusal(tmp_path / "m.pth", tmp_path / "m.safetensors", None)


def test_a_directory_that_claims_another_place_changes_no_number(tmp_path):
    path, out = tmp_path / "m.pth", tmp_path / "m.safetensors"
    before_the_beginning(path, None)
    if not refusal(path, out, None):
        assert all(torch.equal(value, codebook()[name]) for name, value in open_tensors(out).items())


PICTURES = {
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1", "is a JPEG picture, not weights"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a PNG picture, not weights"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC picture, not weights"),
    "web page": (b"<!DOCTYPE html><html><body>404", "is a web page, not weights"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
}


@pytest.mark.parametrize("suffix", [".jpg", ".safetensors", ".pth"])
@pytest.mark.parametrize(("start", "said"), PICTURES.values(), ids=PICTURES)
def test_a_file_of_another_kind_is_named(run, tmp_path, content_file, start, said, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(start + bytes(1000))
    for command in (
        ("convert", path, "-o", tmp_path / "o.safetensors"),
        ("adain", content_file, content_file, "--model", path, "-o", tmp_path / "o.png"),
    ):
        status, _, err = run(*command)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err


def test_a_picture_is_refused_before_torch_is_imported(tmp_path):
    (tmp_path / "m.pth").write_bytes(b"\xff\xd8\xff\xe0" + bytes(1000))
    modules = imported_by(
        "from quantart_cli.cli import main; "
        f"main(['convert', {str(tmp_path / 'm.pth')!r}, '-o', {str(tmp_path / 'o.safetensors')!r}])"
    )
    assert "typer" in modules
    assert "torch" not in modules


@pytest.mark.parametrize(("make", "message"), listed(SAFETENSORS))
def test_model_files_are_refused_alike(tmp_path, make, message):
    path = tmp_path / "model.safetensors"
    make(path, None)
    with pytest.raises(QuantArtError, match=message):
        open_tensors(path)
    with pytest.raises(QuantArtError, match=message):
        load_tensors(path.read_bytes(), str(path))


@pytest.mark.parametrize("reader", [open_tensors, lambda path: convert(path, path.with_name("o.safetensors"))])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, reader):
    with pytest.raises(QuantArtError, match="is a folder"):
        reader(tmp_path)
    with pytest.raises(QuantArtError, match="does not exist"):
        reader(tmp_path / "nothing")
    with pytest.raises(QuantArtError, match="is not a path"):
        reader(tmp_path / "a\0b")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(QuantArtError, match="symbolic links go round in a circle"):
        reader(tmp_path / "circle")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(QuantArtError, match="is not a regular file"):
            reader(tmp_path / "fifo")
        with pytest.raises(QuantArtError, match="is not a regular file"):
            reader(type(tmp_path)("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "secret.pth"
    torch.save(codebook(), path)
    path.chmod(0)
    with pytest.raises(QuantArtError, match="cannot be read: permission denied"):
        convert(path, tmp_path / "o.safetensors")
    path.chmod(stat.S_IRUSR)


def test_a_system_that_says_no(tmp_path, monkeypatch):
    path = tmp_path / "secret.pth"
    torch.save(codebook(), path)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("quantart_cli.files.os.open", refuse)
    with pytest.raises(QuantArtError, match="cannot be read: permission denied"):
        open_tensors(path)


def _samples(folder):
    """The smallest model in all formats, and a pickle of arrays."""
    torch.save(codebook(), folder / "zip.pth")
    torch.save(lightning(codebook()), folder / "old.ckpt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(codebook(), folder / "m.safetensors")
    (folder / "lpips.ckpt").write_bytes(numpy_pickle({"AlexNet_0": {"Conv_0": {"bias": np.ones(3, "f4")}}}))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(path, target, kind):
    """Why it is not converted; nothing when it is. Any other exception is a mistake of ours."""
    try:
        convert(path, target, kind=kind)
    except QuantArtError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["zip.pth", "old.ckpt", "m.safetensors", "lpips.ckpt"])
def test_random_damage_is_an_error_or_harmless(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("fuzz")
    data = _samples(folder)[name]
    out = folder / "out"
    out.mkdir()

    @settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(
        flips=st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(1, 255)), min_size=1, max_size=4),
        cut=st.one_of(st.just(len(data)), st.integers(1, len(data))),
        kind=st.sampled_from([None, "state-dict"]),
    )
    def damage(flips, cut, kind):
        changed = bytearray(data)
        for position, bits in flips:
            changed[position] ^= bits
        path = folder / f"damaged-{name}"
        path.write_bytes(changed[:cut])
        told = refusal(path, out / "m.safetensors", kind)
        assert "\n" not in told
        if not told:
            open_tensors(out / "m.safetensors")
        assert {path.name for path in out.iterdir()} <= {"m.safetensors"}

    damage()


def test_every_byte_of_the_pickle_in_a_checkpoint(tmp_path):
    """The pickle itself, with its checksum made right again: what a careful attacker would write."""
    whole = pickled(codebook_of(8))
    chosen = random.Random(0)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= chosen.randrange(1, 256)
        path = tmp_path / "m.pth"
        archive(path, {"archive/data.pkl": bytes(changed), "archive/data/0": bytes(32), "archive/version": b"3\n"})
        assert "\n" not in refusal(path, tmp_path / "m.safetensors", "state-dict")
