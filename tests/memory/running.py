"""An agent under load that can be held still and looked at."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from epochseal.keys import Recoverer
from tests.integration.agents import PROGRAM, Agent, wait_until
from tests.memory.log_keys import LogKey, Recovered, count_lines, headers, keys_of_log, keys_of_record
from tests.memory.patterns import make_patterns
from tests.memory.program import RECORD
from tests.memory.protection import find_gaps
from tests.memory.scanner import Hit, Index, Scan, children, scan, stopped

ROOT = Path(__file__).parents[2]
ORIGIN = "log.example/memory"
_PATIENCE = 180.0


@dataclass(frozen=True)
class Backend:
    """Where the keys are: what the agent is told, and a verifier's access for the test.

    Args:
        agent: the two key options of the agent.
        verifier: those of a verifier.
        recoverer: gets back what the agent may not.
        environment: what the agent needs beside.
        verifier_environment: what a verifier needs beside.
    """

    agent: Sequence[str]
    verifier: Sequence[str]
    recoverer: Recoverer
    environment: Mapping[str, str] = field(default_factory=dict)
    verifier_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """What one look at a running agent found.

    Attributes:
        lines: durable seal lines at that moment.
        keys: keys that were looked for.
        couriers: processes that were about a backend call.
        superseded: places of keys that must be gone.
        in_flight: places of the secret that a living courier fetched last, in that courier.
        live: places of the key that is there until the next line is sealed.
        waiting: places, outside of couriers, of the secret of an epoch that has not begun; with "recorded".
        gaps: what is missing in the protection of processes and pages.
        scan: all of it.
    """

    lines: int
    keys: int
    couriers: int
    superseded: list[Hit]
    in_flight: list[Hit]
    live: list[Hit]
    waiting: list[Hit]
    gaps: list[str]
    scan: Scan


def key_options(epoch: str, checkpoint: str) -> tuple[str, ...]:
    """Two keys on a command line."""
    return "--epoch-key", epoch, "--checkpoint-key", checkpoint


def changed(change: str) -> list[str]:
    """The program with something changed in it, to be run with `PYTHONPATH` at `ROOT`."""
    return [sys.executable, "-m", "tests.memory.program", change]


class Watched:
    """`epochseal seal --acks` with one entry a commit, as it is or changed by tests.memory.program.

    Attributes:
        logdir: its log.
        record: what couriers fetched, with the change "recorded".
        words: its command line.
    """

    def __init__(
        self, folder: Path, backend: Backend, *options: str, change: str | None = None, epoch: int = 40
    ) -> None:
        self.logdir, self.record, self.cwd = folder / "log", folder / "record", folder / "cwd"
        self._environment, self._recovered = backend.environment, Recovered(backend.recoverer)
        self._stderr = folder / "stderr"
        program = [PROGRAM] if change is None else changed(change)
        self.words = [
            *program,
            "seal",
            str(self.logdir),
            "--origin",
            ORIGIN,
            *backend.agent,
            "--acks",
            "--commit-interval",
            "0ms",
            "--epoch-max-entries",
            str(epoch),
            *options,
        ]
        self._agent: Agent | None = None

    def __enter__(self) -> Self:
        before = Path.cwd()
        self.cwd.mkdir(exist_ok=True)
        # A crash leaves its core where the process was.
        os.chdir(self.cwd)
        environment = {"PYTHONPATH": str(ROOT), RECORD: str(self.record)}
        try:
            self._agent = Agent(self.words, self._stderr, {**os.environ, **environment, **self._environment})
        finally:
            os.chdir(before)
        return self

    def __exit__(self, *_error: object) -> None:
        self.agent.__exit__(None, None, None)

    @property
    def agent(self) -> Agent:
        """The running agent."""
        assert self._agent is not None
        return self._agent

    @property
    def pid(self) -> int:
        """The agent's process, below a tracer if it has one."""
        pid = self.agent.process.pid
        return children(pid)[0] if self.words[0] == "strace" else pid

    @property
    def zygote(self) -> int:
        """The agent's one child: it makes no calls, it forks couriers."""
        (pid,) = children(self.pid)
        return pid

    def commit(self, count: int) -> None:
        """Seal so many entries, each in a commit of its own."""
        for _ in range(count):
            self.agent.send(b"an entry as a service writes it\n")

    def commit_with_looks(self, count: int, looks: int, rand: random.Random) -> list[Look]:
        """Seal so many entries, and look at random moments: in the middle of whatever it is doing."""
        moments = sorted(rand.sample(range(1, count), looks))
        found = []
        for moment, following in zip(moments, [*moments[1:], count], strict=True):
            self.commit(max(moment - self.agent.acknowledged, 0))
            wanted = self.agent.acknowledged + 20
            self.agent.write(b"an entry of a burst\n" * 20)
            found.append(self.look())
            self.agent.wait_for(wanted)
            self.commit(max(following - self.agent.acknowledged, 0))
        return found

    def turn(self) -> None:
        """Begin another epoch, and seal nothing in it."""
        before = self.epochs()
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.epochs() > before)

    def epochs(self) -> int:
        """Epochs that its log has begun."""
        return sum(1 for _ in headers(self.logdir))

    def linger(self) -> int:
        """With the changes "recorded" and "lingering": a courier that has the secret of epoch 1."""
        self.commit(50)
        # The epoch is to end, and goes on until its successor's secret is there: which this courier keeps.
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.record.read_bytes().count(b"\n") > 1)
        found: list[int] = []

        def alone() -> bool:
            # One that was sent for a signature may be there beside it for a moment.
            found[:] = children(self.zygote)
            return len(found) == 1

        wait_until(alone)
        return found[0]

    def look(self) -> Look:
        """Hold it still and count keys in all of its processes."""
        # The agent's child is the zygote, and the zygote's children are couriers.
        lasting = {self.pid, self.zygote}
        with stopped(self.pid) as pids:
            lines = count_lines(self.logdir)
            keys = self.keys()
            found = scan(pids, index_of(keys))
            gaps = find_gaps(pids)
        return _sort(lines, keys, found, gaps, lasting, len(set(pids) - lasting))

    def look_at_rest(self) -> Look:
        """Look when all that was asked for is done: no courier, no secret that waits, nothing sealed."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            wait_until(lambda: not children(self.zygote))
            look = self.look()
            # One more may have been sent for a signature between the two, or is about to be.
            if not look.couriers and not look.waiting:
                return look
        raise AssertionError("the agent comes to no rest")

    def keys(self) -> list[LogKey]:
        """All keys that its log ever needed, and the secrets that were issued for it."""
        keys = keys_of_log(self.logdir, self._recovered)
        if self.record.exists():
            keys += keys_of_record(self.record, self._recovered, keys)
        return keys

    def index(self) -> Index:
        """Finds any of `keys` in what was dumped or traced."""
        return index_of(self.keys())

    def said_keys(self) -> int:
        """Keys in its messages, in any form."""
        return len({start for start, _, _ in self.index().find(self._stderr.read_bytes().ljust(64))})


def index_of(keys: Sequence[LogKey]) -> Index:
    """Finds any of the keys."""
    return Index(make_patterns([(key.name, key.value) for key in keys]))


def _sort(
    lines: int, keys: Sequence[LogKey], found: Scan, gaps: list[str], lasting: set[int], couriers: int
) -> Look:
    ours = [key.name for key in keys if key.name.startswith("secret of epoch ")][-1:]
    coming = [key.name for key in keys if key.name.startswith("issued secret ") and key.gone > lines]
    fetched = {*ours, *coming[-1:]}
    in_flight = [hit for hit in found.hits if hit.pid not in lasting and hit.key in fetched]
    others = [hit for hit in found.hits if hit not in in_flight]
    superseded, allowed = split(others, keys, lines)
    waiting = [hit for hit in allowed if hit.key in coming]
    live = [hit for hit in allowed if hit not in waiting]
    return Look(lines, len(keys), couriers, superseded, in_flight, live, waiting, gaps, found)


def split(hits: Sequence[Hit], keys: Sequence[LogKey], lines: int) -> tuple[list[Hit], list[Hit]]:
    """Places of keys that must be gone after so many durable lines, and those of keys that may be there."""
    gone = {key.name for key in keys if key.gone <= lines}
    return [hit for hit in hits if hit.key in gone], [hit for hit in hits if hit.key not in gone]
