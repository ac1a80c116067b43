"""Quantization to a codebook of artworks as stages, and decoding between two decoders."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.statistics import moments_of_linear


class Quantizer(nn.Module):
    """The nearest entries of standardised features, at every position."""

    parts: ClassVar = {"codebook": ArtCodebook}

    def __init__(self, codebook: ArtCodebook) -> None:
        super().__init__()
        self.codebook = codebook

    def forward(self, z: Tensor, weight: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize a tile.

        Args:
            z: (1, C, h, w).
            weight: (1, 1, h, w), how much each position counts in the sums.
            mean: (C,) of the whole picture's features.
            std: (C,) of the same.

        Returns:
            indices (1, G, h, w) int32, those of part g in [g·K, (g + 1)·K), and the moments of the features they stand
            for, (3, C) float32.
        """
        book = self.codebook
        project = book.project.weight / std
        rows = z.float()[0].flatten(1).T  # (h·w, C)
        points = F.linear(rows, project, book.project.bias - project @ mean)
        found = book.nearest(points)  # (h·w, G)
        indices = found.T.unflatten(1, z.shape[2:])[None].int()
        return indices, moments_of_linear(book.codes(found), weight, book.expand.weight, book.expand.bias)


class CodesDecoder(nn.Module):
    """D_α of a mix of quantized and continuous features."""

    parts: ClassVar = {"codebook": ArtCodebook, "decoder": Decoder}

    def __init__(self, codebook: ArtCodebook, decoder: Decoder) -> None:
        super().__init__()
        self.codebook = codebook
        self.channels = {"indices": len(codebook.tables)}
        self.blend = Blend(decoder, codebook.decoder or decoder)

    def forward(
        self, indices: Tensor, z: Tensor, hat_slope: Tensor, slope: Tensor, shift: Tensor, alpha: float | Tensor
    ) -> tuple[Tensor]:
        """D_α(hat_slope · e + slope · z + shift), with e the entries' features.

        Args:
            indices: (1, G, h, w), from :class:`Quantizer`.
            z: (1, C, h, w), the continuous features.
            hat_slope, slope, shift: (C,).
            alpha: 0 takes D, 1 takes D̂.

        Returns:
            (1, 3, 8h, 8w) float32.
        """
        book = self.codebook
        codes = book.codes(indices[0].movedim(0, -1).long()).float()  # (h, w, D)
        weight = book.expand.weight.float() * hat_slope[:, None]
        mixed = F.linear(codes, weight, book.expand.bias * hat_slope + shift).movedim(-1, 0)[None]
        mixed = torch.addcmul(mixed, z.float(), slope.view(1, -1, 1, 1))
        return (self.blend(alpha, mixed),)


class Blend(nn.Module):
    """D̂ ⊕α D: a network whose weights lie between those of two networks of the same architecture.

    Args:
        zero: the network at α = 0.
        one: the network at α = 1; may be the same.
    """

    def __init__(self, zero: nn.Module, one: nn.Module) -> None:
        super().__init__()
        self.zero, self.one = zero, one
        self._blended: tuple[float, nn.Module] = (0.0, zero)

    def forward(self, alpha: float | Tensor, *inputs: Any) -> Tensor:
        """What the network at ``alpha`` returns for these inputs."""
        if isinstance(alpha, Tensor):  # an input of a graph that is traced
            ends = dict(self.one.named_parameters())
            weights = {name: torch.lerp(own, ends[name], alpha) for name, own in self.zero.named_parameters()}
            found: Tensor = _with_weights(self.zero, weights)(*inputs)
            return found
        found = self.at(alpha)(*inputs)
        return found

    def at(self, alpha: float) -> nn.Module:
        """The network at ``alpha``; the last one is kept."""
        if alpha in (0, 1) or self.one is self.zero:
            return self.one if alpha == 1 else self.zero
        if self._blended[0] != alpha:
            blended = copy.deepcopy(self.zero)
            ends = zip(self.zero.parameters(), self.one.parameters(), strict=True)
            for weight, (a, b) in zip(blended.parameters(), ends, strict=True):
                weight.data.copy_(torch.lerp(a.float(), b.float(), alpha))
            object.__setattr__(self, "_blended", (alpha, blended))
        return self._blended[1]


def _with_weights(network: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A copy of a network that computes with these tensors; ``torch.func.functional_call`` cannot be traced."""
    made = copy.deepcopy(network)
    for name, value in weights.items():
        path, _, attribute = name.rpartition(".")
        layer = made.get_submodule(path)
        del layer._parameters[attribute]
        object.__setattr__(layer, attribute, value)
    return made
