"""Random tamperings with logs that a monitor watches: what it misses, what it invents, how long it takes.

    python -m tests.fault.monitor_trial [MINUTES [LIVE [SCRUBBED [KILLS [SEED]]]]]

Agents write live logs: they are killed and closed and go on, turn epochs and segments, compress, let segments
expire and rotate keys. Of some of the logs, and of an old one, a byte is changed, until the monitor tells it,
and put back; a person acknowledges it; then the next one. Others are left alone: nothing may be told of them.
Meanwhile the monitor is killed (-9) at random moments. A second monitor, to which the file system shows
nothing, watches old logs: a byte of each is changed at a random moment, and only its scrub can find it.
The counts are told each minute, and at the end whatever ended it.
"""

from __future__ import annotations

import math
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from epochseal.monitor.log_record import LogRecord, Records, name_of
from tests.fault.byte_changes import ByteChange, change_byte, compress_some
from tests.fault.live_writers import Life, LiveLog
from tests.fault.trial_counts import Found, counts_of
from tests.integration.agents import tmpfs
from tests.integration.logs import LogKeys
from tests.integration.monitor.monitored import Fleet, Running

_PATIENCE = 180.0
_COUNTS_SECONDS = 60.0
_SCRUB, _SCRUB_SECONDS = "10m", 600.0
_KEYS = 40
"""Of a log whose keys are rotated the monitor knows so many epoch keys from the beginning."""
_CRASHED = Life("crashed", (SIGKILL, SIGKILL, SIGTERM), "20m", seconds=(15, 60), slowness=20, stalls=True)
_CLOSED = Life("closed", (SIGTERM,), "20m", seconds=(15, 60), slowness=20)
# The monitor is told the first key alone: the lines that lead on from it must not expire.
_ROTATED = Life("rotated", (SIGTERM,), "5h", rotates=True, seconds=(60, 180), slowness=20)
CHANGED = (_CRASHED, _CLOSED, _ROTATED)
"""The lives of the logs that are tampered with."""
ALONE = (
    replace(_CRASHED, name="pruned", keep="3m", seconds=(5, 60), slowness=20),
    replace(_CLOSED, name="packed", keep="5m", compress="zstd", seconds=(5, 60), slowness=20),
)
"""Of those in which nobody changes anything but their agents."""
_BLIND = (
    "from epochseal.monitor import watched_log; from epochseal.monitor.stamps import Stamps;"
    "watched_log.stamps_of = lambda *_: Stamps('', '');"
    "from epochseal.__main__ import main; main()"
)


