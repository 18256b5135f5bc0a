"""Which of many logs is examined next."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.config.model import Origin, Value, VerifierConfig
from epochseal.config.monitor_settings import MonitorConfig, MonitoredLogs
from epochseal.errors import BackendError
from epochseal.journal import Journal
from epochseal.keys import Context, WrappedSecret
from epochseal.monitor.announcer import Announcer
from epochseal.monitor.counted_recovery import CountedRecovery
from epochseal.monitor.examination import Job
from epochseal.monitor.fleet_watch import FleetWatch
from epochseal.monitor.lane import Lane, Message
from epochseal.monitor.log_record import Records
from epochseal.monitor.notice_command import NoticeCommand
from tests.unit.monitor.test_watched_log import whole

_LANES = ("part", "whole", "scrub")


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


@dataclass
class Watching:
    """A monitor without processes, whose command writes what it is given behind what is in a file."""

    folder: Path
    lanes: dict[str, Scripted] = field(default_factory=lambda: {name: Scripted() for name in _LANES})

    def __post_init__(self) -> None:
        self.told = self.folder / "told"
        nowhere = Origin("default", 0)
        values = {
            "state_dir": Value("", self.folder / "state", nowhere),
            "scrub": Value("24h", 86_400_000, nowhere),
            "scrub_share": Value("25", 25, nowhere),
        }
        keys = VerifierConfig(
            {"epoch_key": Value("", (), nowhere), "checkpoint_key": Value("", None, nowhere)}, own=True
        )
        table = MonitoredLogs(f"{self.folder}/logs/*", None, None, None, keys)
        config = MonitorConfig(self.folder, None, values, (), (), (table,))
        journal = Journal()
        self.command = NoticeCommand(["/bin/sh", "-c", f"cat >> {self.told}"])
        announcer = Announcer(journal, self.command)
        records = Records(self.folder / "state")
        self.fleet = FleetWatch(config, records, self.lanes, announcer, journal, once=False)

    def touch(self, name: str, number: int) -> None:
        """Something new in a log."""
        (self.folder / "logs" / name / "segments").mkdir(parents=True, exist_ok=True)
        (self.folder / "logs" / name / "segments" / f"{number:06}-x.seal").touch()

    def examine_one(self) -> None:
        """A round, and what the lane finds in the log that it was given."""
        self.fleet.look()
        self.fleet.take("whole")
        self.fleet.take("whole")


def test_whole_verifications_take_turns(tmp_path: Path) -> None:
    """Three logs that change all the time: none waits for longer than it takes to examine the two others."""
    monitor = Watching(tmp_path)
    for number in range(9):
        for name in "abc":
            monitor.touch(name, number)
        monitor.examine_one()
        for watched in monitor.fleet._watched.values():  # noqa: SLF001  # the time that it leaves to others is over
            watched._next = 0.0  # noqa: SLF001  # as above
    assert monitor.lanes["whole"].places[:9] == [*"abc"] * 3


def test_what_the_command_was_not_given_it_is_given_by_the_next_start(tmp_path: Path) -> None:
    """A kill between the record and the program: it is run once, by the monitor that comes then."""
    killed = Watching(tmp_path)
    killed.touch("a", 0)
    killed.examine_one()
    assert not killed.told.exists()
    for _ in range(2):
        monitor = Watching(tmp_path)
        monitor.command.finish()
        notice = json.loads(monitor.told.read_bytes())
        assert (notice["event"], notice["verdict"]) == ("verdict", "incomplete")


def test_secrets_that_are_asked_for_are_counted() -> None:
    """Of one recoverer or several, whatever it answers."""
    count = CountedRecovery()
    one, other = count.over(lambda: [Deaf(), Deaf()])()
    (alone,) = count.over(Deaf)()
    secret = WrappedSecret(b"wrapped", Context("example.com/a", bytes(32), 0, bytes(32)))
    for recoverer, asked in ((one, 2), (other, 1), (alone, 3)):
        assert recoverer.recover_many([secret] * asked, memoryview(bytearray(32 * asked))) == [None] * asked
    assert count.secrets == 6
    assert not alone.recognizes("key")


class Deaf:
    """A recoverer that opens nothing."""

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """As the protocol has it."""
        assert len(into) == 32 * len(asked)
        return [None for _ in asked]

    def recognizes(self, key_id: str) -> bool:
        """None."""
        return not key_id
