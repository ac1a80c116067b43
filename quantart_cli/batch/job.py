"""How pictures are painted: the settings of a run, and one picture's steps from file to file.

read_content -> decode -> paint -> encode -> (the run writes it). The steps are the same in every executor. This module
alone calls the model.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial

from quantart_cli.batch.ledger import Content
from quantart_cli.checkpoints.models import ModelFile, find_model
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, encode_picture, read_picture, to_size
from quantart_cli.images.reading import read_file
from quantart_cli.masks import read_masks
from quantart_cli.methods.inputs import Masks
from quantart_cli.model import Model, load
from quantart_cli.model_files import files_of
from quantart_cli.recipe import recipe_of, region
from quantart_cli.registry import find
from quantart_cli.result import Result
from quantart_cli.settings import Settings
from quantart_cli.style import Style
from quantart_cli.work import Progress

# Incremented when the same options begin to give other pictures: everything painted before is then out of date.
_GENERATION = 2
# Not part of the fingerprint: where and with which limits a picture is painted does not change it.
_NEUTRAL = ("device", "backend", "model_file", "threads", "max_pixels", "tiles_matter")


@dataclass(frozen=True)
class PaintedFile:
    """A picture painted and encoded: the bytes of its file, and facts for the report."""

    data: bytes
    width: int
    height: int
    seconds: float
    precision: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A picture that was not painted: the reason in one line; ``trace`` when the cause is a bug of quantart."""

    reason: str
    trace: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The line of a QuantArtError; anything else is a bug, with its traceback."""
        if isinstance(error, QuantArtError):
            return cls(str(error))
        trace = "".join(traceback.format_exception(error))
        return cls(f"a bug of quantart: {type(error).__name__}: {error}", trace)


@dataclass(frozen=True)
class Computation:
    """How a model computes; models that differ in it paint different bytes."""

    backend: str
    device: str
    precision: str

    @classmethod
    def of(cls, model: Model) -> Computation:
        """That of a model."""
        return cls(model.spec.backend, model.spec.device, model.spec.precision)


@dataclass(frozen=True)
class PaintJob:
    """The settings of a run: how its pictures are read, painted and encoded. Sent to other processes as it is.

    Attributes:
        settings: the method's settings.
        style_weights: one for each picture of a blended style, summing to 1.
        checksums: sha256 of each file of weights by name.
        size: long side of the results in pixels; None: the contents' own.
        style_size: long side of the styles in pixels; None: their own, up to a limit.
        preserve_color: "none", "luma" or "match".
        tile: "auto", "none" or a number of pixels.
        seed: of all random numbers, set anew for each picture.
        precision: "auto", "fp32", "bf16" or "fp16".
        background: colour behind transparency, or None.
        quality: of the file, 1 to 100.
        strip_metadata: whether EXIF and the like are dropped.
        no_recipe: whether the outputs do not say how they were painted.
        max_pixels: pictures with more pixels are refused.
        device, backend: where to paint, and with which library.
        model_file: the model given with ``--model``, or None.
        threads: of the CPU for painting; None: the libraries decide.
        tiles_matter: whether tiles change the picture, as they do on VQGAN.
    """

    method: str
    settings: Settings
    style_weights: tuple[float, ...]
    checksums: dict[str, str]
    size: int | None = None
    style_size: int | None = None
    preserve_color: str = "none"
    tile: str = "auto"
    seed: int = 0
    precision: str = "auto"
    background: str | None = None
    quality: int = 95
    strip_metadata: bool = False
    no_recipe: bool = False
    max_pixels: int = 200_000_000
    device: str = "auto"
    backend: str = "auto"
    model_file: ModelFile | None = None
    threads: int | None = None
    tiles_matter: bool = False

    def fingerprint(self, styles: tuple[str, ...], format: str, masks: tuple[str, ...] = ()) -> str:
        """sha256 over everything that decides the bytes of an output except its content.

        Args:
            styles: sha256 of each style's file.
            masks: each as of :func:`quantart_cli.recipe.region`.
        """
        facts = asdict(replace(self, model_file=None))
        for name in (*_NEUTRAL, *(() if self.tiles_matter else ("tile",))):
            del facts[name]
        del facts["checksums"]
        facts["weights"] = sorted(self.checksums.values())  # whatever the names of their files
        facts |= {"styles": styles, "format": format, "generation": _GENERATION}
        if masks:
            facts["masks"] = masks
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def load_model(self, notify: Callable[[str], None]) -> Model:
        """The model with its weights, on the device and backend asked for.

        Args:
            notify: called with one line about anything that takes long or is not as asked for.
        """
        if self.threads is not None:
            self._limit_threads(self.threads)
        return load(
            self.method,
            model=self.model_file,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
            max_pixels=self.max_pixels,
            cache_styles=True,
            notify=notify,
        )

    def located(self) -> PaintJob:
        """This job on another machine: its model by the same path, or by its name in that machine's cache.

        Raises:
            QuantArtError: the model is not there, or has other weights.
        """
        file = self.model_file
        if file is not None and not file.embedded and not file.path.exists():
            file = find_model(file.name, tuple(find(self.method).models))
        if {each.name: each.checksum for each in files_of(find(self.method), file)[0].values()} != self.checksums:
            raise QuantArtError(
                f"{file.name if file else 'quantart'} has other weights there than here: install the same version"
            )
        return replace(self, model_file=file)

    def encode_style(self, model: Model, pictures: Sequence[str] | Sequence[Picture]) -> Style:
        """One or several pictures as one style."""
        return model.encode_style(
            list(pictures), weights=self.style_weights, size=self.style_size, settings=self.settings
        )

    def decode(self, data: bytes, path: str) -> Picture:
        """The content at the size to paint it; ``path`` is for its name and for errors."""
        picture = read_picture(data, max_pixels=self.max_pixels, path=path)
        return to_size(picture, self.size, self.max_pixels)

    def paint(
        self,
        model: Model,
        picture: Picture,
        style: Style,
        progress: Progress | None = None,
        masks: Sequence[str] = (),
    ) -> tuple[Result, float]:
        """The painted picture, and the seconds it took.

        Args:
            progress: as of ``Model.paint``.
            masks: as of :class:`~quantart_cli.batch.plan.WorkItem`.

        Raises:
            KeyboardInterrupt: Ctrl-C, also in the middle of an optimisation.
        """
        start = time.perf_counter()
        picture, regions, notes = read_masks(masks, picture, partial(read_picture, max_pixels=self.max_pixels))
        painted = model.paint(
            picture,
            style,
            self.settings,
            preserve_color=self.preserve_color,
            tile=self.tile,
            seed=self.seed,
            progress=progress,
            inputs=Masks(regions) if regions else None,
        )
        if painted.stopped:
            raise KeyboardInterrupt
        painted = replace(painted, notes=(*notes, *painted.notes)) if notes else painted
        if not self.no_recipe:
            options = {item.name: getattr(self, item.name) for item in fields(self)}
            used = {"mask": [region(mask) for mask in masks]}
            recipe = recipe_of(model, self.settings, picture, style.pictures, painted, options, used)
            painted = replace(painted, picture=painted.picture.with_recipe(recipe.text()))
        return painted, time.perf_counter() - start

    def encode(self, content: Picture, painted: Result, seconds: float, format: str) -> PaintedFile:
        """The painted picture as a file of the format given."""
        data = encode_picture(
            painted.picture,
            format,
            background=self.background,
            quality=self.quality,
            strip_metadata=self.strip_metadata,
        )
        return PaintedFile(data, *content.size, seconds, painted.precision, (*content.notes, *painted.notes))

    def _limit_threads(self, count: int) -> None:
        from importlib.util import find_spec

        os.environ["OMP_NUM_THREADS"] = str(count)  # read when torch is imported
        if find_spec("openvino") is not None and self.backend != "torch":
            from quantart_cli.backends.openvino_backend import core

            core().set_property("CPU", {"INFERENCE_NUM_THREADS": count})
        if self.backend != "openvino":
            import torch

            torch.set_num_threads(count)


def read_content(path: str) -> tuple[bytes, Content]:
    """The bytes of a content's file, and what the ledger notes of it."""
    data, status = read_file(path)
    return data, Content(path, len(data), status.st_mtime_ns, hashlib.sha256(data).hexdigest())


def style_error(error: QuantArtError, styles: Sequence[tuple[str, ...]]) -> QuantArtError:
    """The error for a style that cannot be used; with several styles it is the error of each of its pictures."""
    return error if len(styles) == 1 else QuantArtError(f"its style: {error}")
