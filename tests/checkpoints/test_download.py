"""Getting weights end to end: converted once, several processes at once, kills, full disks, no network."""

import errno
import io
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import safetensors.torch
import torch

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.download import check_space, fetch, missing
from quantart_cli.checkpoints.manifest import artefact, manifest
from quantart_cli.errors import QuantArtError
from tests.checkpoints.servers import Served, entry, files_in, hub_carrier, sha256, wait

ROOT = Path(__file__).parents[2]
DATA = os.urandom(400_000)


def pth(**tensors):
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def process(manifest_file, endpoint, folder, *arguments):
    """The command line in a process of its own, with a manifest of the test's."""
    code = (
        "import sys; from pathlib import Path; from quantart_cli.checkpoints import manifest as m\n"
        f"m.manifest_path = lambda: Path({str(manifest_file)!r})\n"
        "from quantart_cli.cli import main; main(sys.argv[1:])"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf-home"),
        "QUANTART_CACHE": str(folder / "cache"),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", code, "download-weights", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def address(hub):
    from huggingface_hub import constants

    return constants.ENDPOINT


def test_a_checkpoint_is_converted_once(hub, use_manifest, cache_root):
    data = pth(b=torch.arange(6.0).view(2, 3), a=torch.ones(2, dtype=torch.float64))
    hub.files["o/r/w.pth"] = Served(data)
    use_manifest(entry("thing", data, hub_carrier("o/r", "w.pth"), kind="state-dict"))
    stages = []
    path = fetch(artefact("thing"), progress=lambda done, total, words: stages.append(words))
    tensors = safetensors.torch.load_file(path)
    assert torch.equal(tensors["b"], torch.arange(6.0).view(2, 3))
    assert "converting" in stages
    found = cache.find("thing")
    assert (found.kind, found.source["sha256"]) == ("state-dict", sha256(data))
    assert path.suffix == ".safetensors"
    assert artefact("thing").path == path
    stages.clear()
    assert fetch(artefact("thing"), progress=lambda done, total, words: stages.append(words)) == path
    assert set(stages) == {"verifying"}
    assert files_in(cache_root) == {path.name, "record.json"}


def test_nothing_is_unpickled_before_its_sha256_is_right(hub, use_manifest, cache_root, monkeypatch):
    monkeypatch.setattr("quantart_cli.checkpoints.convert.convert", lambda *_, **__: pytest.fail("it was read"))
    good, evil = pth(a=torch.ones(1)), pth(a=torch.zeros(1))
    hub.files["o/r/w.pth"] = Served(evil, etag=sha256(good))
    use_manifest(entry("thing", good, hub_carrier("o/r", "w.pth"), kind="state-dict"))
    with pytest.raises(QuantArtError, match="deleted"):
        fetch(artefact("thing"))
    assert files_in(cache_root) == set()


def test_right_bytes_that_are_no_such_model(hub, use_manifest, cache_root):
    data = pth(a=torch.tensor([float("nan")]))
    hub.files["o/r/w.pth"] = Served(data)
    use_manifest(entry("thing", data, hub_carrier("o/r", "w.pth"), kind="state-dict"))
    with pytest.raises(QuantArtError, match="not finite"):
        fetch(artefact("thing"))
    assert files_in(cache_root) == set()


def test_a_damaged_file_of_the_cache_is_replaced(hub, use_manifest, cache_root):
    hub.files["o/r/w.bin"] = Served(DATA)
    use_manifest(entry("thing", DATA, hub_carrier("o/r")))
    path = fetch(artefact("thing"))
    path.unlink()  # not written through: it may be a second name of the client's file
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    lines = []
    assert fetch(artefact("thing"), tell=lines.append).read_bytes() == DATA
    assert lines == ["thing: the file in the cache is damaged, downloading it again"]


def test_a_manifest_with_other_bytes_does_not_take_the_old_file(hub, use_manifest, cache_root):
    hub.files["o/r/w.bin"] = Served(DATA)
    use_manifest(entry("thing", DATA, hub_carrier("o/r")))
    fetch(artefact("thing"))
    use_manifest(entry("thing", b"another version", hub_carrier("o/r")))
    assert cache.find("thing") is None


def test_a_link_in_the_cache_is_refused_and_not_replaced(hub, use_manifest, tmp_path):
    hub.files["o/r/w.bin"] = Served(DATA)
    use_manifest(entry("thing", DATA, hub_carrier("o/r")))
    path = fetch(artefact("thing"))
    path.unlink()
    (tmp_path / "passwd").write_bytes(b"root")
    path.symlink_to(tmp_path / "passwd")
    with pytest.raises(QuantArtError, match="is a symbolic link, which is never followed"):
        fetch(artefact("thing"))
    assert (tmp_path / "passwd").read_bytes() == b"root"


def test_embedded_weights_need_neither_network_nor_cache(cache_root, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    assert fetch(artefact("adain-decoder")).is_file()
    assert not cache_root.exists()


def test_a_read_only_cache_still_gives_what_it_has(hub, use_manifest, cache_root, monkeypatch):
    hub.files["o/r/w.bin"] = Served(DATA)
    use_manifest(entry("thing", DATA, hub_carrier("o/r")) + entry("more", b"more", hub_carrier("o/r")))
    path = fetch(artefact("thing"))

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    opened = os.open

    def open_(file, flags, *rest, **more):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and str(file).startswith(str(cache_root)):
            refused()
        return opened(file, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "mkdir", refused)
    assert fetch(artefact("thing")) == path
    with pytest.raises(QuantArtError, match=r"cache .* cannot be written .*: choose another folder with --dir"):
        fetch(artefact("more"))


def test_disks_are_asked_first(hub, use_manifest, cache_root, monkeypatch):
    hub.files["o/r/w.bin"] = Served(DATA)
    use_manifest(entry("thing", DATA, hub_carrier("o/r")))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 700_000))
    with pytest.raises(QuantArtError, match=r"needs 1 MB on the disk of .*, which has 1 MB free: free some space"):
        fetch(artefact("thing"))  # 0.4 MB from the Hub and 0.4 MB in the cache
    assert hub.requests == []
    check_space([(cache_root, 699_999)])


