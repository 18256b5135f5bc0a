"""Random tamperings with logs that a monitor watches: what it misses, what it invents, how long it takes.

    python -m tests.fault.monitor_trial [TAMPERINGS] [KILLS] [SCRUBBED] [SEED]

A live log is written by an agent that is killed now and then, turns its epochs and begins new segments; an
old one lies beside it. One byte of either is changed, until the monitor tells it, and put back; a person
acknowledges it; then the next one. Meanwhile the monitor is killed (-9) at random moments. Then old logs are
changed while nothing in the file system shows it, so that only the scrub can find it.
"""

from __future__ import annotations

import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from epochseal.monitor.log_record import Records, name_of
from tests.integration.agents import Agent, Place, tmpfs
from tests.integration.monitor.monitored import Fleet, Running

_MARGIN = 400
"""So many bytes at the end of a file are left alone: they may not be sealed yet."""
_PATIENCE = 120.0
_SCRUB = 60.0
_BLIND = (
    "from epochseal.monitor import watched_log; from epochseal.monitor.stamps import Stamps;"
    "watched_log.stamps_of = lambda *_: Stamps('', '');"
    "from epochseal.__main__ import main; main()"
)


@dataclass
class Found:
    """What came of it: seconds until each tampering was told, what was missed, and false alarms."""

    live: list[float] = field(default_factory=list)
    old: list[float] = field(default_factory=list)
    scrubbed: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    kills: int = 0
    agent_kills: int = 0


