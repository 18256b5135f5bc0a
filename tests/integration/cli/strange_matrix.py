"""Every command, given everything strange: `python -m tests.integration.cli.strange_matrix` (make strange).

Each place of each command with each kind of file, each file of a log as each kind, and each command with each
combination of closed streams and at each kind of terminal. It prints the statuses as a table, and ends with 1
if any is not one of docs/cli.md, or if a command hung, fell over or steered the terminal.

`--part 2/8` runs every eighth case, from the second on: eight parts are the whole. What was found so far is
printed when it is told to end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.encoding import UNSEEN
from tests.integration.agents import PROGRAM
from tests.integration.cli.invocations import Invocation, plain, strange
from tests.integration.cli.scenery import STORE, Scenery
from tests.integration.cli.strange_places import KINDS
from tests.integration.cli.terminals import at_terminal
from tests.warm_program import run

PATIENCE = 60.0
"""Seconds of any command, on a machine that does other things; the table tells the slowest."""
DEMO = 180.0
"""Of the demo, which tells a whole story."""
MEMORY = 1 << 30
"""Bytes of a command: an endless file is not read to its end."""
CHECKING = {"verify", "trust", "cat", "reconcile", "prove", "witness submit", "timestamp check", "monitor"}
"""Commands that say of a log whether it is tampered with: what takes the place of a file of it is that."""
DOCTOR = "doctor"
ALLOWED = {0, 2, 3, 4, 5, 6, 77}
COMMAND_NOT_RUN = {126, 127}
DAEMONS = {"run": 40.0, "witness serve": 8.0}
"""Seconds after which they are told to end; the first ends with its input, if it is given the time."""
TERMINALS = ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "20"})
Case = Callable[[Path], "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How one command ended.

    Attributes:
        group: the row of the table.
        what: the command, the place, and what was put there.
        status: None if it did not end.
        said: all that it printed.
    """

    group: str
    what: str
    command: str
    status: int | None
    said: bytes
    tampered: bool = False
    seconds: float = 0.0

    def fault(self) -> str:
        """What is wrong with it; empty if nothing is."""
        text = self.said.decode("utf-8", "surrogateescape")
        if self.status is None:
            return "it did not end"
        if b"Traceback" in self.said:
            return "a traceback"
        allowed = ALLOWED | ({1} if self.tampered else set())
        # Those are told to end, some before they listen to it.
        allowed |= {-signal.SIGTERM} if self.command in DAEMONS else set()
        allowed |= COMMAND_NOT_RUN if self.command == "exec" else set()
        if self.status not in allowed:
            return f"status {self.status}"
        unseen = [found for found in text if found not in "\r\n\t " and UNSEEN.match(found)]
        return f"raw {unseen[0]!r}" if unseen and self.group != "terminals" else ""


