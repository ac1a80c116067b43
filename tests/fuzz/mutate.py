"""Throws damaged input at everything that reads what strangers write.

Each target returns or raises QuantArtError; any other exception is a fault. The corpus is fixed and the random numbers
are seeded, so a run is repeatable up to its length.

    python -m tests.fuzz.mutate --seconds 60

An input that fails is written to tests/fuzz/found/ as TARGET-HASH; tests/fuzz/test_found.py runs all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import safetensors.numpy

from quantart_cli.batch.naming import Wish, distinct_names, parse_template
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.manifest import manifest_path, read_manifest
from quantart_cli.checkpoints.readers import read_checkpoint
from quantart_cli.errors import QuantArtError
from quantart_cli.images import encode_picture, read_picture
from tests.images.samples import encoded, smooth, tiff

FOUND = Path(__file__).parent / "found"
_SMALL = PIL.Image.fromarray(smooth(8, 8))
_LARGEST = 1 << 16  # bytes of an input; mutations do not grow it further

_LONGEST = 10  # seconds for one input

Target = Callable[[bytes], object]


def picture(data: bytes) -> None:
    """Read a picture, and write it with its metadata."""
    read = read_picture(data, max_pixels=10**6)
    if read.width * read.height <= 1 << 16:
        for format in ("png", "jpeg"):
            encode_picture(read, format, background="white")


def metadata(data: bytes) -> None:
    """EXIF and XMP in a picture."""
    tags = data[: (1 << 16) - 100]
    for options in ({"exif": tags}, {"xmp": tags}):
        read = read_picture(encoded(_SMALL, "JPEG", **options))
        encode_picture(read, "jpeg", background="white")


def weights(data: bytes) -> None:
    """A file of weights: its header, and the whole of it."""
    with _file(data) as path:
        read_header(path)
        read_checkpoint(path)


def manifest(data: bytes) -> None:
    """The list of artefacts."""
    with _file(data) as path:
        read_manifest(path)


def names(data: bytes) -> None:
    """A ``--name`` and the names of files, one a line."""
    template, *stems = data.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    wishes = [Wish("", stem.replace("/", "_") or "x", "style", ".png", "jpg", stem) for stem in stems[:20]]
    made = distinct_names(parse_template(template, "png", several_styles=False), wishes)
    assert len(set(made)) == len(wishes), "two outputs have one name"
    assert all(len(part.encode("utf-8", "surrogateescape")) <= 255 for name in made for part in name.split("/"))


TARGETS: dict[str, Target] = {each.__name__: each for each in (picture, metadata, weights, manifest, names)}


class _file:
    """A temporary file with these bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "file"
        path.write_bytes(self._data)
        return path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def corpus() -> dict[str, list[bytes]]:
    """Whole inputs of each target."""
    rgb = PIL.Image.fromarray(smooth(20, 24))
    tags = PIL.Image.Exif()
    tags[0x0112], tags[0x010E], tags[0x9286] = 6, "a picture", b"ASCII\0\0\0note"
    tags.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" exif:PixelXDimension="24"/></x:xmpmeta>'
    grey = rgb.convert("L")
    pictures = [
        encoded(rgb, "JPEG", exif=tags.tobytes(), quality=80, xmp=xmp),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb.convert("RGBA"), "PNG", exif=tags.tobytes()),
        encoded(rgb.quantize(8), "PNG", transparency=1),
        encoded(grey, "PNG", dpi=(300, 300)),
        encoded(rgb, "WEBP", exif=tags.tobytes(), lossless=True),
        encoded(rgb, "TIFF", compression="tiff_lzw"),
        encoded(rgb.quantize(8), "GIF"),
        encoded(rgb, "BMP"),
        tiff(np.asarray(rgb).astype(np.uint16) * 257, planar=2),
        tiff(np.asarray(rgb).astype(np.float32) / 255, sample_format=3),
    ]
    tensors = safetensors.numpy.save({"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16)})
    return {
        "picture": pictures,
        "metadata": [tags.tobytes(), tags.tobytes()[6:], xmp],
        "weights": [tensors, _pickled()],
        "manifest": [manifest_path().read_bytes()],
        "names": [b"{stem}_{style}{suffix}\na\nA\nb.c\n\xff", "{stem:é}.png\nä\na\u0308".encode()],
    }


def _pickled() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(2, 3)}}, buffer)
    return buffer.getvalue()


def mutated(data: bytes, numbers: random.Random, others: list[bytes]) -> bytes:
    """A copy with a few bits flipped, bytes cut out, repeated, set to extremes, or taken from another input."""
    made = bytearray(data)
    for _ in range(numbers.choice((1, 1, 1, 2, 4, 8))):
        if not made:
            break
        at = numbers.randrange(len(made))
        length = min(numbers.choice((1, 1, 2, 4, 8, 64)), len(made) - at)
        match numbers.randrange(6):
            case 0:
                made[at] ^= 1 << numbers.randrange(8)
            case 1:
                del made[at : at + length]
            case 2:
                made[at:at] = made[at : at + length] * numbers.choice((1, 2, 100))
            case 3:
                made[at : at + length] = numbers.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
            case 4:
                other = numbers.choice(others)
                start = numbers.randrange(len(other))
                made[at : at + length] = other[start : start + length]
            case 5:
                del made[at:]
    return bytes(made[:_LARGEST])


def failure_of(target: Target, data: bytes) -> str | None:
    """The traceback of a fault; None: the input was read, or refused in one line, in less than ten seconds."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(_LONGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target(data)
    except QuantArtError as error:
        return None if str(error) and "\n" not in str(error) else f"not one line: {error!r}"
    except Exception:
        return traceback.format_exc()
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)
    return None


def _too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {_LONGEST} seconds")


def run(seconds: float, seed: int, only: tuple[str, ...] = ()) -> dict[str, tuple[int, dict[str, tuple[bytes, str]]]]:
    """Mutate for so long. Target -> (number of inputs, last line of the fault -> (input, traceback))."""
    inputs = corpus()
    chosen = only or tuple(TARGETS)
    report = {}
    for name in chosen:
        numbers, count, faults = random.Random(f"{seed} {name}"), 0, {}
        end = time.monotonic() + seconds / len(chosen)
        while time.monotonic() < end:
            data = mutated(numbers.choice(inputs[name]), numbers, inputs[name])
            count += 1
            said = failure_of(TARGETS[name], data)
            if said is not None:
                faults.setdefault(said.strip().splitlines()[-1][:80], (data, said))
        report[name] = count, faults
    return report


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", action="append", choices=TARGETS, default=[])
    given = options.parse_args()
    failed = False
    for name, (count, faults) in run(given.seconds, given.seed, tuple(given.only)).items():
        print(f"{name}: {count} inputs, {len(faults)} kinds of faults")
        for data, said in faults.values():
            path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"{said}\n  input: {path}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
