"""QuantArt: Quantizing Image Style Transfer Towards High Visual Fidelity (Huang et al., CVPR 2023).

With hats for quantized, c content, s style, y stylized, and a ⊕p b = p·a + (1 - p)·b:

    z_c = E(c)             ẑ_c = VQ(z_c)
    z_y = T(z_c, z_s)      ẑ_y = VQ(T̂(ẑ_c, ẑ_s))
    z     = (ẑ_y ⊕β ẑ_c) ⊕α (z_y ⊕β z_c)
    image = D_α(z)         D_α = D̂ ⊕α D

α is visual fidelity, β style strength; both are chosen when a picture is painted. On the VGG-19 backbone E is VGG-19 to
relu4_1, T is AdaIN, D the AdaIN decoder, and D̂ a decoder trained on quantized features. α = 0 is AdaIN.

The paper quantizes to a codebook learned from real artworks. There are two here:

* ``codebook="style"``, the default: the style picture is a real artwork, so its own features are the codebook,
  ẑ_y = VQ_s(z_c) and ẑ_c = z_c. D̂ is nets/painter.py, which also takes the style's relu3_1 and relu2_1 around the
  entries. The features that are matched are standardised per channel (Avatar-Net, Sheng et al. 2018; NNST, Kolkin et
  al. 2022; AesPA-Net, Hong et al. 2023), then matched as in style swap (Chen and Schmidt 2016), and neighbours continue
  each other's patches (Ashikhmin 2001), on plain areas most: there, patches grow into strokes. Large pictures are
  painted coarse to fine, as in NNST and LapStyle: first at the size of the strokes, then larger, with the enlarged
  painting as the content.
* ``codebook="art"``: entries learned from many paintings,

      VQ(z) = AdaIN(e((z - μ(z)) / σ(z)), z)        e: the nearest entries at every position, see nets/codebook.py

  Entries are learned from features that are standardised by the statistics of their own painting. Quantized features
  keep the statistics of z. Without this, results are brown and flat, like an average of all paintings.

Departures from the paper:

* The backbone is VGG-19 instead of VQGAN. The authors' own networks are in methods/quantart_vqgan.py.
* T and T̂ are AdaIN instead of attention blocks.
* Each position is quantized once: ``codebook="style"`` matches z_c itself, and ``codebook="art"`` does not quantize
  again after T̂, so that ẑ_y = AdaIN(ẑ_c, z_s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quantart_cli.methods.adain import DECODE, ENCODE
from quantart_cli.methods.base import FeedForward, adain
from quantart_cli.methods.coarse_to_fine import brush_sides, content_of_level, parse_brush, resized
from quantart_cli.nets.steadied import steadied
from quantart_cli.runner import Backend, Image, MapOf, Runner
from quantart_cli.settings import Settings, setting
from quantart_cli.stages import EPSILON, Map, Moments, Output, Pixels, Stage, Summed

CODEBOOKS = ("auto", "style", "art")
_CHANNELS = (512, 256, 128)  # of relu4_1, relu3_1 and relu2_1
_KEY = 128  # numbers of a key
_TEMPERATURE = 0.05
_HIDDEN = 1e4  # penalty of positions that must not be matched
_FIDELITY = 0.7  # the default, for which OpenVINO has a network of its own
_NOISES = 8  # sizes of pictures whose random numbers are kept
_ENTRIES, _GROUPS = 4096, 16  # most entries of a style; their number is a multiple of the groups of nets/painting.py


@dataclass(frozen=True)
class QuantArtSettings(Settings):
    """Settings of QuantArt."""

    STRENGTH = "strength"

    fidelity: float = setting(
        _FIDELITY,
        "Visual fidelity: 0 stays continuous (AdaIN), 1 builds the picture from pieces of real art.",
        low=0,
        high=1,
        aliases=("alpha",),
    )
    strength: float = setting(
        1.0,
        "Style strength: 0 keeps the content's own look, 1 takes the full style.",
        low=0,
        high=1,
        aliases=("beta",),
    )
    codebook: str = setting(
        "auto",
        "Pieces of art to build from: those of the style picture, or a codebook of many paintings. auto: style, or art "
        "where --model is a codebook.",
        choices=CODEBOOKS,
    )
    brush: str = setting(
        "auto",
        "Long side in pixels of the first pass, where strokes are laid: the smaller, the broader they become. auto: "
        "768, for which smaller pictures are enlarged by up to 1.25; none: one pass at the picture's own size.",
        parse=parse_brush,
        metavar="auto|none|N",
    )
    refine: int = setting(
        0,
        "Updates by nnst that follow, towards the strokes of the style: 30 take seconds at 512 px.",
        low=0,
        high=10000,
    )


_FEATURES: dict[str, Output] = {"z": Map(8), "x3": Map(8), "x2": Map(8), "m4": Summed(), "m3": Summed(), "m2": Summed()}
_KEY_MAPS = {"z": (8, 512), "x3": (8, 256), "x2": (8, 128)}
ENCODE_CONTENT = Stage(
    "encode-content",
    "quantart_cli.nets.painting:ContentEncoder",
    parts=("vgg",),
    maps={"image": (1, 3), "weight": (8, 1)},
    outputs=_FEATURES,
    halo=32,
)
ENCODE_STYLE = Stage(
    "encode-style",
    "quantart_cli.nets.painting:StyleEncoder",
    parts=("vgg", "painter"),
    maps={"image": (1, 3), "weight": (8, 1)},
    outputs={**_FEATURES, "s3": Map(4, multiple=8), "s2": Map(2, multiple=8)},
    halo=32,
    of_style=True,
)
KEYS = Stage(
    "keys",
    "quantart_cli.nets.painting:Keys",
    parts=("painter",),
    maps=_KEY_MAPS,
    whole={"mean": (896,), "scale": (896,)},
    outputs={"keys": Map(8)},
    exact=True,
    of_style=True,
)
HUBNESS = Stage(
    "hubness",
    "quantart_cli.nets.painting:Hubness",
    parts=(),
    maps={"keys": (8, _KEY)},
    whole={"entries": (_KEY, -1)},
    outputs={"hubness": Map(8)},
    exact=True,
    of_style=True,
)
MATCH = Stage(
    "match",
    "quantart_cli.nets.painting:Matcher",
    parts=("painter",),
    maps={**_KEY_MAPS, "noise": (8, 5)},
    whole={"mean": (896,), "scale": (896,), "places": (-1,), "table": (-1, _KEY), "penalty": (-1,)},
    scalars=("columns",),
    integers=("places",),
    outputs={"best": Map(8), "share": Map(8)},
    halo=64,
    exact=True,
)
DECODE_PAINTED = Stage(
    "decode-painted",
    "quantart_cli.nets.painting:PaintedDecoder",
    parts=("painter", "decoder"),
    maps={"best": (8, 4), "share": (8, 4), "z": (8, 512)},
    whole={
        "values": (1, -1, -1, 512),
        "s3": (1, -1, -1, 256),
        "s2": (1, -1, -1, 128),
        "slope": (512,),
        "shift": (512,),
    },
    scalars=("amount",),
    usual=(_FIDELITY,),
    integers=("best",),
    outputs={"image": Pixels()},
    halo=40,
)
QUANTIZE = Stage(
    "quantize",
    "quantart_cli.nets.quantizer:Quantizer",
    parts=("codebook",),
    maps={"z": (8, 512), "weight": (8, 1)},
    whole={"mean": (512,), "std": (512,)},
    outputs={"indices": Map(8), "moments": Summed()},
    exact=True,
)
DECODE_CODES = Stage(
    "decode-codes",
    "quantart_cli.nets.quantizer:CodesDecoder",
    parts=("codebook", "decoder"),
    maps={"indices": (8, 8), "z": (8, 512)},
    whole={"hat_slope": (512,), "slope": (512,), "shift": (512,)},
    integers=("indices",),
    scalars=("alpha",),
    outputs={"image": Pixels()},
    halo=32,
)


@dataclass(frozen=True)
class StyleEntries:
    """A style as a codebook of its own features: n entries, each a position of relu4_1.

    Attributes:
        values: (1, h, w, 512), relu4_1, in the array type of the backend.
        s3: (1, 2h, 2w, 256), relu3_1 as the painter's fusion projects it, likewise.
        s2: (1, 4h, 4w, 128), relu2_1 as the painter's fusion projects it, likewise.
        places: (m,) int32, position of each entry: row · w + column. m is a multiple of 16.
        keys: (128, h, w) float32. Keys of the content are compared with them.
        penalty: (h, w) float32, subtracted from the similarity of each position, so that none is chosen everywhere.
        key_moments: μ and σ of relu4_1, relu3_1 and relu2_1, (896,) each.
    """

    values: Any
    s3: Any
    s2: Any
    places: np.ndarray
    keys: np.ndarray
    penalty: np.ndarray
    key_moments: Moments

    @property
    def moments(self) -> Moments:
        """μ and σ of relu4_1."""
        return Moments(self.key_moments.mean[: _CHANNELS[0]], self.key_moments.std[: _CHANNELS[0]])

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        height, width = self.penalty.shape
        return height, width

    @cached_property
    def table(self) -> np.ndarray:
        """The keys as rows, (h · w, 128): the same for every content and every level of it."""
        return np.ascontiguousarray(self.keys.reshape(_KEY, -1).T)


class QuantArt(FeedForward[QuantArtSettings]):
    """QuantArt on VGG-19, with both codebooks."""

    def __init__(self, given: Sequence[str] = ()) -> None:
        super().__init__(given)
        self._noise: dict[tuple[int, int], tuple[Backend, MapOf]] = {}

    def codebook(self, settings: QuantArtSettings) -> str:
        """The codebook that these settings choose: "style", "art", or "none" at fidelity 0."""
        if settings.fidelity == 0:
            return "none"
        if settings.codebook != "auto":
            return settings.codebook
        return "art" if "codebook" in self.given else "style"

    def stages(self, settings: QuantArtSettings | None = None) -> Sequence[Stage]:
        by_codebook = {
            "none": (ENCODE, DECODE),
            "art": (ENCODE, QUANTIZE, DECODE_CODES),
            "style": (ENCODE_STYLE, KEYS, HUBNESS, ENCODE_CONTENT, MATCH, DECODE_PAINTED),
        }
        if settings is not None:
            return by_codebook[self.codebook(settings)]
        return tuple(dict.fromkeys(stage for stages in by_codebook.values() for stage in stages))

    def style_form(self, settings: QuantArtSettings) -> str:
        return "entries" if self.codebook(settings) == "style" else "moments"

    def encode_style(self, runner: Runner, style: Image, form: str = "moments") -> Any:
        """Form "moments": μ and σ of z_s. Form "entries": :class:`StyleEntries`."""
        if form == "moments":
            return runner(ENCODE, style)["moments"]
        found = runner(ENCODE_STYLE, style)
        visible = style.weight(8)
        hidden = None if visible is None else visible < min(0.5, float(visible.max()))
        places = _places(found["z"].size, hidden)
        moments = _key_moments(found)
        mean, scale = _standardisation(moments)
        key_map: MapOf = runner(KEYS, **{name: found[name] for name in _KEY_MAPS}, mean=mean, scale=scale)["keys"]
        rows = np.moveaxis(runner.backend.numpy(key_map.values)[0], 0, 2)
        keys = np.moveaxis(np.ascontiguousarray(rows, np.float32), 2, 0)  # (128, h, w), in memory as rows
        entries = np.ascontiguousarray(keys.reshape(_KEY, -1)[:, places])
        penalty = runner.backend.numpy(runner(HUBNESS, keys=key_map, entries=entries)["hubness"].values)[0, 0]
        if hidden is not None:
            penalty = np.where(hidden, _HIDDEN, penalty)
        z, s3, s2 = (runner.backend.channels_last(found[name].values) for name in ("z", "s3", "s2"))
        return StyleEntries(z, s3, s2, places, keys, penalty.astype(np.float32), moments)

    def blend(self, runner: Runner, styles: Sequence[Any], weights: Sequence[float]) -> Any:
        if isinstance(styles[0], Moments):
            return Moments.lerp(list(styles), list(weights))
        return blend_entries(runner.backend, styles, weights)

    def pixels_of_passes(self, size: tuple[int, int], settings: QuantArtSettings) -> Sequence[int]:
        pixels = size[0] * size[1]
        if self.codebook(settings) != "style":
            return [pixels]
        return [round(pixels * (side / max(size)) ** 2) for side in brush_sides(size, settings.brush)]

    def paint(self, runner: Runner, content: Image, style: Any, settings: QuantArtSettings) -> np.ndarray:
        codebook = self.codebook(settings)
        if codebook == "style":
            return self._paint_coarse_to_fine(runner, content, style, settings)
        c = runner(ENCODE, content)
        if codebook == "art":
            return _paint_art(runner, c["z"], c["moments"], style, settings, content)
        slope, shift = adain(c["moments"], style, settings.strength)
        image: np.ndarray = runner(DECODE, z=c["z"], slope=slope, shift=shift)["image"]
        return image

    def _paint_coarse_to_fine(
        self, runner: Runner, content: Image, style: StyleEntries, settings: QuantArtSettings
    ) -> np.ndarray:
        """Paint at the size of the strokes, then at larger sizes, with the enlarged painting as the content.

        The only level of a small picture is larger than it.
        """
        painted: np.ndarray | None = None
        for side in brush_sides(content.size, settings.brush):
            level = content_of_level(content, side, painted)
            painted = self._paint_level(runner, level, style, settings)
            painted = painted[: level.size[0], : level.size[1]]
        assert painted is not None
        return resized(painted, content.size)

    def _paint_level(
        self, runner: Runner, content: Image, style: StyleEntries, settings: QuantArtSettings
    ) -> np.ndarray:
        """D_αβ((ẑ_y ⊕β z_c) ⊕α (z_y ⊕β z_c)) with ẑ_y = VQ_s(z_c). S3 and S2 are style, so β applies to D as well."""
        alpha, beta = settings.fidelity, settings.strength
        c = runner(ENCODE_CONTENT, content)
        mean, scale = _standardisation(_key_moments(c), style.key_moments)
        matched = runner(
            MATCH,
            z=c["z"],
            x3=c["x3"],
            x2=c["x2"],
            noise=self._noise_like(runner.backend, c["z"]),
            mean=mean,
            scale=scale,
            places=style.places,
            table=style.table,
            penalty=style.penalty.reshape(-1),
            columns=style.penalty.shape[1],
        )
        del c["x3"], c["x2"]  # a seventh of the memory of a large picture
        slope, shift = adain(c["m4"], style.moments, beta)
        image: np.ndarray = runner(
            DECODE_PAINTED,
            best=matched["best"],
            share=matched["share"],
            z=c["z"],
            values=style.values,
            s3=style.s3,
            s2=style.s2,
            slope=(1 - alpha) * slope + alpha * (1 - beta),
            shift=(1 - alpha) * shift,
            amount=alpha * beta,
        )["image"]
        return image

    def _noise_like(self, backend: Backend, z: MapOf) -> MapOf:
        """:func:`_noise` for a map of features; the same object for the next picture of its size, see memo.py."""
        kept = self._noise.get(z.size)
        if kept is None or kept[0] is not backend:
            if len(self._noise) == _NOISES:
                self._noise.clear()
            kept = self._noise[z.size] = backend, MapOf(backend.to_map(_noise(z.size), z.values), 8)
        return kept[1]


def _key_moments(found: dict[str, Any]) -> Moments:
    """μ and σ of the three layers that keys consist of, (896,) each."""
    moments = [found[name] for name in ("m4", "m3", "m2")]
    return Moments(np.concatenate([each.mean for each in moments]), np.concatenate([each.std for each in moments]))


def _standardisation(moments: Moments, style: Moments | None = None) -> tuple[np.ndarray, np.ndarray]:
    """μ and 1 / (σ √C) of key moments, (896,) float32 each; of a content, with the style's, see nets/steadied.py."""
    mean, variance = moments.mean, moments.std**2
    if style is not None:
        mean, variance = steadied(mean, variance, style.mean, style.std**2)
    channels = np.repeat(np.array(_CHANNELS, np.float32), _CHANNELS)
    return mean, (1 / np.sqrt(variance * channels)).astype(np.float32)


