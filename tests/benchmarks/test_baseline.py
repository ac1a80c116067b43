"""The baseline paints what quantart paints, and the runner counts and tells rightly."""

import sys

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import quantart_cli as quantart
from benchmarks import baseline, inside, measure, speed
from benchmarks.materials import draw, make_pictures, make_weights
from quantart_cli.checkpoints.layouts import recognise
from quantart_cli.tiling import Tiler


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("materials")
    make_weights(folder)
    make_pictures(folder, ["96x64-1.png", "80x88-2.png"])
    return folder


def test_its_weights_are_ours_by_their_published_names(folder, vgg, decoder):
    for name, kind, network in (
        ("vgg_normalised.pth", "vgg19-normalised", vgg),
        ("decoder.pth", "adain-decoder", decoder),
    ):
        state = torch.load(folder / name, weights_only=True)
        layout, published = recognise({name: value.shape for name, value in state.items()})
        assert layout.kind == kind
        tensors = published.convert(state)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(tensors[key], value, rtol=1e-6, atol=0, msg=key)


def test_its_picture_is_ours(folder, tmp_path, monkeypatch):
    paths = [str(folder / name) for name in ("96x64-1.png", "80x88-2.png")]
    monkeypatch.setattr(sys, "argv", ["baseline.py", *paths, str(tmp_path / "out.png"), "--weights", str(folder)])
    baseline.main()
    theirs = np.asarray(PIL.Image.open(tmp_path / "out.png"), float) / 255
    model = quantart.load("adain", device="cpu", precision="fp32", backend="torch")
    ours = inside.in_floats(model, inside.read(paths[0]), model.encode_style(paths[1]), Tiler())
    assert theirs.shape == ours.shape == (64, 96, 3)
    assert inside.psnr(torch.from_numpy(ours).clamp(0, 1), torch.from_numpy(theirs)) > 50


def test_pictures_are_always_the_same():
    assert draw(70, 300, 1).tobytes() == draw(70, 300, 1).tobytes() != draw(70, 300, 2).tobytes()


def test_flops_are_those_counted_by_hand():
    assert inside.flops(nn.Conv2d(3, 64, 3), 1, 3, 18, 34) == 2 * 9 * 3 * 64 * 16 * 32
    # Channels in and out, and how many times smaller than the picture: VGG-19 to relu4_1. The decoder is its mirror.
    layers = [(3, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 2), (128, 256, 4), *[(256, 256, 4)] * 3, (256, 512, 8)]
    wanted = sum(2 * 9 * fan_in * fan_out * (64 // step) ** 2 for fan_in, fan_out, step in layers)
    assert inside.published_flops(64, 64) == {"encoder": wanted, "decoder": wanted}


def test_the_table():
    rows = [
        measure.Row("slow", 1.0, "s", measure.Target("≤", 0.35), baseline=2.0),
        measure.Row("exact", 1e-6, "scale", measure.Target("≤", 1e-3, "scale")),
        measure.Row("told", 3.0, "GB"),
    ]
    text = measure.render({"CPU": "one"}, rows, ["A remark."])
    assert "* CPU: one" in text
    assert "| slow | 1.00 s | 2.00 s | 0.50 × | ≤ 0.35 × | **no** |" in text
    assert "| exact | 1.0e-06 |  |  | ≤ 0.001 | yes |" in text
    assert "| told | 3.00 GB |  |  |  |  |" in text
    readme = f"before\n{measure.BEGIN}\nold\n{measure.END}\nafter\n"
    assert measure.replace(readme, text) == f"before\n{measure.BEGIN}\n\n{text}\n{measure.END}\nafter\n"
    with pytest.raises(ValueError, match="no <!--"):
        measure.replace("nothing to fill", text)


def test_the_readme_has_a_place_for_it():
    readme = (speed.HERE / "README.md").read_text("utf-8")
    assert readme.count(measure.BEGIN) == readme.count(measure.END) == 1


def test_commands_take_turns_and_the_first_runs_do_not_count():
    order = []

    def command(name):
        return lambda run: order.append((name, run)) or measure.Run(100.0 if run == 0 else run, 1)

    runs = measure.alternate({"a": command("a"), "b": command("b")}, 3)
    assert order == [(name, run) for run in range(4) for name in "ab"]
    assert runs["a"] == measure.Run(2, 1)


def test_a_command_is_measured_and_its_failure_told():
    with pytest.raises(measure.Failed, match="ended with 3: no luck"):
        measure.execute([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"])
    run = measure.execute([sys.executable, "-c", "x = b'1' * 200_000_000"])
    assert 0 < run.seconds < 10
    assert run.peak > 200e6  # and at least what this process has


def test_a_case_that_fails_leaves_a_remark(tmp_path, monkeypatch):
    def broken(bench):
        """Broken."""
        yield measure.Row("first", 1.0, "s")
        raise measure.Failed("it broke")

    monkeypatch.setitem(speed.CASES, "broken", broken)
    rows, notes = speed.run_cases(speed.Bench(tmp_path, 1), ["broken"])
    assert [row.case for row in rows] == ["first"]
    assert notes == ["broken failed: it broke"]
