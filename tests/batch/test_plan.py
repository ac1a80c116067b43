"""The whole plan: styles, order, shards, and what is refused before anything is painted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantart_cli import QuantArtError
from quantart_cli.batch import plan as planning
from quantart_cli.batch.plan import Plan, Request, WorkItem, make_plan, parse_shard

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes files below the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(*paths: str) -> None:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(path)

    make("wave.jpg")
    return make


def planned(*inputs: str, styles=("wave.jpg",), output="out", own=(), **options) -> Plan:
    return make_plan(Request(inputs=inputs, styles=styles, output=output, **options), own)


def refused(*inputs: str, **options) -> str:
    with pytest.raises(QuantArtError) as error:
        planned(*inputs, **options)
    assert "\n" not in str(error.value)
    return str(error.value).replace(os.sep, "/")


def outputs(plan: Plan) -> list[str]:
    return [job.output for job in plan.items]


def test_a_folder_in_one_style(tree):
    tree("p/b/y.png", "p/x.JPG", "p/notes.txt", "p/.DS_Store")
    plan = planned("p")
    assert plan.items == [
        WorkItem(os.path.join("p", "x.JPG"), "x.JPG", 0),
        WorkItem(os.path.join("p", "b", "y.png"), "b/y.png", 0),
    ]
    assert plan.styles == [("wave.jpg",)]
    assert plan.found.passed_over == {"hidden": 1, "not pictures": 1}
    assert plan.found.troubles == []
    assert plan == planned("p")


def test_any_mix_of_inputs(tree):
    tree("p/x.jpg", "q/x.jpg", "single.gif", "list.txt")
    Path("list.txt").write_text("far/away.jpg\np/x.jpg\n")
    plan = planned("p", "q/*.jpg", "single.gif", lists=["list.txt"])
    assert outputs(plan) == ["p/x.jpg", "q/x.jpg", "single.png", "far/away.jpg"]
    assert plan.found.passed_over == {"given twice": 1}


def test_colliding_pictures_are_told_apart(tree):
    tree("p/x.jpg", "p/x.png", "p/y.gif")
    assert outputs(planned("p", format="webp")) == ["x_jpg.webp", "x_png.webp", "y.webp"]
    assert outputs(planned("p", format="webp", name="{stem}.{ext}{suffix}")) == [
        "x.jpg.webp",
        "x.png.webp",
        "y.gif.webp",
    ]


def test_several_styles_are_one_blend(tree):
    tree("p/x.jpg", "night.png")
    plan = planned("p", styles=["wave.jpg", "night.png", "wave.jpg"], name="{stem}_{style}{suffix}")
    assert plan.styles == [("wave.jpg", "night.png", "wave.jpg")]
    assert plan.items == [WorkItem(os.path.join("p", "x.jpg"), "x_wave+night+wave.jpg", 0)]


def test_each_style_paints_every_picture_in_every_style(tree):
    tree("p/x.jpg", "p/y.jpg", "s/b.png", "s/a.jpg", "s/deep/b.jpg", "s/readme.txt")
    plan = planned("p", styles=["wave.jpg", "s"], each_style=True)
    assert [style[0].replace(os.sep, "/") for style in plan.styles] == [
        "wave.jpg",
        "s/a.jpg",
        "s/b.png",
        "s/deep/b.jpg",
    ]
    assert outputs(plan) == [f"{stem}_{style}.jpg" for stem in "xy" for style in ("wave", "a", "b", "b_2")]
    assert [job.style for job in plan.items] == [0, 1, 2, 3] * 2
    assert plan.found.passed_over == {"not pictures among the styles": 1}
    assert len(planned("p", styles=["s"], each_style=True, recursive=False).styles) == 2


def test_one_style_alone_is_not_in_the_name(tree):
    tree("p/x.jpg", "s/a.jpg")
    assert outputs(planned("p", styles=["s"], each_style=True)) == ["x.jpg"]


def test_no_more_styles_are_in_use_at_a_time_than_are_held(tree):
    tree("p/x.jpg", "p/y.jpg", *(f"s/{n:03}.jpg" for n in range(70)))
    order = [(os.path.basename(job.source)[0], job.style) for job in planned("p", styles=["s"], each_style=True).items]
    blocks = [range(32), range(32, 64), range(64, 70)]
    assert order == [(stem, style) for block in blocks for stem in "xy" for style in block]
    assert planning.STYLES_AT_ONCE == 32


def test_styles_that_cannot_be(tree):
    tree("p/x.jpg", "s/a.jpg", "empty/readme.txt")
    assert "did you mean wave.jpg?" in refused("p", styles=["wawe.jpg"])
    assert "did you mean wave.jpg?" in refused("p", styles=["wawe.jpg"], each_style=True)
    assert "--each-style" in refused("p", styles=["s"])
    assert "no styles in empty: passed over 1 not pictures" in refused("p", styles=["empty"], each_style=True)
    assert "there is no style" in refused("p", styles=[])
    assert "- is no file" in refused("p", styles=["-"])
    assert "lacks {style}" in refused("p", styles=["s", "wave.jpg"], each_style=True, name="{stem}{suffix}")


def test_nothing_to_paint_says_why(tree, monkeypatch):
    tree("p/.hidden.jpg", "p/a.txt", "p/b.txt")
    said = refused("p")
    assert said.startswith("no pictures in p: passed over 1 hidden, 2 not pictures; quantart looks for .")
    assert " .apng, " in said  # before it may stand those of an extra
    Path("list.txt").touch()
    assert refused(lists=["list.txt"]).startswith("no pictures in list.txt: quantart looks for")
    assert refused("p/*", lists=["list.txt"] * 4).startswith("no pictures in p/*, ")

    def closed(path):
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "scandir", closed)
    assert refused("p") == "no pictures in p: p cannot be listed: permission denied"


def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_is_painted(tree, monkeypatch):
    tree("p/x.jpg", "p/closed/y.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "no")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    plan = planned("p")
    assert outputs(plan) == ["x.jpg"]
    assert len(plan.found.troubles) == 1


def test_an_output_is_never_an_input(tree):
    tree("p/x.jpg", "p/deep/y.jpg")
    assert "p/x.jpg is an input and would be overwritten: choose another output folder or --name" in refused(
        "p", output="p"
    )
    assert outputs(planned("p", output="p", name="{stem}_painted{suffix}")) == ["x_painted.jpg", "deep/y_painted.jpg"]
    assert "is an input" in refused("p/x.jpg", output="./p/../p/")


def test_an_output_is_never_a_style(tree):
    tree("p/wave.jpg")
    assert "./wave.jpg is an input" in refused("p/wave.jpg", output=".")
    assert outputs(planned("p/wave.jpg", output="p/out")) == ["wave.jpg"]


@links
def test_an_output_is_never_an_input_by_a_link(tree):
    tree("p/x.jpg", "real/y.jpg")
    os.makedirs("out")
    os.symlink("../p/x.jpg", "out/x.jpg")
    assert "out/x.jpg is the same file as p/x.jpg, which is an input" in refused("p")
    os.unlink("out/x.jpg")
    os.rmdir("out")
    os.symlink("p", "out")
    assert "out/x.jpg is the same file as p/x.jpg" in refused("p")
    os.symlink("../real/y.jpg", "p/y.jpg")
    assert "real/y.jpg is the same file as p/y.jpg" in refused("p/y.jpg", output="real")
    os.symlink("nowhere", "real/z.jpg")
    assert "real/z.jpg is an input" in refused("real/z.jpg", output="real")


@links
def test_two_outputs_that_a_link_makes_one_are_refused(tree):
    tree("p/x.jpg", "p/y.jpg", "out/x.jpg")
    os.symlink("x.jpg", "out/y.jpg")
    assert "out/y.jpg and out/x.jpg are the same file" in refused("p")


def test_painting_into_the_folder_itself_goes_on_where_it_stopped(tree, tmp_path):
    tree("p/x.jpg", "p/y.jpg")
    options = {"output": "p", "name": "{stem}_painted{suffix}"}
    first = planned("p", **options)
    tree("p/x_painted.jpg")
    own = {os.path.realpath(os.path.join("p", name)) for name in outputs(first)}
    again = planned("p", own=own, **options)
    assert again.items == first.items
    assert again.found.passed_over == {"made by quantart itself": 1}


def test_an_output_folder_inside_the_input_is_not_painted_again(tree):
    tree("p/x.jpg")
    first = planned("p", output="p/out")
    tree("p/out/x.jpg", "p/out/.quantart/ledger.jpg")
    assert planned("p", output="p/out") == first


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "1/4/4", "a/b", "1.0/4", " 1/4", "١/٤", "1/4\n"]
)
def test_shards_that_are_none(text):
    with pytest.raises(QuantArtError, match=r"--shard .* is no part of a whole"):
        parse_shard(text)


def test_shards_make_up_the_plan(tree):
    assert parse_shard("3/16") == (3, 16)
    tree(*(f"p/{n}.jpg" for n in range(60)), *(f"p/{n}.png" for n in range(0, 60, 2)))
    whole = planned("p", format="png")
    parts = [planned("p", format="png", shard=(k, 4)) for k in range(1, 5)]
    assert all(10 < len(part.items) < 40 for part in parts)
    assert sorted(job.output for part in parts for job in part.items) == sorted(outputs(whole))
    for part in parts:
        assert [job for job in whole.items if job in part.items] == part.items
    assert planned("p", format="png", shard=(1, 1)) == whole


def test_the_shard_of_an_output_stays_what_it_is():
    # sha256 of a/x.png begins with 1308aee6195c34dd: 1371538389825500381 in decimal, 2 modulo 7
    assert [k for k in range(1, 8) if planning.in_shard("a/x.png", k, 7)] == [3]
    assert [k for k in range(1, 17) if planning.in_shard("a/x.png", k, 16)] == [14]


sources = st.lists(
    st.tuples(st.sampled_from(["", "a/", "A/", "a.png/"]), st.text("xXé", min_size=1, max_size=2)),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sources, st.sampled_from([None, "png"]), st.integers(1, 5))
def test_a_plan_is_the_union_of_its_shards_and_the_same_when_asked_again(tree, drawn, format, count):
    with open("list.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{folder}{stem}{suffix}\n" for folder, stem in drawn for suffix in (".jpg", ".png"))
    whole = planned(lists=["list.txt"], format=format)
    assert whole == planned(lists=["list.txt"], format=format)
    assert len({output.casefold() for output in outputs(whole)}) == len(whole.items) == 2 * len(drawn)
    parts = [planned(lists=["list.txt"], format=format, shard=(k, count)) for k in range(1, count + 1)]
    by_output = {job.output: job for part in parts for job in part.items}
    assert by_output == {job.output: job for job in whole.items}
    assert sum(len(part.items) for part in parts) == len(whole.items)


def test_twenty_thousand_pictures(tree):
    with open("list.txt", "w") as file:
        file.writelines(f"d{n % 97}/{n // 2}.{'jpg' if n % 2 else 'png'}\n" for n in range(20_000))
    plan = planned(lists=["list.txt"], styles=["wave.jpg"], format="png")
    assert len(set(outputs(plan))) == 20_000
    assert plan.items[0] == WorkItem("d0/0.png", "d0/0.png", 0)
    assert not hasattr(plan.items[0], "__dict__")


def test_planning_imports_nothing_heavy():
    code = "import sys, quantart_cli.batch.plan; assert 'torch' not in sys.modules; print('fine')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "fine\n"
