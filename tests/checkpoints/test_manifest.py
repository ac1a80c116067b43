"""The manifest says the truth about the files beside it."""

import hashlib
import re

import pytest

from quantart_cli.checkpoints.manifest import artefact, manifest, weights_folder
from quantart_cli.engine.build import METHODS
from quantart_cli.errors import QuantArtError


@pytest.mark.parametrize("item", manifest().values(), ids=lambda item: item.name)
def test_each_file_is_what_the_manifest_says(item):
    data = item.path.read_bytes()
    assert len(data) == item.bytes
    assert hashlib.sha256(data).hexdigest() == item.sha256
    assert item.licence
    assert item.source
    assert item.purpose
    assert re.fullmatch(r"[a-z0-9-]+", item.name)


def test_each_file_has_a_card_with_its_sha256():
    cards = (weights_folder() / "LICENSES.md").read_text("utf-8")
    for item in manifest().values():
        assert f"`{item.name}`" in cards
        assert item.sha256 in cards


def test_weights_stay_small():
    assert sum(path.stat().st_size for path in weights_folder().iterdir()) < 64e6


def test_every_method_has_its_weights():
    for _, parts in METHODS.values():
        for name in parts.values():
            assert artefact(name).path.is_file()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(QuantArtError, match="did you mean adain-decoder"):
        artefact("adain-decodr")
