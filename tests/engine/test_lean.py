"""torch without its compilers' parts is torch, and has them when they are asked for."""

import subprocess
import sys

import pytest


def told(code):
    """What Python prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


LEAN = """
import sys
from quantart_cli.engine.lean import import_torch
import_torch()
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
    assert told(code).splitlines() == [
        "False False",
        "torch.Size([1, 2, 8, 8])",
        "True True",
        "torch.Size([1, 3, 6, 6])",
    ]


def test_a_torch_that_asks_for_them_gets_them():
    """As another version might, in the middle of its import."""
    code = LEAN.replace(
        "import_torch()\n",
        """
from quantart_cli.engine import lean
late = sys.modules[lean._FOR_COMPILERS] = lean._Late(lean._FOR_COMPILERS)
import torch
print("torch._decomp" in sys.modules)
print(callable(late.meta_conv), sys.modules[lean._FOR_COMPILERS] is late)
""",
    )
    assert told(code).splitlines() == ["False", "True False"]


@pytest.mark.parametrize("first", ["import torch", "pass"])
def test_twice_or_after_torch_it_does_nothing(first):
    code = f"{first}{LEAN}before = dict(sys.modules)\nimport_torch()\nprint(before == dict(sys.modules))"
    assert told(code) == "True"
