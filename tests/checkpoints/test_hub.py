"""The Hub carrier and the real client against a Hub on loopback: every fault one sentence, wrong bytes never stay."""

import hashlib
import inspect
import random
import socket
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.download import fetch, fetch_hub
from quantart_cli.checkpoints.hub import parse_reference
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.errors import QuantArtError
from tests.checkpoints.servers import COMMIT, Served, entry, files_in, hub_carrier, sha256

DATA = random.Random(0).randbytes(300_000)  # the same in all processes: it is in the names of tests
WRONG = DATA[:-1] + bytes([DATA[-1] ^ 1])
MODEL = safetensors.torch.save({"a": torch.arange(6.0)})


@pytest.fixture
def first(hub, use_manifest):
    """One artefact with two Hub carriers; gives the first one's file, good until a test says otherwise."""
    two = hub_carrier("owner/second", "deep/w.bin", repo_type="dataset", revision=COMMIT)
    use_manifest(entry("thing", DATA, hub_carrier("owner/first", repo_type="space", revision=COMMIT), two))
    hub.files["spaces/owner/first/w.bin"] = Served(DATA)
    hub.files["datasets/owner/second/deep/w.bin"] = Served(DATA)
    return hub.files["spaces/owner/first/w.bin"]


def blobs() -> set[str]:
    """Everything in the client's cache that holds bytes of a file, whole or not."""
    found = Path(constants.HF_HUB_CACHE).rglob("*")
    return {path.name for path in found if path.is_file() and path.parent.name == "blobs"}


def test_a_good_file(hub, first, cache_root):
    lines, told = [], []
    path = fetch(artefact("thing"), tell=lines.append, progress=lambda *about: told.append(about))
    assert path.read_bytes() == DATA
    assert path.parent.parent == cache_root
    assert files_in(cache_root) == {path.name, "record.json"}
    assert lines == []
    assert (len(DATA), len(DATA), "verifying") in told
    assert hub.downloads() == 1


