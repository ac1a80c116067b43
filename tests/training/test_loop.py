"""The loop with something that is trained in microseconds."""

import json

import pytest
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.training.loop import NotFinite, Places, Plan, Stopped, numbers_of, run


class Walk:
    """Adds a random number an update; what it is does not depend on when it was stopped."""

    def __init__(self, not_finite=()):
        self.x = torch.zeros(2)
        self.not_finite = not_finite

    def update(self, number):
        if number in self.not_finite:
            raise NotFinite("loss nan")
        with numbers_of(7, number):
            self.x += torch.randn(2)
        return {"loss": float(number)}

    def state(self):
        return {"x": self.x}

    def restore(self, state):
        self.x = state["x"]

    def sheet(self):
        return torch.full((3, 4, 5), 0.5)


@pytest.fixture
def places(tmp_path):
    found = Places(tmp_path / "w.safetensors")
    found.open({"rate": 1}, restart=False)
    return found


PLAN = Plan(steps=10, log_every=2, checkpoint_every=4, sheet_every=5)


def finished(tmp_path):
    places = Places(tmp_path / "whole.safetensors")
    places.open({}, restart=False)
    walk = Walk()
    run(walk, places, PLAN)
    return walk.x, [json.loads(line) for line in places.log.read_text().splitlines()]


def test_log_and_sheets(places):
    told = []
    assert run(Walk(), places, PLAN, progress=lambda done, total, losses: told.append((done, total, losses))) == 0
    lines = [json.loads(line) for line in places.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert [line["loss"] for line in lines] == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert sorted(path.name for path in places.kept.glob("*.png")) == ["000005.png", "000010.png"]
    assert told[-1] == (10, 10, {"loss": 9.0})


@pytest.mark.parametrize("when", [1, 4, 7])
def test_stopped_and_gone_on_with_equals_uninterrupted(places, tmp_path, when):
    asked = iter(range(1, 100))
    with pytest.raises(Stopped) as stopped:
        run(Walk(), places, PLAN, stop=lambda: next(asked) >= when)
    assert stopped.value.done == when
    walk = Walk()
    run(walk, places, PLAN)
    x, lines = finished(tmp_path)
    assert torch.equal(walk.x, x)
    steps = [json.loads(line)["step"] for line in places.log.read_text().splitlines()]
    assert steps == [line["step"] for line in lines]


def test_killed_goes_on_from_the_last_checkpoint(places, tmp_path):
    def die(done, *_):
        if done == 7:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(Walk(), places, PLAN, progress=die)
    walk, counted = Walk(), []
    run(walk, places, PLAN, progress=lambda done, *_: counted.append(done))
    assert counted[0] == 5  # 4 are in the checkpoint
    x, lines = finished(tmp_path)
    assert torch.equal(walk.x, x)
    ours = [json.loads(line) for line in places.log.read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in ours] == [(line["step"], line["loss"]) for line in lines]


def test_what_is_not_finite_is_left_out_and_counted(places):
    assert run(Walk(not_finite={2, 3, 8}), places, PLAN) == 3
    last = json.loads(places.log.read_text().splitlines()[-1])
    assert last["skipped"] == 3


def test_twenty_in_a_row_end_it(places):
    with pytest.raises(QuantArtError, match=r"20 updates in a row were not finite .loss nan.*--rate"):
        run(Walk(not_finite=range(5, 100)), places, Plan(100, 10, 10, 10))


def test_another_training_is_refused(places):
    again = Places(places.target)
    again.open({"rate": 1}, restart=False)
    with pytest.raises(QuantArtError, match=r"another rate, seed: .*--restart"):
        again.open({"rate": 2, "seed": 0}, restart=False)
    again.open({"rate": 2}, restart=True)
    assert not again.checkpoint.exists()


def test_random_numbers_are_of_the_update_and_leave_the_others_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with numbers_of(1, 2):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with numbers_of(1, 2):
        assert torch.equal(torch.rand(3), first)
    with numbers_of(1, 3):
        assert not torch.equal(torch.rand(3), first)
