"""Device and precision: what auto means, and what is refused."""

import pytest
import torch

from quantart_cli.device import choose_device
from quantart_cli.errors import QuantArtError


def only_a_cpu(monkeypatch, bf16: bool):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: bf16, raising=False)


@pytest.mark.parametrize(("bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_a_cpu_follows_the_hardware(monkeypatch, bf16, precision):
    only_a_cpu(monkeypatch, bf16)
    spec = choose_device()
    assert (spec.device, spec.precision) == ("cpu", precision)
    assert spec.reason


def test_auto_takes_a_gpu_and_its_bf16(monkeypatch):
    only_a_cpu(monkeypatch, False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    for has, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        spec = choose_device()
        assert (spec.device, spec.precision) == ("cuda", precision)
        assert "Some GPU" in spec.reason


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cuda", "auto", "device cuda is not available here"),
        ("mps", "auto", "device mps is not available here"),
        ("gpu", "auto", "device 'gpu' is not known: it is called cuda"),
        ("cdua", "auto", "did you mean cuda"),
        ("cpu", "fp16", "fp16 is not computed on a CPU"),
        ("cpu", "bf-16", "did you mean bf16"),
    ],
)
def test_refusals(monkeypatch, device, precision, message):
    only_a_cpu(monkeypatch, True)
    with pytest.raises(QuantArtError, match=message):
        choose_device(device, precision)


def test_as_asked(monkeypatch):
    only_a_cpu(monkeypatch, True)
    assert choose_device("cpu", "fp32").dtype == torch.float32
    assert choose_device("cpu", "bf16").dtype == torch.bfloat16
