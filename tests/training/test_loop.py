"""The loop with something that is trained in microseconds."""

import json
import time

import pytest
import safetensors.torch
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.training.loop import NotFinite, Trainable, TrainingFiles, TrainingStopped, random_numbers, run
from quantart_cli.training.options import GradientOptions


class Walk(Trainable):
    """Adds a random number an update; what it is does not depend on when it was stopped."""

    def __init__(self, not_finite=()):
        self.x = torch.zeros(2)
        self.not_finite = not_finite

    def update(self, number):
        if number in self.not_finite:
            raise NotFinite("loss nan")
        with random_numbers(7, number):
            self.x += torch.randn(2)
        return {"loss": float(number)}

    def state(self):
        return {"x": self.x}

    def load_state(self, state):
        self.x = state["x"]

    def sheet(self):
        return [[torch.full((3, 4, 5), 0.5)]]


@pytest.fixture
def files(tmp_path):
    found = TrainingFiles(tmp_path / "w.safetensors")
    found.open({"rate": 1}, restart=False)
    return found


OPTIONS = GradientOptions(steps=10, log_every=2, checkpoint_every=4, sheet_every=5)


def finished(tmp_path):
    files = TrainingFiles(tmp_path / "whole.safetensors")
    files.open({}, restart=False)
    walk = Walk()
    run(walk, files, OPTIONS)
    return walk.x, [json.loads(line) for line in files.log.read_text().splitlines()]


def test_log_and_sheets(files):
    seen = []
    assert run(Walk(), files, OPTIONS, progress=lambda done, total, losses: seen.append((done, total, losses))) == (
        10,
        0,
    )
    lines = [json.loads(line) for line in files.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert [line["loss"] for line in lines] == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert sorted(path.name for path in files.results.glob("*.png")) == ["000005.png", "000010.png"]
    assert seen[-1] == (10, 10, {"loss": 9.0})


@pytest.mark.parametrize("when", [1, 4, 7])
def test_stopped_and_gone_on_with_equals_uninterrupted(files, tmp_path, when):
    asked = iter(range(1, 100))
    with pytest.raises(TrainingStopped) as stopped:
        run(Walk(), files, OPTIONS, stop=lambda: next(asked) >= when)
    assert stopped.value.done == when
    walk = Walk()
    run(walk, files, OPTIONS)
    x, lines = finished(tmp_path)
    assert torch.equal(walk.x, x)
    steps = [json.loads(line)["step"] for line in files.log.read_text().splitlines()]
    assert steps == [line["step"] for line in lines]


def test_the_time_limit_ends_it_with_a_checkpoint_and_a_sheet(files):
    assert run(Walk(), files, OPTIONS, deadline=time.monotonic()) == (1, 0)
    assert safetensors.torch.load_file(files.checkpoint)["loop"].tolist() == [1, 0]
    assert (files.results / "000001.png").exists()


def test_a_checkpoint_is_due_after_some_seconds(files):
    saved = []
    options = GradientOptions(steps=3, checkpoint_seconds=1e-9)
    run(Walk(), files, options, progress=lambda *_: saved.append(files.checkpoint.exists()))
    assert saved == [False, True, True]


def test_killed_goes_on_from_the_last_checkpoint(files, tmp_path):
    def die(done, *_):
        if done == 7:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(Walk(), files, OPTIONS, progress=die)
    walk, counted = Walk(), []
    run(walk, files, OPTIONS, progress=lambda done, *_: counted.append(done))
    assert counted[0] == 5  # 4 are in the checkpoint
    x, lines = finished(tmp_path)
    assert torch.equal(walk.x, x)
    ours = [json.loads(line) for line in files.log.read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in ours] == [(line["step"], line["loss"]) for line in lines]


def test_what_is_not_finite_is_left_out_and_counted(files):
    assert run(Walk(not_finite={2, 3, 8}), files, OPTIONS) == (10, 3)
    last = json.loads(files.log.read_text().splitlines()[-1])
    assert last["skipped"] == 3


def test_twenty_in_a_row_end_it(files):
    with pytest.raises(QuantArtError, match=r"20 updates in a row were not finite .loss nan.*lower rate"):
        run(Walk(not_finite=range(5, 100)), files, GradientOptions(steps=100))


def test_another_training_is_refused(files):
    again = TrainingFiles(files.target)
    again.open({"rate": 1}, restart=False)
    with pytest.raises(QuantArtError, match=r"another rate, seed: .*or restart"):
        again.open({"rate": 2, "seed": 0}, restart=False)
    again.open({"rate": 2}, restart=True)
    assert not again.checkpoint.exists()


def test_random_numbers_are_of_the_update_and_leave_the_others_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with random_numbers(1, 2):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with random_numbers(1, 2):
        assert torch.equal(torch.rand(3), first)
    with random_numbers(1, 3):
        assert not torch.equal(torch.rand(3), first)
