"""A log is checked on a Dask cluster as on this machine: one unit of work, one verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from epochseal.api.given_keys import LogKeys as NamedKeys
from epochseal.errors import ConfigError, StorageError
from epochseal.keys import parse_key_uri
from epochseal.verifier import Request, Verdict
from epochseal.verifier.verify import verify
from tests.integration.logs import Log, LogKeys, entry, write_log


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster in this process: a scheduler, and a worker with two threads."""
    made: Any = LocalCluster(  # type: ignore[no-untyped-call]  # it has no types
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp"
    )
    with made as cluster:
        yield cluster.scheduler_address


def judge(log: Log, scheduler: str | None, verifier: Path | None = None) -> Verdict:
    """The verdict, with keys that a worker reads itself."""
    uri = parse_key_uri(f"file:{verifier or log.keys.directory / 'verifier'}")
    request = Request(
        make_recoverer=NamedKeys(epoch_keys=(uri,)).recoverer_maker(),
        checkpoint_key=log.keys.public,
        scheduler=scheduler,
        now=lambda: log.now,
    )
    return verify(log.path, request)


def test_verdict_is_that_of_this_machine(scheduler: str, tmp_path: Path, keys: LogKeys) -> None:
    """Of an honest log and of one that was tampered with, word for word."""
    log = write_log(tmp_path / "log", keys)
    assert judge(log, scheduler) == judge(log, None)
    assert judge(log, scheduler).verdict == "verified"
    path = log.files("log")[1]
    path.write_bytes(path.read_bytes().replace(entry(13), entry(93)))
    # Workers outlive a verification: what they have read in one counts for no other.
    for _ in range(3):
        assert judge(log, scheduler) == judge(log, None)
    assert judge(log, scheduler).problems[0].kind == "entries_altered"


def test_worker_that_lacks_the_credential_says_so(
    scheduler: str, tmp_path: Path, keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with the worker's error, and is not told another verdict."""
    log = write_log(tmp_path / "log", keys)
    other = tmp_path / "verifier"
    other.symlink_to(keys.directory / "verifier")

    def refused(_make: object) -> None:
        raise ConfigError("there is no key file", "put one there")

    monkeypatch.setattr("epochseal.verifier.workers.worker_for", refused)
    with pytest.raises(ConfigError, match=r"the worker on .*: there is no key file"):
        judge(log, scheduler, other)


def worker_version() -> str:
    """Of a worker that nobody has updated."""
    return "0.0.9"


def test_worker_of_another_version_judges_nothing(
    scheduler: str, tmp_path: Path, keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before the work is cut, and one that joins later by its first task."""
    log = write_log(tmp_path / "log", keys)
    with monkeypatch.context() as patch:
        patch.setattr("epochseal.verifier.cluster.worker_version", worker_version)
        with pytest.raises(ConfigError, match=r"the worker tcp:.* has another epochseal .*: 0\.0\.9"):
            judge(log, scheduler)
    monkeypatch.setattr("epochseal.verifier.workers.__version__", "0.0.9")
    with pytest.raises(ConfigError, match=r"the worker on .* has another epochseal"):
        judge(log, scheduler)


def test_whatever_a_cluster_does_ends_without_a_verdict(
    scheduler: str, tmp_path: Path, keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the library, or of a worker's own machine."""
    log = write_log(tmp_path / "log", keys)
    other = tmp_path / "verifier"
    other.symlink_to(keys.directory / "verifier")

    def broken(_make: object) -> None:
        raise MemoryError("no more room")

    monkeypatch.setattr("epochseal.verifier.workers.worker_for", broken)
    with pytest.raises(StorageError, match="the cluster did not do what was asked: MemoryError: no more"):
        judge(log, scheduler, other)


def test_scheduler_that_is_not_there_is_named(
    tmp_path: Path, keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is checked."""
    monkeypatch.setattr("epochseal.verifier.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(StorageError, match=r"the scheduler tcp://127\.0\.0\.1:1 is not there"):
        judge(write_log(tmp_path / "log", keys), "tcp://127.0.0.1:1")
