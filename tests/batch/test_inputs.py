"""Which pictures are found, in what order and where they belong."""

import io
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from quantart_cli import QuantArtError
from quantart_cli.batch import walking
from quantart_cli.batch.inputs import find_pictures

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes empty files below the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(*paths: str) -> None:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    return make


def places(*given: str, **options) -> list[str]:
    return [picture.place for picture in find_pictures(given, **options).pictures]


def paths(*given: str, **options) -> list[str]:
    return [picture.path.replace(os.sep, "/") for picture in find_pictures(given, **options).pictures]


def listed(tmp_path, data: bytes) -> list[tuple[str, str]]:
    (tmp_path / "list.txt").write_bytes(data)
    return [(picture.path, picture.place) for picture in find_pictures([], ["list.txt"]).pictures]


def test_a_folder_gives_its_pictures_files_first_in_the_order_of_names(tree):
    tree("p/b/2.PNG", "p/b/1.jpg", "p/a/z/x.webp", "p/a/y.tiff", "p/z.jpeg", "p/-x.jpg", "p/ö ü.gif")
    assert places("p") == ["-x.jpg", "z.jpeg", "ö ü.gif", "a/y.tiff", "a/z/x.webp", "b/1.jpg", "b/2.PNG"]
    assert paths("p")[:2] == ["p/-x.jpg", "p/z.jpeg"]
    assert paths("p/") == paths("p")


def test_hidden_files_and_other_files_are_counted_and_passed_over(tree):
    tree("p/a.jpg", "p/.hidden.jpg", "p/.git/x.jpg", "p/.git/y.jpg", "p/notes.txt", "p/README", "p/clip.mp4")
    Path("p/clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    found = find_pictures(["p"])
    assert [picture.place for picture in found.pictures] == ["a.jpg"]
    assert found.passed_over == {walking.HIDDEN: 2, walking.NOT_PICTURES: 2}
    assert found.unreadable[os.path.join("p", "clip.mp4")].startswith("a film: ")
    assert found.describe() == "2 hidden, 2 not pictures, 1 unreadable (film: 1)"


def test_without_recursion_only_the_folder_itself_is_looked_into(tree):
    tree("p/a.jpg", "p/b/c.jpg", "p/d/e.jpg")
    found = find_pictures(["p"], recursive=False)
    assert [picture.place for picture in found.pictures] == ["a.jpg"]
    assert found.passed_over == {walking.SUBFOLDERS: 2}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p/*.jpg", ["a.jpg", "b1.jpg"]),
        ("p/**/*.jpg", ["a.jpg", "b1.jpg", "c/d.jpg", "c/e/f.jpg"]),
        ("p/**", ["a.jpg", "b1.jpg", "g.png", "c/d.jpg", "c/e/f.jpg"]),
        ("p/**/e/**/*.jpg", ["c/e/f.jpg"]),
        ("p/b?.jpg", ["b1.jpg"]),
        ("p/[ag].*", ["a.jpg", "g.png"]),
        ("p/[!a].png", ["g.png"]),
        ("*/c/*.jpg", ["p/c/d.jpg"]),
        ("p/./*/*.jpg", ["c/d.jpg"]),
        ("**/d.jpg", ["p/c/d.jpg"]),
    ],
)
def test_patterns(tree, pattern, expected):
    tree("p/a.jpg", "p/b1.jpg", "p/g.png", "p/c/d.jpg", "p/c/e/f.jpg", "p/.h/i.jpg", "p/.j.jpg", "p/notes.txt")
    assert places(pattern) == expected


def test_patterns_agree_with_the_library_on_random_trees(tree):
    import glob

    choose = random.Random(5)
    parts = ["a", "b", "ab", "ba"]
    tree(*("/".join(choose.choices(parts, k=choose.randint(1, 4))) + f"/{choose.choice(parts)}.jpg" for _ in range(60)))
    wild = ["*", "a*", "?", "**", "[ab]", "*b", "**"]
    compared = 0
    for _ in range(150):
        pattern = "/".join([*choose.choices(wild, k=choose.randint(1, 4)), choose.choice(["*.jpg", "a*.jpg", "?.jpg"])])
        expected = {path.replace(os.sep, "/") for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
        if expected:
            assert set(paths(pattern)) == expected, pattern
            compared += 1
    assert compared > 50


def test_a_pattern_never_takes_time_that_grows_with_its_stars(tree):
    deep = "/".join("a" * 30)
    tree(f"{deep}/x.jpg")
    assert places("/".join(["**", "a"] * 12 + ["**", "x.jpg"])) == [f"{deep}/x.jpg"]


def test_what_exists_is_no_pattern(tree):
    tree("[2020]/x.jpg", "a[1].jpg", "a1.jpg")
    assert places("[2020]") == ["x.jpg"]
    assert places("a[1].jpg") == ["a[1].jpg"]
    assert places("[[]2020]/*.jpg") == ["[2020]/x.jpg"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("photos/beech.jpg", "did you mean photos/beach.jpg?"),
        ("photo", "did you mean photos?"),
        ("fotos/", "did you mean photos?"),
        ("nowhere/at/all.jpg", "nor does the folder nowhere/at"),
        ("photos/*.tif", "photos/*.tif matches no file"),
        ("fotos/*.jpg", "did you mean photos?"),
        ("photos/[z-a]*.jpg", "photos/[z-a]*.jpg"),
        ("-", "--from-file -"),
        ("", "empty"),
        ("https://example.org/x.jpg", "download the picture first"),
        ("photos/beach.jpg/x", "a part of the path is a file"),
    ],
)
def test_an_input_that_is_not_there_is_refused(tree, given, said):
    tree("photos/beach.jpg")
    with pytest.raises(QuantArtError) as refused:
        find_pictures([given])
    assert said in str(refused.value).replace(os.sep, "/")
    assert "\n" not in str(refused.value)


