"""What becomes of what an examination found: when a log is convicted, and for how long it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from epochseal.api.given_keys import LogKeys
from epochseal.config.model import VerifierConfig
from epochseal.config.monitor_settings import MonitoredLogs
from epochseal.monitor.examination import Outcome
from epochseal.monitor.log_record import Acknowledgement, LogRecord, Records, name_of
from epochseal.monitor.stamps import rows_of
from epochseal.monitor.watched_log import Change, WatchedLog
from epochseal.verifier import Problem, ResumePoint, Verdict
from epochseal.verifier.verdict import VerdictName

POINT = ResumePoint(1, "000001-20260101T000000Z", 0, 0, bytes(32), 10, 5, 50, 1, 0)


def watched(place: Path, record: LogRecord) -> WatchedLog:
    """A log with this record."""
    table = MonitoredLogs("/logs/*", None, None, None, VerifierConfig({}, own=True))
    return WatchedLog(str(place), table, LogKeys(), record)


@pytest.fixture
def log(tmp_path: Path) -> WatchedLog:
    """One that was never examined."""
    return watched(tmp_path, LogRecord(place=name_of(str(tmp_path)), pattern="/logs/*"))


def _verdict(name: VerdictName, *kinds: str) -> Verdict:
    problems = [Problem(kind, 1, 0, 0, 0, 1, 1, "here") for kind in kinds]
    return Verdict(
        verdict=name,
        origin="o",
        entries=5,
        bytes=50,
        epochs=1,
        segments=1,
        log="id",
        signed_entries=5,
        tree_size=10,
        root="",
        last_sealed="2026-01-01T00:00:00.000Z",
        closed=True,
        mode="keys",
        memory="known",
        problems=problems,
        warnings=[],
        not_shown=[],
    )


def whole(name: VerdictName, *kinds: str, started: int = 1000) -> Outcome:
    """What an examination of the whole log found."""
    resume = POINT if name == "verified" else None
    return Outcome(whole=True, started=started, seconds=0.5, verdict=_verdict(name, *kinds), resume=resume)


def _take(log: WatchedLog, outcome: Outcome) -> Change | None:
    return log.take(
        "whole" if outcome.whole else "part", outcome, 0.0, lambda _verdict, time: f"report-{time}"
    )


def test_a_part_never_convicts(log: WatchedLog) -> None:
    """What it finds has the whole log verified, and changes nothing until then."""
    assert _take(log, whole("verified")) is not None
    assert _take(log, replace(whole("tampered", "line_altered", started=2000), whole=False)) is None
    assert (log.record.told, log.urgent) == ("verified", True)
    assert log.wants(100.0) == ["part", "whole"]
    change = _take(log, whole("tampered", "line_altered", started=3000))
    assert change is not None
    assert (change.told, change.report) == ("tampered", "report-3000")


def test_a_part_acquits_nobody(log: WatchedLog) -> None:
    """After a whole verification that did not say verified only another one settles anything."""
    _take(log, whole("verified"))
    _take(log, whole("incomplete", "segment_missing", started=2000))
    assert log.since() is None
    assert _take(log, replace(whole("verified", started=3000), whole=False)) is None
    assert (log.record.told, log.urgent) == ("incomplete", True)
    _take(log, whole("verified", started=4000))
    assert log.record.told == "verified"


def test_a_stale_end_and_back(log: WatchedLog) -> None:
    """A part may say that the end is old, and that it is not any more: the rest was verified."""
    _take(log, whole("verified"))
    part = replace(whole("incomplete", "open_end", started=2000), whole=False, resume=None)
    assert _take(log, part) is not None
    assert log.since() == POINT
    assert _take(log, replace(whole("verified", started=3000), whole=False)) is not None
    assert log.record.told == "verified"


def test_a_tampering_that_heals_stays_told(log: WatchedLog, tmp_path: Path) -> None:
    """Over a restart too, until a person acknowledges all of it."""
    _take(log, whole("tampered", "line_altered"))
    assert _take(log, whole("verified", started=2000)) is None
    records = Records(tmp_path / "state")
    records.write(log.record)
    again = records.read(log.record.place)
    assert again == log.record
    assert (again.told, again.verdict) == ("tampered", "verified")
    word = Acknowledgement(alarm=1000, found=1, who="alice", reason="looked", time=3000)
    for wrong in (word.alarm + 1, 0), (1000, 2):
        assert not log.acknowledge(
            Acknowledgement(alarm=wrong[0], found=wrong[1], who="a", reason="r", time=1)
        )
    assert log.acknowledge(word)
    assert log.record.told == "verified"


def test_what_is_new_beside_an_acknowledged_one_is_told(log: WatchedLog) -> None:
    """The same again is not: it is tampered all the while."""
    _take(log, whole("tampered", "line_altered"))
    word = Acknowledgement(alarm=1000, found=1, who="alice", reason="looked", time=1500)
    assert log.acknowledge(word)
    assert _take(log, whole("tampered", "line_altered", started=2000)) is None
    change = _take(log, whole("tampered", "line_altered", "forked", started=3000))
    assert change is not None
    assert change.report == "report-3000"
    assert not log.acknowledge(word)
    assert log.record.alarm is not None
    assert log.record.alarm.reports == ["report-1000", "report-3000"]


def test_a_log_that_is_gone_keeps_its_name(log: WatchedLog) -> None:
    """Whoever is told must know which one it was."""
    _take(log, whole("verified"))
    gone = whole("tampered", "rolled_back", started=2000)
    assert gone.verdict is not None
    gone.verdict.origin = gone.verdict.log = ""
    assert _take(log, gone) is not None
    assert (log.record.origin, log.record.log, log.record.told) == ("o", "id", "tampered")


def test_an_older_verification_settles_nothing(log: WatchedLog) -> None:
    """A slow one that began before another: but a tampering that it saw was there."""
    _take(log, whole("incomplete", "segment_missing", started=2000))
    assert _take(log, whole("verified", started=1000)) is None
    assert log.record.told == "incomplete"
    assert _take(log, whole("tampered", "line_altered", started=1000)) is not None


def test_what_fails_says_nothing_of_the_log(log: WatchedLog) -> None:
    """Nor does what does not fit: the whole log is verified then."""
    _take(log, whole("verified"))
    assert _take(log, Outcome(whole=False, started=2000, seconds=0.1, error="the backend is away")) is None
    assert (log.record.told, log.record.passed, log.error) == ("verified", 1500, "the backend is away")
    assert _take(log, Outcome(whole=False, started=3000, seconds=0.1, misfit="another epoch")) is None
    assert (log.since(), log.urgent) == (None, True)


def test_every_byte_is_read_in_each_period(log: WatchedLog) -> None:
    """The next scrub begins so early that it ends, at its share, a period after the last one began."""
    period, share = 60_000, 0.25
    for seconds in (0.0, 1.0, 3.0):
        log.record.whole, log.record.whole_seconds = 1000, seconds
        due = log.scrub_due(period, share) - 1000
        assert due + seconds / share * 1000 <= period
        assert due >= period // 2


def test_a_change_beside_an_examination_is_seen(tmp_path: Path) -> None:
    """Old files, after they were read and before the verdict: the whole log is verified again."""
    folder = tmp_path / "segments"
    folder.mkdir()
    for name in ("000001-a.log", "000002-b.log", "000003-c.log"):
        (folder / name).write_bytes(b"before")
    log = watched(tmp_path, LogRecord(place=name_of(str(tmp_path)), pattern="/logs/*"))
    rows = rows_of(str(tmp_path), 0)
    second = replace_fields(POINT, segment=2, stem="000002-b", size=20)
    log.begin("whole", 0.0)
    _take(log, replace(whole("verified"), rows=rows, resume=second))
    assert log.wants(100.0) == ["part"]
    # Nothing was changed. Now it is, while a part is read that moves on into the third segment.
    log.begin("part", 100.0)
    rows = rows_of(str(tmp_path), 2)
    (folder / "000001-a.log").write_bytes(b"after")
    third = replace_fields(POINT, segment=3, stem="000003-c", size=30)
    part = replace(whole("verified", started=2000), whole=False, rows=rows, resume=third)
    _take(log, part)
    assert log.record.point is not None
    assert log.record.point.segment == 3
    assert log.wants(200.0) == ["part", "whole"]
    # The same beside a verification of the whole log.
    log.begin("whole", 200.0)
    rows = rows_of(str(tmp_path), 0)
    (folder / "000002-b.log").write_bytes(b"after")
    _take(log, replace(whole("verified", started=3000), rows=rows, resume=third))
    assert log.wants(300.0) == ["part", "whole"]
    log.begin("whole", 300.0)
    _take(log, replace(whole("verified", started=4000), rows=rows_of(str(tmp_path), 0), resume=third))
    assert log.wants(300.0) == []
