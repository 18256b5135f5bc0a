"""Copies of a log while it is written, turned, compressed, expired, closed, killed and started again.

`python -m tests.fault.live_copies 500 [FIRST]` makes so many copies by four tools, each in the order that
docs/verify.md gives, and prints what they verify as; a part of it is a test (test_live_copies.py).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from epochseal.verifier import Request, Verdict, verify
from tests.fault.supervision import Manager
from tests.integration.agents import PROGRAM, kinds, tmpfs
from tests.integration.service.test_run import Host

CP = 'mkdir "$2" && cp "$1/checkpoint" "$2/" && cp -r "$1/segments" "$2/"'
TAR = (
    'mkdir "$2" && { tar --warning=no-file-changed -C "$1" -cf "$2.tar" checkpoint segments 2>"$2.said"; '
    'test ! -s "$2.said"; } && tar -C "$2" -xf "$2.tar"'
)
RSYNC = 'rsync -a "$1/checkpoint" "$2/" && rsync -a --delete "$1/segments" "$2/"'
COPY = 'epochseal copy --delete "$1" "$2"'
OWN = 'epochseal copy --no-links --delete "$1" "$2"'
TOOLS = {"cp": CP, "tar": TAR, "rsync": RSYNC, "copy": COPY, "copy --no-links": OWN}
"""What is typed; each word is what docs/verify.md has, a test says so."""
KILLED = "copy, killed"
_TRIES = 100
_PATIENCE = 90.0
_SETTINGS = """
epoch_interval = "1s"
segment_bytes = "16KiB"
compress = "gzip"
keep = "6s"
heartbeat = "1s"
"""


class LiveLog:
    """A daemon that lives a hard life, and one client that feeds it."""

    def __init__(self, host: Host, chance: random.Random) -> None:
        self.host = host
        self.path = host.folder / "logs" / "a"
        self.acknowledged = 0
        self._chance = chance
        self._over = threading.Event()

    @contextmanager
    def alive(self) -> Iterator[LiveLog]:
        """Until the block ends the log is written, and every second or two something happens to its agent."""
        self.host.configure(f"a\n{_SETTINGS}{self.host.resuming}", top='state_dir = "state"\n')
        with Manager(self.host).running() as manager:
            threads = [threading.Thread(target=work) for work in (self._feed, lambda: self._plague(manager))]
            for thread in threads:
                thread.start()
            try:
                deadline = time.monotonic() + _PATIENCE
                while not self.acknowledged:
                    assert time.monotonic() < deadline, "nothing is acknowledged"
                    time.sleep(0.02)
                yield self
            finally:
                self._over.set()
                for thread in threads:
                    thread.join()

    def _feed(self) -> None:
        while not self._over.is_set():
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.settimeout(2)
                client.connect(str(self.host.folder / "a.sock"))
                while not self._over.is_set():
                    client.sendall(b"an entry of a log that is copied\n" * 20)
                    told = client.recv(4096)
                    if not told.endswith(b"\n"):
                        break
                    for first, last in map(bytes.split, told.splitlines()):
                        self.acknowledged += int(last) - int(first) + 1
                    time.sleep(0.003)
            time.sleep(0.02)

    def _plague(self, manager: Manager) -> None:
        while not self._over.wait(self._chance.uniform(0.5, 2.0)):
            number = self._chance.choice((signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGHUP))
            if manager.process is not None and manager.process.poll() is None:
                manager.process.send_signal(number)
            # A start takes its time: a log whose agent is only ever started is not written.
            before = self.acknowledged
            while self.acknowledged == before and not self._over.wait(0.02):
                pass


def copy(log: Path, folder: Path, tool: str) -> int:
    """Copy by one tool until it says that it has a copy; how often it said that it has none.

    Raises:
        AssertionError: it never did.
    """
    environment = {**os.environ, "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"}
    for failed in range(_TRIES):
        words = ["bash", "-c", TOOLS[tool], "bash", str(log), str(folder)]
        done = subprocess.run(words, env=environment, capture_output=True, check=False)
        if done.returncode == 0:
            return failed
        if tool in {"cp", "tar"}:
            shutil.rmtree(folder, ignore_errors=True)
    raise AssertionError(f"{tool} never came to an end: {done.stderr[-500:]!r}")


def kill_copy(log: Path, folder: Path, chance: random.Random) -> bool:
    """Begin a copy and kill it soon after it has begun to write; whether it was killed before it was done."""
    words = [PROGRAM, "copy", "--no-links", "--delete", str(log), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (folder / ".segments.new").exists():
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        return process.wait() < 0


def check_copy(host: Host, folder: Path, acknowledged: int) -> Verdict:
    """What it verifies as, once nobody goes on writing it.

    Raises:
        AssertionError: it is called tampered or untrusted, or lacks what was acknowledged before.
    """
    for seal in sorted((folder / "segments").glob("*.seal"))[-1:]:
        os.utime(seal, (0, 0))  # a verifier would wait for an agent that is not there
    for recoverer in (None, host.keys.recoverer):
        verdict = verify(
            folder, Request(make_recoverer=recoverer, checkpoint_key=host.keys.public, max_age=86_400_000)
        )
        said = [str(problem) for problem in verdict.problems]
        assert verdict.verdict in {"verified", "incomplete"}, said
        assert verdict.entries >= acknowledged, f"{acknowledged} acknowledged, {verdict.entries} copied"
    return verdict


def make_copies(host: Host, count: int, first: int) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """So many copies: the tools and what their copies came to; how often each said that it had none.

    Raises:
        AssertionError: as `check_copy`; a wrong copy is left where it is.
    """
    found: Counter[tuple[str, str]] = Counter()
    failed: Counter[str] = Counter()
    chance = random.Random(first)
    ways = (*TOOLS, KILLED)
    with LiveLog(host, chance).alive() as log:
        for number in range(count):
            way = ways[number % len(ways)]
            # Into a fresh directory, or on top of the last copy by the same tool.
            folder = host.folder / f"copy-{number % len(ways)}"
            if way in {"cp", "tar"} or chance.random() < 0.5:
                shutil.rmtree(folder, ignore_errors=True)
            acknowledged = log.acknowledged
            if way == KILLED:
                had = (folder / "segments").exists()
                failed[way] += kill_copy(log.path, folder, chance)
                if had or (folder / "segments").exists():
                    check_copy(host, folder, 0)
                acknowledged = log.acknowledged
            failed[way] += copy(log.path, folder, "copy --no-links" if way == KILLED else way)
            verdict = check_copy(host, folder, acknowledged)
            found[way, " ".join(sorted(set(kinds(verdict)))) or verdict.verdict] += 1
    return found, failed


def main(count: int, first: int) -> None:
    """Make `count` copies and print what became of them."""
    began = time.monotonic()
    with TemporaryDirectory(dir="/dev/shm") as folder, tmpfs() as runtime:
        host = Host(Path(folder), runtime)
        found, failed = make_copies(host, count, first)
        last = host.verify("a")
    for (way, came_to), times in sorted(found.items()):
        print(f"{times:5d}  {way:16s} {came_to}")  # noqa: T201  # it is a program
    for way, times in sorted(failed.items()):
        print(f"{times:5d}  {way:16s} {'killed in the middle' if way == KILLED else 'said: no copy'}")  # noqa: T201
    seconds = time.monotonic() - began
    print(  # noqa: T201
        f"{count} copies in {seconds:.0f} s of a log of {last.entries:,} entries, "
        f"{last.epochs} epochs left in {last.segments} segments: none tampered, none without a verdict"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
