"""The Ray cluster of a run: joining or starting it, and the number of workers on each machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's makers
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a lost cluster is not replaced by a new one
    "RAY_worker_niceness": "0",  # workers started here have the priority of this process
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no warning that a default will change
}
_TIMEOUT = 10  # seconds for a cluster's port to answer; Ray itself waits for minutes


@dataclass(frozen=True)
class Place:
    """Where a worker runs: Ray's name of the machine, its address, and the CPUs and GPUs (or a share) it takes."""

    node: str
    host: str
    cpus: float
    gpus: float

    @property
    def threads(self) -> int | None:
        """For painting; None: the libraries decide, on a GPU they take few."""
        return None if self.gpus else max(1, int(self.cpus))


def import_ray() -> Any:
    """Ray, configured. Raises QuantArtError if it is not installed."""
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
    """Be part of a cluster during the body; one that this process belongs to already is used as it is.

    Args:
        address: of the cluster; None: RAY_ADDRESS, which a Ray job sets, or else a new cluster of this machine alone,
            which ends with the body.

    Raises:
        QuantArtError: there is no cluster.
    """
    ray = import_ray()
    # Ray prints the fate of its workers on stdout, which belongs to --json; the executor reports what matters.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        joined = not ray.is_initialized()
        if joined:
            _join(ray, address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            yield
        finally:
            if joined:
                ray.shutdown()


@contextmanager
def cluster_lost() -> Iterator[None]:
    """Raise QuantArtError if the cluster is lost during the body."""
    ray = import_ray()
    try:
        yield
    except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.LocalRayletDiedError) as error:
        why = _first_line(error)
        raise QuantArtError(f"the Ray cluster is lost: {why}; the same command continues when it is back") from error


def places(count: int | None, device: str) -> list[Place]:
    """Where workers run: each on the machine with most left for it, the largest shares first.

    Args:
        count: of workers; None: one a GPU where painting may use GPUs and there are any, otherwise one a machine.
        device: "auto", "cpu", "cuda" or "mps".

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
    found = []
    for node in nodes:
        name, several = node["NodeID"], workers[node["NodeID"]]
        if several:
            cpu, gpu = _share(cpus[name], several), _share(gpus[name], several)
            cpu, gpu = (min(1, cpu), min(1, gpu)) if by_gpu else (cpu, 0)
            found += [Place(name, node["NodeManagerAddress"], cpu, gpu)] * several
    return sorted(found, key=lambda place: (-place.gpus, -place.cpus))


def _share(whole: float, several: int) -> float:
    """CPUs or GPUs for each of several workers: whole ones, or a part of one."""
    return whole // several if whole >= several else int(10_000 * whole / several) / 10_000


def _join(ray: Any, address: str) -> None:
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if address == "local":
        options["include_dashboard"] = False
    handler = signal.getsignal(signal.SIGTERM)
    _knock(address)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, ImportError, AssertionError) as error:
        ray.shutdown()
        raise _no_cluster(address, error) from error
    finally:
        with suppress(TypeError, ValueError):  # a handler not set from Python; not the main thread
            signal.signal(signal.SIGTERM, handler)  # Ray's own leaves with another status


def _knock(address: str) -> None:
    """Raise QuantArtError if nothing answers at host:port or ray://host:port; other addresses are left to Ray."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.scheme in ("", "ray") and parts.hostname and parts.port:
        try:
            socket.create_connection((parts.hostname, parts.port), timeout=_TIMEOUT).close()
        except OSError as error:
            raise QuantArtError(f"there is no Ray cluster at {printable(address)}: {reason(error)}") from None


def _no_cluster(address: str, error: Exception) -> QuantArtError:
    why = _first_line(error)
    if address == "local":
        return QuantArtError(f"Ray could not be started here: {why}")
    if isinstance(error, ImportError):
        return QuantArtError("--address ray:// needs Ray's client: pip install 'quantart-cli[ray]'")
    if address != "auto" and isinstance(error, ConnectionError):
        why += "; its version must be the same, and if it asks for a token, set RAY_AUTH_MODE=token and its token here"
    return QuantArtError(f"Ray cluster {printable(address)} cannot be joined: {why}")


def _first_line(error: Exception) -> str:
    return printable(next(iter(str(error).strip().splitlines()), type(error).__name__))
