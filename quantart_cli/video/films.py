"""Films, read by PyAV: everything its FFmpeg decodes, upright, as sRGB in 8 bits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason
from quantart_cli.images import Picture
from quantart_cli.video.clips import Clip, Frame

_UNKNOWN = 2  # of colour spaces, transfer functions and primaries
_RGB = 0
_SCALER = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # colour space of H.273 -> constant of swscale
_HDR = (16, 18)  # transfer functions: PQ and HLG
_HIGH_DEFINITION = 720  # rows from which a film without a colour space is BT.709, else BT.601


def library() -> Any:
    """PyAV."""
    try:
        return import_module("av")
    except ImportError:
        raise QuantArtError("films need PyAV: pip install 'quantart-cli[video]'") from None


@contextlib.contextmanager
def refusing(path: str) -> Iterator[None]:
    """Errors of FFmpeg while a file is opened, in one line."""
    av = library()
    try:
        yield
    except av.error.InvalidDataError:
        raise QuantArtError(f"{printable(path)} is damaged, cut short, or no film: get the file again") from None
    except (av.error.FFmpegError, OSError) as error:
        why = reason(error) if error.errno and error.errno > 0 else error.strerror
        raise QuantArtError(f"{printable(path)} cannot be read: {why}") from None


@dataclass
class Film(Clip):
    """A film.

    Attributes:
        time_base: unit of its times in seconds.
        aspect: width of a pixel relative to its height, of the upright frames.
        colour: colour space, transfer function and primaries by the numbers of H.273, and range (1 limited, 2 full).
        sound: codec of the sound, or None.
    """

    time_base: Fraction = Fraction(1, 90000)
    aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int, int] = (_UNKNOWN, _UNKNOWN, _UNKNOWN, 0)
    sound: str | None = None
    max_pixels: int = 0

    @classmethod
    def open(cls, path: str, max_pixels: int) -> Film:
        """Open it; errors as of :func:`~quantart_cli.video.clips.open_clip`."""
        with refusing(path), library().open(path) as container:
            stream = _stream(container, path)
            context = stream.codec_context
            width, height = context.width, context.height
            if width * height > max_pixels:
                raise QuantArtError(
                    f"{printable(path)} is {width} × {height} = {width * height / 1e6:.6g} megapixels: raise max_pixels"
                )
            rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            seconds = stream.duration * stream.time_base if stream.duration else None
            if seconds is None and container.duration:
                seconds = Fraction(container.duration, 1_000_000)
            count = stream.frames or (round(seconds * rate) if seconds else None)
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            first = next((frame for frame in _decoded(container, stream) if not isinstance(frame, str)), None)
            if first is None:
                raise QuantArtError(f"{printable(path)} has no frames that can be decoded: get the file again")
            size = (first.width, first.height)
            if first.rotation % 180:
                size, aspect = size[::-1], 1 / aspect
            alpha, colour = _has_alpha(first), _colour(first)
            sound = container.streams.audio[0].codec_context.name if container.streams.audio else None
            notes = []
            if colour[1] in _HDR:
                notes.append("high dynamic range: painted as if it were standard range, colours are paler")
        found = cls(path, size, count, seconds, rate, alpha, None, notes, stream.time_base, aspect, colour, sound)
        found.max_pixels = max_pixels
        return found

    def read(self) -> Iterator[Frame]:
        """All frames. Those that cannot be decoded have no picture."""
        with refusing(self.path):
            container = library().open(self.path)
        with container:
            stream = _stream(container, self.path)
            begin: Fraction | None = None
            waiting: tuple[Fraction, Any] | None = None  # its duration is known with the next frame
            last = 1 / self.rate
            for found in _decoded(container, stream):
                pts = None if isinstance(found, str) else found.pts
                now = None if pts is None else pts * Fraction(stream.time_base)
                if begin is None and now is not None:
                    begin = now
                if waiting is not None:
                    earliest = waiting[0] + last / 1000
                    now = waiting[0] + last if now is None else max(now - (begin or 0), earliest)
                    last = now - waiting[0]
                    yield self._frame(*waiting, last)
                waiting = (
                    (now - begin if waiting is None and now is not None and begin is not None else now) or Fraction(0),
                    found,
                )
            if waiting is not None:
                own = getattr(waiting[1], "duration", 0) or 0
                yield self._frame(*waiting, own * Fraction(stream.time_base) or last)

    def _frame(self, time: Fraction, found: Any, duration: Fraction) -> Frame:
        if isinstance(found, str):
            return Frame(time, duration, None, found)
        if found.is_corrupt:
            return Frame(time, duration, None, "damaged")
        picture = _picture(found, self.alpha, self.path)
        if picture.size != self.size:
            return Frame(time, duration, None, f"{picture.width} × {picture.height}, not the size of the first")
        return Frame(time, duration, picture)


def _stream(container: Any, path: str) -> Any:
    """The pictures of a film: not a cover."""
    attached = library().stream.Disposition.attached_pic
    streams = [each for each in container.streams.video if not each.disposition & attached]
    if not streams:
        raise QuantArtError(f"{printable(path)} has no pictures, only sound: give a film")
    streams[0].thread_type = "AUTO"
    return streams[0]


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames, and in the place of broken ones what is wrong, as text."""
    av = library()
    decode = _decoder(stream)
    try:
        for packet in container.demux(stream):
            try:
                frames = decode(packet)
            except av.error.FFmpegError as error:
                yield error.strerror
                continue
            yield from frames
    except av.error.FFmpegError as error:
        yield f"the file ends here ({error.strerror})"


def _decoder(stream: Any) -> Any:
    """Decodes packets. FFmpeg's own decoders of VP8 and VP9 leave transparency out, those of libvpx do not."""
    context = stream.codec_context
    if {"alpha_mode", "ALPHA_MODE"} & stream.metadata.keys() and context.name in ("vp8", "vp9"):
        av = library()
        name = "libvpx" if context.name == "vp8" else "libvpx-vp9"
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            own = av.codec.Codec(name, "r").create()
            own.extradata = context.extradata
            return own.decode
    return lambda packet: packet.decode()


def _has_alpha(frame: Any) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _colour(frame: Any) -> tuple[int, int, int, int]:
    full = frame.color_range == 2 or frame.format.name.startswith("yuvj") or frame.format.is_rgb
    space = int(frame.colorspace)
    if space in (_UNKNOWN, 3):
        space = 1 if min(frame.width, frame.height) >= _HIGH_DEFINITION else 6
    return space, int(frame.color_trc), int(frame.color_primaries), 2 if full else 1


def _picture(frame: Any, alpha: bool, path: str) -> Picture:
    """A decoded frame, upright."""
    space, _, _, range_ = _colour(frame)
    how: dict[str, Any] = {"format": "rgba" if alpha else "rgb24"}
    if not frame.format.is_rgb:
        how |= {"src_colorspace": _SCALER.get(space, 5), "src_color_range": range_, "dst_color_range": 2}
    values = frame.to_ndarray(**how)
    if frame.rotation % 360:
        values = np.rot90(values, round(frame.rotation / 90))
    rgb = np.ascontiguousarray(values[..., :3])
    hidden = alpha and bool((values[..., 3] < 255).any())
    return Picture(rgb, np.ascontiguousarray(values[..., 3]) if hidden else None, name=printable(path))