def test_files_named_by_themselves_are_taken_as_they_are(tree):
    tree("a/x.jpg", "a/scan", "a/.hidden.jpg", "-y.jpg")
    assert places("a/x.jpg", "a/scan", "a/.hidden.jpg", "-y.jpg") == ["x.jpg", "scan", "_hidden.jpg", "-y.jpg"]


def test_several_folders_are_kept_apart_by_their_names_and_files_lie_at_the_top(tree):
    tree("in/a/x.jpg", "in/b/x.jpg", "y.jpg", "in/b/c/z.jpg", "top.jpg")
    assert places("in/a", "y.jpg") == ["x.jpg", "y.jpg"]
    assert places("in/a/", "in/b", "y.jpg") == ["a/x.jpg", "b/x.jpg", "b/c/z.jpg", "y.jpg"]
    assert places("in/a", "in/b/**/z*.jpg") == ["a/x.jpg", "b/c/z.jpg"]
    assert places("*.jpg", "in/a") == ["top.jpg", "y.jpg", "a/x.jpg"]
    assert places("in/a", "./in/a/") == ["x.jpg"]


def test_a_hidden_folder_that_is_named_is_walked_and_mirrored_visibly(tree):
    tree(".in/x.jpg", "b/y.jpg")
    assert places(".in", "b") == ["_in/x.jpg", "b/y.jpg"]


def test_a_picture_given_twice_is_taken_once(tree):
    tree("p/a.jpg", "p/b/c.jpg")
    found = find_pictures(["p", "p/b", "p/a.jpg", "./p/../p/a.jpg"])
    assert [picture.place for picture in found.pictures] == ["p/a.jpg", "p/b/c.jpg"]
    assert found.passed_over == {walking.TWICE: 3}


@links
def test_links_to_files_are_painted_under_their_own_names_broken_ones_fail_later(tree):
    tree("p/a.jpg", "elsewhere/data.bin")
    os.symlink("a.jpg", "p/b.jpg")
    os.symlink("../elsewhere/data.bin", "p/c.jpg")
    os.symlink("nowhere", "p/d.jpg")
    os.symlink("nowhere", "p/e.txt")
    os.symlink("f.jpg", "p/f.jpg")
    assert places("p") == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "f.jpg"]
    assert places("p/d.jpg") == ["d.jpg"]


@links
def test_links_to_folders_are_followed_once_after_the_real_ones(tree):
    tree("p/m/x.jpg", "p/z/y.jpg", "elsewhere/e.jpg", "elsewhere/deep/f.jpg")
    os.symlink("z", "p/a")  # sorts before what it points at
    os.symlink("..", "p/m/up")  # a loop
    os.symlink("../elsewhere", "p/b")
    os.symlink("../elsewhere/deep", "p/c")
    os.symlink("../../elsewhere", "p/z/again")
    os.symlink("../p", "elsewhere/back")
    found = find_pictures(["p"])
    assert [picture.place for picture in found.pictures] == ["m/x.jpg", "z/y.jpg", "b/e.jpg", "b/deep/f.jpg"]
    assert found.passed_over == {walking.SEEN: 5}


@links
def test_a_link_takes_no_picture_from_the_input_it_lies_in(tree):
    tree("a/x.jpg", "b/y.jpg")
    os.symlink("../b", "a/link")
    assert places("a", "b") == ["a/x.jpg", "b/y.jpg"]
    assert places("a/link") == ["y.jpg"]


@links
def test_a_pattern_that_only_a_link_can_fulfil(tree):
    tree("p/notes.txt", "elsewhere/x.jpg")
    os.symlink("../elsewhere", "p/link")
    assert places("p/*/*.jpg") == ["link/x.jpg"]


