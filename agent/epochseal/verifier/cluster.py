"""A Dask cluster as the place where tasks run: the same unit of work as that of a process on this machine.

A worker makes its own connection to the key backend and to the archive, with the credentials of its own
environment: no secret and no setting of this process goes through the scheduler. A worker that is lost costs
the time of its tasks, which the scheduler gives to another one. A worker of another version judges nothing:
its verdict might be another one.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING, Any

import msgspec

from epochseal.errors import BackendError, ConfigError, EpochsealError, StorageError
from epochseal.version import __version__

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from epochseal.verifier.workers import Task, TaskResult

_CONNECT_SECONDS = 30
_RETRIES = 3


class Cluster(msgspec.Struct, frozen=True):
    """The pool that its workers are, and how many tasks they run at a time."""

    pool: Executor
    slots: int


@contextmanager
def connected(scheduler: str) -> Iterator[Cluster]:
    """The cluster of a scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.

    Raises:
        ConfigError: the library is missing, or the cluster has no worker, or one of another version.
        StorageError: the scheduler is not there.
    """
    try:
        from distributed import Client  # noqa: PLC0415  # an extra
    except ImportError as exc:
        raise ConfigError("a scheduler needs Dask", "in a checkout: pip install '.[cluster]'") from exc
    try:
        client: Any = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]  # it has none
    except (OSError, ValueError) as exc:
        raise StorageError(f"the scheduler {scheduler} is not there: {exc}", "see its address") from exc
    with client:
        slots = sum(client.nthreads().values())
        if not slots:
            raise ConfigError(f"the scheduler {scheduler} has no worker", f"dask worker {scheduler}")
        for address, found in client.run(worker_version, on_error="return").items():
            if found != __version__:
                raise _other_version(address, str(found))
        pool = client.get_executor(pure=False, retries=_RETRIES)
        try:
            yield Cluster(pool, slots)
        finally:
            # What nobody waits for any more is taken back first: else each of it complains that it was left.
            pool.shutdown(wait=False)


class _OfThread(local):
    """What a thread of a worker keeps between tasks: its page, its login, how much it has read."""

    maker: bytes | None = None
    run: Callable[[Sequence[Task]], list[TaskResult]] | None = None


_own = _OfThread()


def worker_version() -> str:
    """In a worker: its version."""
    return __version__


def _other_version(where: str, found: str) -> ConfigError:
    text = f"the worker {where} has another epochseal than this {__version__}: {found}"
    return ConfigError(text, "install the same version on all of them")


def run_on_worker(version: str, keys: bytes, work: bytes) -> list[TaskResult] | EpochsealError:
    """In a worker: check tasks; what fails for good is an answer, so that it is not tried again elsewhere.

    Args:
        version: of who asks. A worker may have joined since the others were asked for theirs.
        keys: what makes a recoverer, pickled: a worker keeps its connection for as long as it stays the same.
        work: the tasks, pickled: of another version they might not even be read.
    """
    from epochseal.verifier.workers import worker_for  # noqa: PLC0415  # it imports this file

    if version != __version__:
        return _other_version(f"on {socket.gethostname()}", __version__)
    try:
        if _own.run is None or _own.maker != keys:
            _own.run, _own.maker = worker_for(pickle.loads(keys)), keys  # noqa: S301  # who submits work runs code here
        return _own.run(pickle.loads(work))  # noqa: S301  # as above
    except EpochsealError as exc:
        # The next task logs in anew.
        _own.run = None
        where = f"the worker on {socket.gethostname()}: {exc}"
        kind = type(exc) if isinstance(exc, (BackendError, StorageError, ConfigError)) else BackendError
        return kind(where, exc.hint)