class Watcher:
    """The monitor: killed and started again, and every verdict that it tells held against what was done."""

    def __init__(self, fleet: Fleet, found: Found) -> None:
        self._fleet, self._found = fleet, found
        self._records = Records(fleet.state)
        self.changed: dict[tuple[str, float], float] = {}
        """Until when there may be verdicts but verified, by the log's name and since when: s since 1970."""
        self._stories: list[dict[str, Any]] = []
        self._monitor = Running(fleet.config)
        self._events = 0

    def record(self, log: Path) -> LogRecord | None:
        """What the monitor remembers of a log."""
        return self._records.read(name_of(str(log)))

    def wait(self, log: Path, verdicts: Sequence[str], patience: float = _PATIENCE) -> bool:
        """Up to one of these verdicts."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            record = self.record(log)
            if record is not None and record.told in verdicts:
                return True
            time.sleep(0.05)
        return False

    def acknowledge(self, log: Path, why: str) -> None:
        """As a person, until the log is verified: a verification under way may have added to it."""
        deadline, seen = time.monotonic() + 5 * _PATIENCE, 0
        while time.monotonic() < deadline:
            record = self.record(log)
            alarm = record.alarm if record is not None else None
            if record is not None and record.told == "verified":
                if not seen:
                    self._found.lost.append(f"{why}: it is told no more, and nobody has acknowledged it")
                return
            if alarm is not None and len(alarm.found) > seen:
                seen = len(alarm.found)
                self._fleet.command("acknowledge", str(log), "--reason", "put back")
            time.sleep(0.05)
        self._found.invented.append(f"{why}: not verified again after it was put back")

    def kill(self) -> None:
        """As a crash, and start it again."""
        self._monitor.process.kill()
        self._monitor.process.wait()
        self.collect()
        self._monitor.kill()
        self._monitor, self._events = Running(self._fleet.config), 0
        self._found.kills += 1

    def end(self) -> None:
        """The last one."""
        self.collect()
        self._monitor.kill()

    def collect(self) -> None:
        """Take its events."""
        events = self._monitor.events()
        self._stories += events[self._events :]
        self._events = len(events)

    def judge(self) -> None:
        """Which verdicts it had no reason for."""
        for event in self._stories:
            if event["event"] != "verdict" or event["verdict"] == "verified":
                continue
            moment = datetime.fromisoformat(event["time"]).timestamp()
            spans = [(began, ended) for (log, began), ended in self.changed.items() if log == event["log"]]
            if not any(began <= moment <= ended for began, ended in spans):
                self._found.invented.append(str(event))


class Tamperer:
    """Changes a byte of one log again and again, so many times until a moment of the monotonic clock."""

    def __init__(self, watcher: Watcher, found: Found, log: Path, live: LiveLog | None, seed: str) -> None:
        self._watcher, self._found, self._log, self._live = watcher, found, log, live
        self._chance = random.Random(seed)  # no secret

    def work(self, count: int, until: float) -> None:
        """All of them, at random moments."""
        for left in range(count, 0, -1):
            rest = max(until - _SCRUB_SECONDS - time.monotonic(), 0.0) / left
            time.sleep(self._chance.uniform(0, rest))
            if not self._watcher.wait(self._log, ("verified",), 5 * _PATIENCE):
                self._found.invented.append(f"{self._log} is not verified, {left} changes before the end")
                return
            with ExitStack() as stack:
                if self._live is not None:
                    stack.enter_context(self._live.steady)
                    self._grown()
                self._change()

    def _change(self) -> None:
        record, began = self._watcher.record(self._log), time.monotonic()
        span = name_of(str(self._log)), time.time() - 1
        self._watcher.changed[span] = math.inf
        done = change_byte(self._log, self._chance, live=self._live is not None)
        where = self._where(record, done)
        why = f"{self._log.parent.name}/{self._log.name} {done.path.name} byte {done.at}, {where}"
        if self._watcher.wait(self._log, ("tampered", "untrusted"), _SCRUB_SECONDS + _PATIENCE):
            self._found.add(where, time.monotonic() - began)
            if where != "new" and time.monotonic() - began > _SCRUB_SECONDS:
                self._found.missed.append(f"{why}: told after the period")
        else:
            self._found.missed.append(why)
        sys.stderr.write(f"{time.monotonic() - began:.1f} s {why}\n")
        time.sleep(self._chance.uniform(0, 3))
        done.put_back()
        self._watcher.acknowledge(self._log, why)
        self._watcher.changed[span] = time.time() + 1

    def _where(self, record: LogRecord | None, done: ByteChange) -> str:
        """Whether a pass reads it, or sees it by its files, or leaves it to the scrub."""
        if self._live is None:
            return "old log"
        point = record.point if record is not None else None
        if point is None:
            return "new"
        stem = done.path.name.partition(".")[0]
        if stem != point.stem:
            return "new" if int(stem.partition("-")[0]) > point.segment else "older file"
        start = point.seal_start if done.path.suffix == ".seal" else point.log_offset
        return "new" if start is None or done.at >= start else "passed over"

    def _grown(self) -> None:
        """An agent is up, and has read what it goes on from."""
        size, deadline = _size(self._log), time.monotonic() + _PATIENCE
        while _size(self._log) <= size and time.monotonic() < deadline:
            time.sleep(0.05)


def _size(log: Path) -> tuple[int, int]:
    last = max((log / "segments").glob("*.seal"))
    return int(last.name[:6]), last.stat().st_size


@contextmanager
def _alive(folder: Path, runtime: Path, lives: Sequence[Life]) -> Iterator[list[LiveLog]]:
    logs = []
    for number, life in enumerate(lives):
        (folder / life.name).mkdir()
        (runtime / life.name).mkdir(mode=0o700)
        logs.append(LiveLog(folder / life.name, runtime / life.name, life, number))
    try:
        for log in logs:
            log.start()
        yield logs
    finally:
        for log in logs:
            log.stop()


def _table(folder: Path, log: LiveLog) -> str:
    """The monitor's keys of a live log, those to come too."""
    numbers = range(_KEYS if log.life.rotates else 1)
    for number in numbers:
        LogKeys(folder / f"known-{log.life.name}-{number}", f"live {number}").write()
    keys = ", ".join(f'"file:{folder}/known-{log.life.name}-{number}/verifier"' for number in numbers)
    checkpoint_key = f"file:{folder}/known-{log.life.name}-0/auditor"
    return f'[[monitor.log]]\ndir = "{log.log}"\nepoch_key = [{keys}]\ncheckpoint_key = "{checkpoint_key}"\n'


def _old_keys(folder: Path) -> LogKeys:
    keys = LogKeys(folder / "keys", "of old logs")
    keys.write()
    return keys


