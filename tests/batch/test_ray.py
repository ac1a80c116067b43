"""The Ray executor: the bytes of the local one, whoever dies meanwhile. What needs Ray is skipped where it is not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from quantart_cli.batch import ray_cluster, ray_executor
from quantart_cli.batch.job import PaintedFile, PaintJob
from quantart_cli.batch.plan import WorkItem
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.adain import AdaINSettings
from tests.batch.workers import Homeless, Poisoned, Quick, Watched
from tests.conftest import scene


@pytest.fixture(scope="module")
def ray():
    """A cluster of two CPUs, shared by these tests."""
    library = pytest.importorskip("ray")
    ray_cluster.import_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        library.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    yield library
    library.shutdown()


@pytest.fixture
def folder(tmp_path):
    """in/00.png to in/11.png and style.png."""
    (tmp_path / "in").mkdir()
    for number in range(12):
        PIL.Image.fromarray(scene(40 + number, 32, number)).save(tmp_path / "in" / f"{number:02}.png")
    PIL.Image.fromarray(scene(32, 32, 99)).save(tmp_path / "style.png")
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("**/[!.]*.png"))}


def noted(folder: Path) -> Counter[str]:
    return Counter((folder / "log").read_text().splitlines())


def test_a_worker_killed_midway_changes_no_byte(ray, folder, run, monkeypatch):
    given = ("batch", folder / "in", folder / "style.png", "--method", "adain", "--runtime", "torch")
    assert run(*given, "-o", folder / "local")[0] == 0
    monkeypatch.setattr(ray_executor, "Worker", Watched)
    status, stdout, stderr = run(*given, "-o", folder / "ray", "--executor", "ray", "--workers", 2)
    assert (status, stdout) == (0, b""), stderr
    assert "was lost" in stderr
    assert "12 painted" in stderr
    wanted = tree(folder / "local")
    assert len(wanted) == 12
    assert tree(folder / "ray") == wanted
    done = noted(folder)
    assert done.pop("style") == 1
    assert len(done) >= 2  # the dead one, the other, and maybe the one in its place
    assert 13 <= done.total() <= 14  # only what the dead one had, two pictures at most, was begun again


def test_a_poisonous_picture_fails_alone(ray, folder, run, monkeypatch):
    monkeypatch.setattr(ray_executor, "Worker", Poisoned)
    given = ("batch", folder / "in", folder / "style.png", "-o", folder / "out", "--executor", "ray", "--workers", 2)
    status, _, stderr = run(*given)
    assert status == 1
    assert f"{folder}/in/03.png: its worker was lost 3 times" in stderr
    assert sorted(tree(folder / "out")) == [f"{number:02}.png" for number in range(12) if number != 3]
    assert noted(folder)["03.png"] == 3


def test_each_style_encoded_once(ray, folder, run, monkeypatch):
    monkeypatch.setattr(ray_executor, "Worker", Quick)
    (folder / "styles").mkdir()
    for number in range(40):  # more than are held at a time
        PIL.Image.new("RGB", (8, 8), (number, 7, 7)).save(folder / "styles" / f"s{number:02}.png")
    (folder / "styles" / "s20.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "in" / "11.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    out = folder / "out"
    given = ("batch", "--input", folder / "in" / "0[0-2].png", "--input", folder / "in" / "11.png", folder / "styles")
    status, _, stderr = run(*given, "--each-style", "-o", out, "--executor", "ray", "--workers", 2)
    assert status == 1
    assert f"{folder}/styles/s20.png" in stderr
    painted = tree(out)
    assert len(painted) == 3 * 39
    for number in (0, 19, 39):
        with PIL.Image.open(out / f"01_s{number:02}.png") as picture:
            np.testing.assert_array_equal(picture, scene(41, 32, 1) ^ np.uint8(number))
    assert noted(folder) == Counter(f"s{number:02}.png" for number in range(40))


@contextmanager
def executor(folder: Path, record, workers: int = 2):
    """An executor, and items for it."""
    files = sorted(map(str, (folder / "in").iterdir()))
    items = [WorkItem(path, os.path.basename(path), 0, "png") for path in files]
    job = PaintJob("adain", AdaINSettings(), (1.0,), {}, backend="torch")
    given = job, [(files[0],)], record, threading.Event(), lambda _: None
    with ray_executor.ray_executor(*given, workers=workers) as made:
        yield made, items


def test_interrupted_writes_what_came_back(ray, folder, monkeypatch):
    monkeypatch.setattr(ray_executor, "Worker", Quick)
    done = []

    def started(item):
        if item.output == "08.png":
            raise KeyboardInterrupt

    with executor(folder, lambda item, content, outcome: done.append((item.output, outcome))) as (made, items):
        made.started = started
        with pytest.raises(KeyboardInterrupt):
            made.run(items)
    assert 4 <= len(done) <= 8  # two workers had two pictures each at most
    assert all(output < "08.png" and isinstance(outcome, PaintedFile) for output, outcome in done)


def test_a_full_disk_ends_it(ray, folder, monkeypatch):
    monkeypatch.setattr(ray_executor, "Worker", Quick)

    def record(item, content, outcome):
        raise OSError(errno.ENOSPC, "no space left on the disk")

    with executor(folder, record) as (made, items), pytest.raises(OSError, match="no space"):
        made.run(items)


def test_workers_that_cannot_paint(ray, folder, monkeypatch):
    monkeypatch.setattr(ray_executor, "Worker", Homeless)
    message = r"the Ray worker on \S+ cannot paint: no weights there"
    with pytest.raises(QuantArtError, match=message), executor(folder, None):
        pass


def test_another_version_there(ray, folder, monkeypatch):
    monkeypatch.setattr(ray_executor, "__version__", "9.9")
    with pytest.raises(QuantArtError, match=r"there and 9\.9 here"), executor(folder, None, workers=1):
        pass


def test_not_installed(folder, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    status, stdout, stderr = run("batch", folder / "in", folder / "style.png", "-o", folder / "o", "--executor", "ray")
    assert (status, stdout) == (2, b"")
    assert stderr == "quantart: Ray is not installed: pip install 'quantart-cli[ray]'\n"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_nobody_at_the_address(folder, address):
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "quantart_cli", "batch", folder / "in", folder / "style.png", "-o", folder / "out"]
    asked = [*command, "--executor", "ray", "--address", address]
    told = subprocess.run(asked, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    line = f"quantart: there is no Ray cluster at {address}: Connection refused\n"
    assert (told.returncode, told.stdout, told.stderr) == (2, "", line)


@pytest.mark.parametrize(
    ("machines", "count", "device", "expected"),
    [
        ([(8, 0), (4, 0)], None, "auto", [(8, 0), (4, 0)]),  # one a machine, with all of it
        ([(8, 0), (4, 0)], 3, "auto", [(4, 0), (4, 0), (4, 0)]),
        ([(2, 0)], 4, "cpu", [(0.5, 0)] * 4),
        ([(0, 0), (8, 2), (4, 1)], None, "auto", [(1, 1)] * 3),  # one a GPU
        ([(8, 1)], 3, "cuda", [(1, 0.3333)] * 3),
        ([(8, 2), (4, 0)], None, "cpu", [(8, 0), (4, 0)]),
    ],
)
def test_where_workers_go(monkeypatch, machines, count, device, expected):
    nodes = [
        {
            "Alive": True,
            "NodeID": str(number),
            "NodeManagerAddress": "",
            "Resources": {name: share for name, share in (("CPU", cpus), ("GPU", gpus)) if share},
        }
        for number, (cpus, gpus) in enumerate(machines)
    ]
    nodes.append({"Alive": False, "NodeID": "gone", "NodeManagerAddress": "", "Resources": {"CPU": 64, "GPU": 8}})
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: SimpleNamespace(nodes=lambda: nodes))
    assert [(place.cpus, place.gpus) for place in ray_cluster.places(count, device)] == expected


def test_no_gpu_to_be_had(monkeypatch):
    nodes = [{"Alive": True, "NodeID": "0", "NodeManagerAddress": "", "Resources": {"CPU": 4}}]
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: SimpleNamespace(nodes=lambda: nodes))
    with pytest.raises(QuantArtError, match="no machine of the Ray cluster has a GPU"):
        ray_cluster.places(None, "cuda")
