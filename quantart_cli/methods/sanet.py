"""SANet: Arbitrary Style Transfer with Style-Attentional Networks (Park and Lee, CVPR 2019).

    F_cs  = out(Σ_j softmax_j(f(F̄_c)_i · g(F̄_s)_j) h(F_s)_j) + F_c        at relu4_1 and relu5_1, equations 1 and 2
    F_csc = conv3×3(F_cs^4_1 + upsample(F_cs^5_1))                         equation 3
    image = D(α F_csc(c, s) + (1 - α) F_csc(c, c))

F̄ is F standardised by the picture's moments. Several styles are blended by their weights as in the paper (section 4.4):
the average of their F_csc. methods/attention.py runs the stages.

Departures from the authors' program:

* Pictures are mirrored to a multiple of 16 in height and width, and cropped again; the program stops at others.
* Transparent positions do not count in the moments, and the style's are not seen.
* The published weights are not part of quantart: see ``quantart sanet --help``.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.methods.attention import AttentionStages, Attentive
from quantart_cli.settings import StrengthSettings
from quantart_cli.stages import Map, Pixels, Stage, Summed


@dataclass(frozen=True)
class SANetSettings(StrengthSettings):
    """Settings of SANet."""


_NETS = "quantart_cli.nets.sanet:"
_FEATURES = {"z4": (8, 512), "z5": (16, 512)}
_STATISTICS = {name: (512,) for name in ("mean4", "std4", "mean5", "std5")}
ENCODE_BOTH = Stage(
    "encode-both",
    f"{_NETS}TwoLevelEncoder",
    parts=("vgg",),
    maps={"image": (1, 3), "weight": (8, 1)},
    outputs={"z4": Map(8), "z5": Map(16), "m4": Summed(), "m5": Summed()},
    halo=80,
)
KEYS_AND_VALUES = Stage(
    "keys-and-values",
    f"{_NETS}KeysAndValues",
    parts=("sanet",),
    maps=_FEATURES,
    whole=_STATISTICS,
    outputs={"keys4": Map(8), "values4": Map(8), "keys5": Map(16), "values5": Map(16)},
    exact=True,
)
TRANSFER = Stage(
    "transfer",
    f"{_NETS}Transfer",
    parts=("sanet",),
    maps=_FEATURES,
    whole={**{name: (1, 512, -1, -1) for name in KEYS_AND_VALUES.outputs}, **_STATISTICS},
    outputs={"z": Map(8)},
    halo=16,
    exact=True,  # scalar products that are not divided by the root of 512 are too large for 8 bits
)
DECODE_SANET = Stage(
    "decode-sanet",
    f"{_NETS}SANetDecoder",
    parts=("sanet",),
    maps={"z": (8, 512)},
    outputs={"image": Pixels()},
    halo=32,
)


class SANet(Attentive[SANetSettings]):
    """Style transfer by attention."""

    multiple = 16
    smallest = 32
    by = AttentionStages(ENCODE_BOTH, KEYS_AND_VALUES, TRANSFER, DECODE_SANET)
