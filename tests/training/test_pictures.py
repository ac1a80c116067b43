"""Pictures in memory, and crops."""

import PIL.Image
import pytest
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.training.loop import random_numbers
from quantart_cli.training.pictures import Pictures, crop, pairs
from tests.conftest import scene


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        PIL.Image.fromarray(scene(90, 70 + number, number)).save(folder / f"{number}.png")
    (folder / "9.jpg").write_bytes(b"\xff\xd8 broken")
    return sorted(folder.iterdir())


def quiet(*_):
    pass


def test_what_does_not_fit_is_read_again(paths):
    held, partly, none = (Pictures(paths, room, quiet) for room in (1e9, 20_000, 0))
    assert len(held) == len(partly) == len(none) == 3
    assert len(held.unreadable) == 1
    for number in range(3):
        assert held[number].dtype == torch.uint8
        assert torch.equal(held[number], none[number])
        assert torch.equal(held[number], partly[number])
        assert held[number] is held[number]
        assert none[number] is not none[number]
    assert partly[0] is partly[0]
    assert partly[1] is not partly[1]
    with pytest.raises(QuantArtError, match="none of the 1 pictures can be read"):
        Pictures(paths[-1:], 1e9, quiet)


def test_large_pictures_are_reduced(tmp_path):
    PIL.Image.new("RGB", (1600, 1000), "teal").save(tmp_path / "big.png")
    assert Pictures([tmp_path / "big.png"], 1e9, quiet)[0].shape == (3, 768, 1228)


def test_a_crop_is_a_square_of_the_share_asked_for():
    ramp = torch.arange(100, dtype=torch.uint8).expand(3, 50, 100).contiguous()  # value: the column
    with random_numbers(0, 0):
        found = crop(ramp, 0.4, 20) * 255  # 20 of 20 pixels: not resized
    steps = found.diff(dim=2)
    assert torch.allclose(steps, torch.full_like(steps, steps[0, 0, 0].sign().item()), atol=1e-4)
    with random_numbers(0, 1):
        half = crop(ramp, 0.8, 20)[:, :, 5:15] * 255  # 40 pixels to 20
    assert half.diff(dim=2).abs().mean().item() == pytest.approx(2, abs=0.1)


def test_pairs_depend_on_the_numbers_alone(paths):
    pictures = Pictures(paths, 1e9, quiet)
    drawn = []
    for update in (4, 4, 5):
        with random_numbers(3, update):
            drawn.append(pairs(pictures, pictures, 2, 0.5, 64))
    assert torch.equal(torch.stack(drawn[0]), torch.stack(drawn[1]))
    assert not torch.equal(torch.stack(drawn[0]), torch.stack(drawn[2]))
    assert drawn[0][0].shape == (2, 3, 64, 64)
    assert 0 <= drawn[0][0].min() < drawn[0][0].max() <= 1
