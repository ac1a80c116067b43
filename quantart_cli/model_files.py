"""Which files of weights a method is loaded with."""

from __future__ import annotations

from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import ModelFile, embedded_model, find_model
from quantart_cli.registry import Method


def find_file(row: Method, model: str, download: bool) -> ModelFile:
    return find_model(model, tuple(row.models), download=download)


def _own_file(row: Method, name: str, download: bool) -> ModelFile:
    """Weights that a row names: they come with quantart, or are downloaded."""
    return embedded_model(name) if artefact(name).embedded is not None else find_file(row, name, download)


def files_of(
    row: Method, model: ModelFile | None = None, download: bool = False
) -> tuple[dict[str, ModelFile], tuple[str, ...]]:
    """The weights of a method by part, and the parts that a person gave.

    Args:
        model: a model file to use instead of default weights. It replaces the part whose weights are of its kind, or
            that the row names. If there is no such part, it replaces all parts, and is the part "model".
        download: download weights that are not here.

    Raises:
        QuantArtError: weights are not here; the message says how to get them.
    """
    given: tuple[str, ...] = ()
    if model is not None:
        own = (part for part, name in row.weights.items() if name == model.kind)
        given = (row.replaces[model.kind],) if model.kind in row.replaces else tuple(own)
        if not given:
            return {"model": model}, ("model",)
    files = {part: _own_file(row, name, download) for part, name in row.weights.items() if part not in given}
    return {**files, **{part: model for part in given if model is not None}}, given
