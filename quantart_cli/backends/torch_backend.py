"""Stages computed by torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

from quantart_cli.checkpoints.loading import fill_strictly, load_tensors, open_tensors, read_verified, sha256_of
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError
from quantart_cli.scratch import alloc_scratch, trim_heap
from quantart_cli.stages import Stage


class TorchBackend:
    """Computes stages by torch on one device.

    Args:
        spec: device and precision.
        files: weights by part; a network is built when a stage first needs it.
    """

    def __init__(self, spec: DeviceSpec, files: Mapping[str, ModelFile]) -> None:
        self.spec = spec
        self.files = files
        # Stages share networks as long as one of them needs the whole of it.
        self._networks: WeakValueDictionary[tuple[type[nn.Module], str, bool], nn.Module] = WeakValueDictionary()
        self._stages: dict[str, Callable[..., tuple[Tensor, ...]]] = {}

    def tile_of_image(self, pixels: np.ndarray) -> Tensor:
        # uint8 goes to the device as it is: a quarter of the bytes.
        image = tensor_of(pixels).to(self.spec.device).permute(2, 0, 1)[None]
        return image.float().div_(255) if image.dtype == torch.uint8 else image.float()

    def array(self, values: np.ndarray) -> Tensor:
        return tensor_of(values).to(self.spec.device)

    def numpy(self, values: Tensor) -> np.ndarray:
        return (values.float() if values.is_floating_point() else values).cpu().numpy()

    def pixels(self, values: Tensor) -> np.ndarray | None:
        # On the device: a quarter of the bytes come back, and a GPU rounds faster than the CPU.
        with torch.inference_mode():
            rgb = values[0].permute(1, 2, 0).float().contiguous()  # (h, w, 3)
            if not rgb.isfinite().all():
                return None
            found: np.ndarray = rgb.clamp(0, 1).mul_(255).round_().byte().cpu().numpy()
            return found

    def to_map(self, values: np.ndarray, like: Tensor) -> Tensor:
        found = self.array(values)
        return found.to(like.dtype) if found.is_floating_point() else found

    def allocate(self, like: Tensor, height: int, width: int) -> Tensor:
        shape = (height, width, like.shape[1])  # channels last
        if like.device.type != "cpu":
            return like.new_empty((1, *shape)).permute(0, 3, 1, 2)
        pages = torch.from_numpy(alloc_scratch((*shape, like.itemsize), np.uint8))
        return pages.view(like.dtype)[None, :, :, :, 0].permute(0, 3, 1, 2)

    def channels_last(self, values: Tensor) -> Tensor:
        found = self.allocate(values, *values.shape[2:])  # in pages of its own: it outlives its neighbours in the heap
        return found.copy_(values).permute(0, 2, 3, 1)

    def empty(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        return like.new_empty(shape)

    def keep(self, values: Tensor) -> Tensor:
        return values

    def finished(self, stage: Stage, tiles: int) -> None:
        if tiles > 1:
            self.make_room()  # the next stage needs blocks of other sizes

    def make_room(self) -> None:
        if self.spec.device == "cpu":
            trim_heap()

    def prepare(self, stage: Stage) -> Callable[..., tuple[Tensor, ...]]:
        if stage.name not in self._stages:
            network = self.build(stage.net, stage.exact)

            def run(*inputs: Any) -> tuple[Tensor, ...]:
                with torch.inference_mode(), _convolutions_in(self.spec):
                    found: tuple[Tensor, ...] = network(*inputs)
                    return found

            self._stages[stage.name] = run
        return self._stages[stage.name]

    def build(self, target: str, exact: bool = False) -> Any:
        """An object of the class ``"module:Class"``, made of the networks its attribute ``parts`` names."""
        module, _, name = target.partition(":")
        made = getattr(import_module(module), name)
        if hasattr(made, "from_tensors"):
            file = self.files["model"]
            return made.from_tensors(read_tensors(file), self.spec, file.name)
        found = made(**{part: self.network(part, kind, exact) for part, kind in made.parts.items()})
        return found.to(self.spec.device) if isinstance(found, nn.Module) else found

    def network(self, part: str, kind: type[nn.Module], exact: bool = False) -> nn.Module:
        """The network of one part, filled with its weights.

        Args:
            part: its name.
            kind: its class, with a class method ``like(tensors)`` that makes an empty one.
            exact: in float32 whatever the precision.
        """
        exact = exact or self.spec.precision == "fp32"
        key = kind, part, exact
        network = self._networks.get(key)
        if network is None:
            if part not in self.files:
                raise QuantArtError(f"this model has no weights for {part}")
            network = load_network(kind, self.files[part])
            network.to(self.spec.device, torch.float32 if exact else self.spec.dtype)
            self._networks[key] = network.to(memory_format=torch.channels_last)
        return network


@contextmanager
def _convolutions_in(spec: DeviceSpec) -> Iterator[None]:
    """Convolutions of float32 in float32 on a GPU too: by default they are in TF32, of ten bits."""
    if spec.device_type != "cuda" or spec.precision != "fp32":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def tensor_of(values: np.ndarray) -> Tensor:
    """The same numbers as a tensor. Read-only arrays, as Pillow returns them, are copied: torch has no such tensors."""
    contiguous = np.ascontiguousarray(values)
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())


def load_network(kind: type[nn.Module], file: ModelFile) -> Any:
    """A network on the CPU in float32 with the weights of a file; every tensor is checked."""
    return fill_strictly(kind.like, read_tensors(file), _label(file))  # type: ignore[attr-defined]


def read_tensors(file: ModelFile) -> dict[str, Tensor]:
    """The tensors of a file, once its sha256 is the expected one; a file given by a person may have any."""
    if file.embedded:
        return load_tensors(read_verified(artefact(file.name)), _label(file))
    if file.sha256 is not None and sha256_of(file.path) != file.sha256:
        raise QuantArtError(
            f"{file.name} is damaged ({file.path} has changed since it was downloaded): "
            f"run quantart download-weights {file.name}"
        )
    return open_tensors(file.path)


def _label(file: ModelFile) -> str:
    return f"weights {file.name}" if file.embedded else file.name
