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
    assert torch.equal(book.indices(z), distances.argmin(-1))


def test_pieces_do_not_change_the_result(monkeypatch):
    book, z = small(), torch.randn(1, 12, 9, 9)
    whole = book.indices(z)
    monkeypatch.setattr(module, "_SCORES", 7 * 4 * len(book.entries))
    assert torch.equal(book.indices(z), whole)


def test_lookup_is_the_expanded_entry():
    book = small()
    indices = torch.tensor([[[3, 49], [0, 7]]])
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
    z = book.lookup(torch.arange(50).view(1, 5, 10))
    assert torch.equal(book.indices(z), torch.arange(50).view(1, 5, 10))
    assert torch.allclose(book(z), z, atol=1e-6)
