"""What a clip is, whatever it comes from, and which kind a file or folder is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from PIL import Image

from quantart_cli import files
from quantart_cli.errors import QuantArtError
from quantart_cli.files import open_regular, printable, reason
from quantart_cli.images import Picture, formats
from quantart_cli.images.sources import missing, origin_of_path

ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
"""By suffix, Pillow's name of the formats that hold several frames and are written here."""
FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes of films that are written; others are read."""


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        time: when it is shown, in seconds from the beginning of the clip.
        duration: how long, in seconds.
        picture: upright, sRGB; None: it is broken.
        problem: why it is broken.
        name: of its file, without suffix; "" where it has none.
    """

    time: Fraction
    duration: Fraction
    picture: Picture | None
    problem: str = ""
    name: str = ""


@dataclass
class Clip:
    """A clip to read, of any kind; a subclass for each.

    Attributes:
        path: file or folder.
        size: (width, height) of the upright frames.
        frames: their number, as far as the file says; None: it does not.
        seconds: how long it is; None: not known.
        rate: frames a second, on average.
        alpha: whether frames may be transparent.
        loops: how often an animation is repeated, 0 for ever; None: it is not, or the clip is a film.
        notes: remarks for a person, one line each. More are added while it is read.
    """

    path: str
    size: tuple[int, int]
    frames: int | None
    seconds: Fraction | None
    rate: Fraction
    alpha: bool = False
    loops: int | None = None
    notes: list[str] = field(default_factory=list)

    def read(self) -> Iterator[Frame]:
        """All frames, in the order of their times."""
        raise NotImplementedError

    def between(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """The frames shown from ``start`` to before ``end``, in seconds; the first is then at time 0."""
        begin = start or Fraction(0)
        for frame in self.read():
            if end is not None and frame.time >= end:
                return
            until = frame.time + frame.duration if end is None else min(end, frame.time + frame.duration)
            since = max(begin, frame.time)
            if until > since or (frame.duration == 0 and frame.time >= begin):
                yield Frame(since - begin, until - since, frame.picture, frame.problem, frame.name)


def open_clip(path: str, *, rate: Fraction, max_pixels: int) -> Clip:
    """Open a clip.

    Args:
        path: a film, an animated GIF, WebP, PNG or AVIF, or a folder of numbered pictures.
        rate: frames a second of a folder.
        max_pixels: frames with more pixels are refused.

    Raises:
        QuantArtError: it is none of these, cannot be read, or has no frames.
    """
    from quantart_cli.video.animations import Animation, Folder

    shown = printable(path)
    if os.path.isdir(path):
        return Folder.open(path, rate, max_pixels)
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise QuantArtError(missing(path, origin_of_path(path))) from None
    except (OSError, ValueError) as error:
        raise QuantArtError(
            f"{shown} cannot be read: {reason(error) if isinstance(error, OSError) else error}"
        ) from None
    if file is None:
        raise QuantArtError(f"{shown} is no file: give a film, an animation, or a folder of numbered pictures")
    with file:
        head = file.read(formats.HEAD_BYTES)
    if not head:
        raise QuantArtError(f"{shown} is empty (0 bytes): get the file again")
    image_format = formats.sniff(head)
    if image_format is None:
        from quantart_cli.video.films import Film

        return Film.open(path, max_pixels)
    if image_format in (*ANIMATIONS.values(), "AVIF") and _count(path, image_format) > 1:
        return Animation.open(path, max_pixels)
    raise QuantArtError(f"{shown} is a still picture ({image_format}): quantart stylize paints it")


def _count(path: str, image_format: str) -> int:
    try:
        with Image.open(path, formats=(image_format,)) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # Pillow's decoders let nearly anything through; reading says what is wrong
        return 2


@dataclass(frozen=True)
class Target:
    """What is written.

    Attributes:
        path: file or folder.
        format: of the pictures of a folder: png, jpeg, …
        codec: name in films.CODECS; None: by the suffix.
        crf: quality of the codec; None: its default.
        strip_metadata: drop titles and the like.
        sound: whether the sound of the clip is copied.
        size: (width, height).
        alpha: whether frames may be transparent.
        start, end: the part of the clip, in seconds, for the sound.
    """

    path: str
    format: str
    codec: str | None
    crf: int | None
    quality: int
    strip_metadata: bool
    sound: bool
    size: tuple[int, int]
    alpha: bool
    start: Fraction | None
    end: Fraction | None

    @property
    def suffix(self) -> str:
        """Of the file, in lower case; "" for a folder."""
        return "" if os.path.isdir(self.path) or self.path.endswith(os.sep) else os.path.splitext(self.path)[1].lower()


class Sink:
    """Takes painted frames and makes the output of them; a subclass for each kind.

    Frames are written in order, from one thread. What was written before :meth:`cut` survives a kill.
    """

    def write(self, frame: Frame, picture: Picture) -> None:
        """Add a frame."""
        raise NotImplementedError

    def skip(self, frame: Frame) -> None:
        """A frame that an earlier run has written and cut."""

    def cut(self) -> None:
        """Bring what was written to the disk."""

    def finish(self) -> None:
        """Make the output, whole or not at all, of all that was cut."""

    def close(self) -> None:
        """Release files; what was not cut is dropped."""


def sink_for(clip: Clip, target: Target, work: str, done: int) -> Sink:
    """What writes a target.

    Args:
        work: folder for unfinished parts.
        done: frames that an earlier run has cut.

    Raises:
        QuantArtError: the output cannot hold the clip.
    """
    if target.suffix in ANIMATIONS or not target.suffix:
        from quantart_cli.video.animations import PictureSink

        return PictureSink(clip, target, work)
    from quantart_cli.video.film_writer import FilmSink

    return FilmSink(clip, target, work, done)


def check_target(clip: Clip, target: Target, inputs: Sequence[str] = ()) -> None:
    """Find out before any painting whether a target can be written, and hold a clip.

    Args:
        inputs: files that must not be overwritten, beside the clip.

    Raises:
        QuantArtError: it cannot be written, its suffix is not known, it keeps no transparency, or does not take the
            sound.
    """
    shown = printable(target.path)
    if target.path == "-" or not target.path:
        raise QuantArtError("a clip is written to a file or a folder: give its name")
    if target.suffix:
        files.check_target(target.path, [clip.path, *inputs])
    elif os.path.exists(target.path) and os.path.samefile(target.path, clip.path):
        raise QuantArtError(f"{shown} is the clip itself: give another folder")
    elif os.path.exists(target.path) and not os.path.isdir(target.path):
        raise QuantArtError(f"{shown} is a file: give a folder, or a name with a suffix such as out.mp4")
    if target.suffix in FILMS:
        from quantart_cli.video.film_writer import check

        check(clip, target)
        return
    if target.suffix not in (*ANIMATIONS, ""):
        known = ", ".join((*FILMS, *ANIMATIONS))
        raise QuantArtError(f"{shown} is no clip by its suffix: use one of {known}, or a folder")
    for name in ("codec", "crf"):
        if getattr(target, name) is not None:
            raise QuantArtError(f"{name} is of films, and {shown} is none: leave it out, or write .mp4")
