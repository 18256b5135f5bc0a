"""Which of many logs is examined next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.config.model import Origin, Value, VerifierConfig
from epochseal.config.monitor_settings import MonitorConfig, MonitoredLogs
from epochseal.journal import Journal
from epochseal.monitor.announcer import Announcer
from epochseal.monitor.examination import Job
from epochseal.monitor.fleet_watch import FleetWatch
from epochseal.monitor.lane import Lane, Message
from epochseal.monitor.log_record import Records
from epochseal.monitor.notice_command import NoticeCommand
from tests.unit.monitor.test_watched_log import whole


@dataclass
class Scripted(Lane):
    """A lane without a process, to which every log is incomplete: each change wants all of it again."""

    busy: bool = False
    places: list[str] = field(default_factory=list)
    _told: list[Message] = field(default_factory=list)

    def start(self, jobs: Sequence[Job]) -> None:
        """Note which."""
        self.busy = True
        for place, job in enumerate(jobs):
            self.places.append(Path(job.place).name)
            self._told.append(
                ("outcome", place, whole("incomplete", "gap", started=time.time_ns() // 1_000_000))
            )
        self._told.append(("ended", 0))

    def take(self) -> Message:
        """One after the other."""
        message = self._told.pop(0)
        self.busy = message[0] != "ended"
        return message


def test_whole_verifications_take_turns(tmp_path: Path) -> None:
    """Three logs that change all the time: none waits for longer than it takes to examine the two others."""
    logs = tmp_path / "logs"
    for name in "abc":
        (logs / name / "segments").mkdir(parents=True)
    nowhere = Origin("default", 0)
    values = {
        "state_dir": Value("", tmp_path / "state", nowhere),
        "scrub": Value("24h", 86_400_000, nowhere),
        "scrub_share": Value("25", 25, nowhere),
    }
    keys = VerifierConfig(
        {"epoch_key": Value("", (), nowhere), "checkpoint_key": Value("", None, nowhere)}, own=True
    )
    table = MonitoredLogs(f"{logs}/*", None, None, None, keys)
    config = MonitorConfig(tmp_path, None, values, (), (), (table,))
    lanes = {name: Scripted() for name in ("part", "whole", "scrub")}
    journal = Journal()
    announcer = Announcer(journal, NoticeCommand(()))
    fleet = FleetWatch(config, Records(tmp_path / "state"), lanes, announcer, journal, once=False)
    for place in range(9):
        for name in "abc":
            (logs / name / "segments" / f"{place:06}-x.seal").touch()
        fleet.look()
        fleet.take("whole")
        fleet.take("whole")
        for watched in fleet._watched.values():  # noqa: SLF001  # the time that it leaves to others is over
            watched._next = 0.0  # noqa: SLF001  # as above
    assert lanes["whole"].places[:9] == [*"abc"] * 3
