"""The Inception network of FID (2015-12-05): pictures to 2048 features."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from quantart_cli.checkpoints.loading import read_verified
from quantart_cli.checkpoints.manifest import artefact

NAME = "inception-fid-torchscript"
FEATURES = 2048
_SIDE = 299


class Inception:
    """Features of pictures for FID and KID.

    Args:
        network: (B, 3, 299, 299) float32 in [-1, 1) -> (B, 2048).
        device: where it is.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], device: str = "cpu") -> None:
        self.network = network
        self.device = device

    @staticmethod
    def load(device: str) -> Inception:
        """The network of the manifest, from the cache."""
        # TorchScript runs code of its author. Only this file is loaded, and only with the sha256 of our manifest;
        # TorchScript has no operators besides torch's own.
        data = read_verified(artefact(NAME))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, but reads such files
            network = torch.jit.load(io.BytesIO(data), map_location=device).eval()
        return Inception(network, device)

    @torch.inference_mode()
    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """One picture, (H, W, 3) uint8 sRGB -> (2048,) float32."""
        image = torch.tensor(rgb).to(self.device).permute(2, 0, 1)[None].float()
        # With antialiasing: without it reduced pictures have aliasing artefacts (Parmar et al., CVPR 2022).
        image = F.interpolate(image, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        # The range of its training, which is not symmetric.
        return self.network((image - 128) / 128)[0].float().cpu().numpy()
