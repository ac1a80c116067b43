"""Style-guided attention over VGG-19 latents: the SGA block of QuantArt (Huang et al., CVPR 2023).

    x ← x + out(softmax(q(x̄) k(t̄)ᵀ / √d + log w) v(t̄))        x ← x + MLP(x̄)        bars: layer norm of each position

with x the content's features and t the style's tokens, both standardised, and w how much each token counts. It departs
from the paper, whose own blocks are in nets/vqgan.py, in three places. There is no self-attention, no convolution, and
no statistic over positions: a position of the content looks at the style and at itself alone, so that time is linear in
the content's size, and a picture in tiles is the picture. The style comes as a few hundred tokens and not as all its
positions. And both last layers of a block are zero at first, so that training begins at the identity, at AdaIN.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TOKENS = 16
"""A style has at most this many tokens a side."""
_HEAD = 32  # channels of an attention head


class StyleGuide(nn.Module):
    """What a style changes about a content's features.

    Args:
        blocks: attention and MLP one after the other, so often.
        channels: C of the features, 512 for relu4_1.
        width: channels of all attention heads together.
        hidden: channels inside the MLP.
    """

    def __init__(self, blocks: int = 2, channels: int = 512, width: int = 256, hidden: int = 512) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels, width, hidden) for _ in range(blocks))

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> StyleGuide:
        """An empty one of the sizes of a checkpoint's tensors."""
        q, up = tensors.get("blocks.0.q.weight"), tensors.get("blocks.0.up.weight")
        if q is None or up is None or q.ndim != 2 or up.ndim != 2:
            return cls()  # the strict loader says what is missing
        blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
        return cls(len(blocks), q.shape[1], q.shape[0], up.shape[0])

    def forward(self, x: Tensor, tokens: Tensor, log_weights: Tensor) -> Tensor:
        """The change R that makes guided features G(x) = x + R(x) of x; computed in the dtype of the weights.

        Args:
            x: (B, C, h, w), standardised by the content's own statistics.
            tokens: (B, n, C) of the style, standardised by its own.
            log_weights: (B, n), the logarithm of how much each counts, up to a constant.

        Returns:
            (B, C, h, w), channels last.
        """
        dtype = self.blocks[0].q.weight.dtype
        rows = x.movedim(1, -1).flatten(1, 2).to(dtype)  # (B, h·w, C)
        tokens = tokens.to(dtype)
        # The largest is 0: logarithms far from it would be coarse in half precision.
        mask = (log_weights - log_weights.amax(1, keepdim=True))[:, None, None].to(dtype)  # (B, 1, 1, n)
        change = torch.zeros_like(rows)
        for block in self.blocks:
            change = change + block.look(rows + change, tokens, mask)
            change = change + block.think(rows + change)
        return change.unflatten(1, x.shape[2:]).movedim(-1, 1)


class _Block(nn.Module):
    """One cross-attention and one MLP, each as the change it makes."""

    def __init__(self, channels: int, width: int, hidden: int) -> None:
        super().__init__()
        self.heads = 1 if width % _HEAD else max(1, width // _HEAD)
        self.norm_content, self.norm_style, self.norm_mlp = (nn.LayerNorm(channels) for _ in range(3))
        self.q, self.k, self.v = (nn.Linear(channels, width) for _ in range(3))
        self.out = nn.Linear(width, channels)
        self.up, self.down = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        for last in (self.out, self.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def look(self, rows: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, N, C) at (B, n, C), with a mask (B, 1, 1, n) that is added to their similarity."""
        tokens = self.norm_style(tokens)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or n, d)
            for part in (self.q(self.norm_content(rows)), self.k(tokens), self.v(tokens))
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(-1, self.heads, q.shape[2], -1))
        return self.out(seen.transpose(1, 2).flatten(2))

    def think(self, rows: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.norm_mlp(rows)), approximate="tanh"))
