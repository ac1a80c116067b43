"""Results of stages that are kept, so that painting again with other settings computes only what changes.

The features of a content do not depend on the fidelity or the strength, nor do the matches between content and style.
This module does not import torch.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from quantart_cli.stages import Covariance, Moments, Pixels, Stage

if TYPE_CHECKING:
    from quantart_cli.runner import Image

Outputs = dict[str, Any]


class Memo:
    """Keeps outputs of stages, those used last.

    Inputs are compared by value, feature maps by identity: a map that was kept is the same one next time.

    Args:
        limit: bytes that all kept outputs take at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[bytes, tuple[Outputs, tuple[Any, ...], int]] = OrderedDict()

    def get_or_compute(
        self, stage: Stage, image: Image | None, inputs: Mapping[str, Any], compute: Callable[[], Outputs]
    ) -> Outputs:
        """The outputs of a stage for these inputs. Pixels are not kept: they depend on every setting."""
        if self.limit <= 0 or any(isinstance(output, Pixels) for output in stage.outputs.values()):
            return compute()
        key, maps = _key(stage, image, inputs)
        if key in self._kept:
            self._kept.move_to_end(key)
            return dict(self._kept[key][0])
        found = compute()
        size = sum(_bytes_of(value) for value in found.values())
        if size <= self.limit:
            self._kept[key] = dict(found), maps, size  # with the maps, whose identities must stay theirs
            self.bytes += size
        while self.bytes > self.limit:
            self.bytes -= self._kept.popitem(last=False)[1][2]
        return found

    def clear(self) -> int:
        """Keep nothing; returns the bytes that were kept."""
        freed, self.bytes = self.bytes, 0
        self._kept.clear()
        return freed


def _key(stage: Stage, image: Image | None, inputs: Mapping[str, Any]) -> tuple[bytes, tuple[Any, ...]]:
    """A digest of everything that the outputs depend on, and the maps in it."""
    digest, maps = hashlib.sha256(f"{stage.name} {stage.net}".encode()), []
    given = {} if image is None else {"pixels": image.pixels, "opacity": image.opacity, "size": image.size}
    for name, value in sorted({**inputs, **given}.items()):
        if isinstance(value, np.ndarray):
            digest.update(f"\n{name} {value.dtype} {value.shape} ".encode())
            digest.update(np.ascontiguousarray(value).data)
        elif hasattr(value, "stride"):  # MapOf
            digest.update(f"\n{name} map {id(value.values)}".encode())
            maps.append(value.values)
        else:
            digest.update(f"\n{name} {value!r}".encode())
    return digest.digest(), tuple(maps)


def _bytes_of(value: Any) -> int:
    if isinstance(value, (Moments, Covariance)):
        return 0  # small beside maps
    return int(value.values.nbytes)
