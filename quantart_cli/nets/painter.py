"""The painter's decoder: the AdaIN decoder with two inputs for the style's own patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.cpu import bands, convolution, reflected
from quantart_cli.nets.decoder import Decoder, at_full_size
from quantart_cli.nets.matching import KEY_SIZE

# Input and output channels of the 3x3 convolutions, named after the VGG layer that each one inverts.
_CONVOLUTIONS = {
    "conv4_1": (512, 256),
    "conv3_4": (256, 256),
    "conv3_3": (256, 256),
    "conv3_2": (256, 256),
    "conv3_1": (256, 128),
    "conv2_2": (128, 128),
    "conv2_1": (128, 64),
    "conv1_2": (64, 64),
    "conv1_1": (64, 3),
}


Patches = Tensor | Callable[[int, int], Tensor]
"""Features of the style, or a function of a first row and the row after the last that returns these rows of what
:func:`project` makes of them. It is called where they are needed, since they are large, and what it returns is
overwritten if no gradients are recorded."""


class PainterDecoder(nn.Module):
    """Features of relu4_1, with patches of relu3_1 and relu2_1, to an image.

    The 3x3 convolutions have the names and the shapes of :class:`~quantart_cli.nets.decoder.Decoder`. After the first
    upsampling ``fuse3`` merges the features x with s3, after the second ``fuse2`` merges them with s2. Both are 1x1
    convolutions of the concatenation, ReLU(W_x x + W_s s + b), that start at the identity, so a new PainterDecoder with
    a Decoder's weights computes what the Decoder computes and ignores s3 and s2.

    1x1 convolutions commute with upsampling and with copying: W_x x + b is computed before the upsampling, at a quarter
    of the positions, and W_s s once for each style, see :func:`project`.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, (fan_in, fan_out) in _CONVOLUTIONS.items():
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3))
        self.fuse3 = _identity_fusion(512, 256)
        self.fuse2 = _identity_fusion(256, 128)

    @classmethod
    def of(cls, decoder: Decoder) -> PainterDecoder:
        """A painter's decoder that computes what a decoder computes."""
        made = cls().to(decoder.conv4_1.weight.device, decoder.conv4_1.weight.dtype)
        made.load_state_dict({**made.state_dict(), **decoder.state_dict()})
        return made.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, s3: Patches, s2: Patches) -> Tensor:
        """Decode z with the patches s3 and s2. Computed in the dtype of the weights.

        Args:
            z: (B, 512, h, w) features of relu4_1; h and w at least 2.
            s3: (B, 256, 2h, 2w) features of relu3_1, or what returns W_s s3.
            s2: (B, 128, 4h, 4w) features of relu2_1, or what returns W_s s2.

        Returns:
            (B, 3, 8h, 8w) float32, sRGB in about [0, 1], not clamped.
        """
        x = self._prepare(z)
        for name in ("conv4_1", "conv3_4", "conv3_3", "conv3_2", "conv3_1", "conv2_2", "conv2_1"):
            if name == "conv3_4":
                x = self._fuse(self.fuse3, x, s3, 8)  # (B, 256, 2h, 2w)
            elif name == "conv2_2":
                x = self._fuse(self.fuse2, x, s2, 4)  # (B, 128, 4h, 4w)
            x = reflected(x)  # assigned on its own: frees what it was
            x = convolution(getattr(self, name), x)
        return at_full_size(self, x).float()  # (B, 3, 8h, 8w)

    def _prepare(self, x: Tensor) -> Tensor:
        return x.to(self.fuse3.weight.dtype).contiguous(memory_format=torch.channels_last)

    def _fuse(self, fusion: nn.Conv2d, x: Tensor, s: Patches, stride: int) -> Tensor:
        """ReLU(W_x x + W_s s + b), x enlarged; ``stride`` is that of x."""
        x = F.conv2d(x, fusion.weight[:, : x.shape[1]], fusion.bias)
        if isinstance(s, Tensor):
            projected = project(fusion, self._prepare(s))
            s = lambda start, end: projected[:, :, start:end]  # noqa: E731
        # In a graph that is traced each copy of the patches takes memory of its own.
        rows = bands(x, stride**2, 16 // stride)
        found = [_merged(x[:, :, start:end], self._prepare(s(2 * start, 2 * end))) for start, end in rows]
        return torch.cat(found, 2) if len(found) > 1 else found[0]


def _merged(x: Tensor, patches: Tensor) -> Tensor:
    """ReLU of the sum of x, enlarged, and patches: (B, C, h, w) and (B, C, 2h, 2w)."""
    if torch.jit.is_tracing() or torch.is_grad_enabled():
        return F.relu(F.interpolate(x, scale_factor=2, mode="nearest") + patches)
    h, w = x.shape[2:]
    blocks = patches.permute(0, 2, 3, 1).unflatten(2, (w, 2)).unflatten(1, (h, 2))
    blocks.add_(x.permute(0, 2, 3, 1)[:, :, None, :, None])  # without an upsampled copy
    return patches.relu_()


def project(fusion: nn.Conv2d, s: Tensor) -> Tensor:
    """W_s s: what a fusion makes of patches of the style, (B, C, H, W)."""
    return F.conv2d(s, fusion.weight[:, fusion.out_channels :])


class Painter(nn.Module):
    """What the training of the painter learns, as its file holds it.

    Attributes:
        decoder: D̂.
        project: (D, 896), principal components of keys, see :func:`quantart_cli.nets.painting.keys`.
    """

    project: Tensor

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.decoder = PainterDecoder()
        self.register_buffer("project", torch.empty(width, KEY_SIZE))

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> Painter:
        """An empty one of the sizes of a checkpoint's tensors."""
        project = tensors.get("project")
        return cls(len(project)) if project is not None and project.ndim == 2 else cls()


def _identity_fusion(fan_in: int, fan_out: int) -> nn.Conv2d:
    """A 1x1 convolution that returns its first fan_out input channels."""
    layer = nn.Conv2d(fan_in, fan_out, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(fan_out, fan_in)[:, :, None, None])
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
