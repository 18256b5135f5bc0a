"""An agent under load that can be held still and looked at."""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from epochseal.keys import Recoverer
from tests.integration.agents import PROGRAM, Agent
from tests.memory.log_keys import LogKey, count_lines, keys_of_log
from tests.memory.patterns import make_patterns
from tests.memory.scanner import Hit, Index, Scan, children, scan, stopped

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Backend:
    """Where the keys are: what the agent is told, and a verifier's access for the test.

    Args:
        agent: the two key options of the agent.
        recoverer: gets back what the agent may not.
        environment: what the agent needs beside.
    """

    agent: Sequence[str]
    recoverer: Recoverer
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """What one look at a running agent found.

    Attributes:
        lines: durable seal lines at that moment.
        keys: keys that were looked for.
        superseded: places of keys that must be gone.
        in_flight: places of the secret that a living courier fetched last, in that courier.
        live: for each key that may still be there, the mappings that hold it: the page counts once.
        scan: all of it.
    """

    lines: int
    keys: int
    superseded: list[str]
    in_flight: list[str]
    live: Mapping[str, set[str]]
    scan: Scan


class Watched:
    """`epochseal seal --acks` with one entry a commit, as it is or changed by tests.memory.program."""

    def __init__(
        self, folder: Path, backend: Backend, *options: str, change: str | None = None, epoch: int = 40
    ) -> None:
        self.logdir = folder / "log"
        self._backend = backend
        self.stderr = folder / "stderr"
        program = [PROGRAM] if change is None else [sys.executable, "-m", "tests.memory.program", change]
        words = [
            *program, "seal", str(self.logdir), "--origin", "log.example/memory", *backend.agent, "--acks",
            "--commit-interval", "0ms", "--epoch-max-entries", str(epoch), *options,
        ]  # fmt: skip  # a command line
        self.words = words
        self._agent: Agent | None = None

    def __enter__(self) -> Self:
        before = Path.cwd()
        os.chdir(ROOT)
        try:
            self._agent = Agent(self.words, self.stderr, {**os.environ, **self._backend.environment})
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

    def look(self) -> Look:
        """Hold it still and count keys in all of its processes."""
        with stopped(self.agent.process.pid) as pids:
            lines = count_lines(self.logdir)
            keys = keys_of_log(self.logdir, self._backend.recoverer)
            found = scan(pids, Index(make_patterns([(key.name, key.value) for key in keys])))
            # The agent's child is the zygote, and the zygote's children are couriers.
            lasting = {pids[0], *children(pids[0])}
        return _sort(lines, keys, found, lasting)

    def said_keys(self) -> int:
        """Keys in its messages, in any form."""
        keys = keys_of_log(self.logdir, self._backend.recoverer)
        index = Index(make_patterns([(key.name, key.value) for key in keys]))
        return len({start for start, _, _ in index.find(self.stderr.read_bytes().ljust(64))})


def _sort(lines: int, keys: Sequence[LogKey], found: Scan, lasting: set[int]) -> Look:
    gone = {key.name for key in keys if key.gone <= lines}
    fetched = [key.name for key in keys if key.name.startswith("secret of epoch ")][-1:]
    in_flight = [hit for hit in found.hits if hit.pid not in lasting and hit.key in fetched]
    superseded = [hit for hit in found.hits if hit.key in gone and hit not in in_flight]
    live: dict[str, set[str]] = {}
    for hit in found.hits:
        if hit.key not in gone and hit not in in_flight:
            live.setdefault(hit.key, set()).add(hit.mapping)
    return Look(
        lines, len(keys), [_told(hit) for hit in superseded], [_told(hit) for hit in in_flight], live, found
    )


def _told(hit: Hit) -> str:
    return f"{hit.key}: {hit.form} in {hit.mapping} of {hit.pid}"


def page_kinds(look: Look) -> set[str]:
    """How the pages of the agent look from outside: memory that the kernel shows to nobody, or files."""
    return {re.sub(r"^\d+ ", "", name) for name in look.scan.refused}
