"""``load`` and ``Model``: from pictures to a painted picture.

    import quantart_cli as quantart

    model = quantart.load("quantart")
    style = model.encode_style("style.jpg")
    picture = model.stylize("content.jpg", style, fidelity=0.7)

The command line, batch and evaluation use the same functions. Torch is imported only with the torch backend.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np
import PIL.Image

from quantart_cli import registry, style_cache
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.color import match_color, restore_chroma, unit
from quantart_cli.device import DeviceSpec, choose_device, has_amx, may_have_gpu
from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import DEFAULT_MAX_PIXELS, Picture, fill_transparent, read_picture, resize
from quantart_cli.masks import mix, opacity_of, read_regions
from quantart_cli.memo import Memo
from quantart_cli.memory import (
    HALO,
    check_memory,
    choose_tile,
    choose_tile_to_optimise,
    needed,
    needed_beside,
    needed_in_tiles,
    needed_to_optimise,
    out_of_memory,
)
from quantart_cli.methods.base import FeedForward, Optimising, Step, WholePicture
from quantart_cli.methods.inputs import Masks, OptimisationInputs
from quantart_cli.model_files import files_of, find_file
from quantart_cli.notebook import shown_progress
from quantart_cli.registry import Method
from quantart_cli.result import Result
from quantart_cli.runner import Backend, Image, NotFinite, Runner
from quantart_cli.scratch import trim_heap
from quantart_cli.settings import BACKENDS, PRESERVE_COLOR, STYLE_SIZE, Settings, normalise_shares, parse_tile
from quantart_cli.style import Style
from quantart_cli.tiling import Tiler
from quantart_cli.work import Progress, Work

Source = str | PathLike[str] | bytes | PIL.Image.Image | np.ndarray | Picture
"""What a picture may be given as; arrays are (H, W[, 1, 3 or 4])."""

# Pixels from which torch is faster than OpenVINO on a CPU with AMX, the time to import torch included.
_LARGE = 4_000_000


def load(
    method: str = "quantart",
    *,
    model: str | PathLike[str] | ModelFile | None = None,
    download: bool = False,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    pixels: int = 0,
    cache_styles: bool = False,
    memo_bytes: int = 0,
    notify: Callable[[str], None] = lambda _: None,
) -> Model:
    """Load a method with its weights; by default the weights that come with quantart.

    Args:
        method: its name, see :func:`quantart_cli.registry.methods`.
        model: other weights: a name of the manifest, a .safetensors file, or ``hf://owner/repo/file.safetensors``.
        download: whether to download the model if it is not here. False: the network is not used.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16". "auto" is bf16 where the hardware computes in it.
        backend: "auto", "torch" or "openvino". "auto" is OpenVINO where it is installed and the faster one.
        max_pixels: larger pictures are refused before they are decoded.
        pixels: number of pixels of the contents, if known. It is used to choose the backend.
        cache_styles: whether the statistics of styles are kept in the cache on disk.
        memo_bytes: bytes of feature maps that are kept in memory. Painting a picture again with other settings then
            computes only what changes.
        notify: called with one line of text when something takes time or fails.

    Raises:
        QuantArtError: an unknown name, a device that is not available, weights that are missing, damaged or of another
            kind.
    """
    row = registry.find(method)
    check_choice("backend", backend, BACKENDS)
    file = model if isinstance(model, ModelFile) or model is None else find_file(row, os.fspath(model), download)
    files, given = files_of(row, file, download)
    target = row.target_for(next((each.kind for each in files.values() if row.models.get(each.kind)), None))

    def made(spec: DeviceSpec, make_backend: Callable[..., Backend]) -> Model:
        return Model(row, target, spec, files, given, make_backend, max_pixels, cache_styles, memo_bytes)

    if backend != "torch":
        why = _why_not_openvino(row, target, device, precision, backend, pixels)
        if why is None:
            try:
                from quantart_cli.backends.openvino_backend import OpenVINOBackend, choose

                return made(choose(precision), partial(OpenVINOBackend, notify=notify))
            except QuantArtError as error:
                if backend == "openvino":
                    raise
                notify(f"painting with torch, not OpenVINO: {error}")
        elif backend == "openvino":
            raise QuantArtError(f"backend openvino: {why}")
    from quantart_cli.backends.torch_backend import TorchBackend

    return made(choose_device(device, precision), TorchBackend)


def _why_not_openvino(row: Method, target: str, device: str, precision: str, backend: str, pixels: int) -> str | None:
    """Why OpenVINO does not compute this, or None."""
    from importlib.util import find_spec

    if "openvino" not in row.backends or target != row.target:
        return f"it does not compute this form of {row.name}: use torch"
    if find_spec("openvino") is None:
        return "OpenVINO is not installed: pip install 'quantart-cli[fast]'"
    if device not in ("auto", "cpu"):
        return f"it computes on the CPU, not on {device}"
    if precision == "fp16":
        return "it does not compute fp16 on a CPU: use bf16 or fp32"
    if backend == "auto" and device == "auto" and may_have_gpu():
        return "there may be a GPU: choose the device cpu"
    if backend == "auto" and pixels >= _LARGE and precision != "fp32" and has_amx():
        return "torch is faster with pictures as large as this"
    return None


class Model:
    """A method with its weights on a device. Made by :func:`load`.

    Attributes:
        spec: device, precision and backend.
        optimises: whether it finds the picture in many steps.
    """

    def __init__(
        self,
        method: Method,
        target: str,
        spec: DeviceSpec,
        files: Mapping[str, ModelFile],
        given: tuple[str, ...],
        make_backend: Callable[[DeviceSpec, Mapping[str, ModelFile]], Any],
        max_pixels: int = DEFAULT_MAX_PIXELS,
        cache_styles: bool = False,
        memo_bytes: int = 0,
    ) -> None:
        self.method, self.spec, self.max_pixels = method, spec, max_pixels
        self._files, self._make_backend, self._cache_styles = dict(files), make_backend, cache_styles
        self._target = target
        module, _, name = target.partition(":")
        self._class = getattr(import_module(module), name)
        self._memo = Memo(memo_bytes)
        self._lock = threading.RLock()
        self.backend = make_backend(spec, files)
        self.program = self._program(given)

    def _program(self, given: tuple[str, ...]) -> Any:
        if issubclass(self._class, FeedForward):
            program = self._class(given)
            program.open(self._files)
            return program
        return self.backend.build(self._target)

    @property
    def optimises(self) -> bool:
        return issubclass(self._class, Optimising)

    @property
    def network(self) -> str:
        """Type of its networks, for predictions of memory, a key of the tables in memory.py. A part of its weights that
        has a row there goes over the class."""
        own = next((part for part in self._files if part in HALO), None)
        if own is not None:
            return own
        return self._class.network if issubclass(self._class, FeedForward | WholePicture) else "vgg19"

    @property
    def changes_with_tiles(self) -> bool:
        """Whether the result depends on the tiles."""
        return issubclass(self._class, WholePicture)

    @cached_property
    def checksums(self) -> dict[str, str]:
        """sha256 of each file of weights, by its name."""
        return {file.name: file.checksum for file in self._files.values()}

    @cached_property
    def identity(self) -> str:
        """Method, backend, device, precision and weights. Models of one identity can use each other's styles."""
        parts = [
            self.method.name,
            self.spec.backend,
            self.spec.device_type,
            self.spec.precision,
            *sorted(self.checksums.values()),
        ]
        return " ".join(parts)

    def encode_style(
        self,
        styles: Source | Sequence[Source] = (),
        *,
        weights: Sequence[float] | None = None,
        size: int | None = None,
        settings: Settings | None = None,
        encode: bool = True,
    ) -> Style:
        """Encode one or several styles, once for any number of contents.

        Args:
            styles: a path, PIL image, array or bytes of a file, or a list of these; none for a method whose styles are
                in its weights.
            weights: one for each style, not negative; they are normalised to sum to 1. Default: equal.
            size: long side in pixels to which larger styles are reduced, default 1024; they are never enlarged.
            settings: the settings to paint with, if known. The encoding that they need is then computed now.
            encode: whether to compute it now. False for painting with masks, where each region has a style of its own.

        Raises:
            QuantArtError: a picture that cannot be read, no style, or weights that do not fit the styles.
        """
        many: list[Any] = list(styles) if isinstance(styles, (list, tuple)) else [styles]
        if self.method.needs_style and not many:
            raise QuantArtError("no style was given: give at least one picture")
        if many and not self.method.needs_style:
            raise QuantArtError(f"{self.method.name} takes no pictures of styles: its styles are in its weights")
        limit = STYLE_SIZE if size is None else _positive("size", size)
        pictures = tuple(resize(self._read(style), limit, enlarge=False) for style in many)
        style = Style(self.identity, pictures, normalise_shares(weights, len(pictures)), {})
        if encode:
            self._encoded(style, settings or self.method.settings())
        return style

    def stylize(
        self,
        content: Source,
        style: Style | Source | Sequence[Source] = (),
        *,
        size: int | None = None,
        preserve_color: str = "none",
        tile: int | str | None = "auto",
        seed: int = 0,
        progress: Progress | bool | None = None,
        masks: Sequence[Source] = (),
        style_masks: Sequence[Source] = (),
        start: Source | None = None,
        **settings: Any,
    ) -> PIL.Image.Image:
        """Paint a picture.

        Args:
            content: a path, PIL image, array (H, W[, 1, 3 or 4]) or bytes of a file.
            style: from :meth:`encode_style`, or pictures to encode with equal weights; none for a method whose styles
                are in its weights.
            size: long side of the result in pixels; default the content's own.
            preserve_color: "none"; "luma": the result's luminance with the content's chroma; "match": the style is
                recoloured to the content's colour mean and covariance before it is encoded.
            tile: "auto", "none", or a number of pixels: the picture is computed in tiles of at most that many pixels a
                side. With VGG-19 the result does not depend on it.
            progress: called after each tile or step with a :class:`~quantart_cli.methods.base.Step`. True draws a bar,
                in notebooks too.
            masks: regions of the content, white is inside; one for each style or each of ``style_masks``. They are
                resized to the content. With a single one the rest is not painted. "alpha" is the content's own alpha,
                which is then opaque; "not:" before "alpha" or a path is the rest of the picture; "labels:" before a
                path, here and in ``style_masks``, is a map of labels. See docs/masks.md.
            style_masks: the part of a style that the region of the same number takes.
            start: a picture to start from, instead of ``init``. Optimising methods only.
            **settings: the method's own, for example ``fidelity=0.7``.

        Returns:
            RGB, or RGBA if the content has transparency; of the content's size unless ``size`` is given.

        Raises:
            QuantArtError: a picture that cannot be read, or a setting that does not exist or is out of range.
            KeyboardInterrupt: on Ctrl-C; :meth:`paint` returns what an optimisation had reached.
        """
        chosen = self.method.settings.of(settings)
        picture = self._read(content)
        if size is not None:
            picture = resize(picture, _positive("size", size), enlarge=True)
        if not isinstance(style, Style):
            style = self.encode_style(style, settings=chosen, encode=not len(masks))
        picture, inputs, _ = read_regions(masks, style_masks, picture, style.pictures, self._read)
        if start is not None:
            inputs = OptimisationInputs(inputs.masks, inputs.style_masks, self._read(start).rgb)
        painted = self.paint(
            picture,
            style,
            chosen,
            preserve_color=preserve_color,
            tile=tile,
            seed=seed,
            progress=progress,
            inputs=inputs,
        )
        if painted.stopped:
            raise KeyboardInterrupt
        return painted.picture.to_pil()

    def paint(
        self,
        content: Picture,
        style: Style,
        settings: Settings,
        *,
        preserve_color: str = "none",
        tile: int | str | None = "auto",
        seed: int = 0,
        progress: Progress | bool | None = None,
        inputs: Masks | None = None,
        make_runner: Callable[..., Runner] = Runner,
    ) -> Result:
        """Paint a picture with settings that were checked; arguments as of :meth:`stylize`.

        Args:
            inputs: masks; of optimising methods ``OptimisationInputs``, with a start and a state to continue from.
            make_runner: of a feed-forward method, arguments as of :class:`~quantart_cli.runner.Runner`.

        Raises:
            QuantArtError: a style of another model, or a picture that does not fit into memory.
        """
        inputs = self._checked(style, preserve_color, seed, inputs)
        notes: list[str] = []
        regions = 0 if inputs is None or self.optimises else len(inputs.masks)
        with self._lock, shown_progress() if progress is True else nullcontext(progress or None) as show:
            tiler = self.tiler(content, parse_tile(tile), notes.append, self.needed_beside(content, settings, regions))
            reference = content if preserve_color == "match" else None
            show = show or (lambda _: None)
            work = Work(content, content.alpha, settings, tiler, int(seed), show, inputs, reference, make_runner)
            # A picture that does not fit into memory is refused before it is painted.
            refining = self._neighbours.tiler(content, parse_tile(tile)) if refines(settings) else None
            precision = self.spec.precision
            try:
                rgb, stopped = self._run(work, style, refining)
            except NotFinite as error:
                if precision == "fp32":
                    raise FloatingPointError(f"{self.method.name}: {error} for {content.name} in fp32") from error
                notes.append(f"{precision} overflowed on {content.name}: computed again in fp32")
                precision = "fp32"
                rgb, stopped = self._in_float32()._run(work, replace(style, encoded={}), refining)
        if preserve_color == "luma":
            restore_chroma(rgb, content.rgb)
        if stopped is not None:
            notes.append(f"stopped at step {stopped}")
        return Result(content.with_rgb(rgb).with_recipe(None), precision, tuple(notes), stopped is not None)

    def _checked(self, style: Style, preserve_color: str, seed: int, inputs: Masks | None) -> Masks | None:
        """The inputs, after arguments of :meth:`paint` were checked."""
        check_choice("preserve_color", preserve_color, PRESERVE_COLOR)
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
            raise QuantArtError(f"seed must be an integer of at least 0, not {seed!r}")
        if style.identity != self.identity:
            raise QuantArtError("the style was encoded by another model: encode it with this one")
        if preserve_color == "match" and not self.method.needs_style:
            raise QuantArtError(f"preserve_color match recolours pictures of styles, and {self.method.name} takes none")
        if isinstance(inputs, OptimisationInputs) and not self.optimises:
            raise QuantArtError(f"{self.method.name} starts from nothing: an optimising method such as gatys does")
        if inputs is not None:
            inputs.styles_of_regions(style.shares)
            if self.optimises and not isinstance(inputs, OptimisationInputs):
                inputs = OptimisationInputs(inputs.masks, inputs.style_masks)
        return inputs

    def _run(self, work: Work, style: Style, refining: Tiler | None) -> tuple[np.ndarray, int | None]:
        """The painted pixels (H, W, 3) uint8, and the step at which Ctrl-C ended an optimisation.

        Args:
            refining: how the picture is cut for updates by NNST; None: there are none.
        """
        by_region = not self.optimises and work.inputs is not None and bool(work.inputs.masks)
        painted, stopped = self._painted_regions(work, style) if by_region else self._painted(work, style)
        return (painted, stopped) if refining is None else self._refined(painted, work, style, refining)

    def _painted_regions(self, work: Work, style: Style) -> tuple[np.ndarray, None]:
        """As :meth:`_painted`: each region painted as if nothing else were visible, and mixed by the masks."""
        assert work.inputs is not None
        masks, painted = work.inputs.masks, []
        for i, mask in enumerate(masks):
            opacity = opacity_of(mask, work.content.alpha)
            reference = None if work.reference is None else replace(work.reference, alpha=opacity)
            region = replace(work, opacity=opacity, reference=reference)
            painted.append(self._painted(region, style.of_region(work.inputs, i))[0])
        return mix(work.content.rgb, painted, masks), None

    def _painted(self, work: Work, style: Style) -> tuple[np.ndarray, int | None]:
        with out_of_memory(work.content.name):
            encoded = self._encoded(style, work.settings, work.reference)
            if isinstance(self.program, FeedForward) and work.tiler.side is not None:
                self.backend.make_room()
            pixels = self._pixels(work.content)
            if isinstance(self.program, FeedForward):
                content, tiled = work.content, work.tiler

                def done(stage: str, n: int, of: int) -> None:
                    work.progress(Step(n, of, stage=stage))

                runner = work.make_runner(self.backend, tiled, done, self._memo)
                image = Image.of(pixels, work.opacity, self.program.smallest, self.program.multiple)
                painted = self.program.paint(runner, image, encoded, work.settings)
                return painted[: content.height, : content.width], None
            from quantart_cli.torch_methods import optimise, paint_whole

            if self.optimises:
                return optimise(self.program, pixels, work, encoded)
            return paint_whole(self.program, pixels, work, encoded), None

    def _refined(self, painted: np.ndarray, work: Work, style: Style, tiler: Tiler) -> tuple[np.ndarray, int | None]:
        """Painted pixels after updates by NNST."""
        from quantart_cli.torch_methods import refine

        model = self._neighbours
        with out_of_memory(work.content.name):
            encoded = model._encoded(replace(style, encoded={}), model.method.settings(), work.reference)
            return refine(
                model.program, painted, self._pixels(work.content), work, encoded, refines(work.settings), tiler
            )

    @cached_property
    def _neighbours(self) -> Model:
        """NNST on the same device, in the same precision."""
        return load("nnst", device=self.spec.device, precision=self.spec.precision)

    def forget(self) -> int:
        """Give back the feature maps that ``memo_bytes`` of :func:`load` keeps; returns their bytes."""
        freed = self._memo.clear()
        trim_heap()
        return freed

    def picture_at(self, step: Step, content: Picture, preserve_color: str = "none") -> Picture:
        """The picture that an optimisation has reached at a step; arguments as of :meth:`paint`."""
        from quantart_cli.torch_methods import to_pixels

        rgb = to_pixels(step.image())
        if preserve_color == "luma":
            restore_chroma(rgb, content.rgb)
        return content.with_rgb(rgb).with_recipe(None)

    def _in_float32(self) -> Model:
        """The same model in float32, for a picture on which its precision overflowed."""
        spec = replace(self.spec, precision="fp32", reason="after an overflow")
        given = self.program.given if isinstance(self.program, FeedForward) else ()
        return Model(self.method, self._target, spec, self._files, given, self._make_backend, self.max_pixels)

    def _encoded(self, style: Style, settings: Settings, reference: Picture | None = None) -> Any:
        """A style as these settings need it, recoloured to ``reference`` if there is one."""
        form = self.program.style_form(settings) if isinstance(self.program, FeedForward) else "style"
        if not style.pictures:
            return None
        if reference is None and form in style.encoded:
            return style.encoded[form]
        if isinstance(self.program, FeedForward):
            parts = [self._encode_one(picture, form, reference) for picture in style.pictures]
            runner = Runner(self.backend, Tiler(), memo=self._memo)
            found = parts[0] if len(parts) == 1 else self.program.blend(runner, parts, style.shares)
        else:
            from quantart_cli.torch_methods import tensors

            pairs = [(self._pixels(picture, reference), picture.alpha) for picture in style.pictures]
            found = self.program.encode_style([tensors(*pair, self.spec.device) for pair in pairs], style.shares)
        if reference is None:
            style.encoded[form] = found
        return found

    def _encode_one(self, picture: Picture, form: str, reference: Picture | None) -> Any:
        def measure() -> Any:
            with out_of_memory(picture.name):
                runner = Runner(self.backend, self.tiler(picture, "auto"), memo=self._memo)
                return self.program.encode_style(runner, self._image(picture, reference), form)

        if not self.caches(form) or reference is not None:
            return measure()
        made_with = [self.method.name, *sorted(self.checksums.values()), self.spec.precision, self.spec.backend]
        return style_cache.get_or_compute(style_cache.key_of(picture, *made_with), measure)

    def caches(self, form: str = "moments") -> bool:
        """Whether an encoded style of this form is kept on the disk."""
        return self._cache_styles and form == "moments" and isinstance(self.program, FeedForward)

    def _image(self, picture: Picture, reference: Picture | None = None) -> Image:
        pixels = self._pixels(picture, reference)
        return Image.of(pixels, picture.alpha, self.program.smallest, self.program.multiple)

    def needed_beside(self, content: Picture, settings: Any, regions: int) -> int:
        """Bytes that painting so many regions of a content needs beside the work in tiles; 0 of optimisations."""
        if not isinstance(self.program, FeedForward):
            return 0
        pixels = content.width * content.height
        passes = self.program.pixels_of_passes((content.height, content.width), settings)
        # A small picture may be enlarged to be painted.
        enlarged = needed(max(passes), self.spec, self.network) - needed(pixels, self.spec, self.network)
        return enlarged + needed_beside(pixels, sum(passes) > pixels, regions)

    def tiler(
        self,
        picture: Picture,
        tile: int | str | None,
        notify: Callable[[str], None] = lambda _: None,
        beside: int = 0,
    ) -> Tiler:
        """How a picture is cut into tiles; ``beside`` of :meth:`needed_beside`.

        Raises:
            QuantArtError: it cannot fit into memory.
        """
        width, height = picture.size
        if self.optimises:
            side = choose_tile_to_optimise(width, height, tile, self.spec)
            wanted = needed_to_optimise(width, height, side, self.spec)
        else:
            side = choose_tile(width, height, tile, self.spec, self.network, beside)
            wanted = needed_in_tiles(width, height, side, self.spec, self.network, beside)
        check_memory(wanted, self.spec, picture.name)
        return Tiler(side, notify)

    @staticmethod
    def _pixels(picture: Picture, reference: Picture | None = None) -> np.ndarray:
        """The pixels (H, W, 3), with the colour of transparent pixels replaced. uint8, so that a large picture is not
        copied as floats. With a ``reference`` they are recoloured to it, and float32 in about [0, 1]."""
        rgb = fill_transparent(picture)
        if reference is None:
            return rgb
        opacities = (None if each.alpha is None else unit(each.alpha) for each in (picture, reference))
        return match_color(unit(rgb), unit(fill_transparent(reference)), *opacities).astype(np.float32)

    def _read(self, source: Source) -> Picture:
        return source if isinstance(source, Picture) else read_picture(source, max_pixels=self.max_pixels)


def refines(settings: Settings) -> int:
    """How many updates by NNST follow painting with these settings; see ``FeedForward``."""
    return getattr(settings, "refine", 0)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise QuantArtError(f"{name} must be a number of pixels of at least 1, not {value!r}")
    return int(value)
