"""Each process of a daemon killed and stopped in turn, under load and a manager as systemd is one.

`python -m tests.fault.supervision` prints the seconds for which nothing was acknowledged; a part of it is a
test (test_supervision.py). A thread cannot be killed or stopped by itself: such a signal is for its process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from tests.integration.agents import tmpfs
from tests.integration.service.test_run import Host
from tests.warm_process import WarmProcess

Part = Literal["daemon", "zygote", "courier"]
PARTS: tuple[Part, ...] = ("daemon", "zygote", "courier")
NUMBERS = (signal.SIGKILL, signal.SIGSTOP)
WATCHDOG_SECONDS = 6.0
RESTART_SECONDS = 0.2
_PATIENCE = 90.0


class Outcome(NamedTuple):
    """What a signal came to.

    Attributes:
        silent: the longest time in seconds in which nothing was acknowledged, from the signal on.
        starts: how often the manager started the daemon again.
        acknowledged: entries in all.
    """

    silent: float
    starts: int
    acknowledged: int


class Manager:
    """Starts a daemon, starts it again when it ends by itself, and kills it when its watchdog is not fed.

    Args:
        host: what the daemon is started with.
        watchdog_seconds: how long it may say nothing.
    """

    def __init__(self, host: Host, watchdog_seconds: float = WATCHDOG_SECONDS) -> None:
        self._host = host
        self._watchdog_seconds = watchdog_seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path = host.folder / "notify"
        self._socket.bind(str(self._path))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._manage)
        self.starts = 0
        self.process: WarmProcess | None = None

    @contextmanager
    def running(self) -> Iterator[Manager]:
        """A managed daemon."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            self._socket.close()

    def _manage(self) -> None:
        watchdog = {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(int(self._watchdog_seconds * 1e6))}
        with (self._host.folder / "stderr").open("ab") as stderr:
            while not self._stop.is_set():
                words = ["run", "--config", self._host.file.name]
                self.process = WarmProcess(words, self._host.folder, stderr.fileno(), watchdog)
                self._watch(self.process)
                self.starts += 1
                time.sleep(RESTART_SECONDS)

    def _watch(self, process: WarmProcess) -> None:
        fed, ready = time.monotonic(), False
        while process.poll() is None:
            if self._stop.is_set():
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(_PATIENCE)
                return
            self._socket.settimeout(0.1)
            with suppress(TimeoutError):
                message = self._socket.recv(4096)
                ready = ready or b"READY=1" in message
                fed = time.monotonic()
            if ready and time.monotonic() - fed > self._watchdog_seconds:
                process.kill()
                process.wait(_PATIENCE)


def interrupt(
    host: Host,
    part: Part,
    number: signal.Signals,
    *,
    watchdog_seconds: float = WATCHDOG_SECONDS,
    epochs: int = 15,
) -> Outcome:
    """Signal one process of a daemon under load; what it came to when so many epochs had begun behind it.

    Whatever does not answer any more has been asked by then.
    """
    host.configure(f'a\nepoch_interval = "1s"\n{host.resuming}')
    moments: list[float] = []
    over = threading.Event()
    load = threading.Thread(target=_load, args=(host.folder / "a.sock", moments, over))
    with Manager(host, watchdog_seconds).running() as manager:
        load.start()
        _wait(moments, time.monotonic(), 20)
        assert manager.process is not None
        daemon = manager.process.pid
        began = time.monotonic()
        if part == "daemon":
            os.kill(daemon, number)
        else:
            _signal_child(daemon, part, number)
        _wait_for_epochs(host, epochs)
        _wait(moments, time.monotonic(), 20)
        starts = manager.starts
        over.set()
        load.join()
    verdict = host.verify("a")
    assert verdict.verdict == "verified", [str(problem) for problem in verdict.problems]
    assert verdict.entries >= len(moments)
    after = [began, *(moment for moment in moments if moment > began)]
    silent = max(later - earlier for earlier, later in pairwise(after))
    return Outcome(silent, starts, len(moments))


def _signal_child(daemon: int, part: Part, number: signal.Signals) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for zygote in _children(daemon):
            if part == "zygote":
                os.kill(zygote, number)
                return
            for courier in _children(zygote):
                with suppress(ProcessLookupError):
                    os.kill(courier, number)
                    return
    raise AssertionError(f"there was no {part}")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # whatever ends meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _load(path: Path, moments: list[float], over: threading.Event) -> None:
    """One entry after the other, each waited for; a new connection wherever one ended or nobody answers."""
    while not over.is_set():
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.settimeout(2)
            client.connect(str(path))
            while not over.is_set():
                client.sendall(b"entry\n")
                if not client.recv(64):
                    break
                moments.append(time.monotonic())
                time.sleep(0.01)
        time.sleep(0.05)


def _wait(moments: list[float], since: float, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while sum(moment > since for moment in moments[-count:]) < count:
        assert time.monotonic() < deadline, "nothing is acknowledged any more"
        time.sleep(0.05)


def _wait_for_epochs(host: Host, more: int) -> None:
    def begun() -> int:
        seals = (host.folder / "logs" / "a" / "segments").glob("*.seal")
        return sum(path.read_bytes().count(b"\nepoch ") for path in seals)

    wanted, deadline = begun() + more, time.monotonic() + _PATIENCE
    while begun() < wanted:
        assert time.monotonic() < deadline, "no epoch begins any more"
        time.sleep(0.05)


def main() -> None:
    """Print the table."""
    print(f"watchdog {WATCHDOG_SECONDS:g} s, restart after {RESTART_SECONDS:g} s, an epoch a second")  # noqa: T201  # it is a program
    for part in PARTS:
        for number in NUMBERS:
            with TemporaryDirectory() as folder, tmpfs() as runtime:
                outcome = interrupt(Host(Path(folder), runtime), part, number)
            print(  # noqa: T201
                f"{part:8s} {number.name:8s} silent {outcome.silent:5.1f} s, "
                f"started again {outcome.starts}, {outcome.acknowledged} acknowledged, none lost"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
