"""What is told of all logs at one moment; it never changes, so that any thread may show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from epochseal.exit_statuses import BACKEND, EMPTY, INCOMPLETE, TAMPERED, UNTRUSTED, VERIFIED
from epochseal.monitor.log_record import LogRecord, short_name
from epochseal.monitor.watched_log import WatchedLog

GRAVEST_FIRST = ("tampered", "untrusted", "", "incomplete", "empty", "verified")
"""Verdicts as people should see them; the empty one is that of a log of which nothing is known yet."""
_STATUS = {
    "tampered": TAMPERED,
    "untrusted": UNTRUSTED,
    "incomplete": INCOMPLETE,
    "empty": EMPTY,
    "verified": VERIFIED,
}


@dataclass(frozen=True, slots=True)
class ToldLog:
    """One log; times in ms since 1970, 0 for never. See `LogRecord` for the rest.

    `name` is what its page is called. `verdict` is what is told, `found` what the last examination said; they
    differ while an alarm that has healed is not acknowledged. `acknowledged`: a person has seen the
    tampering, which is still there.
    """

    place: str
    origin: str
    log: str
    verdict: str
    found: str
    since: int
    first_problem: str
    error: str
    error_since: int
    entries: int
    last_sealed: str
    closed: bool
    mode: str
    passed: int
    verified: int
    whole: int
    whole_seconds: float
    position: float
    scrubbing: bool
    alarm_since: int
    acknowledged: bool
    reports: tuple[str, ...]
    name: str
    recovered: int


@dataclass(frozen=True, slots=True)
class Told:
    """All logs, the worst first, and the origins that are expected and nowhere."""

    time: int
    logs: tuple[ToldLog, ...] = ()
    missing: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit status that says it (docs/cli.md): never 0 if a log was not verified."""
        if not self.logs:
            return INCOMPLETE if self.missing else EMPTY
        found = {_STATUS[log.verdict] for log in self.logs if log.verdict and not log.error}
        found |= {_STATUS[log.verdict] for log in self.logs if log.verdict == "tampered"}
        found |= {BACKEND for log in self.logs if log.error or not log.verdict}
        found |= {INCOMPLETE for _ in self.missing}
        order = (TAMPERED, UNTRUSTED, BACKEND, INCOMPLETE, EMPTY, VERIFIED)
        return next(status for status in order if status in found)


def told_of(watched: Iterable[WatchedLog], expected: Sequence[str], time: int) -> Told:
    """What is told now."""
    logs = tuple(sorted(map(_told_log, watched), key=_worst_first))
    # A stream is there if a log of its name holds what was sealed; whether it goes on, its verdict says.
    present = {log.origin for log in logs if log.found not in {"", "empty"}}
    return Told(time, logs, tuple(name for name in expected if name not in present), tuple(expected))


def _worst_first(log: ToldLog) -> tuple[int, bool, str]:
    return GRAVEST_FIRST.index(log.verdict), not log.error, log.place


def _told_log(watched: WatchedLog) -> ToldLog:
    record: LogRecord = watched.record
    alarm = record.alarm
    return ToldLog(
        record.place,
        record.origin,
        record.log,
        record.told,
        record.verdict,
        alarm.since if alarm is not None and record.told == "tampered" else record.since,
        record.first_problem,
        watched.error,
        watched.error_since,
        record.entries,
        record.last_sealed,
        record.closed,
        record.mode,
        record.passed,
        record.verified,
        record.whole,
        record.whole_seconds,
        watched.position,
        "scrub" in watched.in_work,
        alarm.since if alarm is not None else 0,
        alarm is not None and alarm.acknowledged is not None,
        tuple(alarm.reports) if alarm is not None else (),
        short_name(record.place),
        watched.recovered,
    )
