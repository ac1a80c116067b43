"""How far a picture is from the style it was to take, seen by the normalised VGG-19 at relu1_1, 2_1, 3_1 and 4_1.

Gram: Σ_l mean (G_l(y) - G_l(s))² with G = F Fᵀ / (h·w) (Gatys, Ecker and Bethge 2016, section 2.2, without its weights
of layers). Moments: Σ_l |μ_l(y) - μ_l(s)|² / C + |σ_l(y) - σ_l(s)|² / C (Huang and Belongie 2017, section 5, the losses
squared as its code has them).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from quantart_cli.nets.vgg import VGG19

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_EPSILON = 1e-5  # added to the variance, as in AdaIN


@dataclass(frozen=True)
class Look:
    """What of a picture counts as its style, layer by layer: Gram matrices (B, C, C), μ and σ (B, C)."""

    grams: tuple[Tensor, ...]
    means: tuple[Tensor, ...]
    stds: tuple[Tensor, ...]

    @staticmethod
    def of(vgg: VGG19, image: Tensor) -> Look:
        """Of pictures (B, 3, H, W), sRGB float32 in [0, 1], 16 pixels a side or more."""
        rows = [z.float().movedim(1, -1).flatten(1, 2) for z in vgg(image, LAYERS).values()]  # (B, n, C)
        return Look(
            tuple(row.mT @ row / row.shape[1] for row in rows),
            tuple(row.mean(1) for row in rows),
            tuple((row.var(1) + _EPSILON).sqrt() for row in rows),
        )

    def gram_distance(self, other: Look) -> Tensor:
        """(B,)."""
        return sum((a - b).square().mean((1, 2)) for a, b in zip(self.grams, other.grams, strict=True))

    def moment_distance(self, other: Look) -> Tensor:
        """(B,)."""
        both = zip((*self.means, *self.stds), (*other.means, *other.stds), strict=True)
        return sum((a - b).square().mean(1) for a, b in both)