class Writing:
    """An agent that is fed in a thread; its log turns epochs and segments all the time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stop = threading.Event()
        self._agent: Agent | None = None
        self._thread: threading.Thread | None = None
        self._count = 0

    def start(self) -> None:
        """Begin, or go on after a kill."""
        sizes = ("--epoch-max-entries", "60", "--segment-bytes", "6KiB", "--block-bytes", "400B")
        self._agent = self._place.agent(*self._place.resuming, *sizes)
        self._stop.clear()
        self._thread = threading.Thread(target=self._feed, args=(self._agent,))
        self._thread.start()

    def _feed(self, agent: Agent) -> None:
        while not self._stop.wait(0.05):
            self._count += 1
            with suppress(OSError, AssertionError):
                agent.send(b"entry %06d of a live log\n" % self._count)

    def kill(self) -> None:
        """As a crash."""
        assert self._agent is not None
        assert self._thread is not None
        self._agent.kill()
        self._stop.set()
        self._thread.join()
        # What was not sent yet has nobody to go to.
        with suppress(OSError):
            self._agent.__exit__(None, None, None)


class Trial:
    """One round of the story at the top of this file."""

    def __init__(self, folder: Path, place: Place, seed: int) -> None:
        self._random = random.Random(seed)  # no secret
        self._fleet = Fleet(folder, place.keys)
        # What a pass does not read again, in the open segment before the last checkpoint, the scrub finds.
        self._fleet.configure(scrub="1m")
        self._fleet.log("old")
        place.log = self._fleet.logs / "live"
        self._writing = Writing(place)
        self._records = Records(self._fleet.state)
        self.found = Found()
        self._told = 0

    @contextmanager
    def started(self) -> Iterator[None]:
        """With a writer and a monitor, which has seen both logs verified."""
        self._writing.start()
        self._monitor = Running(self._fleet.config)
        try:
            for name in ("old", "live"):
                self._wait(name, "verified")
            yield
        finally:
            self._monitor.kill()
            self._writing.kill()

    def tamper(self, name: str, *, kill: bool) -> None:
        """Change one byte, wait until it is told, put it back, acknowledge it."""
        self._look_for_inventions()
        path, at = self._choose(name)
        began = time.monotonic()
        byte = _flip(path, at)
        if kill:
            time.sleep(self._random.uniform(0, 2))
            self._kill_monitor()
        if self._wait(name, "tampered", "untrusted", "incomplete"):
            (self.found.live if name == "live" else self.found.old).append(time.monotonic() - began)
        else:
            self.found.missed.append(f"{path.name} byte {at}")
        _flip(path, at, byte)
        if kill:
            self._kill_monitor()
        if not self._acknowledged(name):
            self.found.invented.append(f"{name} is not verified again after {path.name} byte {at}")
        self._told = len(self._monitor.events())

    def crash(self) -> None:
        """Kill the agent and start it again: that is no tampering."""
        self._writing.kill()
        self._writing.start()
        self.found.agent_kills += 1

    def rest(self, seconds: float) -> None:
        """Nothing happens, and nothing may be told."""
        time.sleep(seconds)
        self._look_for_inventions()

    def _look_for_inventions(self) -> None:
        for event in self._monitor.events()[self._told :]:
            if event["event"] == "verdict" and event["verdict"] != "verified":
                self.found.invented.append(str(event))
        self._told = len(self._monitor.events())

    def _choose(self, name: str) -> tuple[Path, int]:
        while True:
            files = sorted((self._fleet.logs / name / "segments").iterdir())
            path = self._random.choice(files[-4:] if name == "live" else files)
            margin = _MARGIN if name == "live" else 0
            if (size := path.stat().st_size - margin) > 0:
                return path, self._random.randrange(size)
            time.sleep(0.05)

    def _kill_monitor(self) -> None:
        self._monitor.kill()
        self._monitor = Running(self._fleet.config)
        self._told = 0
        self.found.kills += 1

    def _wait(self, name: str, *verdicts: str) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            record = self._records.read(name_of(str(self._fleet.logs / name)))
            if record is not None and record.told in verdicts:
                return True
            time.sleep(0.05)
        return False

    def _acknowledged(self, name: str) -> bool:
        """Acknowledge what there is until the log is verified: a verification under way may add to it."""
        deadline, seen = time.monotonic() + _PATIENCE, 0
        while time.monotonic() < deadline:
            record = self._records.read(name_of(str(self._fleet.logs / name)))
            if record is not None and record.told == "verified":
                return True
            alarm = record.alarm if record is not None else None
            if alarm is not None and len(alarm.found) > seen:
                seen = len(alarm.found)
                self._fleet.command("acknowledge", str(self._fleet.logs / name), "--reason", "put back")
            time.sleep(0.05)
        return False


def _flip(path: Path, at: int, byte: int | None = None) -> int:
    with path.open("r+b") as file:
        file.seek(at)
        before = file.read(1)[0]
        file.seek(at)
        file.write(bytes([before ^ 1 if byte is None else byte]))
    return before


def try_tamperings(count: int, kills: int, seed: int = 19) -> Found:
    """`count` tamperings in turn with a live and an old log, and so many kills of the monitor among them."""
    with TemporaryDirectory(dir="/dev/shm") as made, tmpfs() as runtime:
        folder = Path(made)
        trial = Trial(folder, Place(folder, runtime), seed)
        with trial.started():
            trial.rest(2)
            for step in range(count):
                if step % 10 == 9:  # now and then
                    trial.crash()
                old = step % 4 == 3  # every fourth
                trial.tamper("old" if old else "live", kill=step * kills % count < kills)
                sys.stderr.write(f"{step + 1}: {trial.found}\n")
            trial.rest(2)
        return trial.found


def try_scrub(count: int, seed: int = 19) -> Found:
    """Change a byte of each of so many old logs in the course of a period; nothing but the bytes shows it."""
    found, chance = Found(), random.Random(seed)  # no secret
    with TemporaryDirectory(dir="/dev/shm") as made, tmpfs() as runtime:
        folder = Path(made)
        fleet = Fleet(folder, Place(folder, runtime).keys)
        fleet.configure(scrub="1m")
        logs = [fleet.log(f"{place:03}").path for place in range(count)]
        records = Records(fleet.state)
        waiting: dict[Path, float] = {}
        monitor = Running(fleet.config, code=_BLIND)
        try:
            monitor.wait("all_examined", patience=10 * _PATIENCE)
            start = time.monotonic()
            moments = sorted((chance.uniform(0, _SCRUB), log) for log in logs)
            while moments or waiting:
                now = time.monotonic() - start
                while moments and moments[0][0] <= now:
                    _, log = moments.pop(0)
                    files = sorted((log / "segments").iterdir())
                    path = chance.choice([item for item in files if item.stat().st_size])
                    _flip(path, chance.randrange(path.stat().st_size))
                    waiting[log] = now
                for log, since in list(waiting.items()):
                    record = records.read(name_of(str(log)))
                    if record is not None and record.told != "verified":
                        found.scrubbed.append(now - since)
                        del waiting[log]
                    elif now - since > _SCRUB + _PATIENCE:
                        found.missed.append(log.name)
                        del waiting[log]
                time.sleep(0.05)
        finally:
            monitor.kill()
    return found


def _told(name: str, seconds: list[float]) -> str:
    if not seconds:
        return f"{name}: none"
    middle, worst = statistics.median(seconds), max(seconds)
    return f"{name}: {len(seconds)} told, median {middle:.1f} s, worst {worst:.1f} s"


def main() -> None:
    """Run it all, and say what came of it."""
    given = [int(word) for word in sys.argv[1:]]
    tamperings, kills, scrubbed, seed = (*given, *(200, 50, 100, 19)[len(given) :])
    began = time.monotonic()
    found = try_tamperings(tamperings, kills, seed)
    more = try_scrub(scrubbed, seed) if scrubbed else Found()
    missed, invented = [*found.missed, *more.missed], [*found.invented, *more.invented]
    lines = (
        _told("live log", found.live),
        _told("old log, seen by its files", found.old),
        _told("old logs, a scrub of 60 s alone", more.scrubbed),
        f"kill -9 of the monitor: {found.kills}, of the agent: {found.agent_kills}",
        f"missed: {len(missed)} {missed}",
        f"invented: {len(invented)} {invented}",
        f"{time.monotonic() - began:.0f} s",
    )
    sys.stdout.write("\n".join((*lines, "")))
    sys.exit(bool(missed or invented))


if __name__ == "__main__":
    main()
