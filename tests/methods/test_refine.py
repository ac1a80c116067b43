"""``refine``: updates by NNST after a feed-forward painting."""

import json

import numpy as np
import pytest

from quantart_cli.cli import painting
from quantart_cli.images import read_picture
from quantart_cli.methods.nnst import NNST
from quantart_cli.torch_methods import tensors, to_pixels
from tests.conftest import scene

CONTENT, STYLE = scene(48, 40, 1), scene(48, 32, 2)
QUICK = ("--size", 40, "--backend", "torch", "--device", "cpu")


@pytest.fixture(scope="module")
def style(quantart_model):
    return quantart_model.encode_style(STYLE)


def painted(model, style, content=CONTENT, **options):
    refine = options.pop("refine", 2)
    return model.paint(read_picture(content), style, model.method.settings(refine=refine), **options)


def test_refining_is_nnst_from_the_painting(quantart_model, style):
    plain = painted(quantart_model, style, refine=0).picture.rgb
    steps = []
    refined = painted(quantart_model, style, seed=3, progress=steps.append).picture.rgb
    method = quantart_model._neighbours.program
    pictures = [tensors(pixels, None, "cpu")[0] for pixels in (plain, CONTENT, STYLE)]
    encoded = method.encode_style([(pictures[2], None)], [1.0])
    *_, last = method.refine(*pictures[:2], encoded, 2, seed=3)
    assert np.array_equal(refined, to_pixels(last.image()))
    assert not np.array_equal(refined, plain)
    assert [(each.step, each.steps) for each in steps if each.stage == "refine"] == [(1, 2), (2, 2)]


def test_an_interrupt_keeps_what_was_reached(quantart_model, style):
    reached = []

    def interrupt(step):
        if step.stage == "refine":
            reached.append(to_pixels(step.image()))
            raise KeyboardInterrupt

    result = painted(quantart_model, style, progress=interrupt)
    assert result.stopped
    assert np.array_equal(result.picture.rgb, reached[0])


def test_an_interrupt_before_the_first_update_keeps_the_painting(quantart_model, style, monkeypatch):
    def refine(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(NNST, "refine", refine)
    result = painted(quantart_model, style)
    assert result.stopped
    assert np.array_equal(result.picture.rgb, painted(quantart_model, style, refine=0).picture.rgb)


def test_transparent_pixels_stay(quantart_model, style):
    rgba = np.dstack([CONTENT, np.full(CONTENT.shape[:2], 255, np.uint8)])
    rgba[:, :20, 3] = 0
    found = painted(quantart_model, style, rgba, refine=1).picture
    assert found.alpha is not None
    assert not found.alpha[:, :20].any()


def test_regions_are_refined_towards_their_own_styles(quantart_model):
    left = np.zeros(CONTENT.shape[:2], np.uint8)
    left[:, : left.shape[1] // 2] = 255
    red, blue = (np.full((32, 32, 3), colour, np.uint8) for colour in ((220, 30, 30), (30, 30, 220)))
    found = np.asarray(quantart_model.stylize(CONTENT, [red, blue], masks=[left, 255 - left], refine=2), int)
    assert found[:, :16, 0].mean() > found[:, :16, 2].mean()
    assert found[:, -16:, 2].mean() > found[:, -16:, 0].mean()
    half = np.asarray(quantart_model.stylize(CONTENT, red, masks=[left], refine=2))
    assert np.array_equal(half[left == 0], CONTENT[left == 0])


def test_the_command(run, content_file, style_file, tmp_path, monkeypatch):
    lean = []
    monkeypatch.setattr(painting, "lean_torch", lambda: lean.append(True))
    status, out, err = run(
        "stylize", content_file, style_file, "-o", tmp_path / "out.png", *QUICK, "--refine", 1, "--json"
    )
    assert status == 0, err
    assert json.loads(out)["options"]["refine"] == 1
    assert not lean  # refining draws random numbers, which a lean torch cannot
    status, _, err = run("stylize", content_file, style_file, "-o", tmp_path / "out.png", *QUICK, "--refine", -1)
    assert status == 2
    assert "--refine" in err


def test_previews_of_the_command(run, content_file, style_file, tmp_path):
    words = ("stylize", content_file, style_file, "-o", tmp_path / "out.png", *QUICK)
    previews = ("--preview-every", 1, "--preview", tmp_path / "now.png")
    status, _, err = run(*words, "--refine", 2, *previews)
    assert status == 0, err
    last, result = (read_picture(tmp_path / name).rgb for name in ("now.png", "out.png"))
    assert np.array_equal(last, result)
    for wrong, message in (
        (previews, "--refine 30"),
        (("--refine", 2, *previews[:-1], tmp_path / "out.png"), "the output: give it a file of its own"),
        (("--refine", 2, *previews[2:]), "--preview needs --preview-every"),
    ):
        status, _, err = run(*words, *wrong)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
