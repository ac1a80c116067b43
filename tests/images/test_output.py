"""Files appear whole or not at all, and what cannot be written is refused beforehand."""

import errno
import os
import stat

import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, check_output, encode_picture, read_picture, save_picture
from tests.images.samples import noise


@pytest.fixture
def picture() -> Picture:
    return Picture(noise(4, 5))


def names(folder) -> list[str]:
    return sorted(os.listdir(folder))


def refusal(*arguments, **options) -> str:
    with pytest.raises(QuantArtError) as caught:
        check_output(*arguments, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_written_and_replaced(tmp_path, picture):
    path = tmp_path / "out.png"
    save_picture(picture, path)
    save_picture(Picture(255 - picture.rgb), str(path))
    assert (read_picture(path).rgb == 255 - picture.rgb).all()
    assert names(tmp_path) == ["out.png"]


def test_modes(tmp_path, picture):
    before = os.umask(0o027)
    try:
        save_picture(picture, tmp_path / "new.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "new.png").st_mode) == 0o640
    os.chmod(tmp_path / "new.png", 0o604)
    save_picture(picture, tmp_path / "new.png")
    assert stat.S_IMODE(os.stat(tmp_path / "new.png").st_mode) == 0o604


def test_symbolic_links_stay(tmp_path, picture):
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to("far/real.png")
    for _ in range(2):  # dangling, then not
        assert check_output(link, []) == "png"
        save_picture(picture, link)
        assert link.is_symlink()
        assert read_picture(tmp_path / "far" / "real.png").size == (5, 4)
    assert names(tmp_path) == ["far", "link.png"]
    assert names(tmp_path / "far") == ["real.png"]


def test_what_is_no_regular_file_is_written_directly(tmp_path, picture):
    assert check_output("/dev/null", [], format="png") == "png"
    save_picture(picture, "/dev/null", format="png")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert check_output(pipe, []) == "png"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    save_picture(picture, pipe)
    assert os.read(reader, 1 << 20) == encode_picture(picture, "png")
    os.close(reader)
    if os.path.exists("/dev/full"):  # Linux
        with pytest.raises(QuantArtError, match="no space left"):
            save_picture(picture, "/dev/full", format="png")


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_behind(tmp_path, monkeypatch, picture, call, error):
    path = tmp_path / "out.png"
    path.write_bytes(b"before")
    genuine = getattr(os, call)

    def fails(*arguments, **options):
        if call == "open":  # the file is made, and then ...
            os.close(genuine(*arguments, **options))
        raise error

    monkeypatch.setattr(os, call, fails)
    expected = QuantArtError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save_picture(picture, path)
    monkeypatch.undo()
    if expected is QuantArtError:
        assert str(caught.value) == f"{path} cannot be written: no space left on the disk: free some or write elsewhere"
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["out.png"]


def test_file_systems_that_cannot_sync(tmp_path, monkeypatch, picture):
    def unsupported(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    save_picture(picture, tmp_path / "out.png")
    assert read_picture(tmp_path / "out.png").size == (5, 4)


def test_formats(tmp_path):
    for name, format in [("a.JPG", "jpeg"), ("a.jpeg", "jpeg"), ("b.c.tif", "tiff"), ("a.webp", "webp"), ("x", "png")]:
        given = "png" if name == "x" else None
        assert check_output(tmp_path / name, [], format=given) == format
    assert check_output(tmp_path / "a.dat", [], format="JPG") == "jpeg"
    assert "did you mean .jpeg?" in refusal(tmp_path / "a.jpegg", [])
    assert ".heic pictures cannot be written" in refusal(tmp_path / "a.heic", [])
    for name in ("out", ".png", "out."):
        assert "suffix" in refusal(tmp_path / name, []) or "cannot be written" in refusal(tmp_path / name, [])
    assert "format 'jgp' is not known: did you mean jpg?" in refusal(tmp_path / "a.png", [], format="jgp")
    assert names(tmp_path) == []


def test_folders(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert "make the folder" in refusal(tmp_path / "no" / "where" / "a.png", [])
    assert f"{tmp_path / 'file'} is a file, not a folder" in refusal(tmp_path / "file" / "a.png", [])
    assert f"{tmp_path / 'file'} is a file, not a folder" in refusal(tmp_path / "file" / "deep" / "a.png", [])
    for folder in (tmp_path, f"{tmp_path}/", f"{tmp_path}/new.png/"):
        assert "is a folder: give a file name" in refusal(folder, [])
    if os.path.isdir("/proc/self"):  # Linux: a folder that takes nothing from root either
        assert "takes no new file" in refusal("/proc/a.png", [])
    assert "too long" in refusal(tmp_path / ("a" * 300 + ".png"), [])
    assert "no file name can have" in refusal(f"{tmp_path}/a\0.png", [])
    assert "empty" in refusal("", [])
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "circle" in refusal(tmp_path / "loop.png", [])
    assert names(tmp_path) == ["file", "loop.png"]


def test_folder_or_file_that_takes_nothing(tmp_path, monkeypatch):
    existing = tmp_path / "there.png"
    existing.write_bytes(b"before")
    genuine = os.open

    def read_only(path, flags, *rest, **options):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return genuine(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)
    assert f"the folder {tmp_path} takes no new file: the file system is read-only" in refusal(tmp_path / "a.png", [])

    def protected(path, flags, *rest, **options):
        if path == str(existing):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return genuine(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", protected)
    assert "there.png exists and cannot be replaced: permission denied" in refusal(existing, [])
    monkeypatch.undo()
    assert check_output(existing, []) == "png"
    assert existing.read_bytes() == b"before"


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root writes anywhere")
def test_folder_without_permission(tmp_path):
    os.chmod(tmp_path, 0o555)
    assert "permission denied" in refusal(tmp_path / "a.png", [])
    os.chmod(tmp_path, 0o755)


def test_inputs_are_not_overwritten(tmp_path, picture, monkeypatch):
    source = tmp_path / "in.png"
    save_picture(picture, source)
    (tmp_path / "soft.png").symlink_to(source)
    os.link(source, tmp_path / "hard.png")
    monkeypatch.chdir(tmp_path)
    for output in (source, "in.png", "./in.png", tmp_path / "soft.png", tmp_path / "hard.png"):
        message = refusal(output, ["-", b"bytes", picture.rgb, tmp_path / "absent.png", source])
        assert "is an input and would be overwritten" in message
        with pytest.raises(QuantArtError):
            check_output(source, [str(output)])
    assert check_output(tmp_path / "other.png", ["-", b"bytes", source]) == "png"


def test_alpha_and_background(tmp_path):
    for name in ("a.jpg", "a.bmp"):
        assert "background=white" in refusal(tmp_path / name, [], has_alpha=True)
        check_output(tmp_path / name, [], has_alpha=True, background="white")
        check_output(tmp_path / name, [])
    assert check_output(tmp_path / "a.png", [], has_alpha=True) == "png"
    assert "not an opaque colour" in refusal(tmp_path / "a.png", [], background="wihte")


def test_stdout(capfdbinary):
    assert check_output("-", ["-"]) == "png"
    assert check_output("-", [], format="jpeg") == "jpeg"
    assert "background=white" in refusal("-", [], format="jpeg", has_alpha=True)


def test_a_suffix_that_contradicts_the_format(tmp_path, picture):
    message = refusal(tmp_path / "a.jpg", [], format="png")
    assert message.endswith("a.jpg ends in .jpg and format=png contradicts that: leave one of them out")
    with pytest.raises(QuantArtError, match="contradicts"):
        save_picture(picture, tmp_path / "a.jpg", format="png")
    assert check_output(tmp_path / "a.jpe", [], format="jpg") == "jpeg"
    for name in ("a.mpo", "a.avifs", "a.heic"):
        assert "pictures cannot be written" in refusal(tmp_path / name, [])


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("a.jpg", (65501, 2), "jpeg holds at most 65500 pixels a side, not 65501 x 2 pixels"),
        ("a.webp", (3, 16384), "webp holds at most 16383"),
        ("a.gif", (65536, 1), "gif holds at most 65535"),
        ("a.tif", (40000, 30000), "tiff holds at most 4 GB"),
        ("a.bmp", (40000, 30000), "bmp holds at most 4 GB"),
    ],
)
def test_sizes_are_checked_beforehand(tmp_path, name, size, words):
    assert words in refusal(tmp_path / name, [], size=size)
    assert check_output(tmp_path / name, [], size=(100, 100))
    assert check_output(tmp_path / "a.png", [], size=size) == "png"
