"""The manifest keeps to its schema, and says the truth about the files beside it."""

import hashlib

import pytest

from quantart_cli.checkpoints.layouts import KINDS
from quantart_cli.checkpoints.manifest import (
    Hub,
    PackageIndex,
    artefact,
    embedded,
    manifest,
    manifest_path,
    read_manifest,
    weights_folder,
)
from quantart_cli.errors import QuantArtError
from quantart_cli.registry import methods
from tests.checkpoints.servers import entry, hub_carrier, index_carrier

GOOD = entry("thing", b"data", hub_carrier("owner/repo"))


@pytest.mark.parametrize("item", embedded().values(), ids=lambda item: item.name)
def test_each_embedded_file_is_what_the_manifest_says(item):
    data = item.path.read_bytes()
    assert len(data) == item.bytes
    assert hashlib.sha256(data).hexdigest() == item.sha256


def test_each_embedded_file_has_a_card_with_its_sha256():
    cards = (weights_folder() / "LICENSES.md").read_text("utf-8")
    for item in embedded().values():
        assert f"`{item.name}`" in cards
        assert item.sha256 in cards


def test_the_manifest_keeps_to_the_schema():
    items = read_manifest(manifest_path())
    assert list(items) == list(manifest())
    for item in items.values():
        assert item.kind is None or item.kind in KINDS
    ours = {"quantart-vgg19", "quantart-painter", "vqvae", "wct2-shallow", "fast"}
    assert ours | {"vgg19-normalised", "adain-decoder", "microast"} == set(embedded())


def test_what_the_issue_asks_for_is_there():
    assert {
        "vgg19-normalised-fp32", "adain-decoder-fp32", "vgg19", "vgg16", "lpips-vgg16", "lpips-alexnet",
        "inception-fid", "inception-fid-torchscript", "art-inception", "vqgan-f16-1024",
    } <= set(manifest())  # fmt: skip


def test_weights_of_quantart_have_no_carrier_and_say_how():
    by_hand = [item for item in manifest().values() if not item.carriers]
    assert {"quantart-landscape2art", "sanet", "adaattn", "adaattn-video"} <= {item.name for item in by_hand}
    for item in by_hand:
        assert "quantart convert" in item.how or "quantart train" in item.how
        assert "--model" in item.how or item.name == "raft-small"  # which paints nothing


def test_one_archive_is_described_one_way():
    archives = [c for item in manifest().values() for c in item.carriers if isinstance(c, PackageIndex)]
    described = {(c.package, c.version, c.archive, c.archive_sha256, c.archive_bytes) for c in archives}
    assert len(described) == len({c.archive for c in archives}) == 4


def test_where_a_commit_is_known_it_is_pinned():
    unpinned = {
        c.repo_id for item in manifest().values() for c in item.carriers if isinstance(c, Hub) and not c.revision
    }
    assert unpinned == {"HanzhouLiu/Stylos", "JamesL404/color_transfer"}


def test_weights_stay_small():
    assert sum(path.stat().st_size for path in weights_folder().iterdir()) < 64e6


def test_every_method_has_its_weights():
    for method in methods().values():
        for name in method.weights.values():
            item = artefact(name)
            assert item.path.is_file() if item.embedded else item.how or item.carriers


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(QuantArtError, match="did you mean adain-decoder"):
        artefact("adain-decodr")


def test_a_good_manifest(tmp_path):
    path = tmp_path / "manifest.toml"
    path.write_text(GOOD + entry("more", b"x", index_carrier("t-1.tar.gz", b"t", "t-1/w.bin"), kind="vgg19"), "utf-8")
    items = read_manifest(path)
    assert items["thing"].carriers == (Hub("owner/repo", "w.bin"),)
    assert items["more"].kind == "vgg19"
    assert items["more"].carriers[0].member == "t-1/w.bin"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s + s, "artefact thing is there twice"),
        (lambda s: s.replace("purpose =", "purpos ="), "purpos is not known: did you mean purpose"),
        (lambda s: s.replace('licence = "none"\n', ""), "artefact thing lacks licence"),
        (lambda s: s.replace('purpose = "a test"', "purpose = 3"), "purpose must be one line of text, not 3"),
        (lambda s: s.replace("bytes = 4", "bytes = -4"), "bytes must be a number of bytes, not -4"),
        (lambda s: s.replace("bytes = 4", 'bytes = "4"'), "bytes must be a number of bytes"),
        (lambda s: s.replace("bytes = 4", "bytes = 4\nabout_bytes = 5"), "either bytes or about_bytes"),
        (lambda s: s.replace("bytes = 4\n", ""), "either bytes or about_bytes"),
        (lambda s: s.replace('sha256 = "', 'sha256 = "0'), "sha256 .* is not of the form"),
        (lambda s: s.replace('"thing"', '"../thing"'), "name .* is not of the form"),
        (lambda s: s.replace('"hub"', '"hubb"'), "carrier via 'hubb' is not known: did you mean hub"),
        (lambda s: s.replace("owner/repo", "owner"), "repo_id 'owner' is not of the form"),
        (lambda s: s.replace("w.bin", "../w.bin"), "filename .* is not of the form"),
        (lambda s: s.replace("w.bin", "/w.bin"), "filename .* is not of the form"),
        (lambda s: s.replace("w.bin", "a/../../w.bin"), "filename .* is not of the form"),
        (lambda s: s + 'revision = "main"\n', "revision 'main' is not of the form"),
        (lambda s: s + 'repo_type = "bucket"\n', "repo_type 'bucket' is not of the form"),
        (lambda s: s.partition("[[artefact.carrier]]")[0], "has no carrier: it needs how"),
        (lambda s: s.replace("bytes =", 'how = "so"\nbytes ='), "how is for artefacts without carriers"),
        (lambda s: s + '[[artefact.carrier]]\nvia = "embedded"\nfile = "a.pth"\n', "file 'a.pth' is not of the form"),
        (lambda s: s + index_carrier("t-1.zip", b"", "w"), "archive 't-1.zip' is not of the form"),
        (lambda s: s + index_carrier("t-1.whl", b"t", "../w"), "member '../w' is not of the form"),
        (lambda s: s + "[more]\n", r"must hold \[\[artefact\]\] tables"),
        (lambda s: s + "=", "cannot be read"),
    ],
)
def test_a_manifest_that_breaks_the_schema(tmp_path, change, said):
    path = tmp_path / "manifest.toml"
    path.write_text(change(GOOD), "utf-8")
    with pytest.raises(QuantArtError, match=said) as raised:
        read_manifest(path)
    assert "\n" not in str(raised.value)
