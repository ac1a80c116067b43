"""Files and streams of every kind: names safe to print, files written whole or not at all, every byte to a stream."""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO, Any

from quantart_cli.errors import QuantArtError

CHUNK = 1 << 20
_TEMPORARY = re.compile(r"\.quantart-[0-9a-f]{16}\.tmp")
_NO_FSYNC = {errno.EINVAL, errno.ENOSYS, getattr(errno, "ENOTSUP", errno.EINVAL)}
_REASONS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left on the disk",
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a file has this name",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links go round in a circle",
    getattr(errno, "EDQUOT", -1): "the disk quota is used up",
}


def printable(text: object, longest: int = 300) -> str:
    """``text`` in one line: control characters and bytes that are not UTF-8 escaped, long text shortened in the middle.

    Accepts str, bytes and path-like objects (anything else through ``str``).
    """
    if isinstance(text, (bytes, os.PathLike)):
        text = os.fsdecode(text)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return shown if len(shown) <= longest else f"{shown[: longest // 2]}…{shown[-longest // 2 :]}"


def reason(error: OSError) -> str:
    """Why a system call failed, in words: "permission denied", "no space left on the disk", ..."""
    return _REASONS.get(error.errno or 0) or printable(error.strerror or error)


def is_stream(target: object) -> bool:
    """Whether ``target`` means stdin or stdout: exactly the string ``-``."""
    return isinstance(target, str) and target == "-"


def near_name(path: str, files_only: bool = False) -> str | None:
    """The file or folder in the folder of ``path`` whose name is most like its last part, or None."""
    folder, wanted = os.path.split(path)
    try:
        names = [entry.name for entry in os.scandir(folder or ".") if not (files_only and entry.is_dir())]
    except OSError:
        return None
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_folded, n=1, cutoff=0.6)
    if not near:  # photo.png was given and photo.jpg exists
        stem = os.path.splitext(wanted)[0].casefold()
        near = [folded for folded in sorted(by_folded) if stem and os.path.splitext(folded)[0] == stem][:1]
    return by_folded[near[0]] if near else None


def current_folder_is_gone() -> bool:
    """Whether the current folder was deleted: no relative path leads anywhere."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


# Writing files


def check_target(path: str, inputs: Iterable[object]) -> None:
    """Find out before any computing whether :func:`write_atomically` can write ``path``.

    The folder must exist and accept a new file (one is made: permissions alone say nothing to root or on a network),
    an existing target must be writable, and none of ``inputs`` may be overwritten, by whatever link or spelling.

    Args:
        inputs: what is read; paths are compared with the target, anything else (``"-"``, bytes, arrays) is not.

    Raises:
        QuantArtError: the first thing found wrong.
    """
    shown = printable(path)
    try:
        real, mode = _resolved(path)
        for given in inputs:
            _refuse_same(path, real, given)
        if mode is None or stat.S_ISREG(mode):
            _try_folder(path, real, exists=mode is not None)
        elif _descriptor_of(path) is None and not os.access(path, os.W_OK):
            raise QuantArtError(f"{shown} cannot be written: permission denied")
    except OSError as error:
        raise QuantArtError(f"{shown} cannot be written: {_why(path, error)}") from error
    except ValueError as error:  # a NUL in the path
        raise QuantArtError(f"{shown} is not a path: it has a character that no file name can have") from error


def write_atomically(path: str, data: bytes | Callable[[IO[bytes]], Any]) -> None:
    """Write a file whole or not at all.

    The bytes go into a temporary file in the target's folder, to the disk, and then replace the target in one step;
    an interruption leaves the target as it was and no temporary file. An existing file's permissions are kept where
    the file system allows that. A symbolic link stays and the file it points at is replaced. A target that is not a
    regular file (/dev/null, a FIFO, /dev/stdout) is written to directly.

    Args:
        data: the bytes, or a function that writes them into a binary file which can seek.
    """
    try:
        real, mode = _resolved(path)
        if mode is None or stat.S_ISREG(mode):
            _replace(real, mode, data)
            return
        if not isinstance(data, bytes):
            buffer = io.BytesIO()
            data(buffer)
            data = buffer.getvalue()
        given = _descriptor_of(path)
        # A pipe of another user cannot be opened again by its name in /dev/fd, but it can be written to.
        descriptor = os.dup(given) if given is not None else os.open(path, os.O_WRONLY)
        try:
            _write_descriptor(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        hint = ": free some or write elsewhere" if error.errno == errno.ENOSPC else ""
        raise QuantArtError(f"{printable(path)} cannot be written: {_why(path, error)}{hint}") from error


def _why(path: str, error: OSError) -> str:
    if not os.path.isabs(path) and current_folder_is_gone():
        return "the current folder no longer exists, change to another"
    return reason(error)


def _resolved(path: str) -> tuple[str, int | None]:
    """Where ``path`` leads through symbolic links, and the mode of the file there; None when there is none.

    Raises OSError when the name is too long or links form a loop, ValueError when it can be no name.
    """
    real = os.path.realpath(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return real, None
    if stat.S_ISREG(mode) and not os.path.exists(real):  # /dev/stdout redirected to a file deleted since
        mode = stat.S_IFIFO
    return real, mode


def _descriptor_of(path: str) -> int | None:
    """The open descriptor that /dev/stdout or /dev/fd/N means; None for any other path."""
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", path)
    return int(found[1]) if found else {"/dev/stdout": 1, "/dev/stderr": 2}.get(path)


def _refuse_same(path: str, real: str, given: object) -> None:
    if not isinstance(given, (str, os.PathLike)) or is_stream(given):
        return
    try:
        same = os.path.samefile(real, given)
    except (OSError, ValueError):  # one of them does not exist
        return
    if same:
        shown = printable(given)
        also = "" if shown == printable(path) else f" is the same file as {shown}, which"
        raise QuantArtError(f"{printable(path)}{also} is an input and would be overwritten: choose another output")


def _try_folder(path: str, real: str, exists: bool) -> None:
    """Make and remove a file in the target's folder, and open the target for writing without changing it."""
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        part = folder
        while not os.path.lexists(part) and os.path.dirname(part) != part:
            part = os.path.dirname(part)
        if os.path.isdir(part):
            why = f"make the folder {printable(folder)} first, it does not exist"
        else:
            why = f"{printable(part)} is a file, not a folder"
        raise QuantArtError(f"{printable(path)} cannot be written: {why}")
    if exists:
        try:
            os.close(os.open(real, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)))
        except OSError as error:
            raise QuantArtError(f"{printable(path)} exists and cannot be replaced: {reason(error)}") from error
    probe = temporary_beside(real)
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise QuantArtError(f"the folder {printable(folder)} takes no new file: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)


def temporary_beside(real: str) -> str:
    """A new name in the folder of ``real``, short so that it fits where the target's own name does."""
    return os.path.join(os.path.dirname(real), f".quantart-{os.urandom(8).hex()}.tmp")  # _TEMPORARY


_unfinished: set[str] = set()


def remove_unfinished() -> None:
    """Remove the temporary files being written now, for a process that ends without unwinding its threads."""
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
    temporary = temporary_beside(real)
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
            with contextlib.suppress(OSError):  # CIFS and vfat refuse; the file itself is whole
                os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, real)
    except BaseException:  # also a KeyboardInterrupt
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        _unfinished.discard(temporary)
    sync_folder(os.path.dirname(real))


