"""Animated GIF, WebP, PNG and AVIF, and folders of numbered pictures, by Pillow."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason, write_atomically
from quantart_cli.images import Picture, formats, read_picture, save_picture
from quantart_cli.images.opening import open_header, refusing
from quantart_cli.images.sources import origin_of_path
from quantart_cli.video.clips import ANIMATIONS, Clip, Frame, Sink, Target

_UNIT = {"GIF": 10, "WEBP": 1, "PNG": 1}  # milliseconds
_SAMPLED = 1 << 18  # pixels of all frames that a palette is made from
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 15 / 32
_SPREAD = 12.0  # levels between neighbouring colours of a palette, about


@dataclass
class Animation(Clip):
    """An animated picture."""

    max_pixels: int = 0

    @classmethod
    def open(cls, path: str, max_pixels: int) -> Animation:
        """Open it; errors as of :func:`~quantart_cli.video.clips.open_clip`."""
        origin = origin_of_path(path)
        with open(path, "rb") as file, open_header(file, origin, max_pixels) as (image, _), refusing(origin):
            loops = image.info.get("loop")
            times, alpha = [], False
            for number in range(image.n_frames):  # type: ignore[attr-defined]
                image.seek(number)
                image.load()  # some formats know the duration only then
                times.append(_duration(image))
                alpha = alpha or "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")
        seconds = sum(times, Fraction(0))
        return cls(
            path, image.size, len(times), seconds, Fraction(len(times)) / (seconds or 1), alpha, loops, [], max_pixels
        )

    def read(self) -> Iterator[Frame]:
        origin, now = origin_of_path(self.path), Fraction(0)
        with open(self.path, "rb") as file, open_header(file, origin, self.max_pixels) as (image, _):
            for number in range(self.frames or 0):
                picture, problem = None, ""
                try:
                    with refusing(origin):
                        image.seek(number)
                        still = image.copy()
                    picture = read_picture(still, max_pixels=self.max_pixels)
                except QuantArtError as error:
                    problem = str(error)
                duration = _duration(image)
                yield Frame(now, duration, picture, problem)
                now += duration


def _duration(image: Image.Image) -> Fraction:
    """How long the current frame is shown, in seconds."""
    return Fraction(image.info.get("duration") or 0).limit_denominator(1000) / 1000


@dataclass
class Folder(Clip):
    """Numbered pictures in a folder."""

    files: list[str] = field(default_factory=list)
    max_pixels: int = 0

    @classmethod
    def open(cls, path: str, rate: Fraction, max_pixels: int) -> Folder:
        """Open it; errors as of :func:`~quantart_cli.video.clips.open_clip`."""
        try:
            names = [each.name for each in os.scandir(path) if each.is_file() and not each.name.startswith(".")]
        except OSError as error:
            raise QuantArtError(f"{printable(path)} cannot be read: {reason(error)}") from None
        found = [
            each for each in names if re.search(r"\d", each) and os.path.splitext(each)[1].lower() in formats.SUFFIXES
        ]
        files = [os.path.join(path, each) for each in sorted(found, key=_by_number)]
        if not files:
            raise QuantArtError(
                f"{printable(path)} has no numbered pictures, such as 0001.png: give the folder of the frames"
            )
        for file in files:
            try:
                first = read_picture(file, max_pixels=max_pixels)
                break
            except QuantArtError as error:
                problem = error
        else:
            raise problem
        return cls(
            path, first.size, len(files), len(files) / rate, rate, first.alpha is not None, None, [], files, max_pixels
        )

    def read(self) -> Iterator[Frame]:
        duration = 1 / self.rate
        for number, file in enumerate(self.files):
            picture, problem = None, ""
            try:
                picture = read_picture(file, max_pixels=self.max_pixels)
                if picture.size != self.size:
                    found, wanted = (" × ".join(map(str, size)) for size in (picture.size, self.size))
                    picture, problem = None, f"{printable(file)} is {found}, not {wanted} as the first"
            except QuantArtError as error:
                problem = str(error)
            yield Frame(number * duration, duration, picture, problem, os.path.splitext(os.path.basename(file))[0])


def _by_number(name: str) -> list[Any]:
    """Numbers in names are compared as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class _Lazy:
    """Pictures that are made when they are needed; some of Pillow's formats look at all of them twice."""

    make: Callable[[int], Image.Image]
    numbers: list[int]

    def __iter__(self) -> Iterator[Image.Image]:
        return map(self.make, self.numbers)


