"""Where networks run and in which precision. Torch is imported only to ask it about devices."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.settings import DEVICES, PRECISIONS

if TYPE_CHECKING:
    import torch

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Device files of GPU drivers: torch is asked whether it can use the GPU only where one of them exists.
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


@dataclass(frozen=True)
class DeviceSpec:
    """Where networks run.

    Attributes:
        device: as torch names it: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        reason: why this device and precision, one line.
        backend: ``torch`` or ``openvino``.
    """

    device: str
    precision: str
    reason: str
    backend: str = "torch"

    @property
    def bytes(self) -> int:
        """Bytes of one number."""
        return _BYTES[self.precision]

    @property
    def device_type(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]

    @property
    def dtype(self) -> torch.dtype:
        """The precision as a torch dtype."""
        import torch

        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]


def choose_device(device: str = "auto", precision: str = "auto") -> DeviceSpec:
    """Resolve ``auto`` for torch: a GPU before the CPU, bf16 where the hardware computes in it, otherwise fp32.

    Raises:
        QuantArtError: a device that is not available, or a precision that it cannot compute in.
    """
    import torch

    device_type, _, number = device.partition(":")
    if not (device_type == "cuda" and number.isdigit()):
        check_choice("device", device, DEVICES)
    check_choice("precision", precision, PRECISIONS)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = device_type = next(name for name in ("cuda", "mps", "cpu") if available[name])
        reasons = ["the only device here" if device == "cpu" else "a GPU is here"]
    elif not available[device_type] or (number and int(number) >= torch.cuda.device_count()):
        raise QuantArtError(f"device {device} is not available here: use auto or cpu")
    else:
        reasons = ["device as asked"]
    fast, why = _bf16(device_type)
    if precision == "auto":
        precision = "bf16" if fast else "fp32"
        reasons.append(why)
    elif precision == "bf16" and device_type == "cuda" and not fast:
        raise QuantArtError("precision bf16 is not available on this GPU: use fp16 or fp32")
    elif precision == "fp16" and device_type == "cpu":
        raise QuantArtError("precision fp16 is not computed on a CPU: use bf16 or fp32")
    else:
        reasons.append("precision as asked")
    return DeviceSpec(device, precision, "; ".join(reasons))


def _bf16(device_type: str) -> tuple[bool, str]:
    """Whether the device computes convolutions in bf16 in hardware, and how that is known."""
    import torch

    if device_type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return fast, f"{torch.cuda.get_device_name()} has {'bf16' if fast else 'no bf16'}"
    if device_type == "mps":
        return False, "fp32 is the safe choice on Apple GPUs"
    from quantart_cli.nets.cpu import bf16_hardware

    name = bf16_hardware()
    if name is None:
        return False, "the CPU has neither AMX nor AVX512-BF16"
    return True, f"the CPU computes bf16 in hardware ({name})"


def may_have_gpu() -> bool:
    """Whether there may be a GPU; found out without importing torch."""
    return sys.platform == "darwin" or any(os.path.exists(path) for path in _GPU_FILES)


def has_amx() -> bool:
    """Whether the CPU multiplies matrices of bf16 numbers in hardware, as far as Linux says."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def control_groups(
    controller: str, root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")
) -> set[Path]:
    """Folders of the control groups (versions 1 and 2) that limit this process, and of their parents.

    Args:
        controller: "cpu" or "memory".
        root: where control groups are.
        groups: the file that says which are those of this process.
    """
    folders = {root, root / controller}
    with suppress(OSError, ValueError):
        for line in groups.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or controller in controllers.split(","):
                base = root if number == "0" else root / controller
                inner = base / path.lstrip("/")
                folders |= {inner, *(parent for parent in inner.parents if base in parent.parents)}
    return folders
