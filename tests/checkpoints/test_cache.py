"""The cache is never wrong: records last, links refused, leftovers swept."""

import errno
import json
import os
import subprocess
import sys

import platformdirs
import pytest

from quantart_cli.checkpoints import cache
from quantart_cli.errors import QuantArtError
from tests.checkpoints.servers import files_in, sha256

DATA = b"weights" * 1000


def put(key="thing-1", data=DATA, name="thing.bin"):
    with cache.writing(key) as folder:
        file = cache.temporary(folder, ".bin")
        file.write_bytes(data)
        return cache.install(key, file, name, sha256=sha256(data), kind="state-dict", source={"sha256": "s"})


def test_what_is_put_in_is_found(cache_root):
    assert cache.find("thing-1") is None
    assert not cache_root.exists()  # looking makes nothing
    entry = put()
    assert cache.find("thing-1") == entry
    assert entry.path.read_bytes() == DATA
    assert entry.path.name == f"thing-{sha256(DATA)[:16]}.bin"
    assert (entry.kind, entry.source, entry.bytes) == ("state-dict", {"sha256": "s"}, len(DATA))
    assert cache.check(entry)
    assert [found.key for found in cache.entries()] == ["thing-1"]


def test_new_bytes_replace_old_ones(cache_root):
    old = put()
    new = put(data=b"new")
    assert cache.find("thing-1") == new
    assert files_in(cache_root) == {new.path.name, "record.json"}
    assert not old.path.exists()


def test_the_entry_is_the_old_one_until_the_record_is_written(cache_root):
    old = put()

    def interrupted():
        with cache.writing("thing-1") as folder:
            (folder / "thing-new.bin").write_bytes(b"new")
            (folder / "tmp-1.json").write_bytes(b"{}")
            assert cache.find("thing-1") == old
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cache.check(cache.find("thing-1"))
    assert files_in(cache_root) == {old.path.name, "record.json"}


def test_an_installation_that_came_to_nothing_leaves_nothing(cache_root):
    def failing():
        with cache.writing("thing-1") as folder:
            cache.temporary(folder, ".bin").write_bytes(DATA)
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        failing()
    assert files_in(cache_root) == set()
    assert [path.name for path in cache_root.iterdir()] == ["locks"]


def test_a_file_from_elsewhere_is_linked_or_copied(cache_root, tmp_path, monkeypatch):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(DATA)
    pointer = tmp_path / "pointer.bin"
    pointer.symlink_to(outside)
    for refused in (False, True):
        if refused:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "cross-device")))
        with cache.writing(f"from-{refused}"):
            entry = cache.install(f"from-{refused}", pointer, "o.bin", sha256=sha256(DATA), kind=None, source={})
        assert entry.path.read_bytes() == DATA
        assert not entry.path.is_symlink()
        assert entry.path.samefile(outside) is not refused
    assert outside.read_bytes() == DATA


def test_other_bytes_than_the_record_says(cache_root):
    entry = put()
    entry.path.write_bytes(DATA[:-1] + b"!")
    assert not cache.check(cache.find("thing-1"))
    entry.path.write_bytes(b"short")
    assert not cache.check(cache.find("thing-1"))
    entry.path.unlink()
    assert cache.find("thing-1") is None


@pytest.mark.parametrize("which", ["file", "record", "folder"])
def test_a_symbolic_link_is_never_followed(cache_root, tmp_path, which):
    entry = put()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwd").write_bytes(DATA)  # even when the bytes would be right
    if which == "file":
        entry.path.unlink()
        entry.path.symlink_to(secret / "passwd")
    elif which == "record":
        record = entry.path.with_name("record.json")
        record.rename(secret / "record.json")
        record.symlink_to(secret / "record.json")
    else:
        for path in entry.path.parent.iterdir():
            path.rename(secret / path.name)
        entry.path.parent.rmdir()
        entry.path.parent.symlink_to(secret)
    before, kept = files_in(secret), files_in(cache_root)
    with pytest.raises(QuantArtError, match="in the cache is a symbolic link, which is never followed: remove it"):
        cache.find("thing-1")
    assert list(cache.entries()) == []
    if which == "folder":
        with pytest.raises(QuantArtError, match="never followed"), cache.writing("thing-1"):
            pytest.fail("it was followed")
    cache.tidy("archive-")
    assert (files_in(secret), files_in(cache_root)) == (before, kept)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_no_file(cache_root):
    entry = put()
    entry.path.unlink()
    os.mkfifo(entry.path)
    with pytest.raises(QuantArtError, match="not a regular file"):
        cache.find("thing-1")


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(file="../../secret"),
        lambda said: said.update(file="/etc/passwd"),
        lambda said: said.update(key="other"),
        lambda said: said.update(format=99),
        lambda said: said.update(sha256="abc"),
        lambda said: said.update(bytes="many"),
        lambda said: said.pop("source"),
    ],
)
def test_a_record_that_is_no_record_counts_as_none(cache_root, change):
    entry = put()
    (cache_root / "secret").write_bytes(DATA)
    record = entry.path.with_name("record.json")
    said = json.loads(record.read_text())
    change(said)
    record.write_text(json.dumps(said))
    assert cache.find("thing-1") is None
    record.write_bytes(b"\xff not json")
    assert cache.find("thing-1") is None
    assert cache.find("thing-1") is None
    assert put().path.read_bytes() == DATA  # and is replaced


def test_a_cache_that_cannot_be_written_can_be_read(cache_root, monkeypatch):
    put()

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "replace", "unlink", "link"):  # tests may run as root, whom permissions do not stop
        monkeypatch.setattr(os, name, refused)
    assert cache.check(cache.find("thing-1"))
    with pytest.raises(QuantArtError, match=r"cannot be written \(Read-only file system\): choose another folder"):
        put("thing-2")
    assert cache.check(cache.find("thing-1"))


