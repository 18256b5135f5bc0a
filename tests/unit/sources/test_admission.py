from __future__ import annotations

import socket
from collections.abc import Hashable, Iterator

import pytest

from epochseal.sources.admission import QUIET_SECONDS, who_makes_room
from epochseal.sources.client import Client
from epochseal.sources.framing import StreamFraming

NOW = 1000.0


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """A socket that is not used."""
    with socket.socket(socket.AF_UNIX) as made:
        yield made


def client(sock: socket.socket, peer: Hashable, quiet_for: float, *, unsealed: int = 0) -> Client:
    """A client that sent something so long ago."""
    made = Client(sock, "", peer, StreamFraming("auto", 10, syslog=False, skip=True))
    made.read_at, made.unsealed = NOW - quiet_for, unsealed
    return made


def test_the_longest_quiet_client_of_the_largest_peer_makes_room(sock: socket.socket) -> None:
    """Not one that is quiet longer, but whose peer has fewer places; nor one with entries under way."""
    few = client(sock, "few", 99)
    busy, quiet, quieter = (
        client(sock, "many", 50, unsealed=1),
        client(sock, "many", 5),
        client(sock, "many", 9),
    )
    assert who_makes_room([few, busy, quiet, quieter], "few", NOW, waited=False) is quieter
    assert who_makes_room([few, busy, quiet, quieter], "new", NOW, waited=False) is quieter
    assert who_makes_room([few, busy, quiet, quieter], "many", NOW, waited=False) is quieter


def test_a_share_is_kept_for_every_peer(sock: socket.socket) -> None:
    """Where nobody is quiet, another peer's newcomer gets a place; one of the crowd has to wait."""
    crowd = [client(sock, "many", QUIET_SECONDS / (2 + number)) for number in range(5)]
    assert who_makes_room(crowd, "new", NOW, waited=False) is crowd[0]
    assert who_makes_room(crowd, "many", NOW, waited=False) is None
    assert who_makes_room(crowd, "many", NOW, waited=True) is crowd[0]


def test_who_leaves_already_is_not_asked(sock: socket.socket) -> None:
    """Neither is a client that is not read any more."""
    leaving, ended = client(sock, "many", 50), client(sock, "many", 60)
    leaving.leaves_at, ended.reads = NOW + 1, False
    assert who_makes_room([leaving, ended], "new", NOW, waited=True) is None
