"""``quantart train vqvae``, and what it makes in ``quantart vqvae`` and ``quantart compare``."""

import PIL.Image

from tests.conftest import scene

TINY = ("--steps", "2", "--batch", "2", "--crop", "32", "--channels", "8", "--width", "4", "--entries", "8")


def test_train_paint_and_compare(run, content_file, style_file, tmp_path):
    folder, model = tmp_path / "pictures", tmp_path / "vqvae.safetensors"
    folder.mkdir()
    PIL.Image.fromarray(scene(60, 50, 1)).save(folder / "one.png")
    status, _, err = run("train", "vqvae", folder, folder, "-o", model, *TINY, "--device", "cpu")
    assert status == 0, err
    assert "2 updates on 1 photograph and 1 painting" in err
    output = tmp_path / "out.png"
    status, _, err = run("vqvae", content_file, style_file, "-o", output, "--model", model)
    assert status == 0, err
    assert PIL.Image.open(output).size == (96, 64)
    sheet = tmp_path / "sheet.png"
    methods = (f"vqvae:model={model}", f"vqvae:mix=after,alpha=0.5,model={model}")
    status, _, err = run(
        "compare", content_file, style_file, "-o", sheet, "--size", "32", "--fidelity", "0", "--strength", "1",
        *(word for method in methods for word in ("--method", method)),
    )  # fmt: skip
    assert status == 0, err
    assert PIL.Image.open(sheet).width > 4 * 320