@pytest.mark.parametrize("where", ["the client's", "ours"])
def test_a_disk_that_fills_up(hub, use_manifest, cache_root, monkeypatch, where):
    hub.files["o/r/w.bin"] = Served(DATA)
    use_manifest(entry("thing", DATA, hub_carrier("o/r")))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if where == "ours":
            patched.setattr(os, "link", full)
            patched.setattr(shutil, "copyfile", full)
        else:
            patched.setattr("huggingface_hub.file_download.http_get", full)
        with pytest.raises(QuantArtError, match=r"the disk of .* is full: free some space"):
            fetch(artefact("thing"))
    assert files_in(cache_root) == set()
    assert fetch(artefact("thing")).read_bytes() == DATA


def test_two_processes_at_once_download_once(hub, address, use_manifest, tmp_path):
    hub.files["o/r/w.bin"] = Served(DATA, pause=0.02)
    path = use_manifest(entry("thing", DATA, hub_carrier("o/r")))
    both = [process(path, address, tmp_path, "thing") for _ in range(2)]
    said = [each.communicate(timeout=60)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert hub.downloads() == 1
    assert sum("waiting for it" in text for text in said) == 1
    assert "damaged" not in "".join(said)
    assert len(files_in(tmp_path / "cache")) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_kills_at_random_moments_leave_the_cache_right(hub, address, use_manifest, tmp_path):
    data = pth(a=torch.arange(60_000.0))
    hub.files["o/r/w.pth"] = Served(data, pause=0.002)
    path = use_manifest(entry("thing", data, hub_carrier("o/r", "w.pth"), kind="state-dict"))
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    for _ in range(4):
        running = process(path, address, tmp_path, "thing")
        begun = time.monotonic()
        while not hub.downloads() and running.poll() is None and time.monotonic() - begun < 20:
            wait(0.01)
        hub.requests.clear()
        wait(moments.uniform(0, 1.8))
        running.kill()
        running.communicate()
        with cache.using(tmp_path / "cache"):
            found = cache.find("thing")
            assert found is None or cache.check(found), seed
    last = process(path, address, tmp_path, "thing")
    _, said = last.communicate(timeout=60)
    assert last.returncode == 0, (seed, said)
    with cache.using(tmp_path / "cache"):
        found = cache.find("thing")
        assert cache.check(found), seed
    assert files_in(tmp_path / "cache") == {found.path.name, "record.json"}, seed
    assert not list((tmp_path / "hf-home").rglob("*incomplete")), seed


def test_sigterm_leaves_no_temporary_file(hub, address, use_manifest, tmp_path):
    hub.files["o/r/w.bin"] = Served(DATA, pause=0.2)
    running = process(use_manifest(entry("thing", DATA, hub_carrier("o/r"))), address, tmp_path, "thing")
    begun = time.monotonic()
    while not hub.downloads() and time.monotonic() - begun < 20:
        wait(0.01)
    running.terminate()
    running.communicate(timeout=20)
    assert running.returncode == 143
    assert files_in(tmp_path / "cache") == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "vgg19",
            "weights vgg19 are not here yet (575 MB): quantart download-weights vgg19 gets them, or give --download",
        ),
        ("quantart-landscape2art", "cannot be downloaded by quantart: get checkpoints/last.ckpt"),
        ("adain-decoder", "install quantart-cli again"),
    ],
)
def test_what_is_missing_is_told_with_size_and_command(name, said):
    assert said in str(missing(manifest()[name]))


def test_offline_with_a_blocked_network_every_embedded_method_paints(
    run, monkeypatch, content_file, style_file, tmp_path
):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    for command in (("stylize",), ("adain",), ("gatys", "--steps", "1")):
        out = tmp_path / f"{command[0]}.png"
        status, _, err = run(command[0], content_file, style_file, "-o", out, *command[1:], "--device", "cpu")
        assert (status, out.is_file()) == (0, True), err


def test_download_describes_its_carriers():
    for item in manifest().values():
        for carrier in item.carriers:
            assert str(carrier)
