"""What a person can set on each training, with defaults and ranges. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.methods.controls import Controls, control


@dataclass(frozen=True)
class CodebookOptions(Controls):
    """Training of a codebook of art."""

    entries: int = control(4096, "Entries of the codebook.", low=2)
    width: int = control(256, "Channels of an entry: principal components kept of the 512.", low=1, high=512)
    samples: int = control(1_000_000, "Feature vectors drawn from the paintings.", low=1)
    smallest_scale: float = control(
        0.5, "Paintings are seen at random scales between this and their own size.", low=0.1, high=1
    )
    hold_out: float = control(
        0.0, "Share of the paintings never trained on, chosen by a hash of the file name.", low=0, high=0.9
    )
    iterations: int = control(30, "Passes of k-means over the samples, at most.", low=1)
    seed: int = control(0, "Seed of all random numbers; the same seed gives the same codebook.", low=0)
