"""Films, written by PyAV: segments that survive a kill, joined in the end without encoding again.

No frame refers to a later one: each segment can be played alone, and times stay in order where two are joined.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO, Any

import numpy as np

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.files import printable, reason, write_atomically
from quantart_cli.images import Picture
from quantart_cli.video.clips import Clip, Frame, Sink, Target
from quantart_cli.video.films import Film, library


@dataclass(frozen=True)
class Codec:
    """How a codec is used.

    Attributes:
        encoder: FFmpeg's name.
        pixels: pixel format.
        with_alpha: pixel format with transparency; None: there is none.
        crf: default quality, lower is better; None: it takes none.
        options: of the encoder.
        suffixes: of the files that hold it.
        smallest: least width in pixels. libx265 corrupts memory below 64.
        segments: container of the segments. NUT keeps all times, but not the transparency of VP9.
    """

    encoder: str
    pixels: str
    with_alpha: str | None = None
    crf: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    suffixes: tuple[str, ...] = (".mp4", ".m4v", ".mov", ".mkv")
    segments: str = "nut"
    smallest: int = 16


CODECS = {
    "h264": Codec("libx264", "yuv420p", None, 18, {"preset": "medium", "bf": "0"}),
    "hevc": Codec(
        "libx265", "yuv420p", None, 22, {"preset": "medium", "x265-params": "bframes=0:log-level=none"}, smallest=64
    ),
    "av1": Codec(
        "libsvtav1", "yuv420p", None, 28, {"preset": "8", "svtav1-params": "pred-struct=1"}, (".mp4", ".mkv", ".webm")
    ),
    "vp9": Codec(
        "libvpx-vp9",
        "yuv420p",
        "yuva420p",
        24,
        {"b": "0", "auto-alt-ref": "0", "lag-in-frames": "0", "row-mt": "1"},
        (".webm", ".mkv"),
        "matroska",
    ),
    "prores": Codec("prores_ks", "yuv422p10le", "yuva444p10le", None, {}, (".mov", ".mkv"), "mov"),
    "ffv1": Codec("ffv1", "bgr0", "bgra", None, {}, (".mkv",)),
}
"""By name, for ``--codec``."""
_DEFAULTS = {".webm": "vp9"}


def codec_of(target: Target) -> tuple[str, Codec]:
    """Name and codec that a target is written with."""
    name = target.codec or _DEFAULTS.get(target.suffix, "h264")
    if target.codec is None and target.alpha and target.suffix == ".mov":
        name = "prores"
    check_choice("codec", name, CODECS)
    return name, CODECS[name]


def check(clip: Clip, target: Target) -> None:
    """Raises QuantArtError if a target cannot hold a clip; see clips.check_target."""
    name, codec = codec_of(target)
    shown = printable(target.path)
    if target.suffix not in codec.suffixes:
        raise QuantArtError(f"{shown}: {name} goes into {', '.join(codec.suffixes)}")
    if target.crf is not None and codec.crf is None:
        raise QuantArtError(f"codec {name} takes no crf: leave it out")
    if target.alpha and codec.with_alpha is None:
        raise QuantArtError(
            f"{shown}: {name} keeps no transparency: use .webm, .mov, .apng or a folder, or set background"
        )
    if target.size[0] < codec.smallest or target.size[1] < 16:
        least, found = f"{codec.smallest} × 16", " × ".join(map(str, target.size))
        raise QuantArtError(f"{shown}: {name} needs at least {least} pixels, not {found}")
    av = library()
    if target.sound and isinstance(clip, Film) and clip.sound is not None:
        try:
            with av.open(clip.path) as source, av.open(os.devnull, "w", format=_container(target)) as probe:
                probe.add_stream_from_template(source.streams.audio[0], opaque=True)
                probe.start_encoding()
        except (av.error.FFmpegError, ValueError):
            raise QuantArtError(
                f"{shown} cannot hold the sound, {clip.sound}: use .mkv or .mov, or leave it out with --sound none"
            ) from None


def _container(target: Target) -> str:
    return {".mkv": "matroska", ".m4v": "mp4"}.get(target.suffix, target.suffix[1:])


class FilmSink(Sink):
    """Writes segments into the folder ``work``, and joins them.

    Args:
        clip: what is painted.
        target: the film.
        work: folder of the segments.
        done: frames in the segments that an earlier run has cut.
    """

    def __init__(self, clip: Clip, target: Target, work: str, done: int) -> None:
        self.clip, self.target, self.work = clip, target, work
        self.time_base = clip.time_base if isinstance(clip, Film) else Fraction(1, 90000)
        self.codec = codec_of(target)[1]
        self.even = "420" in self.codec.pixels or "422" in self.codec.pixels
        self._count = done
        self._container: Any = None
        self._stream: Any = None
        self._path = ""

    def write(self, frame: Frame, picture: Picture) -> None:
        if self._container is None:
            self._begin(picture)
        self._encode(self._frame(frame, picture))
        self._count += 1

    def cut(self) -> None:
        if self._container is None:
            return
        self._encode(None)
        self._container.close()
        self._container = None
        os.replace(self._path, os.path.join(self.work, f"part-{self._count:08}"))

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _begin(self, picture: Picture) -> None:
        av = library()
        self._path = os.path.join(self.work, "unfinished")
        self._container = av.open(self._path, "w", format=self.codec.segments)
        options = dict(self.codec.options)
        if self.codec.crf is not None:
            options["crf"] = str(self.codec.crf if self.target.crf is None else self.target.crf)
        with_alpha = self.target.alpha and self.codec.with_alpha
        if self.codec.encoder == "prores_ks":
            options["profile"] = "4444" if with_alpha else "hq"
        self._stream = stream = self._container.add_stream(self.codec.encoder, rate=self.clip.rate, options=options)
        context = stream.codec_context
        width, height = self._size(picture)
        context.width, context.height = width, height
        context.pix_fmt = with_alpha or self.codec.pixels
        context.time_base = stream.time_base = self.time_base
        if isinstance(self.clip, Film):
            context.sample_aspect_ratio = self.clip.aspect
        if self.codec.encoder != "ffv1":
            space, transfer, primaries, range_ = self._colour()
            context.colorspace, context.color_trc, context.color_primaries, context.color_range = (
                space,
                transfer,
                primaries,
                range_,
            )

    def _colour(self) -> tuple[int, int, int, int]:
        """That of the clip, where it is one that the pictures can be converted to; else BT.709."""
        if isinstance(self.clip, Film) and self.clip.colour[0] in (1, 5, 6):
            return self.clip.colour
        return 1, 1, 1, 1

    def _size(self, picture: Picture) -> tuple[int, int]:
        width, height = picture.size
        return (width - width % 2, height - height % 2) if self.even else (width, height)

    def _frame(self, frame: Frame, picture: Picture) -> Any:
        av = library()
        width, height = self._size(picture)
        if self.target.alpha:
            alpha = np.full(picture.rgb.shape[:2], 255, np.uint8) if picture.alpha is None else picture.alpha
            values, layout = np.dstack([picture.rgb, alpha]), "rgba"
        else:
            values, layout = picture.rgb, "rgb24"
        made = av.VideoFrame.from_ndarray(np.ascontiguousarray(values[:height, :width]), format=layout)
        context = self._stream.codec_context
        if self.codec.encoder == "ffv1":
            made = made.reformat(format=context.pix_fmt)
        else:
            space, _, _, range_ = self._colour()
            made = made.reformat(
                format=context.pix_fmt, dst_colorspace=1 if space == 1 else 5, src_color_range=2, dst_color_range=range_
            )
        made.pts, made.time_base = round(frame.time / self.time_base), self.time_base
        made.duration = round((frame.time + frame.duration) / self.time_base) - made.pts
        return made

    def _encode(self, frame: Any) -> None:
        av = library()
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise QuantArtError(f"{printable(self._path)} cannot be written: {reason(error)}") from error

    def finish(self) -> None:
        parts = sorted(each for each in os.listdir(self.work) if each.startswith("part-"))
        if parts:
            write_atomically(
                self.target.path, lambda file: self._join([os.path.join(self.work, each) for each in parts], file)
            )

    def _join(self, parts: list[str], file: IO[bytes]) -> None:
        """Copy all packets of all parts, and the sound, into one file."""
        av = library()
        with ExitStack() as stack:
            out = stack.enter_context(av.open(file, "w", format=_container(self.target)))
            first = stack.enter_context(av.open(parts[0]))
            video = out.add_stream_from_template(first.streams.video[0], opaque=True)  # copied, not opened
            video.time_base = self.time_base
            if self.codec.encoder == "libx265" and self.target.suffix != ".mkv":
                video.codec_context.codec_tag = "hvc1"  # the one that QuickTime knows
            if self.target.alpha and self.target.suffix in (".webm", ".mkv"):
                video.metadata["alpha_mode"] = "1"
            sources: list[Iterator[tuple[Fraction, int, Any]]] = [_packets(parts, video)]
            if isinstance(self.clip, Film):
                source = stack.enter_context(av.open(self.clip.path))
                if not self.target.strip_metadata:
                    out.metadata.update({key: text for key, text in source.metadata.items() if key in _KEPT})
                if self.target.sound and source.streams.audio:
                    sound = source.streams.audio[0]
                    begin = _begin_of(source)
                    copied = out.add_stream_from_template(sound, opaque=True)
                    sources.append(_sound(source, sound, copied, begin, self.target))
            for _, _, packet in heapq.merge(*sources, key=lambda each: each[:2]):
                out.mux(packet)


_KEPT = ("title", "artist", "album", "comment", "description", "copyright", "date", "genre", "creation_time")


def _begin_of(source: Any) -> Fraction:
    """The time of the first picture of a film, in seconds."""
    stream = source.streams.video[0]
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base)


def _packets(parts: list[str], stream: Any) -> Iterator[tuple[Fraction, int, Any]]:
    """The packets of all parts, with their times in seconds."""
    av, last = library(), None
    for path in parts:
        with av.open(path) as part:
            for packet in part.demux(part.streams.video[0]):
                if packet.pts is None:
                    continue
                dts = packet.pts if packet.dts is None else packet.dts
                if last is not None and dts <= last:
                    dts = min(last + 1, packet.pts)
                packet.dts = last = dts
                time = Fraction(dts) * packet.time_base
                packet.stream = stream
                yield time, 0, packet


def _sound(
    source: Any, sound: Any, stream: Any, begin: Fraction, target: Target
) -> Iterator[tuple[Fraction, int, Any]]:
    """The packets of the sound between start and end, moved to the beginning."""
    shift = begin + (target.start or 0)
    for packet in source.demux(sound):
        if packet.dts is None:
            continue
        time = Fraction(packet.dts) * packet.time_base - shift
        if time < 0 and shift > begin:
            continue
        if target.end is not None and time >= target.end - (target.start or 0):
            return
        offset = round(shift / packet.time_base)
        packet.dts, packet.pts = packet.dts - offset, None if packet.pts is None else packet.pts - offset
        packet.stream = stream
        yield time, 1, packet
