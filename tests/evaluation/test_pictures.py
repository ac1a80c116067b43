"""Squares, names and pairs."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.pictures import (
    Pair,
    Source,
    check_pattern,
    choose_pairs,
    find_outputs,
    find_pictures,
    named,
    square,
)


def sources(prefix, count):
    return [Source(Path(f"{prefix}{i}.png"), f"{prefix}{i}") for i in range(count)]


def test_square_is_the_middle(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (10, 200, 30)
    PIL.Image.fromarray(wide).save(tmp_path / "wide.png")
    found = square(tmp_path / "wide.png", 32)
    assert found.shape == (32, 32, 3)
    assert (found == (10, 200, 30)).all()
    with pytest.raises(QuantArtError):
        square(tmp_path / "none.png", 32)


def test_a_preset_is_a_picture():
    assert [path.stem for path in find_pictures("@ink-wash")] == ["ink-wash"]
    with pytest.raises(QuantArtError, match="did you mean @ink-wash"):
        find_pictures("@ink-wish")


def test_names_are_unique():
    paths = [Path("a/x.png"), Path("a/y.png"), Path("a/y.jpg"), Path("a/z.png"), Path("b/z.png")]
    assert [source.name for source in named(paths)] == ["x", "y.png", "y.jpg", "a_z.png", "b_z.png"]


@pytest.mark.parametrize(("contents", "styles", "count"), [(4, 6, 24), (5, 3, 15), (7, 7, 40), (3, 1, 9), (200, 3, 30)])
def test_pairs_are_different_and_even(contents, styles, count):
    c, s = sources("c", contents), sources("s", styles)
    pairs = choose_pairs(c, s, count, seed=1)
    assert len(pairs) == min(count, contents * styles)
    assert len({pair.name for pair in pairs}) == len(pairs)
    for chosen in ([pair.content.name for pair in pairs], [pair.style.name for pair in pairs]):
        times = [chosen.count(name) for name in set(chosen)]
        assert max(times) - min(times) <= 1
    assert pairs == choose_pairs(c[::-1], s[::-1], count, seed=1)
    assert pairs[: count // 2] == choose_pairs(c, s, count // 2, seed=1)


def test_seeds_differ():
    c, s = sources("c", 20), sources("s", 20)
    assert choose_pairs(c, s, 10, seed=1) != choose_pairs(c, s, 10, seed=2)


def test_outputs_are_found_by_name(tmp_path):
    c, s = sources("c", 2), sources("s", 2)
    for name in ("c0--s1.png", "c1--s0.jpg", "c1--s9.png", "other.png"):
        (tmp_path / name).touch()
    found = find_outputs(tmp_path, "{content}--{style}", c, s)
    assert found == {("c0", "s1"): tmp_path / "c0--s1.png", ("c1", "s0"): tmp_path / "c1--s0.jpg"}
    assert Pair(c[0], s[1]).name == "c0--s1"
    assert find_outputs(tmp_path, "{style}_{content}", c, s) == {}
    with pytest.raises(QuantArtError, match="no folder"):
        find_outputs(tmp_path / "none", "{content}--{style}", c, s)


@pytest.mark.parametrize("pattern", ["{content}", "{content}{content}{style}", "{0}", "{content}-{style", "{a}{style}"])
def test_patterns_that_are_none(pattern):
    with pytest.raises(QuantArtError, match="pattern"):
        check_pattern(pattern)


def test_patterns():
    assert check_pattern("{style}_{content}_x") == "{style}_{content}_x"