def test_after_it_no_network_at_all(hub, first, monkeypatch):
    path = fetch(artefact("thing"))
    before = len(hub.requests)

    def blocked(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", blocked)
    assert fetch(artefact("thing")) == path
    assert fetch(artefact("thing"), offline=True) == path
    assert len(hub.requests) == before


def test_what_the_client_has_is_taken_without_network(hub, first, monkeypatch):
    path = fetch(artefact("thing"))
    cache.remove(artefact("thing").key)
    assert not path.exists()
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    assert fetch(artefact("thing"), offline=True).read_bytes() == DATA


def test_offline_asks_nobody(hub, first, monkeypatch):
    with pytest.raises(QuantArtError, match="the network is not used"):
        fetch(artefact("thing"), offline=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(QuantArtError, match="the network is not used"):
        fetch(artefact("thing"))
    assert hub.requests == []


def test_the_token_is_sent_and_a_dataset_asked_as_one(hub, first, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    first.status = [404]
    assert fetch(artefact("thing")).read_bytes() == DATA
    assert hub.tokens == {"Bearer hf_of_the_test"}
    assert f"GET datasets/owner/second/resolve/{COMMIT}/deep/w.bin" in hub.requests


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": [401]}, "HTTP 401: there is no such repository, or it is private: check the name, or set HF_TOKEN"),
        ({"status": [403]}, "HTTP 403: it may not be read with this token"),
        ({"status": [403], "error_code": "GatedRepo"}, "it is gated: accept its terms on the Hub and set HF_TOKEN"),
        ({"status": [404], "error_code": "EntryNotFound"}, "HTTP 404: it has no file w.bin"),
        ({"status": [404], "error_code": "RevisionNotFound"}, f"it has no revision {COMMIT}"),
        ({"status": [404], "error_code": "RepoNotFound"}, "HTTP 404: there is no such repository or file"),
        ({"status": [429]}, "HTTP 429: the Hub asks for fewer requests: wait some minutes"),
        ({"status": [500]}, "HTTP 500: the Hub has trouble: try again later"),
        ({"status": [200, 503]}, "HTTP 503: the Hub has trouble"),
        ({"status": [418]}, "HTTP 418"),
        ({"data": WRONG, "etag": sha256(WRONG)}, "it holds another file (sha256 "),
        ({"data": WRONG, "etag": sha256(DATA)}, "it has other bytes (sha256 "),
        ({"size": len(DATA) + 5}, "the file is incomplete"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_fault_is_one_line_and_the_second_carrier_takes_over(hub, first, cache_root, fault, said):
    for name, value in fault.items():
        setattr(first, name, value)
    lines = []
    assert fetch(artefact("thing"), tell=lines.append).read_bytes() == DATA
    assert len(lines) == 1
    assert lines[0].startswith("thing: the Hub (space owner/first): ")
    assert said in lines[0]
    assert "\n" not in lines[0]
    assert cache.find("thing").source["carrier"] == "the Hub (dataset owner/second)"
    assert sha256(WRONG) not in {
        sha256(path.read_bytes()) for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file()
    }


def test_another_file_at_the_hub_is_not_even_downloaded(hub, first):
    first.data, first.etag = WRONG, sha256(WRONG)
    fetch(artefact("thing"))
    assert not any(line.startswith("GET spaces/") for line in hub.requests)


def test_when_every_carrier_fails_nothing_is_left(hub, first, cache_root):
    first.data = WRONG
    hub.files["datasets/owner/second/deep/w.bin"].data = DATA[:1000]
    hub.files["datasets/owner/second/deep/w.bin"].size = 1000
    lines = []
    with pytest.raises(QuantArtError, match=r"^weights thing could not be downloaded: none of 2 carriers .* deleted$"):
        fetch(artefact("thing"), tell=lines.append)
    assert len(lines) == 2
    assert files_in(cache_root) == set()
    assert blobs() == set()


@pytest.mark.parametrize("cuts", [[1000], [0, 200_000, 5]])
@pytest.mark.parametrize("redirect", [False, True])
def test_a_connection_cut_midway(hub, first, cuts, redirect):
    first.cut, first.redirect = list(cuts), redirect
    lines = []
    assert fetch(artefact("thing"), tell=lines.append).read_bytes() == DATA
    assert lines == []
    assert hub.downloads() >= len(cuts) + 1
    assert first.cut == []


def test_a_redirect_as_to_a_cdn(hub, first):
    first.redirect = True
    assert fetch(artefact("thing")).read_bytes() == DATA
    assert "GET cdn/spaces/owner/first/w.bin" in hub.requests


def test_a_slow_server_is_waited_for_and_the_bar_moves(hub, first):
    if "tqdm_class" not in inspect.signature(huggingface_hub.hf_hub_download).parameters:
        pytest.skip("this version of the client reports no progress to others")
    first.pause = 0.02
    told = []
    fetch(artefact("thing"), progress=lambda *about: told.append(about))
    assert any(0 < done < len(DATA) and words == "downloading" for done, _, words in told)
    assert {total for _, total, _ in told} <= {len(DATA), None}


def test_a_damaged_file_in_the_clients_cache_is_downloaded_anew(hub, first):
    fetch(artefact("thing"))
    cache.remove(artefact("thing").key)
    (blob,) = (path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.parent.name == "blobs")
    blob.write_bytes(WRONG)
    lines = []
    with pytest.raises(QuantArtError, match="the network is not used"):
        fetch(artefact("thing"), offline=True, tell=lines.append)
    assert lines[0].endswith("its file in the Hub's cache is damaged: run without --offline")
    assert fetch(artefact("thing")).read_bytes() == DATA
    assert hub.downloads() == 2
    assert blob.read_bytes() == DATA


def test_a_byte_that_went_wrong_on_the_way_is_asked_for_again(hub, first):
    first.garbled = 1
    lines = []
    assert fetch(artefact("thing"), tell=lines.append).read_bytes() == DATA
    assert lines == []
    assert hub.downloads() == 2


def test_what_killed_downloads_left_in_the_clients_cache_is_removed(hub, first):
    fetch(artefact("thing"))
    cache.remove(artefact("thing").key)
    (blob,) = (path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.parent.name == "blobs")
    for name in (f"{blob.name}.incomplete", f"{blob.name}.0a1b2c3d.incomplete"):
        blob.with_name(name).write_bytes(b"half")
    fetch(artefact("thing"), offline=True)
    assert blobs() == {blob.name}


def test_nobody_listens(hub, first):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        hub.point_at(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(QuantArtError, match="no connection: check the network and HF_ENDPOINT"):
            fetch(artefact("thing"))


def test_a_server_that_is_no_hub(hub, first, monkeypatch):
    monkeypatch.setattr("tests.checkpoints.servers.COMMIT", "")
    with pytest.raises(QuantArtError, match="check HF_ENDPOINT and the proxy"):
        fetch(artefact("thing"))


# References.


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://o/r/m.safetensors", ("o/r", "m.safetensors", "model", "main")),
        ("hf://o/r@v1.0/a/b c.safetensors", ("o/r", "a/b c.safetensors", "model", "v1.0")),
        ("hf://datasets/o/r@refs%2Fpr%2F1/m.safetensors", ("o/r", "m.safetensors", "dataset", "refs/pr/1")),
        ("hf://models/o/r/m.safetensors", ("o/r", "m.safetensors", "model", "main")),
    ],
)
def test_references(text, parts):
    reference = parse_reference(text)
    assert (reference.repo_id, reference.filename, reference.repo_type, reference.revision) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf://o/m.safetensors", "is not a file of the Hub"),
        ("hf:/o/r/m.safetensors", "is not a file of the Hub"),
        ("hf://o/r@/m.safetensors", "is not a file of the Hub"),
        ("hf://../r/m.safetensors", "is not a file of the Hub"),
        ("hf://o/r/../m.safetensors", "is not a file of the Hub"),
        ("hf://o/r@..%2F..%2Fx/m.safetensors", "is not a file of the Hub"),
        ("hf://o/r/a\\..\\m.safetensors", "is not a file of the Hub"),
        ("hf://o/r/m.pth", "must end in .safetensors: quantart convert"),
    ],
)
def test_malformed_references(text, said):
    with pytest.raises(QuantArtError, match=said):
        parse_reference(text)


@pytest.mark.parametrize("large", [True, False])
def test_a_reference_is_verified_and_remembered(hub, cache_root, monkeypatch, large):
    hub.files["o/r/sub/m.safetensors"] = Served(MODEL, large=large)
    reference = parse_reference("hf://o/r@v2/sub/m.safetensors")
    path = fetch_hub(reference)
    found = cache.find(reference.key)
    assert path.read_bytes() == MODEL
    assert found.path == path
    assert found.sha256 == sha256(MODEL)
    assert found.source["commit"] == COMMIT
    assert found.source["reference"] == "hf://o/r@v2/sub/m.safetensors"
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    assert fetch_hub(reference) == path
    cache.remove(reference.key)
    assert fetch_hub(reference, offline=True).read_bytes() == MODEL  # from the client's own cache
    with pytest.raises(
        QuantArtError, match=r"hf://o/r@main/sub/m.safetensors could not be downloaded: it is not in the Hub's"
    ):
        fetch_hub(parse_reference("hf://o/r/sub/m.safetensors"), offline=True)


def test_a_reference_with_other_bytes_than_the_hub_names(hub, cache_root):
    hub.files["o/r/m.safetensors"] = Served(MODEL, etag=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(QuantArtError, match=r"hf://o/r@main/m.safetensors could not be downloaded: it has other bytes"):
        fetch_hub(parse_reference("hf://o/r/m.safetensors"))
    assert files_in(cache_root) == set()
    assert blobs() == set()


def test_a_reference_without_a_checksum(hub):
    hub.files["o/r/m.safetensors"] = Served(MODEL, etag="not-a-checksum")
    with pytest.raises(QuantArtError, match="names no checksum"):
        fetch_hub(parse_reference("hf://o/r/m.safetensors"))
    assert hub.downloads() == 0


def test_a_reference_to_what_is_no_safetensors_file(hub, cache_root):
    hub.files["o/r/m.safetensors"] = Served(b"\xff" * 100)
    with pytest.raises(QuantArtError, match=r"is refused: .* is not a valid safetensors file"):
        fetch_hub(parse_reference("hf://o/r/m.safetensors"))
    assert files_in(cache_root) == set()


@pytest.mark.parametrize(("said", "kind"), [("vqgan", "vqgan"), ("no-such-kind", None)])
def test_what_a_strangers_file_says_it_is(hub, said, kind):
    hub.files["o/r/m.safetensors"] = Served(safetensors.torch.save({"a": torch.ones(1)}, {"kind": said}))
    reference = parse_reference("hf://o/r/m.safetensors")
    fetch_hub(reference)
    assert cache.find(reference.key).kind == kind