@dataclass
class Table:
    """Counts of statuses, and what was wrong."""

    rows: dict[str, Counter[int | None]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take one in."""
        self.rows.setdefault(outcome.group, Counter())[outcome.status] += 1
        if outcome.command != "demo":
            self.slowest[outcome.group] = max(self.slowest.get(outcome.group, 0.0), outcome.seconds)
        if fault := outcome.fault():
            self.faults.append(f"{outcome.what}: {fault}\n{outcome.said.decode('utf-8', 'replace')[-600:]}")

    def text(self) -> str:
        """All of it."""
        statuses = sorted({status for row in self.rows.values() for status in row if status is not None})
        lines = [f"{'':<16}{'runs':>6}" + "".join(f"{status:>6}" for status in statuses) + "  slowest"]
        for group, row in self.rows.items():
            counts = "".join(f"{row[status]:>6}" for status in statuses)
            lines.append(f"{group:<16}{row.total():>6}{counts}{self.slowest.get(group, 0):>8.1f}s")
        return "\n".join([*lines, *(f"FAULT {fault}" for fault in self.faults)])


def in_places(invocations: list[Invocation], kinds: list[str]) -> Iterator[Case]:
    """Each place of each command with each kind."""
    for invocation, kind in itertools.product(invocations, kinds):
        yield lambda folder, invocation=invocation, kind=kind: _in_place(folder, invocation, kind)  # type: ignore[misc]  # bound now


def _in_place(folder: Path, invocation: Invocation, kind: str) -> Outcome:
    if invocation.inside:
        path = folder / scenery().file(invocation.place)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    else:
        path = folder / kind
    KINDS[kind](path)
    if invocation.inside and kind == "sparse":
        # The files of a log are read whole, at some GB a second.
        os.truncate(path, 1 << 30)
    begin = time.monotonic()
    try:
        limit = DEMO if invocation.command == "demo" else PATIENCE
        done = run(invocation.given(kind), env=_environment(folder), cwd=folder, timeout=limit, memory=MEMORY)
        status, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, said = None, b""
    seconds = time.monotonic() - begin
    # docs/cli.md: of check-proof 1 is also what is no proof, of doctor whatever is wrong.
    tampered = invocation.command in {"check-proof", DOCTOR}
    tampered |= invocation.inside and invocation.command in CHECKING
    group = "files of a log" if invocation.inside else "places"
    return Outcome(
        group, f"{invocation.name} = {kind!r}", invocation.command, status, said, tampered, seconds
    )


def with_streams(invocations: list[Invocation]) -> Iterator[Case]:
    """Each command with each combination of standard streams closed."""
    for invocation in invocations:
        for count in (1, 2, 3):
            for closed in itertools.combinations((0, 1, 2), count):
                yield lambda folder, invocation=invocation, closed=closed: _closed(folder, invocation, closed)  # type: ignore[misc]  # as above


def _closed(folder: Path, invocation: Invocation, closed: tuple[int, ...]) -> Outcome:
    redirections = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    script = f'exec "$@" {redirections}'
    what = f"{invocation.command} {redirections}"
    words = ["bash", "-c", script, "bash", PROGRAM, *invocation.words]
    status, said, seconds = _started(words, folder, invocation.command)
    return Outcome(
        "closed streams", what, invocation.command, status, said, invocation.command == DOCTOR, seconds
    )


def _started(words: list[str], folder: Path, command: str) -> tuple[int | None, bytes, float]:
    begin = time.monotonic()
    with subprocess.Popen(
        words,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        if command in DAEMONS:
            try:
                process.wait(DAEMONS[command])
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
        try:
            said, _ = process.communicate(timeout=DEMO if command == "demo" else PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return None, b"", time.monotonic() - begin
    return process.returncode, said, time.monotonic() - begin


def at_terminals(invocations: list[Invocation]) -> Iterator[Case]:
    """Each command at each kind of terminal; the witness, who waits for others, is none for a terminal."""
    for invocation in invocations:
        if invocation.command != "witness serve":
            for variables in TERMINALS:
                yield lambda folder, invocation=invocation, variables=variables: _at(
                    folder, invocation, variables
                )  # type: ignore[misc]  # as above


def _at(folder: Path, invocation: Invocation, variables: dict[str, str]) -> Outcome:
    begin = time.monotonic()
    status, shown = at_terminal(
        list(invocation.words), folder, **variables, **STORE, XDG_STATE_HOME=str(folder / "home")
    )
    what = f"{invocation.command} with {variables}"
    coloured = b"\x1b[3" in shown and "COLUMNS" not in variables
    said = shown if not coloured else b"Traceback: colours\n" + shown
    seconds = time.monotonic() - begin
    return Outcome("terminals", what, invocation.command, status, said, invocation.command == DOCTOR, seconds)


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, **STORE, "XDG_STATE_HOME": str(folder / "home")}


_made: list[Scenery] = []


def scenery() -> Scenery:
    """The one that is copied."""
    return _made[0]


def outcome(case: Case, base: Path) -> Outcome:
    """Of one command, in a copy of the scenery."""
    folder = Path(tempfile.mkdtemp(dir=base))
    folder.rmdir()
    scenery().copy(folder)
    try:
        return case(folder)
    finally:
        for path in folder.glob("closed folder"):
            path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def prepare(base: Path) -> None:
    """Make what is copied."""
    _made[:] = [Scenery(base / "scenery")]


def every_case() -> list[Case]:
    """All of it."""
    return [*in_places(strange(), list(KINDS)), *with_streams(plain()), *at_terminals(plain())]


def _part(text: str) -> tuple[int, int]:
    number, count = map(int, text.split("/"))
    if not 1 <= number <= count:
        raise ValueError(text)
    return number, count


def main() -> None:
    """All of it, or a part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", type=_part, default=(1, 1), metavar="N/COUNT")
    parser.add_argument("--workers", type=int, default=2, help="commands at a time")
    arguments = parser.parse_args()
    number, count = arguments.part
    cases = every_case()[number - 1 :: count]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done, table, memory = 0, Table(), Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as base,
        ThreadPoolExecutor(arguments.workers) as pool,
    ):
        prepare(Path(base))
        waiting = [pool.submit(outcome, case, Path(base)) for case in cases]
        try:
            for done, found in enumerate(waiting, 1):
                table.add(found.result())
                if done % 50 == 0:
                    print(f"{done} of {len(cases)}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print(f"told to end after {done} of {len(cases)}")
            pool.shutdown(cancel_futures=True)
    print(table.text())
    sys.exit(bool(table.faults) or sum(row.total() for row in table.rows.values()) < len(cases))


if __name__ == "__main__":
    main()
