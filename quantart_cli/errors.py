"""The one exception for what a person can cause, and words of its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CALLED = {"gpu": "cuda", "stylize": "quantart"}  # other words for a name, which are not like it


class QuantArtError(Exception):
    """Something a person can put right: a missing file, a value out of range, a full disk.

    The message is one sentence that says what is wrong and what to do. The command line prints it on
    stderr and leaves with exit status 2; anything else that is raised is a bug and shows its traceback.
    """


def suggest(given: str, valid: Iterable[str], where: str | None = None) -> str:
    """The end of an error message: the nearest valid name when there is one, and all of them, or where they are.

    >>> suggest("lumma", ["none", "luma", "match"])
    'did you mean luma? (one of none, luma, match)'
    >>> suggest("lumma", ["none", "luma", "match"], "see quantart stylize --help")
    'did you mean luma? (see quantart stylize --help)'
    """
    names = list(valid)
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(given.casefold(), by_folded, n=1, cutoff=0.5)
    listing = where or f"one of {', '.join(names)}"
    called = _CALLED.get(given.casefold())
    if called in names:
        return f"it is called {called} ({listing})"
    if near:
        return f"did you mean {by_folded[near[0]]}? ({listing})"
    return where or f"use {listing}"


def counted(number: int, what: str) -> str:
    """A number and what is counted: "1 mask", "0 masks", "2,000 masks"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def check_choice(name: str, given: str, valid: Iterable[str]) -> str:
    """Return ``given`` when it is one of ``valid``; raise :class:`QuantArtError` naming the nearest otherwise."""
    names = list(valid)
    if given not in names:
        raise QuantArtError(f"{name} {given!r} is not known: {suggest(given, names)}")
    return given