def try_tamperings(
    found: Found,
    seconds: float,
    count: int,
    kills: int,
    lives: Sequence[Life],
    alone: Sequence[Life],
    seed: int,
) -> None:
    """So many of each log in that time, and so many kills of the monitor among them."""
    with TemporaryDirectory(dir="/dev/shm") as made, tmpfs() as runtime, ExitStack() as stack:
        folder = Path(made)
        logs = stack.enter_context(_alive(folder, runtime, [*lives, *alone]))
        fleet = Fleet(folder, _old_keys(folder))
        fleet.configure(scrub=_SCRUB)
        with fleet.config.open("a") as file:
            file.write("".join(_table(folder, log) for log in logs))
        old = fleet.log("old").path
        compress_some(old)
        watcher = Watcher(fleet, found)
        stack.callback(watcher.end)
        for path in (old, *(log.log for log in logs)):
            watcher.wait(path, ("verified",), 10 * _PATIENCE)
        until = time.monotonic() + seconds
        changed: list[tuple[Path, LiveLog | None]] = [(log.log, log) for log in logs[: len(lives)]]
        changed.append((old, None))
        tamperers = [
            Tamperer(watcher, found, path, log, f"{seed} {place}")
            for place, (path, log) in enumerate(changed)
        ]
        threads = [
            threading.Thread(target=found.attempt, args=(partial(item.work, count, until),), daemon=True)
            for item in tamperers
        ]
        for thread in threads:
            thread.start()
        try:
            chance = random.Random(seed)  # no secret
            moments = sorted(time.monotonic() + chance.uniform(0, seconds) for _ in range(kills))
            while any(thread.is_alive() for thread in threads) or moments or time.monotonic() < until:
                if moments and moments[0] <= time.monotonic():
                    moments.pop(0)
                    watcher.kill()
                watcher.collect()
                time.sleep(0.05)
        finally:
            watcher.collect()
            watcher.judge()
            for path in (old, *(log.log for log in logs)):
                record = watcher.record(path)
                told = f"{record.told}, {record.entries} entries" if record is not None else "no record"
                sys.stderr.write(f"{path.parent.name}/{path.name} at the end: {told}\n")
            for log in logs:
                sys.stderr.write(f"{log.life.name}: {dict(log.done)}\n")
                if log.failure is not None:
                    found.invented.append(f"{log.life.name} ended by itself: {log.failure!r}")


def try_scrub(found: Found, seconds: float, count: int, seed: int) -> None:
    """Change a byte of each of so many old logs within that time; nothing but the bytes shows it."""
    chance = random.Random(seed)  # no secret
    with TemporaryDirectory(dir="/dev/shm") as made:
        folder = Path(made)
        fleet = Fleet(folder, _old_keys(folder))
        fleet.configure(scrub=_SCRUB)
        logs = [fleet.log(f"{place:03}").path for place in range(count)]
        for log in logs[::2]:
            compress_some(log)
        records, waiting = Records(fleet.state), dict[Path, tuple[float, str]]()
        monitor = Running(fleet.config, code=_BLIND)
        try:
            monitor.wait("all_examined", patience=10 * _PATIENCE)
            start = time.monotonic()
            moments = sorted((chance.uniform(0, max(seconds - _SCRUB_SECONDS, 0)), log) for log in logs)
            while moments or waiting:
                now = time.monotonic() - start
                while moments and moments[0][0] <= now:
                    log = moments.pop(0)[1]
                    done = change_byte(log, chance, live=False)
                    waiting[log] = (now, f"{log.name} {done.path.name} byte {done.at}")
                for log, (since, why) in list(waiting.items()):
                    record = records.read(name_of(str(log)))
                    told = record is not None and record.told != "verified"
                    if told:
                        found.add("scrub alone", now - since)
                    if now - since > _SCRUB_SECONDS:
                        found.missed.append(f"{why}: {'told late' if told else 'not told'}")
                    if told or now - since > _SCRUB_SECONDS + _PATIENCE:
                        del waiting[log]
                events = monitor.events()
                if (status := monitor.process.poll()) is not None:
                    found.lost.append(f"the scrubbing monitor ended with status {status}: {events[-5:]}")
                    return
                time.sleep(0.05)
        finally:
            monitor.kill()


def main() -> None:
    """Run it all, and say what came of it."""
    given = [int(word) for word in sys.argv[1:]]
    minutes, count, scrubbed, kills, seed = (*given, *(60, 25, 100, 50, 19)[len(given) :])
    began, live, old = time.monotonic(), Found(), Found()
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_COUNTS_SECONDS):
            sys.stdout.write(counts_of(live, old, time.monotonic() - began) + "\n")
            sys.stdout.flush()

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit("asked to end")

    signal.signal(SIGTERM, end)
    scrub = partial(try_scrub, old, minutes * 60.0, scrubbed, seed)
    beside = threading.Thread(target=old.attempt, args=(scrub,), daemon=True)
    for thread in (beside, threading.Thread(target=tell, daemon=True)):
        thread.start()
    try:
        try_tamperings(live, minutes * 60.0, count, kills, CHANGED, ALONE, seed)
        beside.join()
    finally:
        over.set()
        sys.stdout.write("at the end:\n" + counts_of(live, old, time.monotonic() - began))
    sys.exit(bool(live.faults or old.faults))


if __name__ == "__main__":
    main()