def test_a_full_disk_is_told_and_leaves_nothing(cache_root, monkeypatch):
    old = put()
    settle = os.replace

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(QuantArtError, match=r"the disk of the cache .* is full: free some space"):
        put(data=b"new")
    monkeypatch.setattr(os, "replace", settle)
    assert cache.check(cache.find("thing-1"))
    assert files_in(cache_root) == {old.path.name, "record.json"}


def test_the_second_process_waits_and_a_dead_one_holds_nothing(cache_root):
    code = (
        "import sys, time\nfrom quantart_cli.checkpoints import cache\n"
        "with cache.writing('thing-1') as folder:\n"
        "    (folder / 'tmp-left').write_bytes(b'x')\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        told = []

        def waiting(line):
            told.append(line)
            other.kill()  # the lock dies with it

        with cache.writing("thing-1", waiting) as folder:
            assert told == ["another quantart is at thing-1: waiting for it"]
            assert files_in(folder) == set()


def test_where_the_cache_is(monkeypatch, tmp_path):
    for name in ("QUANTART_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    default = platformdirs.user_cache_path("quantart", appauthor=False, opinion=False)
    assert cache.cache_folder() == default
    if sys.platform == "linux":
        assert default == tmp_path / ".cache" / "quantart"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cache.cache_folder() == default
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache.cache_folder() == tmp_path / "xdg" / "quantart"
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "own"))
    assert cache.cache_folder() == tmp_path / "own"
    with cache.using(tmp_path / "run"):
        assert cache.cache_folder() == tmp_path / "run"
    assert cache.cache_folder() == tmp_path / "own"


def no_home(monkeypatch, tmp_path):
    import pwd

    def unknown(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "QUANTART_CACHE"):
        monkeypatch.delenv(name, raising=False)


def below_a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "file" / "cache"))


def a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "file"))


def read_only(monkeypatch, tmp_path):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "none" / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)


@pytest.mark.skipif(sys.platform == "win32", reason="no password database")
@pytest.mark.parametrize("without", [no_home, below_a_file, a_file, read_only])
def test_without_a_folder_there_is_nothing_and_nobody_fails(monkeypatch, tmp_path, without):
    without(monkeypatch, tmp_path)
    assert cache.cache_folder() is None
    assert cache.find("thing-1") is None
    assert list(cache.entries()) == []
    cache.put("styles/a", b"data")
    assert cache.get("styles/a") is None
    cache.tidy("archive-")
    assert cache.size() == cache.Usage(0, 0)
    cache.trim(0)
    with pytest.raises(cache.CacheError, match="cannot be written: choose another folder with --dir or QUANTART_CACHE"):
        put()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_small_result_that_cannot_be_stored_is_no_error(cache_root, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    cache.put("styles/a", b"data")
    assert cache.get("styles/a") is None
    assert files_in(cache_root) == set()


def test_small_results(cache_root):
    assert cache.get("styles/a") is None
    assert not cache_root.exists()
    cache.put("styles/a", b"data")
    assert cache.get("styles/a") == b"data"
    path = cache_root / "computed" / "styles" / "a"
    path.write_bytes(path.read_bytes().replace(b"d", b"b", 1))
    assert cache.get("styles/a") is None
    path.write_bytes(b"short")
    assert cache.get("styles/a") is None


def downloaded(key, data=DATA):
    with cache.writing(key) as folder:
        file = cache.temporary(folder, ".bin")
        file.write_bytes(data)
        return cache.install(key, file, "d.bin", sha256=sha256(data), kind=None, source={"carrier": "the Hub"})


def test_the_oldest_computed_data_make_room_and_downloads_stay(cache_root, monkeypatch):
    download = downloaded("weights-1")
    entries = [put(f"thing-{i}", DATA + bytes([i])) for i in range(3)]
    cache.put("styles/a", b"data")
    for age, path in enumerate([entries[1].path, cache_root / "computed" / "styles" / "a", entries[0].path]):
        os.utime(path, (age, age))
    assert cache.size() == cache.Usage(len(DATA), 3 * len(DATA) + 3 + 4 + 32)
    cache.trim(2 * len(DATA) + 2)
    assert [cache.find(f"thing-{i}") is not None for i in range(3)] == [True, False, True]
    assert cache.get("styles/a") is None
    monkeypatch.setattr(cache, "DEFAULT_LIMIT", len(DATA))
    assert put("thing-9", DATA * 2) == cache.find("thing-9")  # larger than the limit: kept until the next one
    cache.trim(0)
    assert cache.size() == cache.Usage(len(DATA), 0)
    assert cache.find("weights-1") == download
    assert files_in(cache_root) == {download.path.name, "record.json"}
    own = cache_root / "photos"
    own.mkdir()
    (own / "cat.jpg").write_bytes(b"meow")
    cache.tidy(prefix="")
    assert cache.size() == cache.Usage(0, 0)
    assert files_in(cache_root) == {"cat.jpg"}


def test_tidying_removes_what_killed_runs_left_and_nothing_of_a_person(cache_root):
    entry, archive = put("thing-1"), put("archive-1")
    left = entry.path.with_name("tmp-0.safetensors")
    left.write_bytes(b"half")
    with cache.writing("busy-1") as folder:
        working = folder / "tmp-1.part"
        working.write_bytes(b"half")
        own = cache_root / "photos"
        own.mkdir()
        (own / "cat.jpg").write_bytes(b"meow")
        cache.tidy("archive-")
        assert working.exists()
    assert files_in(cache_root) == {entry.path.name, "record.json", "cat.jpg"}
    assert not archive.path.exists()
    assert {path.name for path in cache_root.iterdir()} == {"locks", "photos", "thing-1"}
