"""What a person can set on an evaluation, with defaults and ranges. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.methods.controls import Controls, control


@dataclass(frozen=True)
class EvaluationOptions(Controls):
    """Of ``quantart evaluate``."""

    pairs: int = control(200, "Pairs of a content and a style that are painted.", low=2)
    size: int = control(
        256, "Every picture becomes a square of this side: its middle, reduced or enlarged.", low=64, high=4096
    )
    hold_out: float = control(
        0.0,
        "Use only this share of each folder: what a training with the same --hold-out never sees. 0: everything.",
        low=0,
        high=0.9,
    )
    seed: int = control(0, "Decides the pairs, and the draws behind the confidence.", low=0)
