"""Verifications, other commands and copies of logs that never rest: what each of them came to.

`python -m tests.fault.live_readers [VERIFICATIONS [COPIES]]` prints the tables (5,000 and 500 by default); a
small part of it is a test (test_live_readers.py). Nobody changes the logs but their agents (live_writers.py),
so each `tampered` or `untrusted` would be a false alarm.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from epochseal.errors import EpochsealError
from epochseal.keys import Recoverer
from epochseal.verifier import Request, Verdict, verify
from tests.fault.live_writers import LIVES, Life, LiveLog
from tests.integration.agents import tmpfs
from tests.warm_program import run_text

_AT_ONCE = 8
# In the long run most of the time is the agents'.
_PAUSE = 2.0
_BY_COMMAND = 0.05
_TRIES = 50
_COMMANDS = ("inspect", "cat", "cat --unverified", "prove", "verify --report")
_FAIR = {0, 3}
# What `prove` may say besides: the entry has expired, or no checkpoint is over it yet.
_FAIR_OF_PROVE = {0, 2, 3}

# Of each: a copy of LOG in DEST, `checkpoint` (and `witnessed`) before all else (docs/verify.md). What a tool
# says of a file that grew while it was read is no failure, of one that vanished it is.
_START = 'rm -rf "$DEST"; mkdir "$DEST" && cp -p "$LOG/checkpoint" "$DEST"; '
_PAIRED = ' && for log in "$DEST"/segments/*.log*; do test -e "${log%.log*}.seal" || exit 1; done'
_SHELL_TOOLS = {
    "cp": _START + 'cp -rp "$LOG/segments" "$DEST"' + _PAIRED,
    "tar": 'rm -rf "$DEST"; mkdir "$DEST"; '
    'tar -C "$LOG" --warning=no-file-changed -cf - checkpoint segments 2>"$DEST.said" | tar -C "$DEST" -xf - '
    '&& ! test -s "$DEST.said"' + _PAIRED,
    "rsync": 'mkdir -p "$DEST" && rsync -a "$LOG/checkpoint" "$DEST" '
    '&& rsync -a --delete "$LOG/segments" "$DEST"' + _PAIRED,
}
_OWN = "epochseal copy"
TOOLS = (*_SHELL_TOOLS, _OWN)


@dataclass
class Tally:
    """What some readers came to.

    Attributes:
        verdicts: by the way of reading, and the verdict or exit status.
        kinds: of every verdict but `verified`: the log, and the kinds of its problems.
        alarms: what nobody may say of these logs, in full.
        again: how often a copying tool failed, and was called again.
    """

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    alarms: list[str] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, way: str, said: str, *, fair: bool, detail: str = "", kinds: Sequence[str] = ()) -> None:
        """Count one."""
        with self._lock:
            self.verdicts.setdefault(way, Counter())[said] += 1
            if kinds:
                self.kinds[f"{detail.partition(':')[0]}: {', '.join(sorted(set(kinds)))}"] += 1
            if not fair:
                self.alarms.append(f"{way}: {said}: {detail}")

    def retry(self, way: str) -> None:
        """A tool failed, and is called again."""
        with self._lock:
            self.again[way] += 1

    def count(self) -> int:
        """How many there were."""
        return sum(counter.total() for counter in self.verdicts.values())


class Readers:
    """Read some live logs in every way, several at once."""

    def __init__(self, logs: Sequence[LiveLog], folder: Path, seed: int = 0) -> None:
        self.verifications, self.commands, self.copies = Tally(), Tally(), Tally()
        self._logs = logs
        self._folder = folder
        self._chance = random.Random(seed)  # a test that can be done again

    @property
    def tallies(self) -> dict[str, Tally]:
        """All of them."""
        return {"verifications": self.verifications, "copies": self.copies, "commands": self.commands}

    def read(self, verifications: int, copies: int, commands: int, pause: float) -> None:
        """So many of each, mixed; each reader rests for `pause` seconds between two, more or less."""
        by_command = int(verifications * _BY_COMMAND)
        counts: dict[Callable[[LiveLog, int], None], int] = {
            self._copy: copies,
            self._command: commands,
            self._verify_by_command: by_command,
            self._verify: verifications - by_command,
        }
        tasks = [(task, number) for task, count in counts.items() for number in range(count)]
        self._chance.shuffle(tasks)
        logs = self._logs
        rests = [self._chance.uniform(0, 2 * pause) for _ in tasks]

        def do(task: Callable[[LiveLog, int], None], number: int, rest: float) -> None:
            time.sleep(rest)
            # Each way of reading is tried on each log in turn.
            task(logs[number % len(logs)], number)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            jobs = [pool.submit(do, *task, rest) for task, rest in zip(tasks, rests, strict=True)]
            for place, job in enumerate(jobs):
                job.result()
                if place % 100 == 99:
                    self._tell()

    def _tell(self) -> None:
        alarms = sum(len(tally.alarms) for tally in self.tallies.values())
        counts = ", ".join(f"{tally.count()} {name}" for name, tally in self.tallies.items())
        sys.stderr.write(f"{counts}; {alarms} false alarms or reads without a verdict\n")

    def _verify(self, log: LiveLog, number: int) -> None:
        public = number % 3 == 0
        self.judge(self.verifications, "public" if public else "keys", log, log.log, public=public)

    def judge(self, tally: Tally, way: str, log: LiveLog, path: Path, *, public: bool = False) -> None:
        """Verify, and count the verdict."""

        def recoverers() -> list[Recoverer]:
            return [keys.recoverer() for keys in log.ring]

        request = Request(make_recoverer=None if public else recoverers, checkpoint_key=log.signer.public)
        name = log.life.name
        try:
            verdict = verify(path, request)
        except EpochsealError as exc:
            tally.add(way, "none", fair=False, detail=f"{name}: {exc!r}")
            return
        kinds = [problem.kind for problem in verdict.problems]
        fair = verdict.verdict in {"verified", "incomplete"}
        tally.add(way, verdict.verdict, fair=fair, detail=f"{name}: {_problems(verdict)}", kinds=kinds)
        if not fair:
            # For whoever looks into it; by now the log has gone on.
            with suppress(OSError, shutil.Error):
                shutil.copytree(path, self._folder / f"alarm-{way}-{len(tally.alarms)}")

    def _verify_by_command(self, log: LiveLog, number: int) -> None:
        turn = number // len(self._logs)
        keys = log.verifier_keys if turn % 2 else log.verifier_keys[-2:]
        # In one memory, several at once. To a new key it may only be moved by a person.
        remembers = turn % 3 == 0 and not log.life.rotates
        options = () if remembers else ("--trust", "none")
        done = _run("verify", str(log.log), *keys, "--json", *options, memory=log.folder / "memory")
        way, name = "command, remembering" if remembers else "command", log.life.name
        if not done.stdout:
            tally_detail = f"{name}: {done.returncode} {done.stderr}"
            self.verifications.add(way, "none", fair=False, detail=tally_detail)
            return
        found = json.loads(done.stdout)
        kinds = [problem["kind"] for problem in found["problems"]]
        detail = f"{name}: {found['problems']}"
        fair = done.returncode in _FAIR
        self.verifications.add(way, found["verdict"], fair=fair, detail=detail, kinds=kinds)

    def _command(self, log: LiveLog, number: int) -> None:
        command = _COMMANDS[number % len(_COMMANDS)]
        name, *options = command.split(" ")
        if command in {"cat", "verify --report"}:
            options += [str(self._folder / f"{log.life.name}-{number}.html")] if "--report" in options else []
            options += log.verifier_keys
            options += ["--trust", "none"] if name == "verify" else []
        elif command == "prove":
            options += [
                "--entry",
                str(_last_entry(log)),
                "-o",
                str(self._folder / f"{log.life.name}-{number}.proof"),
            ]
        done = _run(name, str(log.log), *options)
        fair = done.returncode in (_FAIR_OF_PROVE if command == "prove" else _FAIR)
        detail = f"{log.life.name}: {done.stderr}"
        self.commands.add(command, str(done.returncode), fair=fair, detail=detail)

    def _copy(self, log: LiveLog, number: int) -> None:
        turn = number // len(self._logs)
        way = TOOLS[(number + turn) % len(TOOLS)]
        target = self._folder / f"copy-{log.life.name}-{number}"
        for _ in range(_TRIES):
            done = _copy_by(way, log.log, target)
            if done.returncode == 0:
                self.judge(self.copies, way, log, target, public=turn // len(TOOLS) % 2 == 1)
                break
            self.copies.retry(way)
        else:
            self.copies.add(way, "no copy", fair=False, detail=f"{log.life.name}: {done.stderr}")
        shutil.rmtree(target, ignore_errors=True)


def _copy_by(way: str, log: Path, target: Path) -> subprocess.CompletedProcess[str]:
    if way == _OWN:
        return _run("copy", "--no-links", str(log), str(target))
    return subprocess.run(
        ["/bin/sh", "-c", _SHELL_TOOLS[way]],
        env={"PATH": "/usr/bin:/bin", "LOG": str(log), "DEST": str(target)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _last_entry(log: LiveLog) -> int:
    """An entry of the last segment but one."""
    seals = sorted(log.log.glob("segments/*.seal"))[-2:]
    for raw in seals[0].read_bytes().splitlines() if seals else ():
        if raw.startswith(b"block "):
            return int(raw.split()[2])
    return 0


def _problems(verdict: Verdict) -> str:
    return "; ".join(f"{item.kind} (segment {item.segment}): {item.detail}" for item in verdict.problems)


def _run(*words: str, memory: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run_text(words, env={**os.environ, "XDG_STATE_HOME": str(memory)} if memory is not None else None)


def read_live(
    folder: Path,
    runtime: Path,
    lives: Sequence[Life],
    verifications: int,
    copies: int,
    commands: int,
    *,
    pause: float = 0.0,
) -> tuple[Readers, list[LiveLog]]:
    """Logs of these lives in `folder`, and so many readers of them."""
    logs = []
    for number, life in enumerate(lives):
        (folder / life.name).mkdir()
        (runtime / life.name).mkdir(mode=0o700)
        logs.append(LiveLog(folder / life.name, runtime / life.name, life, number))
    readers = Readers(logs, folder)
    try:
        for log in logs:
            log.start()
        readers.read(verifications, copies, commands, pause)
    finally:
        for log in logs:
            log.stop()
    for log in logs:
        if log.failure is not None:
            readers.verifications.alarms.append(f"{log.life.name} stopped by itself: {log.failure!r}")
        # Once more, at rest.
        readers.judge(readers.verifications, "at rest", log, log.log)
    return readers, logs


def _table(title: str, tally: Tally) -> Iterator[str]:
    yield f"{title}: {tally.count():,}"
    for way, found in sorted(tally.verdicts.items()):
        again = f"; the tool failed {tally.again[way]} times" if tally.again[way] else ""
        yield f"  {way:20s}" + ", ".join(f"{count:,} {said}" for said, count in found.most_common()) + again
    for kinds, count in tally.kinds.most_common():
        yield f"    {count:5,} {kinds}"


def _told(log: LiveLog) -> str:
    events = Counter(json.loads(line)["event"] for line in log.said.splitlines() if line.startswith("{"))
    packed = sum(1 for _ in log.log.glob("segments/*.log.*"))
    last = max((int(path.name[:6]) for path in log.log.glob("segments/*.seal")), default=0)
    told = f"{last} segments, {events['expired']} times expired, {packed} compressed now"
    return f"{log.life.name:10s}{told}, {dict(log.done)}"


def main() -> None:
    """Print the tables; status 1 if anything was said that nobody may say."""
    verifications, copies = map(int, sys.argv[1:3] if len(sys.argv) > 2 else (5000, 500))
    began = time.monotonic()
    folder = Path(mkdtemp(prefix="live-readers-"))
    with tmpfs() as runtime:
        readers, logs = read_live(folder, runtime, LIVES, verifications, copies, copies // 2, pause=_PAUSE)
    alarms = [alarm for tally in readers.tallies.values() for alarm in tally.alarms]
    lines = [_told(log) for log in logs]
    for title, tally in readers.tallies.items():
        lines += _table(title, tally)
    lines += [
        f"{time.monotonic() - began:.0f} s, {len(alarms)} false alarms or reads without a verdict",
        *alarms,
    ]
    print("\n".join(lines))  # noqa: T201  # it is a program
    if alarms:
        print(f"kept in {folder}")  # noqa: T201
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
