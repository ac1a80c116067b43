"""AdaAttN: Revisit Attention Mechanism in Arbitrary Neural Style Transfer (Liu et al., ICCV 2021).

    A   = softmax(f(c̄) · g(s̄))                                    equation 3: c̄, s̄ features up to the layer, normalised
    M   = A h(F_s),   S = √(A h(F_s)² - M²)                        equation 4: by position and channel
    F_cs = S ⊙ F̄_c + M        at relu3_1, relu4_1, relu5_1         equation 5
    image = D(conv3×3(F_cs^4 + upsample(F_cs^5)), F_cs^3)

The form for video (section 3.4) has 1 + cos(f(c̄), g(s̄)) in place of the exponential, at relu3_1 alone: a small change
of the content changes its weights a little.

α blends F_cs of the style and of the content itself, as SANet's does; the paper has no such knob.

Departures from the authors' program:

* Pictures are mirrored to a multiple of 16 (video: 8) in height and width, and cropped again. The program squashes them
  to 512 × 512.
* At relu3_1 it draws 4096 positions of a style, as ``samples`` does by default, from the same random numbers. At
  relu4_1 and relu5_1 it draws 65536; here all are seen. Cosine attention always sees all.
* S is computed about the value with the largest weight, see nets/adaattn.py: A h² - M² is lost in float32.
* Transparent positions do not count in the moments, and the style's are not seen.
* The published weights are not part of quantart: see ``quantart adaattn --help``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantart_cli.methods.attention import AttentionStages, Attentive
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Map, Output, Pixels, Stage, Summed

_SEED = 6666  # of the authors' program


@dataclass(frozen=True)
class AdaAttNSettings(StrengthSettings):
    """Settings of AdaAttN."""

    samples: int = setting(
        4096,
        "Positions of the style that are seen at relu3_1, drawn where it has more; 0: all, slower. For video: all.",
        low=0,
    )


def _stages(
    prefix: str, name: str, levels: dict[int, tuple[int, int, int]], halo: int, merged: bool
) -> AttentionStages:
    """The stages of a form.

    Args:
        name: of the form, in the names of the stages.
        levels: 3, 4, 5 for relu3_1 … -> stride, channels of its keys, of its own features.
        merged: whether relu4_1 and relu5_1 are merged and relu3_1 is a skip connection.
    """
    nets = f"quantart_cli.nets.adaattn:{prefix}"
    maps = {f"k{i}": (stride, width) for i, (stride, width, _) in levels.items()}
    statistics = {f"{what}{i}": (width,) for i, (_, width, _) in levels.items() for what in ("mean", "std")}
    keys: dict[str, Output] = {}
    whole: dict[str, tuple[int, ...]] = {}
    for i, (stride, width, channels) in levels.items():
        keys |= {f"keys{i}": Map(stride), f"values{i}": Map(stride)}
        whole |= {f"keys{i}": (1, width, -1, -1), f"values{i}": (1, channels, -1, -1)}
    found: dict[str, Output] = {"z": Map(8), "z3": Map(4)} if merged else {"z3": Map(4)}
    encoded: dict[str, Output] = {f"k{i}": Map(stride) for i, (stride, _, _) in levels.items()}
    encoded |= {f"m{i}": Summed() for i in levels}
    return AttentionStages(
        Stage(
            f"encode-{name}",
            f"{nets}KeyEncoder",
            parts=("vgg",),
            maps={"image": (1, 3), "weight": (4, 1)},
            outputs=encoded,
            halo=halo,
        ),
        Stage(
            f"keys-{name}",
            f"{nets}KeysAndValues",
            parts=("adaattn",),
            maps=maps,
            whole=statistics,
            outputs=keys,
            exact=True,
        ),
        Stage(
            f"transfer-{name}",
            f"{nets}Transfer",
            parts=("adaattn",),
            maps=maps,
            whole={**whole, **statistics},
            outputs=found,
            halo=16 if merged else 0,
            exact=True,  # scalar products that are not divided by the root of the width are too large for 8 bits
        ),
        Stage(
            f"decode-{name}",
            f"{nets}Decode",
            parts=("adaattn",),
            maps={"z": (8, 512), "z3": (4, 256)} if merged else {"z3": (4, 256)},
            outputs={"image": Pixels()},
            halo=32,
        ),
    )


class AdaAttN(Attentive[AdaAttNSettings]):
    """Style transfer by attention to means and deviations."""

    multiple = 16
    smallest = 32
    by = _stages("", "adaattn", {3: (4, 448, 256), 4: (8, 960, 512), 5: (16, 1472, 512)}, 80, merged=True)

    def style_form(self, settings: AdaAttNSettings) -> str:
        return f"attended {settings.samples}"

    def seen(self, name: str, positions: np.ndarray, form: str) -> np.ndarray:
        samples = int(form.split()[-1])
        return drawn(positions, samples) if name.endswith("3") and samples else positions


class AdaAttNVideo(Attentive[AdaAttNSettings]):
    """Style transfer by cosine attention, for video: model files of the kind ``adaattn-video``."""

    multiple = 8
    by = _stages("Video", "adaattn-video", {3: (4, 448, 256)}, 16, merged=False)


def drawn(positions: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of these, the first of ``torch.randperm`` after ``torch.manual_seed(6666)``, as the authors'
    program draws them. Computed by numpy, whose old generator gives the same numbers."""
    if len(positions) <= count:
        return positions
    found = positions.copy()
    for i, number in enumerate(np.random.RandomState(_SEED).randint(0, 1 << 32, count, np.uint32)):
        j = i + int(number) % (len(found) - i)
        found[i], found[j] = found[j], found[i]
    return found[:count]
