"""EXIF edited in place: what has to change does, everything else is the same byte for byte."""

import random

import pytest

from quantart_cli.images import exif
from tests.images.samples import XMP, camera_exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_what_must_change_changes(order):
    block = camera_exif(8, order)
    assert exif.orientation_of(block) == 8
    clean = exif.cleaned(block)
    assert exif.orientation_of(clean) is None
    assert b"THUMBNAIL" not in clean
    assert len(clean) < 400  # the thumbnail lay last
    changed = [at for at, (old, new) in enumerate(zip(block, clean, strict=False)) if old != new]
    assert all(8 <= at < 74 or 100 <= at < 154 for at in changed)  # IFD0 and ColorSpace
    assert exif.cleaned(clean) == clean


def test_thumbnail_in_the_middle_is_blanked():
    block = bytearray(camera_exif(1))
    block[10 + 8 : 10 + 12] = len(block).to_bytes(4, "little")  # Make lies behind the thumbnail
    clean = exif.cleaned(bytes(block + b"Tester Y\0"))
    assert b"THUMBNAIL" not in clean
    assert clean.endswith(b"Tester Y\0")


def test_values_outside_the_block_go():
    block = bytearray(camera_exif(1))
    block[10 + 8 : 10 + 12] = (9999).to_bytes(4, "little")
    assert b"\x0f\x01" not in exif.cleaned(bytes(block))[:70]
    assert b"\x1a\x01" in exif.cleaned(bytes(block))[:70]


def test_sizes_beyond_sixteen_bits_become_long():
    clean = exif.cleaned(camera_exif(1))
    larger = exif.with_size(clean, 70000, 80000)
    at = (
        larger.index(b"\x02\xa0\x03\x00\x01\x00")
        if b"\x02\xa0\x03\x00" in larger
        else larger.index(b"\x02\xa0\x04\x00")
    )
    assert int.from_bytes(larger[at + 8 : at + 12], "little") == 70000
    assert larger[at + 2] == 4
    assert exif.with_size(larger, 5, 6) != larger


def test_nothing_left():
    only_orientation = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    assert exif.orientation_of(only_orientation) == 6
    assert exif.cleaned(only_orientation) is None


def test_damage_never_gets_through():
    """Whatever the bytes: ValueError, or a block that can be edited again."""
    generator = random.Random(0)
    outcomes = set()
    for _ in range(3000):
        block = bytearray(camera_exif(generator.randrange(1, 9), generator.choice("<>")))
        for _ in range(generator.choice([1, 2, 8])):
            block[generator.randrange(200)] = generator.choice([0, 8, 100, 255, generator.randrange(256)])
        try:
            clean = exif.cleaned(bytes(block[: generator.choice([len(block), generator.randrange(len(block))])]))
            if clean:
                exif.with_size(clean, 70000, 3)
            outcomes.add("edited")
        except ValueError:
            outcomes.add("refused")
    assert outcomes == {"edited", "refused"}


def test_xmp():
    clean = exif.cleaned_xmp(XMP)
    assert b"Orientation" not in clean
    assert b"GCamera" not in clean
    assert b'dc:creator="me"' in clean
    assert clean.count(b"<") == XMP.count(b"<") - 2
    assert (
        exif.cleaned_xmp(b"<a xmlns:GCamera=\"http://x\" tiff:Orientation = '6'/>") == b'<a xmlns:GCamera="http://x"/>'
    )
    sized = exif.xmp_with_size(clean, 7, 8)
    assert b'exif:PixelXDimension="7"' in sized
    assert b"<tiff:ImageLength>8</tiff:ImageLength>" in sized
