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
    book, z = small(), torch.randn(2, 12, 5, 7)
    points = book.project(z.movedim(1, -1))  # (2, 5, 7, 8)
    distances = (points[..., None, :] - book.entries).square().sum(-1)
    assert torch.equal(book.indices(z), distances.argmin(-1)[..., None])


def test_features_are_standardised_on_the_way():
    book, z = small(), 3 * torch.randn(2, 12, 5, 7) + 1
    mean, std = torch.randn(1, 12, 1, 1), torch.rand(1, 12, 1, 1) + 0.5
    assert torch.equal(book.indices(z, mean, std), book.indices((z - mean) / std))


def test_pieces_do_not_change_the_result(monkeypatch):
    book, z = small(), torch.randn(1, 12, 9, 9)
    whole = book.indices(z)
    monkeypatch.setattr(module, "_SCORES", 7 * 4 * len(book.entries))
    assert torch.equal(book.indices(z), whole)


def test_lookup_is_the_expanded_entry():
    book = small()
    indices = torch.tensor([[[3, 49], [0, 7]]])[..., None]
    found = book.lookup(indices)
    assert found.shape == (1, 12, 2, 2)
    assert torch.allclose(found[0, :, 0, 1], book.expand(book.entries[49]))


def test_quantizing_entries_changes_nothing_where_projection_undoes_expansion():
    book = small()
    basis, _ = torch.linalg.qr(torch.randn(12, 8))
    book.load_state_dict(
        {
            "project.weight": basis.T,
            "project.bias": torch.zeros(8),
            "expand.weight": basis,
            "expand.bias": torch.zeros(12),
            "entries": book.entries,
        }
    )
    every = torch.arange(50).view(1, 5, 10, 1)
    z = book.lookup(every)
    assert torch.equal(book.indices(z), every)
    assert torch.allclose(book(z), z, atol=1e-6)


def test_each_part_is_searched_by_itself():
    torch.manual_seed(4)
    book = Codebook(20, width=8, channels=12, parts=4).requires_grad_(False)
    torch.nn.init.normal_(book.entries)
    assert book.entries.shape == (4, 20, 2)
    assert book.size == 80
    z = torch.randn(2, 12, 3, 5)
    points = book.project(z.movedim(1, -1)).unflatten(-1, (4, 2))  # (2, 3, 5, 4, 2)
    nearest = (points[..., None, :] - book.entries).square().sum(-1).argmin(-1)  # (2, 3, 5, 4)
    assert torch.equal(book.indices(z), nearest + 20 * torch.arange(4))
    expected = torch.cat([book.entries[part][nearest[..., part]] for part in range(4)], -1)
    assert torch.allclose(book(z), book.expand(expected).movedim(-1, 1), atol=1e-6)
    assert Codebook.like(book.state_dict()).entries.shape == book.entries.shape


def test_parts_that_do_not_make_up_the_width_are_no_codebook():
    tensors = {"entries": torch.zeros(4, 20, 3), "project.weight": torch.zeros(8, 12)}
    assert Codebook.like(tensors).entries.numel() == 0
