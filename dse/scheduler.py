"""Reach the scheduler of a Dask cluster, and make sure that its workers compute what this process would."""

import gc
import hashlib
import json
import logging
import socket
import time
import warnings
from asyncio import CancelledError
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dse.config import ConfigError
from dse.point import MODEL
from dse.workers import WorkerLostError
from simulator.cost.area import prices_digest

__all__ = ["Model", "Scheduler", "connected", "model"]

_CONNECT_SECONDS = 5.0


class Model(NamedTuple):
    """What a worker must share with this process for its results to be the same, traces aside."""

    release: str
    source: str  # digest of the modules
    prices: str  # digest of the cost tables


@lru_cache(maxsize=1)
def model() -> Model:
    """That of this process."""
    digest = hashlib.sha256()
    for package in ("workloads", "dataflows", "simulator", "dse"):
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(place).rglob("*.py")):
                digest.update(path.relative_to(place).as_posix().encode() + b"\0" + path.read_bytes())
    return Model(MODEL, digest.hexdigest()[:8], prices_digest())


class Scheduler:
    """A connection to a scheduler; where it breaks, every method raises WorkerLostError."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client  # Dask's; its annotations don't tell the synchronous from the asynchronous
        self.address = address

    @contextmanager
    def reaching(self) -> Generator[Any, None, None]:
        """The client, for what talks to the scheduler. Where it went away, it has some seconds to come back."""
        from distributed.client import ClosedClientError

        try:
            while self._client.status == "connecting":
                time.sleep(0.05)
            if self._client.status != "running":
                raise ConnectionError("no connection")
            yield self._client
        except (OSError, CancelledError, ClosedClientError) as error:
            raise WorkerLostError(
                f"The Dask scheduler at {self.address} was lost ({type(error).__name__}); what the store holds is safe: "
                "start the scheduler and its workers again, and run the same command to continue"
            ) from None

    def threads(self) -> int:
        """Of all workers there are now."""
        with self.reaching() as client:
            return sum(client.nthreads().values())

    def refuse_others(self) -> None:
        """Raises ConfigError where a worker has another model than this process, or none, or the scheduler has none."""
        with self.reaching() as client:
            try:
                client.run_on_scheduler(model)
            except (ImportError, AttributeError) as error:  # it reads tasks too, and that takes the modules they name
                raise ConfigError(
                    f"The Dask scheduler at {self.address} must have nmdse {MODEL} installed, as its workers must, but: {error}"
                ) from None
            models: dict[str, Any] = client.run(model, on_error="return")
        for worker, theirs in sorted(models.items()):
            if not isinstance(theirs, OSError):  # that one is leaving
                self.refuse(theirs, f"Worker {worker}")

    def refuse(self, theirs: object, who: str = "A worker") -> None:
        """Raises ConfigError where that, of a worker, is another model."""
        mine = model()
        if theirs == mine:
            return
        if not isinstance(theirs, Model):
            raise ConfigError(
                f"{who} of the cluster at {self.address} must have nmdse {mine.release} installed, but: "
                f"{type(theirs).__name__}: {theirs}"
            )
        names = ("release", "source", "cost tables")
        differ = [f"{name} {b} instead of {a}" for name, a, b in zip(names, mine, theirs, strict=True) if a != b]
        raise ConfigError(
            f"{who} of the cluster at {self.address} must have the nmdse of this machine, not another: {', '.join(differ)}; "
            "install the same there and start the worker again"
        )


@contextmanager
def connected(text: str) -> Generator[Scheduler, None, None]:
    """A scheduler, by its address or its scheduler file. Raises ConfigError where there is none."""
    try:
        import_module("distributed")
    except ImportError:
        raise ConfigError("Option '--scheduler' needs Dask, which is not installed: pip install nmdse[dist]") from None
    address = _address(text)
    with _quiet():
        client, reason = _client(address)
        if client is None:
            gc.collect()  # now: the end of a client that failed, at any later moment, may lock up the start of another
            raise ConfigError(
                "Option '--scheduler' must be the address of a running Dask scheduler, as in tcp://host:8786, "
                f"or the file that it wrote, not {text!r}: {reason}"
            )
        try:
            yield Scheduler(client, address)
        finally:
            with suppress(Exception):  # what there was to lose is lost already
                client.close(timeout=2)


def _client(address: str) -> tuple[Any, str]:
    """Dask's client, or none and why."""
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    try:
        _knock(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # what matters to the results is compared here
            return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False), ""
    except (OSError, ValueError, ImportError) as error:
        said = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return None, said.splitlines()[0]


def _knock(address: str) -> None:
    """Whether anything listens there, for some seconds: it may be starting. Raises OSError or ValueError."""
    from distributed.comm.addressing import parse_address, parse_host_port

    scheme, place = parse_address(address)
    if scheme not in ("tcp", "tls"):
        return
    end = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            socket.create_connection(parse_host_port(place), timeout=_CONNECT_SECONDS).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _address(text: str) -> str:
    """An address, or what a scheduler file says."""
    path = Path(text)
    if path.suffix != ".json" and not path.is_file():
        return text
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise ConfigError(f"Option '--scheduler' must be an address or an existing scheduler file, not {text!r}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"Scheduler file {text!r} must be one that `dask scheduler` wrote: {error}") from None


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Without Dask's own log lines: what they say is said here."""
    import_module("distributed.config")  # sets its loggers up
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
    levels = {handler: handler.level for handler in handlers}
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)
