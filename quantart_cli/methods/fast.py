"""One network for one style or several (Johnson et al., ECCV 2016; Ulyanov et al. 2016; Dumoulin et al., ICLR 2017).

    z̄ = γ_s (z - μ(z)) / σ(z) + β_s         after each convolution; Dumoulin et al., equation 5

μ and σ are those of the content's own features, over the whole picture. γ_s and β_s are those of the style; with
several styles they are weighted sums (Dumoulin et al., section 3.3). Networks of one style are the special case.

Instance norm is the only step that needs the whole picture. So the picture goes through the network layer by layer in
tiles, and the statistics of all tiles are merged before the next layer: the result does not depend on the tiles. The
layers at full resolution are computed again instead of stored, up to three times: they would take 128 bytes a pixel.

Departures from the references:

* Pictures are mirrored to a multiple of 4 in height and width, and cropped again.
* Transparent positions do not count in μ and σ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.methods.base import FeedForward
from quantart_cli.runner import Image, Runner
from quantart_cli.settings import Settings, setting
from quantart_cli.stages import Map, Moments, Pixels, Stage, Summed

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.nets.fast import StyleNetwork


def parse_styles(text: str) -> dict[str, float]:
    """Names of styles with their shares, which sum to 1; none for "auto".

    >>> parse_styles("waves:3,ink")
    {'waves': 0.75, 'ink': 0.25}

    Raises:
        QuantArtError: a name twice, or a weight that is no number above 0.
    """
    shares: dict[str, float] = {}
    for part in [] if text == "auto" else text.split(","):
        name, colon, share = (word.strip() for word in part.partition(":"))
        try:
            number = float(share) if colon else 1.0
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise QuantArtError(f"style-names: the weight of {name} must be a number above 0, not {share!r}")
        if not name:
            raise QuantArtError(f"style-names {text!r} is not a list of names: starry-oil:2,ink-wash")
        if name in shares:
            raise QuantArtError(f"style-names has {name} twice: give it once")
        shares[name] = number
    return {name: share / sum(shares.values()) for name, share in shares.items()}


@dataclass(frozen=True)
class FastSettings(Settings):
    """Settings of fast."""

    style_names: str = setting(
        "auto",
        "Styles of the network, mixed by their weights. auto: the first by name.",
        aliases=("style",),
        parse=parse_styles,
        metavar="NAME[:W],…",
    )


_NETS = "quantart_cli.nets.fast:"
_PARTS = ("model",)
_SUMMED = Summed(unbiased=False)


def _norms(*numbers: str) -> dict[str, tuple[int, ...]]:
    return {f"{what}{number}": (-1,) for number in numbers for what in ("slope", "shift")}


def _contract(number: int, stride: int, halo: int, outputs: dict[str, Any]) -> Stage:
    return Stage(
        f"contract{number}",
        f"{_NETS}Contract{number}",
        parts=_PARTS,
        maps={"image": (1, 3), "weight": (stride, 1)},
        whole=_norms(*"12"[: number - 1]),
        outputs=outputs | {"moments": _SUMMED},
        halo=halo,
    )


def _expand(name: str, net: str, norms: str, maps: dict[str, tuple[int, int]], outputs: dict[str, Any]) -> Stage:
    own = {"z": (2, -1), **maps}
    return Stage(name, f"{_NETS}{net}", parts=_PARTS, maps=own, whole=_norms(*norms), outputs=outputs, halo=8)


CONTRACT = (_contract(1, 1, 8, {}), _contract(2, 2, 8, {}), _contract(3, 4, 8, {"z": Map(4)}))
BLOCK_START = Stage(
    "block-start",
    f"{_NETS}BlockStart",
    parts=_PARTS,
    maps={"x": (4, -1), "z": (4, -1), "weight": (4, 1)},
    whole=_norms(""),
    scalars=("number",),
    outputs={"x": Map(4), "z": Map(4), "moments": _SUMMED},
    halo=8,
)
BLOCK_END = Stage(
    "block-end",
    f"{_NETS}BlockEnd",
    parts=_PARTS,
    maps={"z": (4, -1), "weight": (4, 1)},
    whole=_norms(""),
    scalars=("number",),
    outputs={"z": Map(4), "moments": _SUMMED},
    halo=8,
)
EXPAND1 = Stage(
    "expand1",
    f"{_NETS}Expand1",
    parts=_PARTS,
    maps={"x": (4, -1), "z": (4, -1), "weight": (2, 1)},
    whole=_norms(""),
    outputs={"z": Map(2), "moments": _SUMMED},
    halo=8,
)
_WEIGHT = {"weight": (1, 1)}
EXPAND2 = _expand("expand2", "Expand2", "1", _WEIGHT, {"moments": _SUMMED})
EXPAND3 = _expand("expand3", "Expand3", "12", _WEIGHT, {"moments": _SUMMED})
PAINTED = _expand("painted", "Painted", "123", {}, {"image": Pixels()})
STAGES = (*CONTRACT, BLOCK_START, BLOCK_END, EXPAND1, EXPAND2, EXPAND3, PAINTED)


class Painter:
    """Paints with the scales and shifts of a style.

    Args:
        network: for its layout; the stages have their own.
        style: (2, n) scales and shifts of all its norms.
    """

    def __init__(self, runner: Runner, content: Image, network: StyleNetwork, style: np.ndarray) -> None:
        self.runner, self.content, self.network, self.style = runner, content, network, style
        self.weights = {stride: content.weight(stride) for stride in (1, 2, 4)}

    def norm(self, layer: str, moments: Moments | None) -> dict[str, Any]:
        """Slope and shift of a layer, from the moments of the whole picture; those of a layer without a norm are 1, 0.

        They are named after the number of the layer, except in blocks.
        """
        number = "" if layer.startswith("residual") else layer[-1]
        if layer in self.network.norms:
            assert moments is not None
            scale, shift = self.style[:, self.network.norms[layer]]
            slope = scale / moments.std
            shift = shift - moments.mean * slope
        else:
            channels = getattr(self.network, layer).out_channels
            slope, shift = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        return {f"slope{number}": slope, f"shift{number}": shift}

    def paint(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        norms: dict[str, Any] = {}
        for stage in CONTRACT:
            found: dict[str, Any] = {}
            if stage.name in self.network.norms or stage is CONTRACT[-1]:
                found = self.runner(stage, self.content, **norms)
            norms |= self.norm(stage.name, found.get("moments"))
        x = z = found["z"]
        own: dict[str, Any]
        own, weight = {"slope": norms["slope3"], "shift": norms["shift3"]}, self.weights[4]
        for number in range(1, self.network.blocks + 1):
            found = self.runner(BLOCK_START, x=x, z=z, weight=weight, number=number, **own)
            x, own = found["x"], self.norm(f"residual{number}_1", found["moments"])
            found = self.runner(BLOCK_END, z=found["z"], weight=weight, number=number, **own)
            z, own = found["z"], self.norm(f"residual{number}_2", found["moments"])
        found = self.runner(EXPAND1, x=x, z=z, weight=self.weights[2], **own)
        z, norms = found["z"], self.norm("expand1", found["moments"])
        for stage in (EXPAND2, EXPAND3):
            found = {}
            if stage.name in self.network.norms:
                found = self.runner(stage, z=z, weight=self.weights[1], **norms)
            norms |= self.norm(stage.name, found.get("moments"))
        image: np.ndarray = self.runner(PAINTED, z=z, **norms)["image"]
        return image


class Fast(FeedForward[FastSettings]):
    """Style transfer by a network that was trained for its styles."""

    multiple = 4
    smallest = 32
    network = "fast"

    def open(self, files: Mapping[str, ModelFile]) -> None:
        self.opened = open_network(files["model"])

    def stages(self, settings: FastSettings | None = None) -> Sequence[Stage]:
        return STAGES

    def paint(self, runner: Runner, content: Image, style: None, settings: FastSettings) -> np.ndarray:
        styles = {name: np.asarray(value.float()) for name, value in self.opened.styles.items()}
        shares = parse_styles(settings.style_names) or {min(styles): 1.0}
        for name in shares:
            if name not in styles:
                raise QuantArtError(f"this network has no style {name!r}: {suggest(name, styles)}")
        mixed = sum(share * styles[name] for name, share in shares.items())
        return Painter(runner, content, self.opened, np.asarray(mixed, np.float32)).paint()


def open_network(file: ModelFile) -> StyleNetwork:
    """The network of a file, for its layout and its styles."""
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.nets.fast import StyleNetwork

    return fill_strictly(StyleNetwork.like, open_tensors(file.path), file.name)
