"""Who is told that a verdict has changed: the journal, and the operator's own command."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from epochseal.encoding import format_time
from epochseal.foreign_text import encode_visible_json
from epochseal.journal import Journal
from epochseal.monitor.log_record import Acknowledgement, Forgetting, LogRecord
from epochseal.monitor.notice_command import NoticeCommand
from epochseal.monitor.watched_log import Change

_LEVELS = {"tampered": "error", "untrusted": "error", "verified": "info"}


def notice_of(record: LogRecord, change: Change) -> str:
    """What the operator's command is given of a change, as JSON."""
    notice = {
        "event": "verdict",
        "log": record.place,
        "origin": record.origin,
        "verdict": change.told,
        "before": change.before,
        "since": format_time(record.since),
        "report": change.report,
        "found": change.verdict,
    }
    return encode_visible_json(notice).decode()


class Announcer:
    """Tells of changes; see the top of this file."""

    def __init__(self, journal: Journal, command: NoticeCommand) -> None:
        self._journal, self._command = journal, command
        self._missing: tuple[str, ...] = ()

    def changed(self, record: LogRecord, change: Change) -> None:
        """A log is told another verdict, or a new tampering of it was found."""
        level = _LEVELS.get(change.told, "warning")
        fields = {
            "log": record.place,
            "origin": record.origin,
            "verdict": change.told,
            "before": change.before or None,
            "problems": len(change.verdict.problems),
            "first": record.first_problem or None,
            "report": change.report or None,
        }
        if level == "error":
            self._journal.tell("error", "verdict", **fields)
        else:
            self._journal.tell("info" if level == "info" else "warning", "verdict", **fields)

    def run_command(self, notice: str, started: Callable[[], None]) -> None:
        """Give the operator's command a notice; `started` is called when it has it."""
        self._command.tell(notice.encode() + b"\n", started)

    def missing(self, origins: Sequence[str]) -> None:
        """These origins are expected and nowhere; told when they change."""
        now = tuple(origins)
        for origin in now:
            if origin not in self._missing:
                self._journal.warning("stream_missing", origin=origin)
                self._stream("stream_missing", origin)
        for origin in self._missing:
            if origin not in now:
                self._journal.info("stream_found", origin=origin)
                self._stream("stream_found", origin)
        self._missing = now

    def _stream(self, event: str, origin: str) -> None:
        # Not kept over a kill: the next start tells of what is missing then.
        self.run_command(encode_visible_json({"event": event, "origin": origin}).decode(), lambda: None)

    def acknowledged(self, record: LogRecord, word: Acknowledgement) -> None:
        """A person has seen an alarm."""
        self._journal.info(
            "acknowledged", log=record.place, who=word.who, reason=word.reason, verdict=record.told
        )

    def forgotten(self, record: LogRecord, word: Forgetting) -> None:
        """A person has said that a log was removed on purpose."""
        self._journal.info(
            "forgotten",
            log=record.place,
            origin=record.origin,
            who=word.who,
            reason=word.reason,
            verdict=record.told,
        )

    def tend(self) -> None:
        """Look after the commands that run."""
        for failure in self._command.tend():
            self._journal.warning("on_change_failed", why=failure)

    def finish(self) -> None:
        """Wait for them at the end."""
        self._command.finish()
