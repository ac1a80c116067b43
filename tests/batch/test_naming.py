"""Names of outputs: what a template may be, and that no two outputs are ever one file."""

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantart_cli import QuantArtError
from quantart_cli.batch.naming import Wish, distinct_names, parse_template, split_name, style_names

SUFFIXES = [".jpg", ".JPG", ".png", ".webp", ""]


def wish(path: str, style: str = "wave", template=None) -> Wish:
    folder, slash, name = path.rpartition("/")
    stem, suffix = split_name(name)
    return Wish(folder + slash, stem, style, (template or parse_template(None)).suffix_for(suffix), suffix[1:], path)


def outputs(*paths: str, name: str | None = None, format: str | None = None) -> list[str]:
    template = parse_template(name, format)
    return distinct_names(template, [wish(path, template=template) for path in paths])


def fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def test_plain_names_stay_as_they_are():
    plain = ["a.jpg", "b/a.jpg", "-x.PNG", "ö ü.webp", "b/é\udce9.tiff", "{stem}.jpg", "a b/%s.bmp", "Ａ.jpeg"]
    assert outputs(*plain) == plain


@pytest.mark.parametrize(
    ("source", "format", "expected"),
    [
        ("x.JPG", None, "x.JPG"),
        ("x.jpeg", None, "x.jpeg"),
        ("x.gif", None, "x.png"),
        ("x.heic", None, "x.png"),
        ("scan", None, "scan.png"),
        ("J. S. Bach", None, "J. S. Bach.png"),
        ("v1.2", None, "v1.2.png"),
        ("x.tar.jpg", None, "x.tar.jpg"),
        ("x.JPG", "png", "x.png"),
        ("x.png", "jpeg", "x.jpeg"),
        ("x.png", ".JPG", "x.jpg"),
        ("x.gif", "gif", "x.gif"),
    ],
)
def test_the_format_is_the_given_one_or_the_sources_own(source, format, expected):
    assert outputs(source, format=format) == [expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{stem}_{style}{suffix}", "d/x_wave.JPG"),
        ("{style}-{ext}-{stem}.png", "d/wave-JPG-x.png"),
        ("{stem}{suffix}.WebP", "d/x.WebP.WebP"),
        ("{{{stem}}}{suffix}", "d/{x}.JPG"),
        ("{stem:}{suffix}", "d/x.JPG"),
    ],
)
def test_templates(name, expected):
    assert outputs("d/x.JPG", name=name) == [expected]


@pytest.mark.parametrize(
    ("name", "format", "said"),
    [
        ("{stem}_{stlye}{suffix}", None, "{stlye} is not known: did you mean style?"),
        ("{}{suffix}", None, "is not known"),
        ("{0}{suffix}", None, "is not known"),
        ("{stem.__class__}{suffix}", None, "stands alone in its braces: {stem}"),
        ("{stem[0]}{suffix}", None, "stands alone"),
        ("{stem!r}{suffix}", None, "stands alone"),
        ("{stem:>99999999999}{suffix}", None, "stands alone"),
        ("{stem:{style}}{suffix}", None, "stands alone"),
        ("{stem}{suffix", None, "is no template"),
        ("{stem}}{suffix}", None, "is no template"),
        ("a/{stem}{suffix}", None, "holds /"),
        ("..\\{stem}{suffix}", None, "holds \\"),
        ("{stem}\0{suffix}", None, "holds NUL"),
        ("{style}{suffix}", None, "lacks {stem}"),
        ("", None, "lacks {stem}"),
        ("{stem}", None, "does not end in {suffix}"),
        ("{stem}.{ext}", None, "does not end in {suffix}"),
        ("{stem}.txt", None, "does not end in {suffix}"),
        ("{stem}{suffix} ", None, "does not end in {suffix}"),
        ("{stem}.pmg", None, "did you mean .png?"),
        ("{stem}.png", "jpg", "contradicts --format jpg"),
        (".{stem}{suffix}", None, "begins with a dot"),
        ("{suffix}{stem}{suffix}", None, "begins with a dot"),
        ("{ext}.{stem}{suffix}", None, "begins with a dot"),
        ("{stem}" + "x" * 250 + "{suffix}", None, "too long"),
        ("{stem}" * 9 + "{suffix}", None, "too long"),
        (None, "jpgg", "did you mean jpg?"),
        (None, "", "is not known"),
    ],
)
def test_templates_that_cannot_work_are_refused(name, format, said):
    with pytest.raises(QuantArtError) as refused:
        parse_template(name, format)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_several_styles_need_their_field():
    assert parse_template(None, several_styles=True).text == "{stem}_{style}{suffix}"
    with pytest.raises(QuantArtError, match=r"lacks \{style\}"):
        parse_template("{stem}{suffix}", several_styles=True)
    assert parse_template("{stem}.jpg", "jpeg").suffix == ".jpg"


def test_colliding_names_get_their_sources_suffix():
    assert outputs("a/x.jpg", "a/x.png", "a/y.jpg", "x.jpg", format="png") == [
        "a/x_jpg.png",
        "a/x_png.png",
        "a/y.png",
        "x.png",
    ]


def test_names_equal_but_for_case_or_accents_collide():
    assert outputs("X.jpg", "x.JPG") == ["X_jpg.jpg", "x_JPG_2.JPG"]
    assert outputs("A/x.jpg", "a/X.png", format="png") == ["A/x_jpg.png", "a/X_png.png"]
    composed, apart = "caf\u00e9.jpg", "cafe\u0301.png"
    assert outputs(composed, apart, format="png") == ["caf\u00e9_jpg.png", "cafe\u0301_png.png"]
    assert outputs("Straße.jpg", "STRASSE.png", format="png") == ["Straße_jpg.png", "STRASSE_png.png"]


