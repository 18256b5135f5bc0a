"""A process of the agent that is killed or stopped: in seconds it acknowledges again, or ends and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.integration.agents import Place, kinds, tmpfs, warnings
from tests.integration.service.test_run import Host, host
from tests.warm_process import WarmProcess

__all__ = ["host"]  # a fixture
_SECONDS = 60.0
_TURNING = 'epoch_interval = "1s"'


def children(pid: int) -> list[int]:
    """The live child processes of a process, whichever of its threads made them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # it ended meanwhile
            continue
    return found


def zygote_of(process: subprocess.Popen[bytes] | WarmProcess) -> int:
    """The one child that an agent has."""
    (pid,) = children(process.pid)
    return pid


def ends(process: subprocess.Popen[bytes] | WarmProcess) -> float:
    """Seconds until it has ended with 6."""
    began = time.monotonic()
    assert process.wait(_SECONDS) == 6
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_daemon_without_its_zygote_ends_and_goes_on(host: Host, number: signal.Signals) -> None:
    """What was acknowledged is closed, the manager is told by the status, and the next start needs nobody."""
    host.configure(f"a\n{_TURNING}")
    with host.daemon() as process:
        host.send("a", "one", "two")
        os.kill(zygote_of(process), number)
        assert ends(process) < 30
    assert any("backend calls" in str(event) for event in host.told("failed"))
    with host.daemon() as process:
        assert host.send("a", "three") == ["2 2"]
        process.terminate()
        assert process.wait(_SECONDS) == 0
    verdict = host.verify("a")
    assert (verdict.verdict, verdict.entries, kinds(verdict), warnings(verdict)) == ("verified", 3, [], [])


def test_seal_without_its_zygote_ends(tmp_path: Path) -> None:
    """Not at the end of its input, which may never come: it says why, and what it took is sealed."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        with place.agent() as agent:
            agent.send(b"a\n", b"b\n")
            os.kill(zygote_of(agent.process), signal.SIGKILL)
            assert ends(agent.process) < 20
            assert "the process that makes backend calls has ended" in agent.said
        with place.agent() as agent:
            assert agent.acknowledged == 2
            assert agent.end() == 0
        assert place.verify().verdict == "verified"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_couriers_that_are_killed_or_stopped_stop_no_acknowledgement(
    host: Host, number: signal.Signals
) -> None:
    """The running epoch goes on; when couriers live again, so do turns."""
    host.configure(f"a\n{_TURNING}")
    with host.daemon() as process:
        host.send("a", "first")
        with hunter(zygote_of(process), number) as caught:
            deadline = time.monotonic() + 30
            while not caught():
                host.send("a", "entry")
                assert time.monotonic() < deadline
        began = time.monotonic()
        host.send("a", "last")
        assert time.monotonic() - began < 30
        process.terminate()
        assert process.wait(_SECONDS) == 0
    assert host.verify("a").verdict == "verified"


class hunter:  # noqa: N801  # reads as a function where it is used
    """Signals every courier as soon as it is there."""

    def __init__(self, zygote: int, number: signal.Signals) -> None:
        self._zygote, self._number = zygote, number
        self._caught: set[int] = set()
        self._stop = Event()
        self._thread = Thread(target=self._hunt)

    def _hunt(self) -> None:
        while not self._stop.is_set():
            for pid in set(children(self._zygote)) - self._caught:
                try:
                    os.kill(pid, self._number)
                except ProcessLookupError:
                    continue
                self._caught.add(pid)

    def __enter__(self) -> Callable[[], bool]:
        self._thread.start()
        return lambda: bool(self._caught)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
