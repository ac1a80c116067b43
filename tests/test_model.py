"""The Python API: what goes in, what comes out, and that every way in gives the same picture."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

import quantart_cli as quantart
from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.methods.adain import DECODE, AdaINSettings
from quantart_cli.settings import normalise_shares
from tests.conftest import scene

CONTENT, STYLE = scene(61, 47, 1), scene(64, 48, 2)


def pixels(image):
    return np.asarray(image)


@pytest.fixture(scope="module")
def style(quantart_model):
    return quantart_model.encode_style(STYLE)


def test_readme_lines(tmp_path, quantart_model):
    PIL.Image.fromarray(CONTENT).save(tmp_path / "content.png")
    PIL.Image.fromarray(STYLE).save(tmp_path / "style.png")
    style = quantart_model.encode_style(tmp_path / "style.png")
    picture = quantart_model.stylize(tmp_path / "content.png", style, fidelity=0.7)
    assert isinstance(picture, PIL.Image.Image)
    assert picture.size == (61, 47)
    assert picture.mode == "RGB"


def test_every_way_in_gives_the_same_picture(tmp_path, quantart_model, style):
    path = tmp_path / "content.png"
    PIL.Image.fromarray(CONTENT).save(path)
    ways = [path, str(path), path.read_bytes(), PIL.Image.open(path), CONTENT]
    found = [pixels(quantart_model.stylize(way, style)) for way in ways]
    for other in found[1:]:
        assert np.array_equal(found[0], other)
    assert np.array_equal(found[0], pixels(quantart_model.stylize(CONTENT, STYLE)))


def test_names_and_aliases_of_the_knobs(quantart_model, style):
    plain = pixels(quantart_model.stylize(CONTENT, style, fidelity=0.3, strength=0.5))
    assert np.array_equal(plain, pixels(quantart_model.stylize(CONTENT, style, alpha=0.3, beta=0.5)))
    assert not np.array_equal(plain, pixels(quantart_model.stylize(CONTENT, style, alpha=0.9, beta=0.5)))
    assert not np.array_equal(plain, pixels(quantart_model.stylize(CONTENT, style, alpha=0.3, beta=1.0)))
    default = pixels(quantart_model.stylize(CONTENT, style))
    assert np.array_equal(default, pixels(quantart_model.stylize(CONTENT, style, fidelity=0.7, strength=1.0)))


def test_alpha_zero_is_adain(quantart_model, adain_model, style):
    ours = quantart_model.stylize(CONTENT, style, fidelity=0.0, strength=0.6)
    theirs = adain_model.stylize(CONTENT, STYLE, alpha=0.6)
    assert np.array_equal(pixels(ours), pixels(theirs))


def test_every_size_on_the_diagonal(quantart_model, style):
    for side in range(1, 71):
        for size in ((side, side), (side, 71 - side)):
            assert quantart_model.stylize(scene(*size, side), style).size == size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr",
                                  "LAB", "HSV", "I", "F", "I;16", "I;16L", "I;16B"])  # fmt: skip
def test_every_mode_of_pillow(adain_model, mode):
    base = PIL.Image.fromarray(CONTENT)
    if mode.startswith("I;16"):
        order = ">u2" if mode.endswith("B") else "<u2"
        image = PIL.Image.frombytes(mode, base.size, (np.asarray(base.convert("L")).astype(order) * 257).tobytes())
    elif mode in ("RGBa", "La"):
        image = base.convert(mode.upper()).convert(mode)
    elif mode == "PA":
        image = base.convert("P").convert("PA")
    elif mode == "LAB":
        from PIL import ImageCms

        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(base, to_lab)
    else:
        image = base.convert(mode)
    result = adain_model.stylize(image, STYLE)
    assert result.size == base.size
    assert result.mode == "RGB"
    assert pixels(result).std() > 5


def test_size_and_style_size(adain_model):
    assert adain_model.stylize(CONTENT, STYLE, size=30).size == (30, 23)
    assert adain_model.stylize(CONTENT, STYLE, size=90).size == (90, 69)
    assert adain_model.encode_style(STYLE, size=20).pictures[0].size == (20, 15)
    assert adain_model.encode_style(STYLE, size=5000).pictures[0].size == (64, 48)
    assert adain_model.encode_style(scene(1300, 26, 0)).pictures[0].size == (1024, 20)


def test_several_styles_are_weighted(adain_model):
    other = scene(50, 50, 9)
    one, two = (pixels(adain_model.stylize(CONTENT, style)).astype(float) for style in (STYLE, other))
    near = pixels(adain_model.stylize(CONTENT, adain_model.encode_style([STYLE, other], weights=[9, 1]))).astype(float)
    assert abs(near - one).mean() < 0.5 * abs(near - two).mean()
    alone = adain_model.stylize(CONTENT, adain_model.encode_style([STYLE, other], weights=[2, 0]))
    assert abs(pixels(alone) - one).mean() < 0.6
    assert normalise_shares([1, 3], 2) == (0.25, 0.75)
    assert normalise_shares(None, 4) == (0.25,) * 4


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "1 style weight for 2"),
        ([1, -1], "at least 0"),
        ([0, 0], "not all of them 0"),
        ([1, float("nan")], "must"),
    ],
)
def test_weights_that_do_not_fit(adain_model, weights, message):
    with pytest.raises(QuantArtError, match=message):
        adain_model.encode_style([STYLE, STYLE], weights=weights)


def luminance(image):
    return pixels(image).astype(float) @ [0.299, 0.587, 0.114]


def test_preserve_color_luma_keeps_the_contents_chroma(adain_model):
    free = adain_model.stylize(CONTENT, STYLE)
    kept = adain_model.stylize(CONTENT, STYLE, preserve_color="luma")
    assert abs(luminance(kept) - luminance(free)).max() < 2.5
    chroma = pixels(kept).astype(float) - luminance(kept)[..., None]
    wanted = CONTENT.astype(float) - luminance(CONTENT)[..., None]
    assert np.corrcoef(chroma.ravel(), wanted.ravel())[0, 1] > 0.9


def test_preserve_color_match_moves_the_palette_to_the_contents(adain_model):
    style = np.uint8(STYLE * [1.0, 0.3, 0.2])  # a red painting
    free, kept = (adain_model.stylize(CONTENT, style, preserve_color=way) for way in ("none", "match"))
    wanted = CONTENT.reshape(-1, 3).mean(0)
    far, near = (abs(pixels(image).reshape(-1, 3).mean(0) - wanted).max() for image in (free, kept))
    assert near < 0.4 * far


def test_preserve_color_match_with_an_encoded_style_depends_on_each_content(adain_model):
    style = adain_model.encode_style(STYLE)
    blue = np.uint8(CONTENT * [0.2, 0.3, 1.0])
    result = pixels(adain_model.stylize(blue, style, preserve_color="match")).reshape(-1, 3).mean(0)
    assert result[2] > result[0] + 20


def test_transparency_is_kept_and_hides_colour(quantart_model):
    alpha = np.zeros((47, 61), np.uint8)
    alpha[:, 20:] = 255
    alpha[:, 18:20] = 100
    one, two = np.dstack([CONTENT, alpha]), np.dstack([CONTENT, alpha])
    two[alpha == 0, :3] = (255, 0, 255)
    first, second = (quantart_model.stylize(picture, STYLE) for picture in (one, two))
    assert first.mode == "RGBA"
    assert np.array_equal(pixels(first)[..., 3], alpha)
    visible = alpha > 0
    assert np.array_equal(pixels(first)[visible], pixels(second)[visible])


def test_hidden_colour_of_a_style_has_no_influence(quantart_model):
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[10:40, 30:] = 0
    one, two = np.dstack([STYLE, alpha]), np.dstack([STYLE, alpha])
    two[alpha == 0, :3] = (0, 255, 0)
    first, second = (quantart_model.stylize(CONTENT, style) for style in (one, two))
    assert np.array_equal(pixels(first), pixels(second))


def test_wholly_transparent_pictures_do_no_harm(adain_model):
    nothing = np.dstack([CONTENT, np.zeros((47, 61), np.uint8)])
    assert adain_model.stylize(nothing, STYLE).size == (61, 47)
    assert adain_model.stylize(CONTENT, nothing).size == (61, 47)


def test_an_overflow_is_computed_again_in_fp32(monkeypatch):
    model = quantart.load("adain", device="cpu", precision="fp32", backend="torch")
    exact = pixels(model.stylize(CONTENT, STYLE))
    reduced = quantart.load("adain", device="cpu", precision="bf16", backend="torch")
    style = reduced.encode_style(STYLE)
    whole = reduced.backend.prepare(DECODE)
    monkeypatch.setitem(reduced.backend._stages, DECODE.name, lambda *z: (whole(*z)[0] * torch.inf,))
    painted = reduced.paint(read_picture(CONTENT), style, AdaINSettings())
    assert painted.precision == "fp32"
    assert "bf16 overflowed" in painted.notes[0]
    assert np.array_equal(painted.picture.rgb, exact)


def test_bf16_is_close_to_fp32(quantart_model):
    reduced = quantart.load("quantart", device="cpu", precision="bf16", backend="torch")
    one, two = (
        pixels(model.stylize(CONTENT, STYLE, fidelity=0.0)).astype(float) for model in (quantart_model, reduced)
    )
    # 40 dB and better
    assert np.square(one - two).mean() < 6.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, style: quantart.load("adian"), "did you mean adain"),
        (lambda model, style: quantart.load("adain", device="gpu"), "device 'gpu' is not known"),
        (lambda model, style: model.stylize(CONTENT, style, fidelty=1), "did you mean fidelity"),
        (lambda model, style: model.stylize(CONTENT, style, alpha=1, fidelity=1), "give one of them"),
        (lambda model, style: model.stylize(CONTENT, style, fidelity=2), "between 0 and 1"),
        (lambda model, style: model.stylize(CONTENT, style, preserve_color="lumma"), "did you mean luma"),
        (lambda model, style: model.stylize("nowhere.jpg", style), "nowhere.jpg"),
        (lambda model, style: model.stylize(CONTENT.astype(float), style), "uint8"),
        (lambda model, style: quantart.load("adain", backend="torch").stylize(CONTENT, style), "another model"),
    ],
)
def test_mistakes_are_one_line(quantart_model, style, call, message):
    with pytest.raises(QuantArtError, match=message) as caught:
        call(quantart_model, style)
    assert "\n" not in str(caught.value)


def test_too_large_a_picture_is_refused(monkeypatch, adain_model):
    monkeypatch.setattr("quantart_cli.memory.available", lambda _: 10**6)
    with pytest.raises(QuantArtError, match="needs about"):
        adain_model.stylize(CONTENT, STYLE)


def test_max_pixels_of_a_model():
    model = quantart.load("adain", device="cpu", precision="fp32", backend="torch", max_pixels=100)
    file = io.BytesIO()
    PIL.Image.fromarray(CONTENT).save(file, "PNG")
    with pytest.raises(QuantArtError, match="above the limit"):
        model.encode_style(file.getvalue())


def test_a_result_shows_itself_and_becomes_arrays_and_tensors(adain_model, capsys):
    content = read_picture(scene(40, 24, 1))
    style = adain_model.encode_style(scene(32, 32, 2))
    result = adain_model.paint(content, style, adain_model.method.settings(), progress=True)
    assert "decode" in capsys.readouterr().err  # a bar for each stage
    shown = PIL.Image.open(io.BytesIO(result._repr_png_()))
    assert np.array_equal(np.asarray(shown), result.to_numpy())
    assert np.array_equal(np.asarray(result.to_pil()), result.to_numpy())
    tensor = result.to_tensor()
    assert tuple(tensor.shape) == (3, 24, 40)
    assert np.array_equal(
        np.asarray(adain_model.stylize(tensor, style)), np.asarray(adain_model.stylize(result.picture, style))
    )
