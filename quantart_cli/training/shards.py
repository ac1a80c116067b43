"""Pictures packed into a few small files, for a training on another machine.

A shard is a safetensors file with the pictures of one role (photographs, paintings or details) as JPEG: ``data``, all
their bytes one after another, uint8; ``offsets``, (n + 1,) int64, where each starts. Raw pixels would take ten times
the space.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import safetensors.torch
import torch
from torch import Tensor

from quantart_cli.errors import QuantArtError
from quantart_cli.files import reason, write_atomically
from quantart_cli.training.options import PackOptions
from quantart_cli.training.pictures import DETAILS, PAINTINGS, PHOTOGRAPHS, Pictures, name_hash, pictures_below

ROLES = (PHOTOGRAPHS, PAINTINGS, DETAILS)
_SHARES = {PHOTOGRAPHS: 1, PAINTINGS: 1, DETAILS: 2}  # of the bytes
_SIDES = {PHOTOGRAPHS: 1, PAINTINGS: 1, DETAILS: 3}  # short side over the option's: brush strokes stay visible
_QUALITY = 85


@dataclass(frozen=True)
class PackReport:
    """What was packed: pictures by role, bytes in all, and a line for each unreadable picture."""

    pictures: dict[str, int]
    bytes: int
    unreadable: list[str]


class PackedPictures:
    """The pictures of a shard, decoded; see :class:`quantart_cli.training.pictures.PictureSet`."""

    def __init__(self, path: Path) -> None:
        try:
            tensors = safetensors.torch.load_file(path)
            data, offsets = tensors["data"].numpy().tobytes(), tensors["offsets"].tolist()
            files = [data[a:b] for a, b in itertools.pairwise(offsets)]
            with ThreadPoolExecutor() as pool:
                self._pictures = list(pool.map(_decode, files))
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise QuantArtError(f"{path} is not a shard of quantart train pack: {error}") from None
        if not self._pictures:
            raise QuantArtError(f"{path} holds no pictures: pack again")
        self.unreadable: list[str] = []

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> Tensor:
        return self._pictures[number]


def pack_pictures(
    folders: Sequence[Path],
    target: Path,
    options: PackOptions,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> PackReport:
    """Pack the pictures of two or three folders into one shard each.

    Each shard is filled in the order of the file names' hashes, so that a part of a folder is a fixed random sample.

    Args:
        folders: photographs, paintings and, optionally, detail paintings, in this order.
        target: the folder to write to; it is made.
        options: size of the pictures and of all shards.
        progress: called with (role, pictures done, pictures in all).

    Raises:
        QuantArtError: no pictures, not two or three folders, or the folder cannot be written.
    """
    if len(folders) not in (2, 3):
        raise QuantArtError("pack takes two or three folders: photographs, paintings and, optionally, detail paintings")
    roles = ROLES[: len(folders)]
    found = {k: pictures_below(folder, options.hold_out) for k, folder in zip(roles, folders, strict=True)}
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise QuantArtError(f"{target} cannot be made: {reason(error)}") from None
    parts = sum(_SHARES[role] for role in roles)
    counts, size, unreadable = {}, 0, []
    for role, paths in found.items():
        room = int(options.megabytes * 1e6 * _SHARES[role] / parts)
        files, failed = _encode_some(
            sorted(paths, key=lambda path: (name_hash(path.name), path)),
            options.side * _SIDES[role],
            room,
            partial(progress, role),
        )
        unreadable += failed
        if not files:
            raise QuantArtError(f"no picture of the {role} fits into {room / 1e6:.2g} MB: allow more megabytes")
        offsets = np.cumsum([0, *map(len, files)])
        tensors = {"data": torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8)}
        tensors["offsets"] = torch.from_numpy(offsets.astype(np.int64))
        data = safetensors.torch.save(tensors)
        write_atomically(str(shard_path(target, role)), data)
        counts[role], size = len(files), size + len(data)
    return PackReport(counts, size, unreadable)


def shard_path(folder: Path, role: str) -> Path:
    return folder / f"{role.replace(' ', '-')}.safetensors"


def shards_in(folder: Path) -> dict[str, Path]:
    """The shards of a folder by role.

    Raises:
        QuantArtError: the photographs or the paintings are missing.
    """
    paths = {role: shard_path(folder, role) for role in ROLES}
    for role in ROLES[:2]:
        if not paths[role].is_file():
            raise QuantArtError(f"{folder} holds no {paths[role].name}: make it with quantart train pack")
    return {role: path for role, path in paths.items() if path.is_file()}


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _encode_some(
    paths: Sequence[Path], side: int, room: int, progress: Callable[[int, int], None]
) -> tuple[list[bytes], list[str]]:
    """The first pictures as JPEG until their bytes are ``room``, and a line for each unreadable one."""
    files: list[bytes] = []
    unreadable = []
    for number, path in enumerate(paths, 1):
        try:
            picture = Pictures([path], 0, short_side=side)[0]
        except QuantArtError as error:
            unreadable.append(str(error))
            continue
        data = io.BytesIO()
        image = PIL.Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
        image.save(data, "jpeg", quality=_QUALITY)
        room -= data.tell()
        if room < 0:
            break
        files.append(data.getvalue())
        progress(number, len(paths))
    return files, unreadable


def _decode(data: bytes) -> Tensor:
    """(3, H, W) uint8."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
