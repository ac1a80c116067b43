"""Where and how exactly networks are computed. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Machine:
    """Where networks run.

    Attributes:
        device: as torch names it, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        why: one line, for people.
        runtime: ``torch`` or ``openvino``.
    """

    device: str
    precision: str
    why: str
    runtime: str = "torch"

    @property
    def bytes(self) -> int:
        """Of one number."""
        return _BYTES[self.precision]

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        import torch

        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
