"""File names and system errors as they may be shown: one line, no control characters, nothing a terminal obeys."""

from __future__ import annotations

import difflib
import errno
import os


def printable(text: object, longest: int = 300) -> str:
    """``text`` in one line: control characters and bytes that are no UTF-8 escaped, the middle of long ones left out.

    Accepts str, bytes and path-like objects (anything else through ``str``).
    """
    if isinstance(text, (bytes, os.PathLike)):
        text = os.fsdecode(text)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return shown if len(shown) <= longest else f"{shown[: longest // 2]}…{shown[-longest // 2 :]}"


def reason(error: OSError) -> str:
    """Why a system call failed, in words: "permission denied", "no space left on the disk", ..."""
    words = {
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.EROFS: "the file system is read-only",
        errno.ENOSPC: "no space left on the disk",
        errno.ENOENT: "no such file or folder",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.EISDIR: "it is a folder",
        errno.ENAMETOOLONG: "the name is too long",
        errno.ELOOP: "its symbolic links go round in a circle",
        errno.EDQUOT if hasattr(errno, "EDQUOT") else -1: "the disk quota is used up",
    }
    return words.get(error.errno or 0) or printable(error.strerror or error)


def near_file(path: str) -> str | None:
    """The file name in the folder of ``path`` that resembles its last part most, or None."""
    folder, wanted = os.path.split(path)
    try:
        names = [entry.name for entry in os.scandir(folder or ".") if not entry.is_dir()]
    except OSError:
        return None
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_folded, n=1, cutoff=0.6)
    if not near:  # photo.png asked for where photo.jpg lies
        stem = os.path.splitext(wanted)[0].casefold()
        near = [folded for folded in sorted(by_folded) if stem and os.path.splitext(folded)[0] == stem][:1]
    return by_folded[near[0]] if near else None


def is_stream(target: object) -> bool:
    """Whether ``target`` means stdin or stdout: exactly the string ``-``."""
    return isinstance(target, str) and target == "-"
