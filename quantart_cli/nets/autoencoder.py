"""What QuantArt (Huang et al. 2023) learns on the VGG-19 backbone: codebook and decoder (section 3.2), and how a style
guides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from quantart_cli.nets.codebook import Codebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.guide import StyleGuide

Made = TypeVar("Made", bound="ArtCodebook")
GUIDED = ("quantized", "continuous")
"""Names of the guides: R̂ of T̂, and R of T."""


class ArtCodebook(Codebook):
    """A codebook, and what was trained with it.

    Attributes:
        decoder: D̂, of features made of entries; None: of a codebook that was trained alone.
        transfer: guides by names of :data:`GUIDED`, either of which may be absent; None: neither was trained.
    """

    decoder: Decoder | None
    transfer: nn.ModuleDict | None

    def __init__(self, entries: int, width: int = 256, channels: int = 512, parts: int = 0) -> None:
        super().__init__(entries, width, channels, parts)
        self.register_module("decoder", None)
        self.register_module("transfer", None)

    @classmethod
    def like(cls: type[Made], tensors: Mapping[str, Tensor]) -> Made:
        """An empty one of the sizes of a checkpoint's tensors, with a decoder and guides if that has any."""
        made = super().like(tensors)
        if any(name.startswith("decoder.") for name in tensors):
            made.decoder = Decoder()
        guides = {end: _below(f"transfer.{end}.", tensors) for end in GUIDED}
        if any(guides.values()):
            made.transfer = nn.ModuleDict({end: StyleGuide.like(own) for end, own in guides.items() if own})
        return made

    def guide(self, end: str) -> StyleGuide | None:
        """That of one end, or None."""
        return self.transfer[end] if self.transfer is not None and end in self.transfer else None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
