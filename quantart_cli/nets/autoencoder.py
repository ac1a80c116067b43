"""What QuantArt (Huang et al. 2023, section 3.2) learns on the VGG-19 backbone: a codebook and a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder

if TYPE_CHECKING:
    from typing_extensions import Self


class ArtCodebook(Codebook):
    """A codebook, and the decoder that was trained with it.

    Attributes:
        decoder: D̂, of features made of entries; None for a codebook that was trained alone.
    """

    decoder: Decoder | None

    def __init__(self, entries: int, width: int = 256, channels: int = 512, parts: int = 0) -> None:
        super().__init__(entries, width, channels, parts)
        self.register_module("decoder", None)

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> Self:
        """An empty one of the sizes of a checkpoint's tensors, with a decoder if that has one."""
        made = super().like(tensors)
        if any(name.startswith("decoder.") for name in tensors):
            made.decoder = Decoder()
        return made
