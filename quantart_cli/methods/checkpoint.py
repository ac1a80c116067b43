"""Checkpoints of an optimisation: a safetensors file with the state to continue from, and with all that decides it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from quantart_cli.checkpoints.writing import write_tensors
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images import Picture
from quantart_cli.methods.inputs import OptimisationInputs, State
from quantart_cli.settings import Settings

_FORMAT = 2
_KIND = "optimisation"
_NONE = "{} is not a checkpoint of a painting, or damaged: remove it to begin anew, or give --checkpoint another file"


def facts_of(
    content: Picture,
    styles: Iterable[Picture],
    style_weights: Iterable[float],
    settings: Settings,
    inputs: OptimisationInputs,
    **others: Any,
) -> dict[str, Any]:
    """All that decides the picture, as JSON values: pictures by their sha256.

    Args:
        content: the picture, at the size to be painted.
        styles: as they are encoded.
        style_weights: one for each style.
        inputs: masks, and a picture to start from.
        others: anything else: method, seed, precision, weights.
    """
    start = None if inputs.start is None else _digest(inputs.start)
    return {
        "format": _FORMAT,
        "content": _digest(content.rgb, content.alpha),
        "styles": [_digest(style.rgb, style.alpha) for style in styles],
        "style-weights": list(style_weights),
        "mask": [_digest(mask) for mask in inputs.masks],
        "style-mask": [_digest(mask) for mask in inputs.style_masks],
        "picture to start from": start,
        **{name.replace("_", "-"): value for name, value in asdict(settings).items()},
        **{name.replace("_", "-"): value for name, value in others.items()},
    }


def save_state(path: str | Path, state: State, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    about = {"side": state.side, "step": state.step, "optimizer": state.optimizer, "numbers": state.numbers}
    tensors = {name: tensor.detach().cpu() for name, tensor in state.tensors.items()}
    metadata = {"quantart": _KIND, "facts": json.dumps(facts), "state": json.dumps(about)}
    write_tensors(Path(path), tensors, metadata, half=False, source="the checkpoint")


def load_state(path: str | Path, facts: Mapping[str, Any]) -> State:
    """Read a checkpoint.

    Raises:
        QuantArtError: it does not exist, is damaged, or is of another painting: the first difference is named.
    """
    shown = printable(path)
    if not os.path.exists(path):
        raise QuantArtError(f"there is no checkpoint {shown}: leave --resume out to begin")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        theirs, about = json.loads(metadata["facts"]), json.loads(metadata["state"])
        state = State(about["side"], about["step"], about["optimizer"], tensors, about["numbers"])
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise QuantArtError(_NONE.format(shown)) from None
    for name, value in json.loads(json.dumps(facts)).items():
        if theirs.get(name) != value:
            raise QuantArtError(f"{shown} {_difference(name, theirs.get(name), value)}: give the same, or no --resume")
    return state


def check_checkpoint(path: str | Path) -> None:
    """Check that a file that a new checkpoint would replace is a checkpoint itself.

    Raises:
        QuantArtError: it is something else.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            known = (file.metadata() or {}).get("quantart") == _KIND
    except (safetensors.SafetensorError, OSError):
        known = False
    if not known:
        raise QuantArtError(_NONE.format(printable(path)))


def _difference(name: str, then: Any, now: Any) -> str:
    if isinstance(then, (int, float, str)) and isinstance(now, (int, float, str)) and len(f"{then}{now}") < 60:
        return f"was made with {name} {then}, not {now}"
    return f"was made with another {name}"


def _digest(*arrays: np.ndarray | None) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
