"""Masks: where they come from, and how regions are put together."""

import numpy as np
import PIL.Image
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, read_picture
from quantart_cli.masks import mask_files, mix, opacity_of, read_masks, read_regions, read_style_masks
from tests.conftest import scene

CONTENT = scene(160, 48, 1)
LEFT = np.zeros(CONTENT.shape[:2], np.uint8)
LEFT[:, :50] = 255


def test_mix():
    content, one, other = (np.full((1, 4, 3), value, np.uint8) for value in (100, 200, 0))
    masks = [np.array([[row]], np.float32).reshape(1, 4) for row in ([1, 0.5, 1, 0], [0, 0, 1, 0])]
    # One alone; half of it over the content; two that share a place; none.
    assert mix(content, [one, other], masks)[0, :, 0].tolist() == [200, 150, 100, 100]


def test_large_pictures_are_mixed_in_parts(monkeypatch):
    monkeypatch.setattr("quantart_cli.masks._ROWS", 7)
    painted, mask = scene(160, 48, 2), np.linspace(0, 1, CONTENT[..., 0].size, dtype=np.float32).reshape(48, 160)
    expected = np.rint(CONTENT + mask[..., None] * (painted.astype(np.float32) - CONTENT))
    assert np.abs(mix(CONTENT, [painted], [mask]) - expected).max() <= 1


def test_the_contents_own_alpha():
    picture = Picture(CONTENT, LEFT)
    opaque, (inside, rest), notes = read_masks(["alpha", "not:alpha"], picture, lambda _: pytest.fail("reads a file"))
    assert opaque.alpha is None
    assert np.array_equal(inside, LEFT / 255)
    assert np.array_equal(rest, 1 - LEFT / 255)
    assert notes == []
    with pytest.raises(QuantArtError, match="has no transparency to be a mask"):
        read_masks(["alpha"], Picture(CONTENT), read_picture)
    with pytest.raises(QuantArtError, match="transparent pixels count nothing anyway"):
        read_style_masks(["not:alpha"], [picture], read_picture)
    with pytest.raises(QuantArtError, match="needs the picture of a style"):
        read_style_masks(["mask.png"], [], read_picture)


def test_files_and_their_sizes(tmp_path):
    path = tmp_path / "mask.png"
    PIL.Image.fromarray(LEFT[:, ::2]).save(path)
    same, (mask, rest), notes = read_masks([path, f"not:{path}"], Picture(CONTENT, LEFT), read_picture)
    assert same.alpha is LEFT
    assert mask.shape == LEFT.shape
    assert mask[0, 10] == 1
    assert np.allclose(mask + rest, 1)
    assert (
        notes
        == ["mask mask.png of 80 × 48 was resized to 160 × 48 and stretched: its shape differs from the picture's"] * 2
    )
    assert mask_files([str(path), "not:b.png", "alpha", "not:alpha"]) == [str(path), "b.png"]


def test_opacity_of_a_region():
    assert opacity_of(np.array([[0.5]], np.float32), np.array([[200]], np.uint8)) == 100
    assert opacity_of(np.array([[0.2]], np.float32), None) == 51


def label_map(path, *areas):
    """A map of 24 × 10 with columns of colours: (colour, width)."""
    rows = np.concatenate([np.tile(np.uint8(colour), (10, width, 1)) for colour, width in areas], 1)
    PIL.Image.fromarray(rows).save(path)
    return f"labels:{path}"


SKY, SEA, LAND = (0, 0, 255), (250, 10, 5), (130, 120, 128)  # exact, and nearly red and grey


def test_maps_of_labels(tmp_path):
    own = label_map(tmp_path / "own.png", (SKY, 8), (SEA, 6), (LAND, 9), ((0, 255, 0), 1))
    theirs = label_map(tmp_path / "theirs.png", (LAND, 5), ((255, 0, 0), 12), (SKY, 7))
    content, style = Picture(scene(24, 10)), Picture(scene(24, 10, 2))
    _, masks, notes = read_regions([own], [theirs], content, [style], read_picture)
    columns = [[np.flatnonzero(mask[0]).tolist() for mask in each] for each in (masks.masks, masks.style_masks)]
    # Grey, red, blue; green is not in the style.
    assert columns == [
        [[*range(14, 23)], [*range(8, 14)], [*range(8)]],
        [[*range(5)], [*range(5, 17)], [*range(17, 24)]],
    ]
    assert masks.styles_of_regions([1.0]) == [0, 0, 0]
    assert notes == []
    assert mask_files([own, theirs]) == [str(tmp_path / "own.png"), str(tmp_path / "theirs.png")]
    larger = Picture(scene(48, 20))
    assert len(read_regions([own], [theirs], larger, [style], read_picture)[2]) == 1  # one remark for all labels


