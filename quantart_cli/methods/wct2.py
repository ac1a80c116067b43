"""WCT2: Photorealistic Style Transfer via Wavelet Transforms (Yoo, Uh, Chun, Kang and Ha, ICCV 2019).

    f'    = clamp(E_s (D_s + I)^1/2 E_sᵀ E_c (D_c + I)^-1/2 E_cᵀ (f - μ_c) + μ_s)      whitening and colouring
    f     → α f' + (1 - α) f

f is a map of VGG-19 with Haar wavelet pooling (nets/wct2.py); E D Eᵀ are the covariances of the maps of content and
style. One pass through the network changes maps at up to three kinds of places (section 3.3), each chosen by
``transfer``:

* encoder: relu1_1, relu2_1, relu3_1, relu4_1; in the form "sum" the low bands instead of the first three;
* skip: the three high bands of each of the three poolings;
* decoder: the maps before each of its four levels; relu4_1 is not changed twice.

The clamp is not in the paper: the authors' program keeps each map between the content's own least and largest number,
and adds the identity to both covariances. So does this one. Several styles are blended by their shares: the roots of
their covariances, and their means, are averaged.

Departures from the authors' program:

* Pictures are mirrored to a multiple of 8 in height and width, and cropped again; the program crops to 16.
* Transparent pixels do not count in means, covariances and the clamp. A region of a mask is painted as a picture of
  which nothing else is visible, and the regions are mixed; the program changes the maps of each region in one pass.
* The default weights are a small decoder made by quantart for its own VGG-19, in the form "sum". It begins at relu3_1:
  the deepest level of the paper is left out. Converted weights of the authors have all four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.methods.base import FeedForward
from quantart_cli.methods.wct import Colouring, colouring, whiten_and_colour
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Covariance, Map, Pixels, Stage, Summed

PLACES = ("encoder", "skip", "decoder")


def parse_places(given: str) -> frozenset[str]:
    """The places of a text such as ``skip,decoder``; none for ``none``, all for ``all``.

    Raises:
        QuantArtError: a place that does not exist; the nearest is suggested.
    """
    if given in ("none", "all"):
        return frozenset(PLACES if given == "all" else ())
    found = [part.strip() for part in given.split(",")]
    for part in found:
        if part not in PLACES:
            raise QuantArtError(f"transfer: {part!r} is not known: {suggest(part, (*PLACES, 'all', 'none'))}")
    return frozenset(found)


@dataclass(frozen=True)
class WCT2Settings(StrengthSettings):
    """Settings of WCT2."""

    transfer: str = setting(
        "encoder",
        "Where features take the style: encoder, skip, decoder, several with commas, all, or none. More places: closer "
        "to the style, less like a photograph.",
        parse=parse_places,
        metavar="PLACES",
    )


_NETS = "quantart_cli.nets.wct2:"
_WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512}
_HIGH = ("lh", "hl", "hh")


def _pool(level: int, cat5: bool) -> Stage:
    """From relu{level}_1 to the bands, and with cat5 the map before pooling."""
    stride = 1 << (level - 1)
    outputs = {band: Map(2 * stride) for band in ("ll", *_HIGH)}
    return Stage(
        f"wave-pool{level}" + "-cat5" * cat5,
        f"{_NETS}Pool{level}",
        parts=("vgg", "wct2"),
        maps={"z": (stride, _WIDTHS[level])},
        outputs={**outputs, "full": Map(stride)} if cat5 else outputs,
        halo=16,
    )


def _decode(level: int, cat5: bool) -> Stage:
    """From the maps of a level to those of the level below."""
    stride, width = 1 << (level - 1), _WIDTHS[level - 1]
    bands = {band: (stride, width) for band in _HIGH}
    return Stage(
        f"wave-decode{level}" + "-cat5" * cat5,
        f"{_NETS}Decode{level}",
        parts=("wct2",),
        maps={"z": (stride, _WIDTHS[level]), **bands, **({"full": (stride // 2, width)} if cat5 else {})},
        outputs={"z": Map(stride // 2)},
        halo=24,
    )


_FIRST = Stage(
    "wave-first", f"{_NETS}First", parts=("vgg", "wct2"), maps={"image": (1, 3)}, outputs={"z": Map(1)}, halo=8
)
_LAST = Stage("wave-last", f"{_NETS}Last", parts=("wct2",), maps={"z": (1, 64)}, outputs={"image": Pixels()}, halo=8)
_NEXT = {
    level: Stage(
        f"wave-next{level}",
        f"{_NETS}Next{level}",
        parts=("vgg", "wct2"),
        maps={"z": (1 << (level - 1), _WIDTHS[level - 1])},
        outputs={"z": Map(1 << (level - 1))},
        halo=8,
    )
    for level in (2, 3, 4)
}
_POOL = {(level, cat5): _pool(level, cat5) for level in (1, 2, 3) for cat5 in (False, True)}
_DECODE = {(level, cat5): _decode(level, cat5) for level in (4, 3, 2) for cat5 in (False, True)}
_MAPS = [(1, 64), (2, 64), (2, 128), (4, 128), (4, 256), (8, 256), (8, 512)]  # strides and channels
_MEASURE = {
    (stride, channels): Stage(
        f"wave-measure-{stride}-{channels}",
        f"{_NETS}Measured",
        parts=(),
        maps={"z": (stride, channels), "weight": (stride, 1)},
        outputs={"covariance": Summed(products=True)},
    )
    for stride, channels in _MAPS
}
_RECOLOUR = {
    (stride, channels): Stage(
        f"wave-recolour-{stride}-{channels}",
        f"{_NETS}Recoloured",
        parts=(),
        maps={"z": (stride, channels)},
        whole={"matrix": (channels, channels), "shift": (channels,)},
        scalars=("alpha", "low", "high"),
        outputs={"z": Map(stride)},
    )
    for stride, channels in _MAPS
}

Place = tuple[str, int, str]
"""Where a map is changed: encoder, skip or decoder; the level; the band, for skip only."""
Colourings = dict[Place, Colouring]
Change = Callable[[Place, MapOf], MapOf]


class WCT2(FeedForward[WCT2Settings]):
    """Photorealistic style transfer, with unpooling by sums.

    Attributes:
        cat5: whether unpooling concatenates.
        depth: the level of the deepest maps: relu{depth}_1.
    """

    multiple = 8
    network = "wct2"
    cat5: ClassVar[bool] = False
    depth: ClassVar[int] = 4

    def stages(self, settings: WCT2Settings | None = None) -> Sequence[Stage]:
        levels = range(2, self.depth + 1)
        down = [stage for level in levels for stage in (_POOL[level - 1, self.cat5], _NEXT[level])]
        up = [_DECODE[level, self.cat5] for level in reversed(levels)]
        return (_FIRST, *down, *up, _LAST, *_MEASURE.values(), *_RECOLOUR.values())

    def style_form(self, settings: WCT2Settings) -> str:
        return ",".join(sorted(parse_places(settings.transfer)))

    def encode_style(self, runner: Runner, style: Image, form: str = ",".join(PLACES)) -> Colourings:
        """The colouring of each place that ``form`` names."""
        places, found = set(form.split(",")), {}

        def measure(place: Place, z: MapOf) -> MapOf:
            if place[0] in places and not (place == ("decoder", self.depth, "") and "encoder" in places):
                found[place] = colouring(_covariance(runner, z, style), ridge=1)
            return z

        if places & set(PLACES):
            z, skips = self._encode(runner, style, measure)
            if "decoder" in places:
                self._decode(runner, z, skips, measure)
        return found

    def blend(self, runner: Runner, styles: Sequence[Colourings], shares: Sequence[float]) -> Colourings:
        return {place: Colouring.lerp([style[place] for style in styles], list(shares)) for place in styles[0]}

    def paint(self, runner: Runner, content: Image, style: Colourings, settings: WCT2Settings) -> np.ndarray:
        def change(place: Place, z: MapOf) -> MapOf:
            if place not in style or settings.alpha == 0:
                return z
            matrix, shift = whiten_and_colour(_covariance(runner, z, content), style[place])
            low, high = _range(runner, z, content)
            stage = _RECOLOUR[z.stride, z.values.shape[1]]
            found: MapOf = runner(stage, z=z, matrix=matrix, shift=shift, alpha=settings.alpha, low=low, high=high)["z"]
            return found

        z = self._decode(runner, *self._encode(runner, content, change), change)
        image: np.ndarray = runner(_LAST, z=z)["image"]
        return image

    def _encode(self, runner: Runner, image: Image, change: Change) -> tuple[MapOf, dict[int, dict[str, Any]]]:
        """The deepest map, and what each level of the decoder takes beside the maps of the level before, by level."""
        z, skips = runner(_FIRST, image)["z"], {}
        for level in range(1, self.depth):
            if self.cat5:
                z = change(("encoder", level, ""), z)
            bands = runner(_POOL[level, self.cat5], z=z)
            z = bands.pop("ll")
            if not self.cat5:
                z = change(("encoder", level, ""), z)
            for band in _HIGH:
                bands[band] = change(("skip", level, band), bands[band])
            skips[level + 1] = bands
            z = runner(_NEXT[level + 1], z=z)["z"]
        return change(("encoder", self.depth, ""), z), skips

    def _decode(self, runner: Runner, z: MapOf, skips: dict[int, dict[str, Any]], change: Change) -> MapOf:
        """The maps that the last convolution takes."""
        for level in range(self.depth, 1, -1):
            z = change(("decoder", level, ""), z)
            z = runner(_DECODE[level, self.cat5], z=z, **skips.pop(level))["z"]  # what is not needed any more is freed
        return change(("decoder", 1, ""), z)


class WCT2Cat5(WCT2):
    """The form with unpooling by concatenation."""

    cat5 = True


class WCT2Shallow(WCT2):
    """From relu3_1: the default weights."""

    depth = 3


def _covariance(runner: Runner, z: MapOf, image: Image) -> Covariance:
    """Of the visible positions of a map."""
    stage = _MEASURE[z.stride, z.values.shape[1]]
    found: Covariance = runner(stage, z=z, weight=image.weight(z.stride))["covariance"]
    return found


def _range(runner: Runner, z: MapOf, image: Image) -> tuple[float, float]:
    """The least and the largest number of a map at visible positions."""
    weight = image.weight(z.stride)
    least, largest = [], []
    for first in range(0, z.values.shape[1], 32):  # some channels at a time, for the memory
        values = runner.backend.numpy(z.values[0, first : first + 32])
        values = values if weight is None else values[:, weight > 0]
        least.append(float(values.min()))
        largest.append(float(values.max()))
    return min(least), max(largest)
