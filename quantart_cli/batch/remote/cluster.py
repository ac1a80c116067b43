"""The Ray cluster a run uses: joined or started, how many workers go where, and what is told when there is none."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable, reason

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's makers
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a cluster that was lost is not replaced by one nobody asked for
    "RAY_worker_niceness": "0",  # workers of a cluster started here are as urgent as this process, as painting here is
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no warning that a default will change
}
_ANSWER = 10  # seconds for a cluster's port to answer; Ray itself asks for minutes


@dataclass(frozen=True)
class Place:
    """Where a worker goes, and what it takes of that machine.

    Attributes:
        node: Ray's name of the machine.
        host: its address, for people.
        cpus: of it; a share of one when there are more workers than CPUs.
        gpus: of it, likewise.
    """

    node: str
    host: str
    cpus: float
    gpus: float

    @property
    def threads(self) -> int | None:
        """That painting may take; on a GPU it takes few anyway."""
        return None if self.gpus else max(1, int(self.cpus))


def import_ray() -> Any:
    """Ray, as it is used here.

    Raises:
        QuantArtError: it is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        if error.name != "ray":
            raise
        raise QuantArtError("Ray is not installed: pip install 'quantart-cli[ray]'") from None
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be part of a cluster while the body runs; a cluster this process is part of already is used as it is.

    Args:
        address: of the cluster; None: the one in RAY_ADDRESS, as within a Ray job, or else one of this machine alone,
            started here and ended after it.

    Raises:
        QuantArtError: there is no cluster.
    """
    ray = import_ray()
    # Ray prints what happens to workers on stdout, which is for --json alone; what matters of it is told by us.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        if ray.is_initialized():
            yield
            return
        _join_or_start(ray, address)
        try:
            yield
        finally:
            ray.shutdown()


def _join_or_start(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if address == "local":
        options["include_dashboard"] = False
    with _own_signals(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _knock(address)
        try:
            ray.init(address, **options)
        except (OSError, RuntimeError, ValueError, ImportError, AssertionError) as error:
            ray.shutdown()
            raise _no_cluster(address, error) from error


@contextmanager
def cluster_lost() -> Iterator[None]:
    """Losing the cluster in the body is told in one line.

    Raises:
        QuantArtError: as said.
    """
    ray = import_ray()
    try:
        yield
    except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.LocalRayletDiedError) as error:
        why = _first_line(error)
        raise QuantArtError(f"the Ray cluster is lost: {why}; the same command goes on when it is back") from error


def places(count: int | None, device: str) -> list[Place]:
    """Where workers go: each to the machine that has most left for it, the largest shares first.

    Args:
        count: of workers; None: one a GPU where painting may use GPUs and there are any, otherwise one a machine.
        device: as it was asked for.

    Raises:
        QuantArtError: the cluster has nothing to paint with.
    """
    nodes = [node for node in import_ray().nodes() if node["Alive"]]
    gpus = {node["NodeID"]: node["Resources"].get("GPU", 0) for node in nodes}
    cpus = {node["NodeID"]: node["Resources"].get("CPU", 0) for node in nodes}
    if device == "cuda" and not any(gpus.values()):
        raise QuantArtError("--device cuda: no machine of the Ray cluster has a GPU")
    by_gpu = device in ("auto", "cuda") and any(gpus.values())
    shares = gpus if by_gpu else cpus
    if not any(shares.values()):
        raise QuantArtError("no machine of the Ray cluster has a CPU for its workers: start it with --num-cpus")
    workers = dict.fromkeys(shares, 0)
    if count is None:
        workers = {node: (max(1, int(share)) if by_gpu else 1) if share else 0 for node, share in shares.items()}
    for _ in range(count or 0):
        workers[max(shares, key=lambda node: shares[node] / (workers[node] + 1))] += 1
    hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
    found = []
    for node, several in workers.items():
        cpu, gpu = (_share(of[node], several) if several else 0 for of in (cpus, gpus))
        cpu, gpu = (min(1, cpu), min(1, gpu)) if by_gpu else (cpu, 0)
        found += [Place(node, hosts[node], cpu, gpu)] * several
    return sorted(found, key=lambda place: (-place.gpus, -place.cpus))


def _share(whole: float, several: int) -> float:
    """Of so many CPUs or GPUs, for each of several workers: whole ones, or a part of one."""
    return whole // several if whole >= several else int(10_000 * whole / several) / 10_000


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray sets its own answer to SIGTERM, which leaves with another status."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(TypeError):  # one that was not set from Python
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Raise QuantArtError when nobody is at host:port or ray://host:port; other addresses are left to Ray."""
    there = urlsplit(address if "://" in address else f"//{address}")
    if there.scheme in ("", "ray") and there.hostname and there.port:
        try:
            socket.create_connection((there.hostname, there.port), timeout=_ANSWER).close()
        except OSError as error:
            raise QuantArtError(f"there is no Ray cluster at {printable(address)}: {reason(error)}") from None


def _no_cluster(address: str, error: Exception) -> QuantArtError:
    why = _first_line(error)
    if address == "local":
        return QuantArtError(f"Ray could not be started here: {why}")
    if isinstance(error, ImportError):
        return QuantArtError("--address ray:// needs Ray's client: pip install 'quantart-cli[ray]'")
    if address != "auto" and isinstance(error, ConnectionError):
        why += (
            "; it has to be of the same version, and if it asks for a token, set RAY_AUTH_MODE=token and its token here"
        )
    return QuantArtError(f"Ray cluster {printable(address)} cannot be joined: {why}")


def _first_line(error: Exception) -> str:
    return printable(next(iter(str(error).strip().splitlines()), type(error).__name__))
