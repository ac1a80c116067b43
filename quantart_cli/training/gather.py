"""Features of a folder of paintings, sampled into one file on disk, so that a training can stop and go on.

Each painting's features are standardised by its own statistics: what is left is how things are painted, whatever the
painting's palette and contrast.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms import v2

from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.images.output import write_atomically
from quantart_cli.methods.features import encode
from quantart_cli.nets.vgg import VGG19

CHANNELS = 512
# Standardised features further out than this are clipped: 1 in 3000, but k-means would spend its entries on them.
_FAR = 8.0


def pictures_below(folder: Path, hold_out: float = 0.0) -> list[Path]:
    """All files below a folder that look like pictures, hidden ones left out, in a fixed order.

    Args:
        folder: searched with all its subfolders.
        hold_out: share of the files to leave out, those whose name's sha256 is smallest: the same ones every time.

    Raises:
        QuantArtError: no such folder, or no pictures in it.
    """
    if not folder.is_dir():
        raise QuantArtError(f"{folder} is not a folder: give one that holds pictures of artworks")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and name_hash(path.name) >= hold_out
    )
    if not found:
        raise QuantArtError(f"{folder} holds no pictures: quantart looks for {', '.join(sorted(SUFFIXES))}")
    return found


def name_hash(name: str) -> float:
    """A number in [0, 1) that depends on the file name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class Sampled:
    """Features sampled from paintings."""

    rows: np.ndarray
    """(N, 512) float16, standardised painting by painting; memory-mapped."""
    spread: np.ndarray
    """(512,) float32, mean over the paintings of each channel's standard deviation: how much a channel weighs."""
    unreadable: list[str]
    """One line for each picture that could not be read."""


def gather(
    vgg: VGG19,
    paintings: list[Path],
    partial: Path,
    *,
    samples: int,
    smallest_scale: float,
    seed: int,
    progress: Callable[[int, int], None],
) -> Sampled:
    """Sample relu4_1 features of paintings, the same number of positions from each.

    Every painting is seen once, mirrored or not and at a random scale, both drawn from ``seed`` and its place in the
    list alone, so that an interrupted run goes on to the same result.

    Args:
        vgg: the encoder, on the device to use.
        paintings: files; those that cannot be read are left out.
        partial: folder for the features and the count of paintings done; goes on from what it holds.
        progress: called with (paintings done, paintings in all).

    Returns:
        About ``samples`` rows; fewer where paintings have fewer positions than their share.
    """
    each = max(1, samples // len(paintings))
    device = next(vgg.parameters()).device
    path, ledger = partial / "features.f16", partial / "gathered.json"
    state = {"paintings": 0, "rows": 0, "unreadable": [], "stds": [0.0] * CHANNELS}
    if ledger.exists():
        state = json.loads(ledger.read_text())
    with path.open("r+b" if path.exists() else "w+b") as file:
        # What was written after the last ledger entry is written again.
        file.truncate(state["rows"] * CHANNELS * 2)
        file.seek(0, os.SEEK_END)
        for number in range(state["paintings"], len(paintings)):
            try:
                rows, std = _sample(vgg, paintings[number], each, smallest_scale, seed + number, device)
                file.write(rows.tobytes())
                state["rows"] += len(rows)
                state["stds"] = [total + own for total, own in zip(state["stds"], std, strict=True)]
            except QuantArtError as error:
                state["unreadable"].append(str(error))
            state["paintings"] = number + 1
            if state["paintings"] % 50 == 0 or state["paintings"] == len(paintings):
                file.flush()
                os.fsync(file.fileno())
                write_atomically(str(ledger), json.dumps(state).encode())
            progress(state["paintings"], len(paintings))
    if not state["rows"]:
        raise QuantArtError(f"none of the {len(paintings)} pictures can be read; the first: {state['unreadable'][0]}")
    rows = np.memmap(path, np.float16, "r", shape=(state["rows"], CHANNELS))
    spread = np.array(state["stds"], np.float32) / (len(paintings) - len(state["unreadable"]))
    return Sampled(rows, spread, state["unreadable"])


@torch.inference_mode()
def _sample(
    vgg: VGG19, path: Path, count: int, smallest_scale: float, seed: int, device: torch.device
) -> tuple[np.ndarray, list[float]]:
    """(count, 512) float16 standardised features at random positions of one painting, and its standard deviations."""
    rgb = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)  # (3, H, W) uint8
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scale = smallest_scale + (1 - smallest_scale) * torch.rand(()).item()
        size = [max(1, round(scale * side)) for side in rgb.shape[1:]]
        view = v2.Compose([v2.Resize(size, antialias=True), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, True)])
        image = view(rgb)[None].to(device)
        features = encode(vgg, image)
        own = features.statistics
        rows = ((features.z - own.mean) / own.std).clamp(-_FAR, _FAR)[0].flatten(1).T  # (h·w, 512)
        chosen = torch.randperm(len(rows))[:count]
    return rows[chosen.to(device)].cpu().to(torch.float16).numpy(), own.std.flatten().tolist()
