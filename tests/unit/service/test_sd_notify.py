from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.service.sd_notify import Notifier


class Manager:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(30)

    def heard(self) -> str:
        """The next datagram."""
        return self._socket.recv(4096).decode()

    def nothing_more(self) -> bool:
        """Whether no datagram waits."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """Go away."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager on either kind of socket."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@epochseal-test-{os.getpid()}"
    made = Manager(address)
    yield made
    made.close()


def test_every_message_is_one_datagram_of_fields(manager: Manager) -> None:
    """The words are those of sd_notify(3); a reload carries the moment at which it began."""
    notifier = Notifier(manager.address)
    notifier.ready("sealing 2 logs")
    assert manager.heard() == "READY=1\nSTATUS=sealing 2 logs"
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    word, moment = manager.heard().split("\n")
    assert word == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.ready()
    assert manager.heard() == "READY=1"
    notifier.stopping("closing")
    assert manager.heard() == "STOPPING=1\nSTATUS=closing"


def test_a_status_is_one_line(manager: Manager) -> None:
    """A newline in a status cannot add a field."""
    Notifier(manager.address).status("app: disk full\nREADY=1")
    assert manager.heard() == "STATUS=app: disk full READY=1"


def test_the_watchdog_is_told_at_half_of_its_time(manager: Manager) -> None:
    """However often `alive` is called, one message goes out in half an interval, and the next after it."""
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environ)
    assert notifier.wait_seconds() == 0
    for _ in range(3):
        notifier.alive()
    assert manager.heard() == "WATCHDOG=1"
    assert 0 < notifier.wait_seconds() <= 0.1
    time.sleep(notifier.wait_seconds())
    notifier.alive()
    assert manager.heard() == "WATCHDOG=1"
    assert manager.nothing_more()


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
    ids=["absent", "zero", "negative", "no number", "of another process"],
)
def test_no_watchdog_is_told_where_none_watches(manager: Manager, watchdog: dict[str, str]) -> None:
    """Without a usable interval for this process nothing is sent, and the loop is not woken for it."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address, **watchdog})
    notifier.alive()
    assert notifier.wait_seconds() == math.inf
    assert manager.nothing_more()
    notifier.ready()
    assert manager.heard() == "READY=1"


@pytest.mark.parametrize("address", ["", "relative/path", "vsock:2:1"])
def test_without_a_socket_nothing_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable, or one that names no socket of ours: no socket is even made."""

    def refuse(*_args: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
    notifier.ready("here")
    notifier.alive()
    notifier.stopping()


def test_a_manager_that_went_away_is_put_up_with(manager: Manager) -> None:
    """A socket that nobody reads any more ends nothing."""
    notifier = Notifier(manager.address, watchdog=1.0)
    manager.close()
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    assert notifier.wait_seconds() > 0
