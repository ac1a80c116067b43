"""Vector quantization against a search by hand."""

import torch

from quantart_cli.nets import nearest as module
from quantart_cli.nets.codebook import Codebook


def small() -> Codebook:
    torch.manual_seed(3)
    book = Codebook(50, width=8, channels=12)
    torch.nn.init.normal_(book.entries)
    return book.requires_grad_(False)


def test_nearest_by_brute_force():
    book, points = small(), torch.randn(70, 8)
    distances = (points[:, None] - book.entries).square().sum(-1)
    assert torch.equal(book.nearest(points), distances.argmin(-1)[:, None])


def test_pieces_do_not_change_the_result(monkeypatch):
    book, points = small(), torch.randn(81, 8)
    whole = book.nearest(points)
    monkeypatch.setattr(module, "_SCORES", 7 * 4 * len(book.entries))
    assert torch.equal(book.nearest(points), whole)


def test_the_code_of_an_entry_is_the_entry():
    book = small()
    found = book.codes(torch.tensor([[[3, 49], [0, 7]]])[..., None])
    assert found.shape == (1, 2, 2, 8)
    assert torch.equal(found[0, 0, 1], book.entries[49])
    assert torch.equal(book.nearest(book.entries), torch.arange(50)[:, None])


def test_each_part_is_searched_by_itself():
    torch.manual_seed(4)
    book = Codebook(20, width=8, channels=12, parts=4).requires_grad_(False)
    torch.nn.init.normal_(book.entries)
    assert book.entries.shape == (4, 20, 2)
    assert book.size == 80
    points = torch.randn(30, 8)
    nearest = (points.view(30, 4, 1, 2) - book.entries).square().sum(-1).argmin(-1)  # (30, 4)
    assert torch.equal(book.nearest(points), nearest + 20 * torch.arange(4))
    expected = torch.cat([book.entries[part][nearest[:, part]] for part in range(4)], -1)
    assert torch.equal(book.codes(book.nearest(points)), expected)
    assert Codebook.like(book.state_dict()).entries.shape == book.entries.shape


def test_parts_that_do_not_make_up_the_width_are_no_codebook():
    tensors = {"entries": torch.zeros(4, 20, 3), "project.weight": torch.zeros(8, 12)}
    assert Codebook.like(tensors).entries.numel() == 0
