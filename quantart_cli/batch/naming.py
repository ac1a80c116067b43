"""Names of outputs: a template filled in for each picture; long names are shortened, equal names made distinct."""

from __future__ import annotations

import hashlib
import os
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from quantart_cli.batch.walking import visible
from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.files import printable
from quantart_cli.images.formats import SUFFIXES, format_name, writable_formats

FIELDS = ("stem", "style", "suffix", "ext")
ONE_STYLE = "{stem}{suffix}"
MORE_STYLES = "{stem}_{style}{suffix}"

_LONGEST = 255  # bytes in one part of a path, on every common file system
_LONGEST_STYLE = 80
_LEAST_STEM = 48  # bytes a template must leave for the stem, a hash and a number
_EVERYWHERE = "/\\\0"
_WINDOWS = '<>:"|?*'


class Wish(NamedTuple):
    """What the name of one output is made from."""

    folder: str
    """Below the output folder; empty, or with / between the parts and at the end."""
    stem: str
    style: str
    suffix: str
    """With its dot; says in which format the output is written."""
    ext: str
    """The source's own suffix without the dot; may be empty."""
    source: str


@dataclass(frozen=True, slots=True)
class Template:
    """A checked ``--name``."""

    text: str
    suffix: str | None
    """What every output's name ends in; None: what its source ends in, where that can be written."""
    stems: int
    """How often the stem occurs in it."""

    def fill(self, wish: Wish, tail: str = "") -> str:
        """The name, at most 255 bytes in UTF-8; ``tail`` is appended to the stem.

        The end of a longer stem is replaced by a hash of the whole stem, so names that begin alike stay distinct.
        """
        name = self._with(visible(wish.stem) + tail, wish)
        if len(name) * 4 <= _LONGEST or _length(name) <= _LONGEST:
            return name
        mark = f"_{_hash(wish.stem)}{tail}"
        room = (_LONGEST - _length(self._with("", wish))) // self.stems - _length(mark)
        return self._with(_cut(visible(wish.stem), room) + mark, wish)

    def suffix_for(self, source_suffix: str) -> str:
        """The suffix of the output for a source with this one (with its dot, or empty)."""
        if self.suffix is not None:
            return self.suffix
        name = SUFFIXES.get(source_suffix.lower())
        return source_suffix if name in writable_formats() and name != "gif" else ".png"

    def _with(self, stem: str, wish: Wish) -> str:
        return self.text.format(stem=stem, style=wish.style, suffix=wish.suffix, ext=wish.ext)


def parse_template(text: str | None, format: str | None = None, *, several_styles: bool = False) -> Template:
    """Check a template for names of outputs, and the format with it.

    Args:
        text: made of the fields {stem}, {style}, {suffix} (with its dot) and {ext} (the source's, without); None is
            ``ONE_STYLE``, or ``MORE_STYLES`` with several styles. It ends in {suffix} or in the suffix of a format.
        format: a name such as "png" that every output is written in; None: as its source, GIF and what cannot be
            written as PNG.
        several_styles: whether each picture is painted in more than one style: {style} must occur then.
    """
    suffix = None
    if format is not None:
        format_name(format)
        suffix = "." + format.lower().removeprefix(".")
    text = text if text is not None else MORE_STYLES if several_styles else ONE_STYLE
    shown = f"--name {printable(text)}"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise QuantArtError(f"{shown} is no template: {error} (a brace itself is written {{{{ or }}}})") from error
    fields = [_field(shown, field, spec, how) for _, field, spec, how in parts if field is not None]
    _check_characters(shown, "".join(part[0] for part in parts))
    if "stem" not in fields:
        raise QuantArtError(f"{shown} lacks {{stem}}: all pictures would have one name")
    if several_styles and "style" not in fields:
        raise QuantArtError(f"{shown} lacks {{style}}: a picture would have one name in every style")
    end = parts[-1]
    if end[1] != "suffix":
        suffix = _own_suffix(shown, end[0] if end[1] is None else "", suffix, format)
    template = Template(text, suffix, fields.count("stem"))
    _check_samples(shown, template)
    return template


def _field(shown: str, field: str, spec: str | None, conversion: str | None) -> str:
    name = re.split(r"[.\[]", field)[0]
    if name not in FIELDS:
        raise QuantArtError(f"{shown}: {{{printable(field)}}} is not known: {suggest(name, FIELDS)}")
    if field != name or spec or conversion:
        raise QuantArtError(f"{shown}: a field stands alone in its braces: {{{name}}}")
    return name


def _check_characters(shown: str, literal: str) -> None:
    for character in _EVERYWHERE + (_WINDOWS if os.name == "nt" else ""):
        if character in literal:
            what = "NUL" if character == "\0" else character
            raise QuantArtError(f"{shown} holds {what}: give a file name, outputs mirror the folders by themselves")


