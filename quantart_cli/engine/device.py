"""Which device and which precision, and why."""

from __future__ import annotations

import torch

from quantart_cli.engine.choices import DEVICES, PRECISIONS
from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.nets.cpu import bf16_hardware


def choose(device: str = "auto", precision: str = "auto") -> Machine:
    """Resolve ``auto``: a GPU before the CPU, bf16 where the hardware computes in it, otherwise fp32.

    Raises:
        QuantArtError: a device this machine does not have, or a precision it cannot compute in.
    """
    check_choice("device", device, DEVICES)
    check_choice("precision", precision, PRECISIONS)
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if has[name])
        reasons = ["the only device here" if device == "cpu" else "a GPU is here"]
    elif not has[device]:
        raise QuantArtError(f"device {device} is not available here: use auto or cpu")
    else:
        reasons = ["device as asked"]
    fast, why = _bf16(device)
    if precision == "auto":
        precision = "bf16" if fast else "fp32"
        reasons.append(why)
    elif precision == "bf16" and device == "cuda" and not fast:
        raise QuantArtError("precision bf16 is not available on this GPU: use fp16 or fp32")
    elif precision == "fp16" and device == "cpu":
        raise QuantArtError("precision fp16 is not computed on a CPU: use bf16 or fp32")
    else:
        reasons.append("precision as asked")
    return Machine(device, precision, "; ".join(reasons))


def _bf16(device: str) -> tuple[bool, str]:
    """Whether the device computes convolutions in bf16 in hardware, and how one knows."""
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return fast, f"{torch.cuda.get_device_name()} has {'bf16' if fast else 'no bf16'}"
    if device == "mps":
        return False, "fp32 is the safe choice on Apple GPUs"
    name = bf16_hardware()
    if name is None:
        return False, "the CPU has neither AMX nor AVX512-BF16"
    return True, f"the CPU computes bf16 in hardware ({name})"
