"""A codebook that follows what it is asked for."""

import pytest
import torch

from quantart_cli.nets.codebook import Codebook
from quantart_cli.training.loop import random_numbers
from quantart_cli.training.losses import moments
from quantart_cli.training.quantizer import Quantizer


def book(entries):
    made = Codebook(len(entries), 2, 2).requires_grad_(False)
    made.entries.copy_(torch.tensor(entries))
    made.project.weight.copy_(torch.eye(2))
    made.project.bias.zero_()
    return made


def test_entries_move_to_the_mean_of_what_falls_to_them():
    quantizer = Quantizer(book([[0.0, 0.0], [10.0, 0.0]]), decay=0.9)
    points = torch.tensor([[1.0, 1.0], [3.0, 1.0], [11.0, 2.0], [11.0, 4.0]])
    for _ in range(200):
        assert quantizer.update(points, torch.tensor([[0], [0], [1], [1]])) == 0
    assert torch.allclose(quantizer.codebook.entries, torch.tensor([[2.0, 1.0], [11.0, 3.0]]), atol=1e-4)


def test_one_update_by_hand():
    quantizer = Quantizer(book([[0.0, 0.0], [10.0, 0.0]]), decay=0.5)
    quantizer.update(torch.tensor([[4.0, 0.0], [2.0, 0.0]]), torch.tensor([[0], [0]]))
    # Even use is one an update: counts 0.5·1 + 0.5·2 and 0.5, sums 0.5·0 + 0.5·6 and 0.5·10.
    assert quantizer.counts.tolist() == [1.5, 0.5]
    assert quantizer.codebook.entries.tolist() == [[2.0, 0.0], [10.0, 0.0]]


def test_an_entry_nobody_asks_for_restarts_on_a_row():
    quantizer = Quantizer(book([[0.0, 0.0], [99.0, 99.0]]), decay=0.5)
    points = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    with random_numbers(0, 0):
        restarted = [quantizer.update(points, torch.tensor([[0], [0]])) for _ in range(7)]
    assert restarted == [0, 0, 0, 0, 0, 0, 1]  # a half each time: below a hundredth after seven
    assert quantizer.codebook.entries[1].tolist() in points.tolist()


def test_each_part_follows_its_own_components():
    made = Codebook(2, 2, 2, parts=2).requires_grad_(False)
    made.entries.copy_(torch.tensor([[[0.0], [10.0]], [[0.0], [50.0]]]))
    quantizer = Quantizer(made, decay=0.5)
    with random_numbers(0, 0):
        for _ in range(40):
            quantizer.update(torch.tensor([[1.0, 40.0], [3.0, 60.0]]), torch.tensor([[0, 3], [0, 3]]))
    (first, unused), (other, second) = made.entries[..., 0].tolist()
    assert first == pytest.approx(2)
    assert second == pytest.approx(50)
    assert 1 <= unused <= 3  # restarted on what its own part saw
    assert 40 <= other <= 60


def test_decay_one_keeps_the_codebook():
    quantizer = Quantizer(book([[0.0, 0.0], [10.0, 0.0]]), decay=1)
    quantizer.update(torch.ones(3, 2), torch.zeros(3, 1, dtype=torch.int64))
    assert quantizer.codebook.entries.tolist() == [[0.0, 0.0], [10.0, 0.0]]


def test_what_is_found_is_nearest_to_the_standardised(codebook, vgg, parity):
    with torch.inference_mode():
        z = vgg(parity["content"])["relu4_1"]
        own = moments(z)
        _, indices = Quantizer(codebook, 1).quantize(z, own)
        points = codebook.project(((z - own[0]) / own[1])[0].flatten(1).T)
        parts = zip(points.chunk(len(codebook.tables), 1), codebook.tables, strict=True)
        nearest = [torch.cdist(part, table).argmin(1) + i * len(table) for i, (part, table) in enumerate(parts)]
        assert torch.equal(indices, torch.stack(nearest, 1))
