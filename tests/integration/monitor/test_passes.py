"""What a pass over a live log reads, as the monitor's child does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epochseal.api.given_keys import LogKeys as GivenKeys
from epochseal.keys import parse_key_uri
from epochseal.monitor.examination import Job, Outcome, examine_log
from tests.integration.logs import LogKeys, LogWriter, entry
from tests.integration.monitor.monitored import flip


def _pass_over(log: LogWriter, memory: Path, before: Outcome | None = None) -> Outcome:
    keys = GivenKeys(
        epoch_keys=(parse_key_uri(f"file:{log.keys.directory / 'verifier'}"),),
        checkpoint_key=f"file:{log.keys.directory / 'auditor'}",
        settings={},
    )
    since, marks = (before.resume, before.marks) if before is not None else (None, b"")
    job = Job(place=str(log.path), keys=keys, memory=memory, since=since, marks=marks)
    return examine_log(job, lambda _done, _total: None)


def _verdict(outcome: Outcome) -> str:
    assert outcome.verdict is not None, outcome.error or outcome.misfit
    return outcome.verdict.verdict


@contextmanager
def _changed(path: Path, at: int) -> Iterator[None]:
    before = flip(path, at)
    yield
    path.write_bytes(before)


@pytest.fixture
def log(tmp_path: Path, keys: LogKeys) -> LogWriter:
    """A live one, with an entry."""
    writer = LogWriter(tmp_path / "log", keys, "log", time=time.time_ns() // 1_000_000)
    return writer.start("genesis").block(entry(0))


def test_each_byte_is_read_when_it_is_new_and_when_its_epoch_ends(log: LogWriter, tmp_path: Path) -> None:
    """In between a pass over the log costs what was added, and a log that is closed nothing."""
    (tmp_path / "known").mkdir(mode=0o700)
    first = _pass_over(log, tmp_path / "known")
    assert (_verdict(first), first.whole) == ("verified", True)
    (path,) = (log.path / "segments").glob("*.log")
    end = path.stat().st_size
    log.block(entry(1))
    with _changed(path, end + 5):
        assert _verdict(_pass_over(log, tmp_path / "known", first)) == "tampered"
    with _changed(path, 5):
        second = _pass_over(log, tmp_path / "known", first)
        assert (_verdict(second), second.whole) == ("verified", False)
        log.turn()
        assert _verdict(_pass_over(log, tmp_path / "known", second)) == "tampered"
    third = _pass_over(log, tmp_path / "known", second)
    assert _verdict(third) == "verified"
    assert third.marks
    assert not _pass_over(log.close(), tmp_path / "known", third).marks