def test_what_still_collides_is_numbered_by_source_and_no_other_name_is_taken():
    template = parse_template(None)
    wishes = [Wish("", "x", "", ".jpg", "jpg", source) for source in ("c/x.jpg", "a/x.jpg", "b/x.jpg")]
    bystander = Wish("", "x_jpg_2", "", ".jpg", "jpg", "z/x_jpg_2.jpg")
    assert distinct_names(template, [*wishes, bystander]) == ["x_jpg_4.jpg", "x_jpg.jpg", "x_jpg_3.jpg", "x_jpg_2.jpg"]
    assert outputs("x.jpg", "x.png", "x_jpg.jpg", format="png") == ["x_jpg_2.png", "x_png.png", "x_jpg.png"]
    assert outputs("scan", "scan.png") == ["scan.png", "scan_png.png"]


def test_a_file_and_a_folder_of_one_name_are_told_apart():
    assert outputs("a.png", "A.PNG/x.jpg", "a.png/y/z.jpg") == ["a_png.png", "A.PNG/x.jpg", "a.png/y/z.jpg"]
    assert outputs("d/a.jpg", "d/a.png/b/c.jpg", format="png") == ["d/a_jpg.png", "d/a.png/b/c.png"]


def test_long_names_lose_the_end_of_their_stem():
    short, long, other = "x" * 251 + ".jpg", "é" * 130 + ".jpg", "é" * 129 + "è.jpg"
    kept, cut, apart = outputs(short, long, other)
    assert kept == short
    assert cut.endswith(".jpg")
    assert cut.startswith("é" * 120)
    assert 253 <= len(cut.encode()) <= 255
    assert cut[:120] == apart[:120]
    assert cut != apart
    styled = outputs("x" * 251 + ".jpg", name="{style}_{stem}_{stem}{suffix}")[0]
    assert len(styled) <= 255
    assert styled.startswith("wave_xxx")
    raw = "\udce9" * 251 + ".jpg"  # 251 bytes that are no UTF-8
    assert outputs(raw) == [raw]


def test_long_names_that_collide_keep_what_tells_them_apart():
    stem = "x" * 240
    first, second = outputs(f"{stem}.jpeg", f"{stem}.webp", name="{stem}" + "_painted" + ".png")
    assert first.endswith("_jpeg_painted.png")
    assert second.endswith("_webp_painted.png")
    assert max(len(first), len(second)) <= 255


def test_hidden_stems_become_visible():
    assert outputs(".a.jpg", "...jpg", "b/.jpg") == ["_a.jpg", "_jpg.png", "b/_jpg.png"]


def test_names_of_styles():
    assert style_names([("a/wave.jpg",), ("b/Wave.png",), ("wave_2.jpg",)]) == ["wave", "Wave_2", "wave_2_2"]
    assert style_names([("a/wave.jpg", "night.png")]) == ["wave+night"]
    assert style_names([('a:b*c?"d\n.jpg',), (".x.jpg",), ("no suffix",)]) == ["a_b_c__d_", "_x", "no suffix"]
    long, other = style_names([("x" * 200 + ".jpg",), ("x" * 201 + ".jpg",)])
    assert long != other
    assert max(len(long), len(other)) <= 80


names = st.builds(
    str.__add__,
    st.one_of(
        st.text("aAbB_2.", min_size=1, max_size=3),
        st.sampled_from(["x", "X", "x_jpg", "x_jpg_2", "é", "e\u0301", "É", "ß", "SS", "İ", "y" * 300, "a.png", "ﬁ"]),
        st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=5),
    ),
    st.sampled_from(SUFFIXES),
)
trees = st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=14, unique=True)
templates = st.sampled_from([None, "{stem}.png", "{stem}_{style}{suffix}", "{stem}{stem}.jpg", "{ext}{stem}{suffix}"])


@settings(deadline=None, max_examples=300)
@given(trees, templates, st.randoms(use_true_random=False))
def test_no_two_outputs_are_ever_one_file(sources, name, shuffler):
    template = parse_template(name)
    styles = ("a", "x_a") if "{style}" in template.text else ("a",)
    wishes = [wish(source, style, template) for source in sources for style in styles]
    made = distinct_names(template, wishes)
    keys = [fold(path) for path in made]
    assert len(set(keys)) == len(keys)
    folders = {key[:at] for key in keys for at, character in enumerate(key) if character == "/"}
    assert not folders & set(keys)
    for asked, path in zip(wishes, made, strict=True):
        assert path.startswith(asked.folder)
        last = path[len(asked.folder) :]
        assert "/" not in last
        assert not last.startswith(".")
        assert last.endswith(asked.suffix)
        assert len(last.encode("utf-8", "surrogatepass")) <= 255 or any("\ud800" <= c <= "\udfff" for c in last)
    order = list(range(len(wishes)))
    shuffler.shuffle(order)
    again = distinct_names(template, [wishes[at] for at in order])
    assert {wishes[at]: path for at, path in zip(order, again, strict=True)} == dict(zip(wishes, made, strict=True))


def test_twenty_thousand_names():
    choose = random.Random(3)
    sources = {
        f"{choose.choice('aAbc')}/{choose.choice('xXyz')}{choose.randrange(6000)}{choose.choice(SUFFIXES)}"
        for _ in range(20_000)
    }
    sources |= {f"d{n}/x.jpg" for n in range(5_000)}
    made = outputs(*sorted(sources), format="png")
    assert len({fold(path) for path in made}) == len(sources) > 15_000
    one_place = [Wish("", "x", "", ".jpg", "jpg", f"{n:05}/x.jpg") for n in range(20_000)]
    assert distinct_names(parse_template(None), one_place)[-1] == "x_jpg_20000.jpg"
