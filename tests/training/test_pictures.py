"""Pictures in memory, and crops."""

import random

import PIL.Image
import pytest
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import GradientOptions
from quantart_cli.training.pictures import Crops, Pictures, crop
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
    found = crop(ramp, 0.4, 20, random.Random(0)).int()  # 20 of 20 pixels: not resized
    steps = found.diff(dim=2)
    assert torch.equal(steps, torch.full_like(steps, steps[0, 0, 0].sign().item()))
    half = crop(ramp, 0.8, 20, random.Random(1))[:, :, 5:15].float()  # 40 pixels to 20
    assert half.diff(dim=2).abs().mean().item() == pytest.approx(2, abs=0.1)


def test_crops_depend_on_the_seed_and_the_number_alone(paths):
    pictures = Pictures(paths, 1e9, quiet)

    def made(numbers, seed=3):
        options = GradientOptions(batch=2, crop=64, seed=seed)
        crops = Crops([pictures, pictures], options, "cpu", (0.5, 1))
        return {number: torch.stack(crops[number]) for number in numbers}

    one, other = made(range(4, 8)), made([9, 5])  # in turn, and from others on
    assert torch.equal(one[5], other[5])
    drawn = [*one.values(), other[9], *made([5], seed=4).values()]
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert one[5].shape == (2, 2, 3, 64, 64)
    assert not torch.equal(*one[5])
    assert 0 <= one[5].min() < one[5].max() <= 1