def test_a_folder_that_cannot_be_listed_is_told(tree, monkeypatch):
    tree("p/a.jpg", "p/closed/x.jpg", "p/open/y.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(walking.os, "scandir", refuse)
    found = find_pictures(["p"])
    assert [picture.place for picture in found.pictures] == ["a.jpg", "open/y.jpg"]
    assert found.troubles == [f"{os.path.join('p', 'closed')} cannot be listed: permission denied"]


def test_the_output_folder_inside_an_input_is_not_walked(tree):
    tree("p/a.jpg", "p/out/b.jpg", "p/out/c/d.jpg")
    assert places("p", output="p/out") == ["a.jpg"]
    assert places("p/out", output="p/out") == ["b.jpg", "c/d.jpg"]
    assert places("p", output="elsewhere") == ["a.jpg", "out/b.jpg", "out/c/d.jpg"]


def test_what_quantart_made_itself_is_passed_over(tree, tmp_path):
    tree("p/a.jpg", "p/a_painted.jpg", "p/b/c.jpg")
    real = os.path.realpath(tmp_path)
    own = {os.path.join(real, "p", "a_painted.jpg"), os.path.join(real, "p", "b", "c.jpg")}
    found = find_pictures(["p", "p/b/c.jpg"], own=own)
    assert [picture.place for picture in found.pictures] == ["a.jpg"]
    assert found.passed_over == {walking.OWN: 3}


@links
def test_a_link_to_what_quantart_made_itself_is_passed_over(tree, tmp_path):
    tree("p/a.jpg", "out/b.jpg")
    os.symlink("../out/b.jpg", "p/b.jpg")
    assert places("p", own={os.path.join(os.path.realpath(tmp_path), "out", "b.jpg")}) == ["a.jpg"]


def test_a_list_keeps_relative_paths_and_tolerates_what_editors_do(tree, tmp_path):
    tree("a/x.jpg")
    data = b"\xef\xbb\xbfa/x.jpg\r\n\r\n./b//missing.png\n   \n\xc3\xa9 \xff.jpg\n-\n.quantart/ledger"
    assert listed(tmp_path, data) == [
        ("a/x.jpg", "a/x.jpg"),
        ("./b//missing.png", "b/missing.png"),
        ("é \udcff.jpg", "é \udcff.jpg"),
        (os.path.join(".", "-"), "-"),
        (".quantart/ledger", "_quantart/ledger"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_a_list_takes_other_paths_from_the_folder_they_share(tree, tmp_path):
    data = b"here/x.jpg\n/data/set/a/1.jpg\n/data/set/b/c/2.jpg\n/data/set/3.jpg\n/data/set/a/../../set/4.jpg/\n"
    assert [place for _, place in listed(tmp_path, data)] == ["here/x.jpg", "a/1.jpg", "b/c/2.jpg", "3.jpg", "4.jpg"]
    assert [place for _, place in listed(tmp_path, b"../x/1.jpg\n../y/2.jpg")] == ["x/1.jpg", "y/2.jpg"]
    assert [place for _, place in listed(tmp_path, b"/data/set/1.jpg\n")] == ["1.jpg"]
    assert [place for _, place in listed(tmp_path, b"/no\n/no/.x\n")] == ["no", "no/_x"]  # these fail later, by name


def test_folders_in_a_list_are_read_like_folders_given(tree, tmp_path):
    tree("p/x.jpg", "p/y.jpg", "p/sub/z.jpg", "p/sub/notes.txt", "q/r/w.jpg")
    data = b"p\np/sub/z.jpg\np/x.jpg\n./q/\n"  # what find lists: the folder too
    assert [place for _, place in listed(tmp_path, data)] == ["p/x.jpg", "p/y.jpg", "p/sub/z.jpg", "q/r/w.jpg"]
    assert [place for _, place in listed(tmp_path, f"{tmp_path}/p/sub/\n{tmp_path}/p/x.jpg".encode())] == [
        "sub/z.jpg",
        "x.jpg",
    ]
    (tmp_path / "list.txt").write_text(".")
    found = find_pictures([], ["list.txt"], recursive=False)
    assert (found.pictures, found.passed_over[walking.SUBFOLDERS]) == ([], 2)


def test_a_list_on_stdin(tree, monkeypatch):
    tree("a.jpg")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a.jpg\nb.jpg"), closed=False))
    assert places(lists=["-"]) == ["a.jpg", "b.jpg"]
    with pytest.raises(QuantArtError, match="stdin holds one list"):
        find_pictures([], ["-", "-"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("names.text", "did you mean names.txt?"),
        ("folder", "the list folder cannot be read: it is a folder"),
        ("binary.txt", "binary.txt is no list of pictures"),
    ],
)
def test_a_list_that_is_none_is_refused(tree, given, said):
    tree("names.txt", "folder/x")
    with open("binary.txt", "wb") as file:
        file.write("a.jpg\n".encode("utf-16"))
    with pytest.raises(QuantArtError) as refused:
        find_pictures([], [given])
    assert said in str(refused.value)


def test_names_that_are_no_utf8_are_found(tree, tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"p", b"\xe9t\xe9.jpg")
    os.mkdir("p")
    try:
        open(name, "wb").close()
    except OSError:
        pytest.skip("this file system takes no such name")
    (picture,) = find_pictures(["p"]).pictures
    assert os.fsencode(picture.path) == b"p/\xe9t\xe9.jpg"
    assert picture.place == "\udce9t\udce9.jpg"
