"""Arrays in files without a name."""

import errno
import gc
import os
import sys

import numpy as np
import pytest

from quantart_cli import scratch

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they lie in memory")


def resident() -> int:
    """Kilobytes of files in this process's memory; the rest of it comes and goes as Python likes."""
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith(("RssFile", "RssShmem")))


@pytest.fixture(params=[1, 1 << 40], ids=["file", "memory"])
def large(request, monkeypatch):
    monkeypatch.setattr(scratch, "LARGE", request.param)
    return request.param


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 7, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_of_zeros_that_keep_what_is_written(shape, dtype, large):
    made = scratch.alloc_scratch(shape, dtype)
    assert made.shape == shape
    assert made.dtype == dtype
    assert not made.any()
    made[...] = 7
    scratch.release()
    assert (made == 7).all()


@linux
def test_what_is_let_go_of_takes_no_memory_and_comes_back():
    made = scratch.alloc_scratch((scratch.LARGE + 5,), np.uint8)
    before = resident()
    made[:] = np.arange(len(made)) % 251
    assert resident() > before + scratch.LARGE // 2048
    scratch.release()
    assert resident() < before + scratch.LARGE // 4096
    assert (made[::1000] == np.arange(0, len(made), 1000) % 251).all()
    assert scratch.resident_bytes(made.nbytes) == 0
    assert scratch.resident_bytes(scratch.LARGE - 1) == scratch.LARGE - 1


@linux
def test_it_goes_with_its_last_view(monkeypatch):
    monkeypatch.setattr(scratch, "LARGE", 1)
    gc.collect()
    before = len(scratch._mapped)
    view = scratch.alloc_scratch((100, 100), np.uint8)[10:20]
    assert len(scratch._mapped) == before + 1
    del view
    gc.collect()
    assert len(scratch._mapped) == before


@linux
def test_a_full_disk_leaves_it_in_memory(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(scratch, "LARGE", 1)
    monkeypatch.setattr(os, "posix_fallocate", full)
    before = len(scratch._mapped)
    made = scratch.alloc_scratch((100,), np.uint8)
    made[:] = 3
    assert len(scratch._mapped) == before
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert scratch.resident_bytes(10**18) == 10**18
