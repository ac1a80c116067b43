from typing import ClassVar

import pytest
import torch

from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.device import DeviceSpec
from quantart_cli.stages import Map, Stage


class Noticing(torch.nn.Module):
    """Notices whether convolutions would be in TF32."""

    parts: ClassVar = {}
    seen: bool

    def forward(self, x):
        Noticing.seen = torch.backends.cudnn.allow_tf32
        return (x,)


STAGE = Stage("noticing", f"{__name__}:Noticing", parts=(), maps={"x": (1, 1)}, outputs={"y": Map(1)})


@pytest.mark.parametrize(("device", "precision", "tf32"), [("cuda", "fp32", False), ("cuda", "bf16", True)])
def test_only_float32_on_a_gpu_is_without_tf32(monkeypatch, device, precision, tf32):
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_: self)  # there may be no GPU
    assert torch.backends.cudnn.allow_tf32
    TorchBackend(DeviceSpec(device, precision, "asked for"), {}).prepare(STAGE)(torch.zeros(1, 1, 2, 2))
    assert Noticing.seen == tf32
    assert torch.backends.cudnn.allow_tf32


def test_on_a_cpu_the_callers_flags_are_not_read():
    """torch raises at allow_tf32 where a caller has set other flags for convolutions than for recurrent networks."""
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    try:
        with pytest.raises(RuntimeError, match="TF32"):
            _ = torch.backends.cudnn.allow_tf32
        backend = TorchBackend(DeviceSpec("cpu", "fp32", "asked for"), {})
        stage = Stage("same", f"{__name__}:Same", parts=(), maps={"x": (1, 1)}, outputs={"y": Map(1)})
        (found,) = backend.prepare(stage)(torch.ones(1, 1, 2, 2))
        assert found.sum() == 4
    finally:
        torch.backends.cudnn.conv.fp32_precision = before


class Same(torch.nn.Module):
    parts: ClassVar = {}

    def forward(self, x):
        return (x,)
