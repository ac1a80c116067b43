"""The networks that measure: the embedded VGG-19, and LPIPS and the Inception of FID where they are downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quantart_cli.backends.torch_backend import load_network
from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.loading import fill_strictly, load_tensors, read_verified
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.evaluation.inception import NAME as INCEPTION
from quantart_cli.evaluation.inception import Inception
from quantart_cli.evaluation.lpips import LPIPS
from quantart_cli.nets.vgg import VGG19

DOWNLOADS = {"lpips_vgg": "lpips-vgg16", "lpips_alex": "lpips-alexnet", "fid": INCEPTION}
"""Metric -> the weights of the manifest that it needs; the other metrics need none."""


def absent() -> list[str]:
    """The weights of :data:`DOWNLOADS` that are not here yet."""
    return [name for name in DOWNLOADS.values() if cache.find(name) is None]


class PerceptualDistance(Protocol):
    """As :class:`LPIPS`."""

    def features(self, image: Tensor) -> list[Tensor]: ...

    def distance(self, one: list[Tensor], other: list[Tensor]) -> Tensor: ...


@dataclass(frozen=True)
class MetricNetworks:
    """Networks on one device, in float32 as for published numbers.

    Attributes:
        vgg: the normalised VGG-19.
        lpips: by metric, "lpips_vgg" and "lpips_alex", those that are here.
        inception: (H, W, 3) uint8 sRGB -> (2048,) float32; None: it is not here.
    """

    vgg: VGG19
    device: str
    lpips: Mapping[str, PerceptualDistance] = field(default_factory=dict)
    inception: Callable[[np.ndarray], np.ndarray] | None = None

    @staticmethod
    def load(device: str) -> MetricNetworks:
        """All that are here.

        Raises:
            QuantArtError: weights are damaged.
        """
        vgg: VGG19 = load_network(VGG19, embedded_model("vgg19-normalised"))
        vgg = vgg.to(device).to(memory_format=torch.channels_last)
        here = {metric: name for metric, name in DOWNLOADS.items() if cache.find(name) is not None}
        inception = Inception.load(device) if here.pop("fid", None) else None
        return MetricNetworks(
            vgg, device, {metric: load_lpips(name, device) for metric, name in here.items()}, inception
        )


def load_lpips(kind: str, device: str) -> LPIPS:
    """LPIPS of the manifest, "lpips-vgg16" or "lpips-alexnet"."""
    tensors = load_tensors(read_verified(artefact(kind)), f"weights {kind}")
    network: LPIPS = fill_strictly(lambda _: LPIPS(kind), tensors, f"weights {kind}")
    return network.to(device).to(memory_format=torch.channels_last)