def test_labels_are_painted_with_their_own_part_of_the_style(adain_model, tmp_path):
    style = np.zeros((10, 24, 3), np.uint8)
    style[:, :12], style[:, 12:] = (200, 40, 40), (30, 30, 190)
    own = label_map(tmp_path / "own.png", (SKY, 12), (SEA, 12))
    theirs = label_map(tmp_path / "theirs.png", (SEA, 12), (SKY, 12))
    content = scene(24, 10)
    painted = np.asarray(adain_model.stylize(content, style, masks=[own], style_masks=[theirs])).astype(int)
    left, right = painted[:, :12].mean((0, 1)), painted[:, 12:].mean((0, 1))
    assert left[2] - left[0] > right[2] - right[0] + 50  # the sky, at the left, is blue


def test_mistakes_with_labels(tmp_path):
    own = label_map(tmp_path / "own.png", (SKY, 23), (SEA, 1))
    few = label_map(tmp_path / "few.png", (LAND, 23), (SEA, 1))  # 10 pixels are too few
    pictures = Picture(scene(24, 10)), [Picture(scene(24, 10))]
    for masks, style_masks, said in (
        ([own], [few], "own.png and few.png have no label in common"),
        ([own], [], "give one mask labels:FILE and one style_mask labels:FILE"),
        ([own, own], [few, few], "and no others"),
        ([own], [str(tmp_path / "few.png")], "and no others"),
    ):
        with pytest.raises(QuantArtError, match=said):
            read_regions(masks, style_masks, *pictures, read_picture)


def test_statistics_are_those_of_the_region(adain_model):
    """What is far from the region has no influence on it."""
    other = CONTENT.copy()
    other[:, 140:] = 255 - other[:, 140:]
    style = adain_model.encode_style(scene(64, 48, 2))
    one, same = (np.asarray(adain_model.stylize(each, style, masks=[LEFT])) for each in (CONTENT, other))
    assert np.array_equal(one[:, :50], same[:, :50])
    plain, changed = (np.asarray(adain_model.stylize(each, style)) for each in (CONTENT, other))
    assert not np.array_equal(plain[:, :50], changed[:, :50])


def test_tiles_change_nothing(adain_model):
    soft = np.broadcast_to(np.linspace(0, 255, 160).astype(np.uint8), (48, 160))
    styles = [scene(64, 48, 2), scene(64, 48, 3)]
    whole, tiled = (
        np.int16(adain_model.stylize(CONTENT, styles, masks=[soft, 255 - soft], tile=tile)) for tile in ("none", 64)
    )
    assert np.abs(whole - tiled).max() <= 1


def test_colour_is_matched_to_the_region_and_kept_outside(adain_model):
    style = scene(64, 48, 2)
    left, right = CONTENT // 4, 255 - CONTENT // 4
    content = np.where(LEFT[..., None], left, right).astype(np.uint8)
    painted = np.asarray(adain_model.stylize(content, style, masks=[LEFT], preserve_color="match"))
    assert painted[:, :40].mean() < 100  # the mean of the whole picture is about 150
    assert np.array_equal(painted[:, 50:], content[:, 50:])


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({"masks": [LEFT, LEFT]}, "give a style mask for each"),
        ({"masks": [0 * LEFT]}, "black all over"),
        ({"style_masks": [LEFT]}, "0 masks and 1 style mask:"),
        ({"masks": [LEFT], "style_masks": [0 * LEFT]}, "is black all over: in such a mask white is inside"),
        ({"masks": ["nowhere.png"]}, "nowhere.png"),
        ({"start": CONTENT}, "adain starts from nothing"),
    ],
)
def test_mistakes(adain_model, masks, said):
    with pytest.raises(QuantArtError, match=said):
        adain_model.stylize(CONTENT, scene(64, 48, 2), **masks)


def test_a_style_mask_on_what_is_transparent(adain_model):
    style = np.dstack([CONTENT, LEFT])
    with pytest.raises(QuantArtError, match="style mask 1 shows nothing of"):
        adain_model.stylize(CONTENT, style, masks=[LEFT], style_masks=[255 - LEFT])
