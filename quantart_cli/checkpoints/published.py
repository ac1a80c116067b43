"""Published checkpoints into our key layout. Run through ``weights/build.py``; nothing here is needed to stylize."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# Indices of the convolutions in the published Sequentials, by the names our networks give them.
_VGG = {
    "conv1_1": 2, "conv1_2": 5, "conv2_1": 9, "conv2_2": 12, "conv3_1": 16, "conv3_2": 19, "conv3_3": 22,
    "conv3_4": 25, "conv4_1": 29, "conv4_2": 32, "conv4_3": 35, "conv4_4": 38, "conv5_1": 42,
}  # fmt: skip
_DECODER = {
    "conv4_1": 1, "conv3_4": 5, "conv3_3": 8, "conv3_2": 11, "conv3_1": 14, "conv2_2": 18, "conv2_1": 21,
    "conv1_2": 25, "conv1_1": 28,
}  # fmt: skip


def vgg19_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``vgg_normalised.pth`` -> tensors of :class:`quantart_cli.nets.vgg.VGG19`, float32.

    The first layer of the file, a fixed 1×1 convolution from RGB in [0, 1] to BGR·255 minus the Caffe mean, has no
    place of its own in ours: its linear part goes into conv1_1, its mean is subtracted from the image. Exact, since a
    1×1 convolution commutes with reflection padding.
    """
    ours = _renamed(state, _VGG)
    to_bgr255 = state["0.weight"][:, :, 0, 0]  # (3 BGR, 3 RGB)
    ours["conv1_1.weight"] = (ours["conv1_1.weight"].movedim(1, -1) @ to_bgr255).movedim(-1, 1).contiguous()
    return ours


def decoder_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The AdaIN ``decoder.pth`` -> tensors of :class:`quantart_cli.nets.decoder.Decoder`, float32."""
    return _renamed(state, _DECODER)


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, int]) -> dict[str, Tensor]:
    return {f"{name}.{part}": state[f"{i}.{part}"] for name, i in names.items() for part in ("weight", "bias")}
