"""Who gets a place where few descriptors are left."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.sources import entrance
from epochseal.sources.client import Client
from epochseal.sources.complaints import Complaints
from epochseal.sources.entrance import Entrance
from epochseal.sources.framing import StreamFraming
from epochseal.sources.listener import Listener


class Room:
    """An entrance at a socket file, whose clients are all of one peer and have long been quiet."""

    def __init__(self, path: Path, epoll: select.epoll) -> None:
        self.path = path
        self.sent_away: list[Client] = []
        self.missed: list[str] = []
        self.clients: dict[int, Client] = {}
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        complaints = Complaints("room")
        self.entrance = Entrance(
            Listener(sock, complaints, epoll),
            self._make,
            self.sent_away.append,
            self.missed.append,
            complaints,
        )

    def knock(self) -> socket.socket:
        """A client connects."""
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(self.path))
        made.settimeout(0)
        return made

    def accept(self) -> None:
        """Let in who has a place."""
        for client in self.entrance.accept(self.clients):
            self.clients[client.number] = client

    def tick(self) -> None:
        """Let in who waits at the door, as far as there is a place now."""
        for client in self.entrance.retry(self.clients):
            self.clients[client.number] = client

    def leave(self) -> None:
        """Who was sent away leaves."""
        for client in self.sent_away:
            del self.clients[client.number]
            self.entrance.leaving.discard(client)
            client.sock.close()
        self.sent_away.clear()

    def _make(self, sock: socket.socket, _address: object) -> Client:
        made = Client(sock, "a client", "peer", StreamFraming("auto", 10, syslog=False, skip=True))
        made.read_at = time.monotonic() - 60
        return made


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """An entrance, closed at the end with all clients."""
    with select.epoll() as epoll:
        made = Room(tmp_path / "s", epoll)
        yield made
        made.entrance.close()
        for client in made.clients.values():
            client.sock.close()


def test_no_client_keeps_a_reserved_descriptor(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd, however large, leaves the reserve free: for each that comes in then, another one leaves."""
    callers = [room.knock() for _ in range(30)]
    first = max(caller.fileno() for caller in callers)
    limit = first + 6
    monkeypatch.setattr(entrance, "is_reserved", lambda number: number > limit)
    for _ in range(100):
        room.accept()
        assert all(number <= limit for number in room.clients)
        room.leave()
    with pytest.raises(BlockingIOError):
        callers[-1].recv(1)
    assert [caller.recv(1) for caller in callers[:5]] == [b""] * 5
    for caller in callers:
        caller.close()


def test_without_any_client_one_beyond_the_descriptors_is_closed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody who could make room for it, and what it sent is missing."""
    monkeypatch.setattr(entrance, "is_reserved", lambda _: True)
    with room.knock() as caller:
        room.accept()
        assert caller.recv(1) == b""
    assert ["raise LimitNOFILE" in missed for missed in room.missed] == [True]
    assert not room.clients


def test_a_long_queue_has_more_leave_together(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """One the first time, and twice as many each time that it did not do."""
    monkeypatch.setattr(entrance, "MAX_CLIENTS", 20)
    callers = [room.knock() for _ in range(20)]
    for _ in range(2):
        room.accept()
    assert len(room.clients) == 20
    assert not room.sent_away
    callers += [room.knock() for _ in range(10)]
    counts = []
    for _ in range(3):
        room.accept()
        counts.append(len(room.sent_away))
        room.leave()
    assert counts == [1, 2, 4]
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("waits", ["in the queue", "at the door", "nowhere"])
def test_who_is_not_let_in_by_the_end_is_missed(
    room: Room, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    """What it has sent is not known to anybody."""
    monkeypatch.setattr(entrance, "MAX_CLIENTS", 1)
    callers = [room.knock()]
    room.accept()
    for client in room.clients.values():
        # It is not quiet, so it keeps its place.
        client.read_at = time.monotonic()
    if waits != "nowhere":
        callers.append(room.knock())
    if waits == "at the door":
        room.accept()
    room.entrance.stop()
    assert len(room.missed) == (waits != "nowhere")
    for caller in callers:
        caller.close()


def test_a_crowd_leaves_descriptors_to_another_source(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes to a source without clients gets in, though a crowd waits for each that becomes free."""
    with select.epoll() as epoll:
        other = Room(tmp_path / "other", epoll)
        callers = [room.knock() for _ in range(40)]
        late = other.knock()
        limit = late.fileno() + 8
        monkeypatch.setattr(entrance, "is_reserved", lambda number: number > limit)
        for _ in range(20):
            room.accept()
        assert 0 < len(room.clients) < 40
        room.leave()
        room.accept()
        for _ in range(20):
            other.accept()
            room.tick()
            other.tick()
            room.leave()
            room.tick()
            other.tick()
            if other.clients:
                break
        assert len(other.clients) == 1
        assert not other.missed
        assert all(number <= limit for number in (*room.clients, *other.clients))
        other.entrance.close()
        for client in other.clients.values():
            client.sock.close()
    for caller in (*callers, late):
        caller.close()
