"""Which runtime paints: torch, or OpenVINO where it is installed and can. Decided without importing either."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantart_cli.checkpoints.models import ModelFile, weights_of
from quantart_cli.engine.choices import RUNTIMES, VQGAN_MODEL
from quantart_cli.errors import QuantArtError, check_choice

# Where a driver of a GPU shows itself: torch is asked then whether it can use it.
_GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# With matrices in hardware torch is the faster one at work: from so many pixels on that is worth importing it.
_MATRICES, _LARGE = "amx_bf16", 4_000_000


def load_model(
    method: str, values: dict[str, Any], file: ModelFile | None, tell: Callable[[str], None], pixels: int = 0
) -> Any:
    """The model on the runtime asked for, or on the faster one there is.

    Args:
        method: its name.
        values: of the command's options: runtime, device, precision.
        file: the model given with ``--model``.
        tell: told one line when networks are prepared, once for all, and when that failed.
        pixels: of the picture it is for, if it is for one.

    Returns:
        a :class:`quantart_cli.api.Model` or a :class:`quantart_cli.fast.model.FastModel`.

    Raises:
        QuantArtError: OpenVINO is asked for and cannot be used.
    """
    wanted = check_choice("--runtime", values["runtime"], RUNTIMES)
    if wanted != "torch":
        why = _not_on_openvino(method, values, file, pixels)
        if why is None:
            try:
                return _on_openvino(method, values, file, tell)
            except QuantArtError as error:
                if wanted == "openvino":
                    raise
                tell(f"painting with torch, not OpenVINO: {error}")
        elif wanted == "openvino":
            raise QuantArtError(f"--runtime openvino: {why}")
    if method != "gatys":  # whose random numbers need all of torch
        from quantart_cli.engine.lean import import_torch

        import_torch()
    from quantart_cli.api import Model
    from quantart_cli.engine.allocator import keep_memory
    from quantart_cli.engine.device import choose

    model = Model(method, choose(values["device"], values["precision"]), model=file, remember_styles=True)
    # Blocks of many sizes, and larger than those of tiles, cost more when they are kept than they bring.
    if model.tileable and model.backbone == "vgg19" and values["tile"] != "none":
        keep_memory()
    return model


def _not_on_openvino(method: str, values: dict[str, Any], file: ModelFile | None, pixels: int) -> str | None:
    """Why it cannot be OpenVINO, or None."""
    from quantart_cli import fast

    if not fast.installed():
        return "it is not installed: pip install 'quantart-cli[fast]'"
    if method == "gatys":
        return "gatys takes gradients, which it does not compute: use torch"
    if file is not None and file.kind == VQGAN_MODEL:
        return "it does not run QuantArt on VQGAN: use torch"
    if method == "quantart" and weights_of(method, file)["codebook"].brings("transfer"):
        return "it does not run style-guided attention: use torch"
    if values["device"] not in ("auto", "cpu"):
        return f"it runs on the CPU, not on {values['device']}"
    if values["precision"] == "fp16":
        return "it computes no fp16 on a CPU: use bf16 or fp32"
    gpu = sys.platform == "darwin" or any(os.path.exists(path) for path in _GPUS)
    if values["runtime"] == "auto" and values["device"] == "auto" and gpu:
        return "there may be a GPU: give --device cpu"
    if values["runtime"] == "auto" and pixels >= _LARGE and values["precision"] != "fp32" and _has_matrices():
        return "torch is faster at pictures as large as this"
    return None


def _has_matrices() -> bool:
    """Whether the CPU multiplies matrices in bf16, as far as Linux says."""
    try:
        return _MATRICES in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _on_openvino(method: str, values: dict[str, Any], file: ModelFile | None, tell: Callable[[str], None]) -> Any:
    from quantart_cli.fast.model import FastModel
    from quantart_cli.fast.networks import export, ready
    from quantart_cli.fast.runtime import choose

    machine = choose(values["precision"])
    files = weights_of(method, file)
    if not ready(files, machine.precision):
        tell("preparing the networks for OpenVINO, this once")
        export(files, machine.precision)
    return FastModel(method, machine, files, remember_styles=True)
