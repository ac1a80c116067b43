"""Optical flow by RAFT (Teed and Deng 2020): torchvision's small network, for ``--flow raft``."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.optical_flow import raft_small

from quantart_cli.backends.torch_backend import read_tensors
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.checkpoints.models import ModelFile, find_model
from quantart_cli.flow import Array, Between

NAME = "raft-small"
_STRIDE, _LEAST = 8, 128  # of its features, in pixels; smallest side of a picture


def find() -> ModelFile:
    """Its weights.

    Raises:
        QuantArtError: they are not here; the message says how to get them.
    """
    return find_model(NAME, (NAME,))


def load(file: ModelFile, device: str) -> Between:
    """The network, as a function of two pictures.

    Raises:
        QuantArtError: the weights are damaged, or of another network.
    """
    network = fill_strictly(lambda _: raft_small(), read_tensors(file), file.name).eval().to(device)

    @torch.inference_mode()
    def between(one: Array, other: Array) -> Array:
        height, width = one.shape[:2]
        pair = torch.from_numpy(np.stack([one, other])).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        right, below = (max(_LEAST, -(-side // _STRIDE) * _STRIDE) - side for side in (width, height))
        pair = F.pad(pair, (0, right, 0, below), mode="replicate")
        flow: Array = network(pair[:1], pair[1:])[-1][0, :, :height, :width].permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(flow)

    return between
