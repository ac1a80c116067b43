"""OpenVINO as it is used here: on the CPU, one picture at a time, and telling nobody."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from quantart_cli.engine.choices import PRECISIONS
from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError, check_choice

# Its telemetry would send that it was imported and what was converted.
_TELEMETRY = "openvino_telemetry"
# What only exporting needs, and what it imports.
_CONVERTER = "openvino.tools.ovc"


@contextmanager
def without(*names: str) -> Iterator[None]:
    """As if these modules were not installed; those that are imported already stay."""
    ours = [name for name in names if name not in sys.modules]
    for name in ours:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in ours:
            sys.modules.pop(name, None)


@cache
def library() -> ModuleType:
    """OpenVINO, imported once, without its telemetry and its converter: half the time.

    Raises:
        QuantArtError: it is not installed.
    """
    try:
        with without(_TELEMETRY, _CONVERTER):
            import openvino
    except ImportError as error:
        if error.name != "openvino":
            raise
        raise QuantArtError("OpenVINO is not installed: pip install 'quantart-cli[fast]'") from None
    return openvino


def convert(module: Any, **how: Any) -> Any:
    """``openvino.convert_model``, telling nobody."""
    library()
    with without(_TELEMETRY):
        return import_module(_CONVERTER).convert_model(module, **how)


@cache
def core() -> Any:
    """The one ``openvino.Core`` of this process."""
    return library().Core()


def choose(precision: str = "auto") -> Machine:
    """The CPU under OpenVINO; ``auto`` is bf16 where the hardware computes in it, otherwise fp32.

    Raises:
        QuantArtError: OpenVINO is not installed, or the precision is not one it computes in here.
    """
    check_choice("precision", precision, PRECISIONS)
    fast = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        why = f"the CPU computes {'bf16' if fast else 'no bf16'} in hardware"
        return Machine("cpu", "bf16" if fast else "fp32", why, "openvino")
    if precision == "fp16":
        raise QuantArtError("precision fp16 is not computed on a CPU: use bf16 or fp32")
    if precision == "bf16" and not fast:
        raise QuantArtError("OpenVINO computes no bf16 on this CPU: use --precision fp32 or --runtime torch")
    return Machine("cpu", precision, "precision as asked", "openvino")


def settings(precision: str) -> dict[str, str]:
    """How networks are compiled: each picture as soon as can be, on the physical cores."""
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}


@cache
def processor() -> str:
    """What compiled networks depend on beside OpenVINO's version: a digest of the CPU's name and abilities."""
    name = core().get_property("CPU", "FULL_DEVICE_NAME")
    abilities = sorted(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return hashlib.sha256(f"{sys.platform} {name} {abilities}".encode()).hexdigest()[:12]