def _noise(size: tuple[int, int]) -> np.ndarray:
    """Random numbers for the matching, (1, 5, h, w) float32, multiples of 1/256: the same in bfloat16."""
    return np.random.default_rng(0).integers(256, size=(1, 5, *size)).astype(np.float32) / np.float32(256)


def _places(size: tuple[int, int], hidden: np.ndarray | None) -> np.ndarray:
    """Positions of a style that become entries, (m,) int32 in row order.

    At most 4,096, drawn at random: more entries cost time and change little. Transparent positions are left out. If
    there are fewer, some positions are repeated, so that the number is a multiple of 16.
    """
    allowed = np.arange(size[0] * size[1]) if hidden is None else np.flatnonzero(~hidden.reshape(-1))
    draw = np.random.default_rng(0)
    if len(allowed) > _ENTRIES:
        places = draw.choice(allowed, _ENTRIES, replace=False)
    else:
        places = draw.permutation(np.resize(allowed, -(-len(allowed) // _GROUPS) * _GROUPS))
    return places.astype(np.int32)


def blend_entries(backend: Backend, styles: Sequence[StyleEntries], weights: Sequence[float]) -> StyleEntries:
    """Combine styles into one codebook with the entries of all. Their maps are stacked vertically.

    A weight w adds T log(w N) to the similarities of its style's entries, with N styles and T the temperature of the
    matching: equal weights add nothing, a weight of 0 removes the style.

    Every style gets a border of one position, and all get the same width. The border repeats the edge, so that patches
    of a style never reach into the next; its own positions are never matched.
    """
    used = [(style, w * len(styles)) for style, w in zip(styles, weights, strict=True) if w > 0]
    width = max(style.size[1] for style, _ in used) + 2
    top, places, keys, penalties = 1, [], [], []
    for style, weight in used:
        height, own = style.size
        places.append((style.places // own + top) * width + style.places % own + 1)
        border = ((1, 1), (1, width - own - 1))
        keys.append(np.pad(style.keys, ((0, 0), *border)))
        penalty = style.penalty - _TEMPERATURE * math.log(weight)
        penalties.append(np.pad(penalty, border, constant_values=_HIDDEN))
        top += height + 2
    # In random order: the matching takes a candidate from each quarter of the entries.
    order = np.random.default_rng(0).permutation(sum(map(len, places)))
    return StyleEntries(
        _stacked(backend, [style.values for style, _ in used], 1),
        _stacked(backend, [style.s3 for style, _ in used], 2),
        _stacked(backend, [style.s2 for style, _ in used], 4),
        np.concatenate(places)[order].astype(np.int32),
        np.concatenate(keys, axis=1),
        np.concatenate(penalties).astype(np.float32),
        Moments.lerp([style.key_moments for style in styles], list(weights)),
    )


def _stacked(backend: Backend, maps: Sequence[Any], side: int) -> Any:
    """Stack maps of several styles, (1, h, w, C), vertically. Each gets a border of one position, ``side`` values a
    side, that repeats its edge."""
    height, width = sum(each.shape[1] + 2 * side for each in maps), max(each.shape[2] + 2 * side for each in maps)
    found = backend.empty(maps[0], (1, height, width, maps[0].shape[3]))
    top = 0
    for each in maps:
        h, w = each.shape[1:3]
        rows = slice(top + side, top + side + h)
        found[:, rows, side : side + w] = each
        found[:, rows, :side] = each[:, :, :1]
        found[:, rows, side + w :] = each[:, :, -1:]
        found[:, top : top + side] = found[:, rows.start : rows.start + 1]
        found[:, rows.stop : rows.stop + side] = found[:, rows.stop - 1 : rows.stop]
        top += h + 2 * side
    return found


def _paint_art(
    runner: Runner, z: MapOf, own: Moments, style: Moments, settings: QuantArtSettings, content: Image
) -> np.ndarray:
    """(AdaIN(ẑ_c, z_s) ⊕β ẑ_c) ⊕α (AdaIN(z_c, z_s) ⊕β z_c), decoded by D_α.

    For each channel, the argument of D_α is a multiple of the entries e, plus a multiple of z_c, plus a constant.
    """
    alpha, beta = settings.fidelity, settings.strength
    found = runner(QUANTIZE, z=z, weight=content.weight(8), mean=own.mean, std=own.std)
    raw: Moments = found["moments"]
    to_own = own.std / raw.std  # AdaIN(e, z): ẑ has the moments of z, except in channels that hardly vary
    hat = Moments(own.mean, np.sqrt((raw.std**2 - EPSILON).clip(min=0) * to_own**2 + EPSILON))
    hat_slope, hat_shift = adain(hat, style, beta)
    slope, shift = adain(own, style, beta)
    image: np.ndarray = runner(
        DECODE_CODES,
        indices=found["indices"],
        z=z,
        hat_slope=alpha * hat_slope * to_own,
        slope=(1 - alpha) * slope,
        shift=alpha * (hat_slope * (own.mean - raw.mean * to_own) + hat_shift) + (1 - alpha) * shift,
        alpha=alpha,
    )["image"]
    return image
