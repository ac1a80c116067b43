"""Names of VGG-19's layers as text, with weights. Does not import torch."""

from __future__ import annotations

import math

from quantart_cli.errors import QuantArtError, suggest

_CONVOLUTIONS = (2, 2, 4, 4, 1)
LAYERS = tuple(f"relu{block}_{i}" for block, n in enumerate(_CONVOLUTIONS, 1) for i in range(1, n + 1))
"""As nets/vgg.py computes them, shallow to deep: relu1_1 … relu5_1."""

COARSEST = 1 << (len(_CONVOLUTIONS) - 1)
"""Stride of the deepest layer: windows that begin at multiples of it have the pooling of the whole picture."""


def parse_layers(name: str, given: str) -> dict[str, float]:
    """Layers with their weights, which sum to 1.

    >>> parse_layers("style-layers", "relu1_1,relu2_1:3")
    {'relu1_1': 0.25, 'relu2_1': 0.75}

    Args:
        name: of the setting, for messages.
        given: layers with commas between; behind a colon the weight of one, else 1.

    Raises:
        QuantArtError: an unknown layer (the nearest is suggested), one twice, a weight that is no number above 0.
    """
    weights: dict[str, float] = {}
    for part in given.split(","):
        layer, colon, weight = (word.strip() for word in part.partition(":"))
        if layer not in LAYERS:
            raise QuantArtError(
                f"{name}: layer {layer!r} is not known: {suggest(layer.replace('conv', 'relu'), LAYERS)}"
            )
        if layer in weights:
            raise QuantArtError(f"{name} has {layer} twice: give it once")
        try:
            number = float(weight) if colon else 1.0
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise QuantArtError(f"{name}: the weight of {layer} must be a number above 0, not {weight!r}")
        weights[layer] = number
    return {layer: weight / sum(weights.values()) for layer, weight in weights.items()}


def stride(layer: str) -> int:
    """Pixels a side of one of its positions."""
    return 1 << (_place(layer)[0] - 1)


def reach(layers: list[str]) -> int:
    """Pixels beyond a window that these layers inside it depend on, up to a multiple of the coarsest stride."""
    block, i = max(map(_place, layers))
    convolutions = [*_CONVOLUTIONS[: block - 1], i]
    pixels = sum(n << depth for depth, n in enumerate(convolutions))
    return -(-pixels // COARSEST) * COARSEST


def _place(layer: str) -> tuple[int, int]:
    block, _, i = layer.removeprefix("relu").partition("_")
    return int(block), int(i)