def _own_suffix(shown: str, end: str, suffix: str | None, format: str | None) -> str:
    """The suffix that a template ends in, when it may."""
    own = os.path.splitext("_" + end)[1]
    valid = [known for known, name in SUFFIXES.items() if name in writable_formats()]
    if own.lower() not in valid:
        raise QuantArtError(f"{shown} does not end in {{suffix}} or in that of a format: {suggest(own, valid)}")
    if format is not None and format_name(own) != format_name(format):
        raise QuantArtError(f"{shown} contradicts --format {format}: end it in {{suffix}}")
    return own


def _check_samples(shown: str, template: Template) -> None:
    """The stem needs room, and no name may be hidden."""
    longest = template.text.format(stem="", style="x" * _LONGEST_STYLE, suffix=".xxxxx", ext="xxxxx")
    if (_LONGEST - _length(longest)) // template.stems < _LEAST_STEM:
        raise QuantArtError(f"{shown} makes names that are too long: shorten it")
    for ext in ("", "x"):
        if template.fill(Wish("", "x", "x", ".png", ext, "")).startswith("."):
            raise QuantArtError(f"{shown} begins with a dot: its outputs would be hidden")


def split_name(name: str) -> tuple[str, str]:
    """A file's name without its suffix, and the suffix with its dot; ``J. S. Bach`` and ``v1.2`` have none."""
    stem, suffix = os.path.splitext(name)
    short = len(suffix) <= 6 and suffix[1:].isascii() and suffix[1:].isalnum() and not suffix[1:].isdigit()
    return (stem, suffix) if short else (name, "")


def style_names(styles: Sequence[Sequence[str]]) -> list[str]:
    """A name for each style, fit for file names: the stems of its files joined with +; equal ones are numbered."""
    taken: set[str] = set()
    next_number: Counter[str] = Counter()
    names = []
    for files in styles:
        joined = "+".join(split_name(os.path.basename(file))[0] for file in files)
        clean = visible(
            "".join("_" if c in _EVERYWHERE + _WINDOWS or unicodedata.category(c) == "Cc" else c for c in joined)
        )
        if _length(clean) > _LONGEST_STYLE - 8:  # room for a number
            clean = f"{_cut(clean, _LONGEST_STYLE - 17)}_{_hash(joined)}"
        names.append(_first_free(clean.__add__, "", taken, next_number))
    return names


def distinct_names(template: Template, wishes: Sequence[Wish]) -> list[str]:
    """The outputs for ``wishes``, below the output folder: no two the same, whatever the file system takes for that.

    Names that are equal but for case or the way accents are spelled get their source's suffix appended to the stem,
    all of them (x_jpg.png, x_png.png), and so does a file named as a folder of other outputs; who still collides is
    numbered in the order of the sources. The order of ``wishes`` does not matter.
    """
    outputs = [wish.folder + template.fill(wish) for wish in wishes]
    keys = [_folded(output) for output in outputs]
    folders = _folders(wish.folder for wish in wishes)
    counts = Counter(keys)
    clashing = [at for at, key in enumerate(keys) if counts[key] > 1 or key in folders]
    if not clashing:
        return outputs
    taken = folders | {key for key, count in counts.items() if count == 1}
    next_number: Counter[str] = Counter()
    for at in sorted(clashing, key=lambda at: (wishes[at].source, wishes[at].style, at)):
        wish = wishes[at]
        tail = f"_{wish.ext}" if wish.ext else ""
        outputs[at] = _first_free(partial(_filled, template, wish), tail, taken, next_number)
    return outputs


def _filled(template: Template, wish: Wish, tail: str) -> str:
    return wish.folder + template.fill(wish, tail)


def _first_free(make: Callable[[str], str], tail: str, taken: set[str], next_number: Counter[str]) -> str:
    """``make(tail)``, or with the first of _2, _3, … after the tail that nobody has; ``taken`` has it afterwards."""
    made = make(tail)
    first = _folded(made)
    while _folded(made) in taken:
        next_number[first] = max(2, next_number[first] + 1)
        made = make(f"{tail}_{next_number[first]}")
    taken.add(_folded(made))
    return made


def _folders(given: Iterable[str]) -> set[str]:
    """The folded names of all folders, and of those they are in."""
    found: set[str] = set()
    for folder in set(given):
        folded = _folded(folder).rstrip("/")
        while folded and folded not in found:
            found.add(folded)
            folded = folded.rpartition("/")[0]
    return found


def _folded(path: str) -> str:
    """Equal for paths that some file system takes for the same: macOS and Windows fold case, macOS accents too."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def encoded(text: str) -> bytes:
    """The bytes of a path, those included that are no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, as Windows allows in names
        return text.encode("utf-8", "surrogatepass")


def _length(text: str) -> int:
    return len(encoded(text))


def _hash(text: str) -> str:
    return hashlib.sha256(encoded(text)).hexdigest()[:8]


def _cut(text: str, room: int) -> str:
    """As many whole characters from the start as fit into ``room`` bytes."""
    end = min(len(text), max(0, room))
    while _length(text[:end]) > room:
        end -= 1
    return text[:end]