def fsync(descriptor: int) -> None:
    """Bring a file's bytes to the disk, on file systems that can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


def sync_folder(folder: str) -> None:
    """Bring a new name in ``folder`` to the disk; where folders cannot be opened (Windows) nothing is done."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Standard streams


def write_all(stream: int | IO[bytes], data: bytes, name: str = "stdout") -> None:
    """Write every byte of ``data``, or raise.

    A single ``write`` may be short: stdout is a raw file under PYTHONUNBUFFERED=1, a pipe may be non-blocking, its
    reader slow, this process stopped and continued.

    Args:
        stream: a descriptor or a binary stream.
        name: the stream's name, for the error.

    Raises:
        QuantArtError: the disk is full, the reader has gone.
    """
    try:
        descriptor = stream if isinstance(stream, int) else _fileno(stream)
        if not isinstance(stream, int):
            if descriptor is None:  # kept in memory
                stream.write(data)
            _waiting(stream.flush, descriptor)
        if descriptor is not None:
            _write_descriptor(descriptor, data)
    except OSError as error:
        raise QuantArtError(f"{name} cannot be written: {reason(error)}") from error


def write_stdout(data: bytes | str) -> None:
    """Write bytes, or text as UTF-8, to stdout, all of them. Raises QuantArtError."""
    stdout = sys.stdout
    if stdout is None or stdout.closed:
        raise QuantArtError("stdout is closed: give an output file instead of -")
    if isinstance(data, str):
        data = data.encode("utf-8", "backslashreplace")
    write_all(stdout.buffer, data)


def _write_descriptor(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[_waiting(partial(os.write, descriptor, rest[:CHUNK]), descriptor) :]


def _waiting(action: Callable[[], Any], descriptor: int | None) -> Any:
    """Call ``action`` until a non-blocking descriptor lets it finish."""
    while True:
        try:
            return action()
        except BlockingIOError:
            if descriptor is None:
                raise
            select.select([], [descriptor], [])


def _fileno(stream: IO[bytes]) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return None


def read_chunk(stream: IO[bytes], size: int = CHUNK) -> bytes:
    """Up to ``size`` bytes, as soon as there are any, also from a non-blocking stream; empty at its end."""
    while (data := stream.read(size)) is None:  # non-blocking, and nothing has come yet
        select.select([stream], [], [])
    return data


stderr_may_be_muted = False
"""Whether this process is a command line, which may mute C libraries while they read. Not for a program's threads."""


def reserve_standard_descriptors() -> None:
    """Open the null device as stdin, stdout and stderr where these are closed, for the start of a command line.

    Otherwise the next file opened takes the number 2, and what a library prints in C goes into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def open_regular(path: str) -> IO[bytes] | None:
    """Open a regular file for reading; None when it is something else: a FIFO would block, a device may never end.

    The descriptor is never one of the standard streams', should these be closed. Raises OSError and ValueError.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return None
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if descriptor <= 2:
        import fcntl

        low, descriptor = descriptor, fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(low)
    file = os.fdopen(descriptor, "rb")
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # still, now that it is open
        return file
    file.close()
    return None
