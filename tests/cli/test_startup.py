"""What the command line sets for its process: torch without its compilers, threads, waiting, signals."""

import os
import signal
import subprocess
import sys

import pytest

from quantart_cli.cli import startup


def printed(code, **environment):
    """What Python prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.strip()


LEAN = """
import sys
from quantart_cli.cli.startup import lean_torch
lean_torch()
import torch
"""


def test_what_only_compilers_need_is_left_out_and_comes_when_it_is_imported():
    code = (
        LEAN
        + """
print("torch._decomp" in sys.modules, "torch._meta_registrations" in sys.modules)
x = torch.ones(1, 2, 8, 8, requires_grad=True)
torch.nn.Conv2d(2, 3, 3)(x).square().sum().backward()
print(x.grad.shape)
import torch._meta_registrations
print(callable(torch._meta_registrations.meta_conv), "torch._decomp" in sys.modules)
print(torch.nn.functional.conv2d(x.to("meta"), torch.ones(3, 2, 3, 3, device="meta")).shape)
"""
    )
    assert printed(code).splitlines() == [
        "False False",
        "torch.Size([1, 2, 8, 8])",
        "True True",
        "torch.Size([1, 3, 6, 6])",
    ]


def test_a_torch_that_asks_for_them_gets_them():
    """As another version might, in the middle of its import."""
    code = LEAN.replace(
        "lean_torch()\n",
        """
from quantart_cli.cli import startup
late = sys.modules[startup._FOR_COMPILERS] = startup._Late(startup._FOR_COMPILERS)
import torch
print("torch._decomp" in sys.modules)
print(callable(late.meta_conv), sys.modules[startup._FOR_COMPILERS] is late)
""",
    )
    assert printed(code).splitlines() == ["False", "True False"]


@pytest.mark.parametrize("first", ["import torch", "pass"])
def test_twice_or_after_torch_it_does_nothing(first):
    code = f"{first}{LEAN}before = dict(sys.modules), list(sys.meta_path)\nlean_torch()\n"
    assert printed(f"{code}print(before == (dict(sys.modules), list(sys.meta_path)))") == "True"


def test_where_openvino_is_imported_torch_is_whole():
    code = "import sys, types\nsys.modules['openvino'] = types.ModuleType('openvino')" + LEAN
    assert printed(code + "print('torch._decomp' in sys.modules)") == "True"


def test_threads_wait_without_spinning_and_a_person_can_say_otherwise():
    code = "import os\nfrom quantart_cli.cli.startup import prepare\nprepare()\nprint(os.environ['OMP_WAIT_POLICY'])"
    assert printed(code) == "PASSIVE"
    assert printed(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


@pytest.mark.parametrize(
    ("files", "groups", "cpus"),
    [
        ({"cpu.max": "150000 100000"}, "0::/\n", 2),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 1),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/x\n", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/\n", None),
        ({}, "broken", None),
    ],
)
def test_quotas_of_control_groups(tmp_path, files, groups, cpus):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "groups").write_text(groups)
    assert startup.cpu_quota(tmp_path, tmp_path / "groups") == cpus


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_the_first_signal_unwinds(number, error):
    before = signal.getsignal(number)
    with startup.stoppable() as received:
        with pytest.raises(error):
            os.kill(os.getpid(), number)
        assert received == [number]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "what"), [(signal.SIGHUP, "terminated"), (signal.SIGINT, "interrupted")])
def test_a_signal_never_raises_in_an_import(tmp_path, number, what):
    """It would be lost where a module passes over what is raised, and abort in the C++ of torch."""
    text = f"import os\ntry: os.kill(os.getpid(), {int(number)})\nexcept BaseException: print('raised')"
    (tmp_path / "trying.py").write_text(text)
    code = "from quantart_cli.cli.startup import stoppable\nwith stoppable(): import trying"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"quantart: {what}\n")


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with startup.stoppable() as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_lost_in_a_destructor_still_ends_the_process():
    code = """
import os, signal
from quantart_cli.cli.startup import stoppable
class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10**6): pass
with stoppable():
    Late()
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
