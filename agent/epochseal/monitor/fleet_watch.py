"""All logs that are monitored: found, handed to lanes when they are due, and told of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from epochseal.api.given_keys import LogKeys
from epochseal.config.monitor_settings import MonitorConfig, MonitoredLogs
from epochseal.config.state_dir import check_outside
from epochseal.errors import StorageError
from epochseal.evidence.known_logs import KnownLogs
from epochseal.journal import Journal
from epochseal.monitor.announcer import Announcer, notice_of
from epochseal.monitor.examination import Job, Outcome
from epochseal.monitor.fleet import find_logs
from epochseal.monitor.lane import Lane
from epochseal.monitor.log_record import LogRecord, Records, name_of, page_path, place_from, short_name
from epochseal.monitor.told import Told, told_of
from epochseal.monitor.watched_log import WatchedLog

KNOWN_FOLDER = "known"
_MOST_IN_A_BATCH = 200
_MOST_NOTICES = 100


class FleetWatch:
    """The logs of a configuration, and the lanes that examine them.

    Args:
        config: what is monitored.
        records: what is remembered of it.
        lanes: `part` for what has grown, `whole` for logs that have to be verified whole at once, `scrub`
            for those that are verified whole again, slowly.
        announcer: who is told.
        once: every log is examined once, and what is due is done as fast as it goes.
    """

    def __init__(
        self,
        config: MonitorConfig,
        records: Records,
        lanes: Mapping[str, Lane],
        announcer: Announcer,
        journal: Journal,
        *,
        once: bool,
    ) -> None:
        self._config, self._records, self._lanes = config, records, lanes
        self._announcer, self._journal, self._once = announcer, journal, once
        self._watched: dict[str, WatchedLog] = {}
        self._queued: dict[str, list[WatchedLog]] = {name: [] for name in lanes}
        self._in_lane: dict[str, list[WatchedLog]] = {name: [] for name in lanes}
        self._found: Mapping[str, MonitoredLogs] = {}
        self._remember_all()

    # --- which --------------------------------------------------------------------------------------------

    def _remember_all(self) -> None:
        """Logs of an earlier time whose directory is gone now are missing, not forgotten."""
        tables = {table.pattern: table for table in self._config.logs}
        for record in self._records.all():
            if record.pattern in tables:
                place = place_from(record.place)
                self._watched[place] = self._watch(place, tables[record.pattern], record)
                self._run_commands(record, record.notices)
            elif record.log or record.alarm is not None:
                self._journal.warning(
                    "no_longer_configured", log=record.place, origin=record.origin, verdict=record.told
                )

    def _find(self) -> None:
        found = self._found = find_logs(self._config.logs)
        for place, table in found.items():
            if place not in self._watched:
                check_outside(self._config.state_dir, Path(place))
                record = self._records.read(name_of(place))
                self._watched[place] = self._watch(
                    place, table, record or LogRecord(place=name_of(place), pattern=table.pattern)
                )
                self._journal.info("log_found", log=name_of(place))
        for place in [place for place in self._watched if place not in found]:
            watched = self._watched[place]
            if not (watched.record.log or watched.record.alarm or watched.in_work):
                del self._watched[place]

    def _take_forgettings(self) -> None:
        """Logs that were removed on purpose, as people say; one that is there is not forgotten."""
        for word in self._records.forgettings():
            place = place_from(word.place)
            watched = self._watched.get(place)
            if watched is not None and watched.in_work:
                continue
            if place in self._found:
                self._journal.warning("not_forgotten", log=word.place, why="it is there, or it is named")
                self._records.forget(word, None)
                continue
            record = watched.record if watched is not None else self._records.read(word.place)
            KnownLogs(self._config.state_dir / KNOWN_FOLDER).forget(place)
            self._records.forget(word, record)
            self._watched.pop(place, None)
            if record is not None:
                self._announcer.forgotten(record, word)

    def _watch(self, place: str, table: MonitoredLogs, record: LogRecord) -> WatchedLog:
        record.pattern = table.pattern
        keys = LogKeys(
            epoch_keys=table.keys.epoch_keys,
            checkpoint_key=table.keys.checkpoint_key,
            origin=table.origin,
            settings=table.keys.backend_settings,
        )
        return WatchedLog(place, table, keys, record)

    # --- when ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """A round: which logs there are, which are due, what people have acknowledged."""
        self._find()
        self._take_forgettings()
        self._take_acknowledgements()
        now = time.monotonic()
        for queue in self._queued.values():
            queue.clear()
        for watched in self._watched.values():
            for kind in self._due(watched, now):
                self._queued[kind].append(watched)
        # In turn: logs that are due in every round would keep the one lane from all others.
        self._queued["whole"].sort(key=lambda watched: (watched.whole_begun, watched.record.whole))
        self._enqueue_scrubs()
        self.dispatch()

    def _due(self, watched: WatchedLog, now: float) -> list[str]:
        return [] if self._once and watched.error else watched.wants(now)

    def _enqueue_scrubs(self) -> None:
        period, share, now = self._config.number("scrub"), self._scrub_share, _milliseconds()
        due = [
            (watched.scrub_due(period, share), watched.record.place, watched)
            for watched in self._watched.values()
            if watched.record.whole and not watched.in_work & {"whole", "scrub"} and not watched.urgent
        ]
        # The oldest check first.
        self._queued["scrub"] = [
            item for moment, _, item in sorted(due, key=lambda row: row[:2]) if moment <= now
        ]

    @property
    def _scrub_share(self) -> float:
        return 1.0 if self._once else self._config.number("scrub_share") / 100

    def dispatch(self) -> None:
        """Hand what is due to lanes that are free."""
        for name, lane in self._lanes.items():
            queue = self._queued[name]
            if lane.busy or not queue:
                continue
            size = _MOST_IN_A_BATCH if name == "part" else 1
            batch, queue[:] = queue[:size], queue[size:]
            now = time.monotonic()
            for watched in batch:
                watched.begin(name, now)
            self._in_lane[name] = batch
            lane.start([self._job(name, watched) for watched in batch])

    def _job(self, name: str, watched: WatchedLog) -> Job:
        return Job(
            place=watched.place,
            keys=watched.keys,
            memory=self._config.state_dir / KNOWN_FOLDER,
            page=page_path(self._config.state_dir, short_name(watched.record.place)),
            log=watched.table.log,
            max_age=watched.table.max_age,
            since=watched.since() if name == "part" else None,
            marks=watched.marks if name == "part" else b"",
            share=self._scrub_share if name == "scrub" else 1.0,
        )

    # --- what ---------------------------------------------------------------------------------------------

    def take(self, name: str) -> None:
        """A lane has something to tell: take one message of it.

        Raises:
            StorageError: the lane is gone, or what was found cannot be written down.
        """
        now = time.monotonic()
        try:
            message = self._lanes[name].take()
        except (EOFError, OSError) as exc:
            what = f"the process for {name} verifications is gone"
            raise StorageError(what, "it was killed: see the kernel's log; start the monitor again") from exc
        batch = self._in_lane[name]
        if message[0] == "progress":
            batch[message[1]].position = message[2] / max(message[3], 1)
        elif message[0] == "outcome":
            self._settle(name, batch[message[1]], message[2], now)
        else:
            for watched in batch:
                if name in watched.in_work:
                    why = f"the process that examined it ended with status {message[1]}"
                    watched.lost(name, why, now)
                    self._journal.warning("examination_lost", log=watched.record.place, status=message[1])
            self._in_lane[name] = []
        self.dispatch()

    def _settle(self, name: str, watched: WatchedLog, outcome: Outcome, now: float) -> None:
        record, error = watched.record, watched.error
        change = watched.take(
            name,
            outcome,
            now,
            lambda verdict, moment: self._records.keep_report(record.place, moment, verdict),
        )
        if outcome.misfit:
            self._journal.warning("resume_misfit", log=record.place, why=outcome.misfit)
        if watched.error and watched.error != error:
            self._journal.warning("not_examined", log=record.place, why=watched.error, hint=watched.hint)
        if change is not None:
            record.notices = [*record.notices, notice_of(record, change)][-_MOST_NOTICES:]
        # Before anybody is told, so that a kill in between tells it twice and never loses it.
        if watched.is_worth_writing(
            now, changed=change is not None or (name != "part" and not watched.error)
        ):
            self._records.write(record)
        if change is not None:
            self._announcer.changed(record, change)
            self._run_commands(record, record.notices[-1:])
        if watched.urgent:
            for kind in self._due(watched, now):
                if not any(item is watched for item in self._queued[kind]):
                    self._queued[kind].append(watched)

    def _run_commands(self, record: LogRecord, notices: Sequence[str]) -> None:
        def started(notice: str) -> None:
            record.notices = [item for item in record.notices if item != notice]
            self._records.write(record)

        for notice in notices:
            self._announcer.run_command(notice, partial(started, notice))

    def _take_acknowledgements(self) -> None:
        for watched in self._watched.values():
            if watched.record.alarm is None:
                continue
            word = self._records.acknowledged(watched.record.place)
            if word is not None and watched.acknowledge(word):
                self._records.write(watched.record)
                self._announcer.acknowledged(watched.record, word)

    def write_all(self) -> None:
        """Write what changed since it was written last: at the end."""
        for watched in self._watched.values():
            if watched.examined:
                self._records.write(watched.record)

    @property
    def idle(self) -> bool:
        """Whether every log was examined, or cannot be, and nothing more is under way or due."""
        waiting = any(self._queued.values()) or any(lane.busy for lane in self._lanes.values())
        return not waiting and all(
            (watched.examined or watched.error) and not (watched.in_work or watched.urgent)
            for watched in self._watched.values()
        )

    @property
    def settled(self) -> bool:
        """Whether every log was examined since the start, or could not be."""
        return all(watched.examined or watched.error for watched in self._watched.values())

    def told(self) -> Told:
        """What is told of all of them now."""
        return told_of(self._watched.values(), self._config.expected, _milliseconds())


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
