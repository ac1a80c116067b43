"""Features sampled from a folder of paintings into one file, so that a training can be resumed.

Each painting's features are standardised by their own mean and deviation, which removes its palette and contrast.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from quantart_cli.errors import QuantArtError
from quantart_cli.files import write_atomically
from quantart_cli.images import read_picture
from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.losses import moments
from quantart_cli.training.optimizer import device_and_dtype
from quantart_cli.training.options import CodebookOptions

CHANNELS = 512
# Standardised features are clipped here: it concerns 1 in 3000, but k-means would spend entries on them.
_LARGEST = 8.0


@dataclass(frozen=True)
class SampledFeatures:
    """Features sampled from paintings."""

    rows: np.ndarray[Any, np.dtype[np.float16]]
    """(N, 512) float16, standardised per painting; memory-mapped."""
    spread: np.ndarray[Any, np.dtype[np.float32]]
    """(512,) float32, each channel's standard deviation, averaged over the paintings."""
    unreadable: list[str]
    """One line for each picture that could not be read."""


def sample_features(
    vgg: VGG19, paintings: list[Path], folder: Path, options: CodebookOptions, progress: Callable[[int, int], None]
) -> SampledFeatures:
    """Sample relu4_1 features of paintings, equally many positions of each.

    Each painting is read once, at a random scale and flipped at random. Both depend on the seed and the painting's
    number only, so a resumed run gives the same result.

    Args:
        vgg: the encoder, on the device to use.
        paintings: files; unreadable ones are left out.
        folder: for the features and the state; resumed from if it holds them.
        options: ``samples``, ``smallest_scale`` and ``seed`` are used.
        progress: called with (paintings done, paintings in all).

    Returns:
        about ``samples`` rows; fewer where paintings have fewer positions than their share.
    """
    count = max(1, options.samples // len(paintings))
    path, saved = folder / "features.f16", folder / "sampled.json"
    state: dict[str, Any] = {"paintings": 0, "rows": 0, "unreadable": [], "deviations": [0.0] * CHANNELS}
    if saved.exists():
        state = json.loads(saved.read_text())
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(state["rows"] * CHANNELS * 2)  # rows after the last saved state are sampled again
        file.seek(0, os.SEEK_END)
        for number in range(state["paintings"], len(paintings)):
            try:
                rows, deviations = _sample(vgg, paintings[number], count, options.smallest_scale, options.seed + number)
                file.write(rows.tobytes())
                state["rows"] += len(rows)
                state["deviations"] = [a + b for a, b in zip(state["deviations"], deviations, strict=True)]
            except QuantArtError as error:
                state["unreadable"].append(str(error))
            state["paintings"] = number + 1
            if state["paintings"] % 50 == 0 or state["paintings"] == len(paintings):
                file.flush()
                os.fsync(file.fileno())
                write_atomically(str(saved), json.dumps(state).encode())
            progress(state["paintings"], len(paintings))
    if not state["rows"]:
        raise QuantArtError(f"none of the {len(paintings)} pictures can be read; the first: {state['unreadable'][0]}")
    table = np.memmap(path, np.float16, "r", shape=(state["rows"], CHANNELS))
    readable = len(paintings) - len(state["unreadable"])
    spread = (np.array(state["deviations"]) / readable).astype(np.float32)
    return SampledFeatures(table, spread, state["unreadable"])


@torch.inference_mode()
def _sample(
    vgg: VGG19, path: Path, count: int, smallest_scale: float, seed: int
) -> tuple[np.ndarray[Any, np.dtype[np.float16]], list[float]]:
    """(count, 512) standardised features at random positions of one painting, and its standard deviations."""
    rgb = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)  # (3, H, W) uint8
    device, _ = device_and_dtype(vgg)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scale = smallest_scale + (1 - smallest_scale) * torch.rand(()).item()
        size = [max(16, round(scale * side)) for side in rgb.shape[1:]]
        view = v2.Compose([v2.Resize(size, antialias=True), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, True)])
        z = vgg(view(rgb)[None].to(device))["relu4_1"].float()
        mean, deviation = moments(z)
        rows = ((z - mean) / deviation).clamp(-_LARGEST, _LARGEST)[0].flatten(1).T  # (h * w, 512)
        chosen = torch.randperm(len(rows))[:count]
    return rows[chosen.to(device)].cpu().to(torch.float16).numpy(), deviation.flatten().tolist()
