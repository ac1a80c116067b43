"""Every byte to a stream or an error, files whole or not at all on odd file systems, descriptors left alone."""

import errno
import fcntl
import io
import os
import stat
import subprocess
import sys
import threading
import time
import types

import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.files import check_target, open_regular, read_chunk, write_all, write_atomically, write_stdout

DATA = os.urandom(300_000)


def run(program: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output="stdout" not in options, timeout=60, check=False, **options)


@pytest.fixture
def pipe():
    """A pipe of 4 kB, its reading end read slowly by a thread, and what came out."""
    read, write = os.pipe()
    fcntl.fcntl(write, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    got = bytearray()

    def slowly():
        while data := os.read(read, 3000):
            got.extend(data)
            time.sleep(0.0005)

    thread = threading.Thread(target=slowly)
    thread.start()

    def finish() -> bytes:
        os.close(write)
        thread.join(20)
        os.close(read)
        return bytes(got)

    return write, finish


@pytest.mark.parametrize("blocking", [True, False])
def test_every_byte_through_a_slow_pipe(pipe, blocking):
    write, finish = pipe
    os.set_blocking(write, blocking)
    write_all(write, DATA)
    with open(os.dup(write), "wb", buffering=0) as raw:  # as stdout is under PYTHONUNBUFFERED=1
        write_all(raw, DATA)
    with open(os.dup(write), "wb") as buffered:
        buffered.write(b"before")
        write_all(buffered, DATA)
    assert finish() == DATA + DATA + b"before" + DATA


def test_what_a_stream_cannot_take_is_an_error():
    with open("/dev/full", "wb") as full, pytest.raises(QuantArtError, match="stdout cannot be written: no space left"):
        write_all(full.raw, DATA)
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(QuantArtError, match="report cannot be written: Broken pipe"):
        write_all(write, DATA, "report")
    os.close(write)


def test_text_and_bytes_to_stdout(monkeypatch, capfdbinary):
    write_stdout("Größe\n")
    write_stdout(b"\0")
    assert capfdbinary.readouterr().out == "Größe\n\0".encode()
    memory = types.SimpleNamespace(buffer=io.BytesIO(), closed=False)
    monkeypatch.setattr(sys, "stdout", memory)
    write_stdout("a lone \udcff")
    assert memory.buffer.getvalue() == b"a lone \\udcff"
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(QuantArtError, match="stdout is closed"):
        write_stdout("x")


def test_a_non_blocking_stream_is_waited_for():
    read, write = os.pipe()
    os.set_blocking(read, False)
    with os.fdopen(read, "rb") as stream:
        timer = threading.Timer(0.1, lambda: (os.write(write, b"late"), os.close(write)))
        timer.start()
        assert read_chunk(stream, 100) == b"late"
        assert read_chunk(stream, 100) == b""


def test_a_refused_chmod_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def refused(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    write_atomically(str(path), b"after")
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["a"]


def test_standard_streams_by_their_paths(tmp_path):
    program = "import sys; from quantart_cli.files import *; check_target(sys.argv[1], []); "
    program += "write_atomically(sys.argv[1], b'whole')"
    assert run(program, "/dev/stdout").stdout == b"whole"
    assert run(program, "/dev/fd/1").stdout == b"whole"
    read, write = os.pipe()  # as process substitution gives it
    assert run(program, f"/dev/fd/{write}", pass_fds=[write]).returncode == 0
    os.close(write)
    with open(read, "rb") as stream:
        assert stream.read() == b"whole"
    for path in (tmp_path / "kept", tmp_path / "deleted"):
        with open(path, "w+b") as redirected:
            if path.name == "deleted":
                path.unlink()
            assert run(program, "/dev/stdout", stdout=redirected).returncode == 0
            redirected.seek(0)
            assert (redirected.read() if path.name == "deleted" else path.read_bytes()) == b"whole"
    assert os.listdir(tmp_path) == ["kept"]


def test_a_deleted_current_folder(tmp_path):
    program = """
import os, sys
from quantart_cli.files import *
from quantart_cli.images import read_picture
os.mkdir(sys.argv[1]); os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])
for action, rest in ((check_target, [[]]), (write_atomically, [b""]), (read_picture, [])):
    try:
        action("a.png", *rest)
    except QuantArtError as error:
        print(error)
"""
    lines = run(program, tmp_path / "gone").stdout.decode().splitlines()
    assert len(lines) == 3
    assert all("a.png" in line and "current folder" in line for line in lines)


def test_closed_streams_are_not_taken_for_files(tmp_path):
    """A file opened while stderr is closed gets its number, and what C prints would go into it."""
    (tmp_path / "a").write_bytes(b"x")
    program = """
import os, sys
from quantart_cli.files import open_regular, reserve_standard_descriptors
os.close(2)
print(open_regular(sys.argv[1]).fileno() > 2)
reserve_standard_descriptors()
print(os.path.samestat(os.fstat(2), os.stat(os.devnull)))
"""
    assert run(program, tmp_path / "a").stdout.split() == [b"True", b"True"]


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert open_regular(str(tmp_path / "fifo")) is None
    assert open_regular(str(tmp_path)) is None
    (tmp_path / "a").write_bytes(b"x")
    with open_regular(str(tmp_path / "a")) as file:
        assert file.read() == b"x"


def test_modes_are_kept_and_targets_checked(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    path.chmod(0o604)
    check_target(str(path), [])
    write_atomically(str(path), lambda file: file.write(b"after"))
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    with pytest.raises(QuantArtError, match="would be overwritten"):
        check_target(str(path), [path])
