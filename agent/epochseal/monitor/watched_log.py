"""One log that is monitored: when it is examined next, and what becomes of what an examination found.

The rules, in the order of their weight:
- Only a verification of the whole log says that it is tampered with, or untrusted. What a verification from a
  resume point finds, unless it is verified or incomplete, has the whole log verified at once.
- After a whole verification that did not say verified, only another one settles anything.
- A tampering is written down with its report before anything else happens, and is told until a person
  acknowledges it, whatever later verifications say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from epochseal.api.given_keys import LogKeys
from epochseal.config.monitor_settings import MonitoredLogs
from epochseal.errors import FormatError
from epochseal.foreign_text import visible
from epochseal.monitor.examination import Outcome
from epochseal.monitor.log_record import Acknowledgement, Alarm, LogRecord, Point
from epochseal.monitor.stamps import Stamps, old_stamp, stamps_of
from epochseal.verifier import ResumePoint, Verdict

_TAIL_SETTLES = frozenset({"verified", "incomplete"})
_OPEN_SECONDS = 10.0
"""An open log that does not change is looked at this often while it is verified: it may have become stale."""
_UNSETTLED_SECONDS = 60.0
"""Any other that does not change: what is wrong with it may be over by time alone."""
_RETRY_SECONDS = 30.0
_WRITE_SECONDS = 60.0
_MOST_REPORTS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """A log is told another verdict than before, or a new tampering of it."""

    before: str
    told: str
    verdict: Verdict
    report: str


@dataclass(slots=True)
class WatchedLog:
    """See the top of this file.

    Attributes:
        place: its directory, an absolute path.
        record: what is remembered of it.
        error, hint: why the last examination said nothing, empty if it did.
        in_work: what it is with a lane for now: `part`, `whole`, `scrub`.
        position: how far the verification of the whole log is, 0 to 1.
        examined: whether it was since this process began.
        urgent: whether the whole log is to be verified now, whenever its next examination is due.
        recovered: epoch secrets that a key backend was asked for, since this process began.
        marks: what was verified behind the resume point, as the last outcome has it.
        whole_begun: when that was begun last, on the monotonic clock; 0 if not by this process.
    """

    place: str
    table: MonitoredLogs
    keys: LogKeys
    record: LogRecord
    error: str = ""
    hint: str = ""
    error_since: int = 0
    in_work: set[str] = field(default_factory=set)
    position: float = 0.0
    examined: bool = False
    urgent: bool = False
    recovered: int = 0
    whole_begun: float = 0.0
    marks: bytes = b""
    _stamps: Stamps | None = None
    # What parts have read while the whole log is verified, which began with fewer files.
    _beside: dict[str, int] = field(default_factory=dict)
    _next: float = 0.0
    _looked: float = 0.0
    _written: float = 0.0

    # --- when ---------------------------------------------------------------------------------------------

    def since(self) -> ResumePoint | None:
        """Where an examination of a part may begin; None if the whole log is to be verified."""
        point = self.record.point
        if point is None or self.record.whole_needed:
            return None
        try:
            return point.resume_point()
        except FormatError:
            return None

    def wants(self, now: float) -> list[str]:
        """What is due at this moment of the monotonic clock: `part`, `whole`, both or nothing."""
        wanted = []
        if now >= self._next and "part" not in self.in_work:
            since = self.since()
            stamps = stamps_of(self.place, since)
            idle = self.examined and not self.error and stamps == self._stamps
            if not idle or self._may_have_aged(now):
                wanted = ["part"] if since is not None else ["whole"]
            # Something was done to files that are not read again: the whole log, beside its part.
            self.urgent = self.urgent or (since is not None and stamps.old != self.record.stamp)
        if self.urgent and "whole" not in wanted:
            wanted.append("whole")
        return [kind for kind in wanted if kind not in self.in_work]

    def _may_have_aged(self, now: float) -> bool:
        if self.record.verdict == "verified":
            return not self.record.closed and now - self._looked > _OPEN_SECONDS
        return now - self._looked > _UNSETTLED_SECONDS

    def scrub_due(self, period: int, share: float) -> int:
        """When to begin again with the whole log, in ms: so early that every byte is read in each period.

        Args:
            period: in ms.
            share: of one core that it may take: it lasts so much longer then.
        """
        lasts = int(1000 * self.record.whole_seconds / share)
        return self.record.whole + max(period // 2, min(period * 3 // 4, period - 2 * lasts))

    def begin(self, kind: str, now: float) -> None:
        """It is handed to a lane."""
        if kind != "part" and not self.in_work & {"whole", "scrub"}:
            self._beside = {}
        self.in_work.add(kind)
        self._looked = now
        if kind != "part":
            self.urgent, self.position, self.whole_begun = False, 0.0, now
        # As it was before it is read: what changes meanwhile is looked at next time.
        self._stamps = stamps_of(self.place, self.since())

    # --- what ---------------------------------------------------------------------------------------------

    def lost(self, kind: str, why: str, now: float) -> None:
        """A lane gave it back without an outcome."""
        self.in_work.discard(kind)
        self._failed(why, "", now)

    def take(
        self, kind: str, outcome: Outcome, now: float, keep: Callable[[Verdict, int], str]
    ) -> Change | None:
        """What an examination found; the change that is to be told, if any.

        `keep` writes a report durably and gives its path.
        """
        self.in_work.discard(kind)
        self.recovered += outcome.recovered
        self._next = max(self._next, now + outcome.seconds)
        if outcome.misfit:
            self.record.point, self.record.whole_needed = None, True
            self.urgent = True
            return None
        verdict = outcome.verdict
        if verdict is None:
            self._failed(outcome.error, outcome.hint, now)
            return None
        self.error = self.hint = ""
        self.error_since = 0
        if not outcome.whole and (verdict.verdict not in _TAIL_SETTLES or self.record.whole_needed):
            self.urgent = True
            return None
        if outcome.whole and outcome.started < self.record.whole and verdict.verdict != "tampered":
            # It began before another one that has settled more than it knows.
            return None
        self.examined = True
        return self._settle(verdict, outcome, keep)

    def _failed(self, error: str, hint: str, now: float) -> None:
        if not self.error:
            self.error_since = time.time_ns() // 1_000_000
        self.error, self.hint = error, hint
        self._next = now + _RETRY_SECONDS

    def _settle(
        self, verdict: Verdict, outcome: Outcome, keep: Callable[[Verdict, int], str]
    ) -> Change | None:
        record, before = self.record, self.record.told
        ended = outcome.started + int(outcome.seconds * 1000)
        if verdict.verdict == "tampered":
            report = self._alarm(verdict, outcome.started, keep)
        else:
            report = ""
            if record.alarm is not None and record.alarm.acknowledged is not None:
                record.alarm = None
        if verdict.verdict != record.verdict:
            record.since = outcome.started
        record.verdict, record.passed = verdict.verdict, ended
        if verdict.verdict == "verified":
            record.verified = ended
        if outcome.whole:
            record.whole, record.whole_seconds = outcome.started, outcome.seconds
            record.whole_needed = verdict.verdict != "verified"
            self.position = 1.0
        self._move(verdict, outcome)
        first = verdict.problems[0] if verdict.problems else None
        record.first_problem = visible(f"{first.kind}: {first.detail}")[:500] if first is not None else ""
        if verdict.log:
            # Of a log that is gone there is nothing to say that was not known.
            record.origin, record.log, record.mode = verdict.origin, verdict.log, verdict.mode
            record.entries, record.last_sealed = verdict.entries, verdict.last_sealed
            record.closed = verdict.closed
        if record.told == before and not report:
            return None
        return Change(before, record.told, verdict, report)

    def _move(self, verdict: Verdict, outcome: Outcome) -> None:
        """The resume point moves forward only, and away where the log is not verified as a whole."""
        record, found = self.record, outcome.resume
        before = record.point.segment if record.point is not None else 0
        self.marks = outcome.marks
        if record.whole_needed:
            record.point = None
        elif found is not None and (record.point is None or found.size >= record.point.size):
            record.point = Point.of(found, verdict.log, verdict.origin)
        elif not outcome.whole:
            return
        if (point := record.point) is None:
            return
        # Of the files as they were before they were read: a change since then is still to be seen.
        if outcome.whole:
            ended = found.segment if found is not None else point.segment
            read = old_stamp("", outcome.rows, 0, ended)
            record.stamp = old_stamp(read, self._beside, ended, point.segment)
        else:
            record.stamp = old_stamp(record.stamp, outcome.rows, before, point.segment)
            if self.in_work & {"whole", "scrub"}:
                self._beside |= outcome.rows

    def _alarm(self, verdict: Verdict, time: int, keep: Callable[[Verdict, int], str]) -> str:
        found = sorted({f"{item.kind} {item.segment} {item.epoch}" for item in verdict.problems})
        alarm = self.record.alarm
        if alarm is None:
            alarm = self.record.alarm = Alarm(since=time, found=[], reports=[])
        if set(found) <= set(alarm.found):
            return ""
        alarm.found = sorted({*alarm.found, *found})
        alarm.acknowledged = None
        if len(alarm.reports) >= _MOST_REPORTS:
            return alarm.reports[-1]
        alarm.reports.append(keep(verdict, time))
        return alarm.reports[-1]

    def acknowledge(self, word: Acknowledgement) -> bool:
        """A person has seen the alarm; whether that counts: it is of all that this alarm consists of now."""
        alarm = self.record.alarm
        if alarm is None or alarm.acknowledged is not None:
            return False
        if (word.alarm, word.found) != (alarm.since, len(alarm.found)):
            return False
        alarm.acknowledged = word
        if self.record.verdict != "tampered":
            self.record.alarm = None
        return True

    def is_worth_writing(self, now: float, *, changed: bool) -> bool:
        """Whether the record is to be written now: a change at once, the rest once a minute."""
        if not changed and now - self._written < _WRITE_SECONDS:
            return False
        self._written = now
        return True
