"""What QuantArt (Huang et al. 2023, section 3.2) learns from artworks on the VGG-19 backbone: codebook and decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder

Made = TypeVar("Made", bound="ArtCodebook")


class ArtCodebook(Codebook):
    """A codebook, and the decoder that was trained with it.

    Attributes:
        decoder: D̂, of features made of entries; None: of a codebook that was trained alone.
    """

    decoder: Decoder | None

    def __init__(self, entries: int, width: int = 256, channels: int = 512) -> None:
        super().__init__(entries, width, channels)
        self.register_module("decoder", None)

    @classmethod
    def like(cls: type[Made], tensors: Mapping[str, Tensor]) -> Made:
        """An empty one of the sizes of a checkpoint's tensors, with a decoder if that has one."""
        made = super().like(tensors)
        if any(name.startswith("decoder.") for name in tensors):
            made.decoder = Decoder()
        return made