class PictureSink(Sink):
    """Writes a picture for each frame, into the folder of the output, or into an animation in the end."""

    def __init__(self, clip: Clip, target: Target, work: str) -> None:
        self.clip, self.target = clip, target
        self.format = ANIMATIONS.get(target.suffix)
        self.folder = target.path if self.format is None else work
        self.frames: list[Frame] = []
        self.suffix = ".png" if self.format else f".{target.format.replace('jpeg', 'jpg')}"
        os.makedirs(self.folder, exist_ok=True)

    def write(self, frame: Frame, picture: Picture) -> None:
        save_picture(
            picture,
            self._file(frame, len(self.frames)),
            quality=self.target.quality,
            strip_metadata=self.target.strip_metadata,
        )
        self.skip(frame)

    def skip(self, frame: Frame) -> None:
        self.frames.append(Frame(frame.time, frame.duration, None, "", frame.name))

    def _file(self, frame: Frame, number: int) -> str:
        name = frame.name if frame.name and not self.format else f"{number + 1:06}"
        return os.path.join(self.folder, name + self.suffix)

    def finish(self) -> None:
        if self.format is None or not self.frames:
            return
        unit = _UNIT[self.format]
        ends = [round((frame.time + frame.duration) * 1000 / unit) * unit for frame in self.frames]
        durations = [
            max(unit if frame.duration else 0, end - begin)
            for frame, begin, end in zip(self.frames, [0, *ends[:-1]], ends, strict=True)
        ]
        options: dict[str, Any] = (
            {} if self.clip.loops is None and self.format == "GIF" else {"loop": self.clip.loops or 0}
        )
        make: Callable[[int], Image.Image] = self._read
        if self.format == "GIF":
            make = self._with_palette()
            options["disposal"] = 2 if self.target.alpha else 1
        if self.format == "WEBP":
            options |= {"quality": self.target.quality, "allow_mixed": True}  # else transparency may be lost
        first, *rest = range(len(self.frames))

        def save(file: IO[bytes]) -> None:
            make(first).save(
                file,
                format=self.format,
                save_all=True,
                append_images=_Lazy(make, rest),
                duration=durations,
                **options,
            )

        write_atomically(self.target.path, save)

    def _read(self, number: int) -> Image.Image:
        with Image.open(self._file(self.frames[number], number)) as image:
            return image.convert("RGBA" if self.target.alpha else "RGB")

    def _with_palette(self) -> Callable[[int], Image.Image]:
        """Frames with one palette for all: with a palette each, still areas would flicker."""
        step = max(1, len(self.frames) // 32)
        some = [np.asarray(self._read(i).convert("RGB")).reshape(-1, 3) for i in range(0, len(self.frames), step)]
        colours = np.concatenate([each[:: max(1, len(each) * len(some) // _SAMPLED)] for each in some])
        count = 255 if self.target.alpha else 256
        palette = Image.fromarray(colours[None]).quantize(count, Image.Quantize.MEDIANCUT)
        return partial(self._quantized, palette)

    def _quantized(self, palette: Image.Image, number: int) -> Image.Image:
        image = self._read(number)
        rgb = np.asarray(image.convert("RGB")).astype(np.float32)
        height, width = rgb.shape[:2]
        # Ordered dither: it stands still, where error diffusion moves with every change.
        pattern = np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width, None] * _SPREAD
        found = Image.fromarray(np.rint(rgb + pattern).clip(0, 255).astype(np.uint8)).quantize(
            palette=palette, dither=Image.Dither.NONE
        )
        if self.target.alpha:
            hidden = np.asarray(image)[..., 3] < 128
            indices = np.where(hidden, 255, np.asarray(found)).astype(np.uint8)
            colours = found.getpalette() or []
            found = Image.fromarray(indices, "P")
            found.putpalette(colours)
            found.info["transparency"] = 255
        return found
