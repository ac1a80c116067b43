"""The networks that judge: LPIPS twice, the Inception of FID, and the VGG-19 that came with quantart."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.loading import fill_strictly, load_tensors, read_verified
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.engine.build import build_network
from quantart_cli.engine.machine import Machine
from quantart_cli.evaluation.inception import NAME as INCEPTION
from quantart_cli.evaluation.inception import Inception
from quantart_cli.evaluation.lpips import LPIPS
from quantart_cli.nets.vgg import VGG19

DOWNLOADS = ("lpips-vgg16", "lpips-alexnet", INCEPTION)
"""Names of the manifest that measuring needs."""


def absent() -> list[str]:
    """Those that are not here yet."""
    return [name for name in DOWNLOADS if cache.find(name) is None]


@dataclass(frozen=True)
class Judges:
    """All of them on one device, in float32: numbers that are published were found that way."""

    lpips_vgg: LPIPS
    lpips_alex: LPIPS
    inception: Inception
    vgg: VGG19
    device: str

    @staticmethod
    def load(device: str) -> Judges:
        """From the cache.

        Raises:
            QuantArtError: one is not here, or damaged.
        """
        vgg = build_network("vgg", "vgg19-normalised", Machine(device, "fp32", "evaluation"))
        both = (load_lpips(name, device) for name in DOWNLOADS[:2])
        return Judges(*both, Inception.load(device), vgg, device)  # type: ignore[arg-type]


def load_lpips(kind: str, device: str) -> LPIPS:
    """LPIPS of the manifest: "lpips-vgg16" or "lpips-alexnet"; errors as in :meth:`Judges.load`."""
    tensors = load_tensors(read_verified(artefact(kind)), f"weights {kind}")
    network = fill_strictly(lambda _: LPIPS(kind), tensors, f"weights {kind}")
    return network.to(device, memory_format=torch.channels_last)
