"""Writing a file whole or not at all, and refusing what cannot be written before anything is computed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO, Any

from quantart_cli.errors import QuantArtError
from quantart_cli.images import bands
from quantart_cli.images.encoding import check_transparency, encode_picture, parse_background, write_picture
from quantart_cli.images.formats import format_for
from quantart_cli.images.names import is_stream, printable, reason
from quantart_cli.images.picture import Picture

Target = str | os.PathLike
_TEMPORARY = re.compile(r"\.quantart-[0-9a-f]{16}\.tmp")
_NO_FSYNC = {errno.EINVAL, errno.ENOSYS, getattr(errno, "ENOTSUP", errno.EINVAL)}  # file systems that cannot


def save_picture(
    picture: Picture,
    target: Target,
    *,
    format: str | None = None,
    background: str | None = None,
    quality: int = 95,
    strip_metadata: bool = False,
) -> None:
    """Encode a picture (see ``encode_picture``) and write it, whole or not at all.

    The bytes go into a temporary file in the target's folder, to the disk, and then take the target's place in one
    step; whatever interrupts this leaves the target as it was and no temporary file. An existing file's permissions
    are kept. A symbolic link stays and what it points at is replaced. What is no regular file (/dev/null, a FIFO) is
    written to directly.

    Args:
        picture: what to write.
        target: a path, or ``"-"`` for stdout.
        format: a name such as "png"; by default the suffix of ``target`` says, and stdout gets a PNG.
        background, quality, strip_metadata: as in ``encode_picture``.

    Raises:
        QuantArtError: in one line, when it cannot be encoded or written.
    """
    path = os.fsdecode(target)
    name = format_for(path, format)
    options = {"background": background, "quality": quality, "strip_metadata": strip_metadata}
    if bands.is_large(*picture.size) and not is_stream(target):
        write_atomically(path, partial(write_picture, picture=picture, format=name, **options))
        return
    data = encode_picture(picture, name, **options)
    if is_stream(target):
        _write_stdout(data)
    else:
        write_atomically(path, data)


def check_output(
    target: Target,
    inputs: Iterable[object],
    *,
    format: str | None = None,
    has_alpha: bool = False,
    background: str | None = None,
) -> str:
    """Find out before any computing whether ``target`` can be written; returns the normalised format name.

    Checks that the format is known, the background is a colour and there is one when alpha needs it, the folder
    exists and takes a new file (by making one: permissions alone say nothing to root or on a network), an existing
    target may be replaced, and none of ``inputs`` would be overwritten, by whatever link or spelling.

    Args:
        target: a path, or ``"-"`` for stdout.
        inputs: what is read; paths are compared with the target, anything else (``"-"``, bytes, arrays) is not.
        format: as in ``save_picture``; when given the suffix does not count.
        has_alpha: whether the picture to be written has transparent parts.
        background: as in ``encode_picture``.

    Raises:
        QuantArtError: in one line, the first thing found wrong.
    """
    path = os.fsdecode(target)
    if not path:
        raise QuantArtError("the name of the output is empty: give a file such as out.png")
    if path.endswith(("/", os.sep)) or (not is_stream(target) and os.path.isdir(path)):
        example = printable(os.path.join(path, "picture.png"))
        raise QuantArtError(f"{printable(path)} is a folder: give a file name, for instance {example}")
    name = format_for(path, format)
    parse_background(background)
    check_transparency("the picture", name, has_alpha, background)
    if is_stream(target):
        _stdout()
        return name
    try:
        real, mode = _resolved(path)
        for given in inputs:
            _refuse_same(path, real, given)
        if mode is None or stat.S_ISREG(mode):
            _try_folder(path, real, exists=mode is not None)
        elif not os.access(real, os.W_OK):
            raise QuantArtError(f"{printable(path)} cannot be written: permission denied")
    except OSError as error:
        raise QuantArtError(f"{printable(path)} cannot be written: {reason(error)}") from error
    except ValueError as error:  # a NUL in the path
        message = f"{printable(path)} is not a path: it has a character that no file name can have"
        raise QuantArtError(message) from error
    return name


def write_atomically(path: str, data: bytes | Callable[[IO[bytes]], Any]) -> None:
    """Write ``data``, or what that writes, to ``path`` as ``save_picture`` describes.

    Raises:
        QuantArtError: it cannot be written.
    """
    try:
        real, mode = _resolved(path)
        if mode is None or stat.S_ISREG(mode):
            _replace(real, mode, data)
        else:
            with open(os.open(real, os.O_WRONLY), "wb") as device:
                device.write(data if isinstance(data, bytes) else _written(data))
    except OSError as error:
        hint = ": free some or write elsewhere" if error.errno == errno.ENOSPC else ""
        raise QuantArtError(f"{printable(path)} cannot be written: {reason(error)}{hint}") from error


def _written(write: Callable[[IO[bytes]], Any]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _resolved(path: str) -> tuple[str, int | None]:
    """Where ``path`` leads through symbolic links, and the mode of what is there; None when nothing is.

    Raises OSError when the name is too long or links go round in a circle, ValueError when it can be no name.
    """
    real = os.path.realpath(path)
    try:
        return real, os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return real, None


def _refuse_same(path: str, real: str, given: object) -> None:
    if not isinstance(given, (str, os.PathLike)) or is_stream(given):
        return
    try:
        same = os.path.samefile(real, given)
    except (OSError, ValueError):  # one of them is not there: then they are not the same
        return
    if same:
        shown = printable(given)
        also = "" if shown == printable(path) else f" is the same file as {shown}, which"
        raise QuantArtError(f"{printable(path)}{also} is an input and would be overwritten: choose another output")


def _try_folder(path: str, real: str, exists: bool) -> None:
    """Make and remove a file in the target's folder, and open the target for writing without touching it."""
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise QuantArtError(_no_folder(path, folder))
    if exists:
        try:
            os.close(os.open(real, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)))
        except OSError as error:
            raise QuantArtError(f"{printable(path)} is there and cannot be replaced: {reason(error)}") from error
    probe = beside(real)
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise QuantArtError(f"the folder {printable(folder)} takes no new file: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)


def _no_folder(path: str, folder: str) -> str:
    """Say which part of the way to ``folder`` is missing or a file."""
    part = folder
    while not os.path.lexists(part) and os.path.dirname(part) != part:
        part = os.path.dirname(part)
    if not os.path.isdir(part):
        return f"{printable(path)} cannot be written: {printable(part)} is a file, not a folder"
    return f"{printable(path)} cannot be written: make the folder {printable(folder)} first, it does not exist"


def beside(real: str) -> str:
    """A new name in the folder of ``real``, short so that it fits where the target's own name does."""
    return os.path.join(os.path.dirname(real), f".quantart-{os.urandom(8).hex()}.tmp")  # _TEMPORARY


_unfinished: set[str] = set()


def remove_unfinished() -> None:
    """Remove the temporary files being written now: for those who must leave at once, without unwinding threads."""
    for temporary in list(_unfinished):
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def remove_left_behind(folder: str) -> None:
    """Remove temporary files that a killed process left in a folder; nobody else may be writing there."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder or "."):
            if _TEMPORARY.fullmatch(entry.name):
                os.unlink(entry.path)


def _replace(real: str, mode: int | None, data: bytes | Callable[[IO[bytes]], Any]) -> None:
    temporary = beside(real)
    _unfinished.add(temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                data(file)
            file.flush()
            fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, real)
    except BaseException:  # a KeyboardInterrupt leaves no temporary file either
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        _unfinished.discard(temporary)
    sync_folder(os.path.dirname(real))


def fsync(descriptor: int) -> None:
    """Bring a file's bytes to the disk, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


def sync_folder(folder: str) -> None:
    """Bring the new name to the disk; where folders cannot be opened (Windows) the system does so in its own time."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _stdout() -> IO[bytes]:
    """The binary stdout. Raises QuantArtError when there is none or a person would get a picture on the screen."""
    stdout = getattr(sys.stdout, "buffer", None)
    if stdout is None or sys.stdout.closed:
        raise QuantArtError("stdout is closed: give an output file instead of -")
    if sys.stdout.isatty():
        raise QuantArtError("stdout is a terminal: redirect it, as in quantart … -o - > picture.png")
    return stdout


def _write_stdout(data: bytes) -> None:
    stdout = _stdout()
    try:
        stdout.write(data)
        stdout.flush()
    except OSError as error:  # a broken pipe, a full disk behind a redirection
        raise QuantArtError(f"stdout cannot be written: {reason(error)}") from error
