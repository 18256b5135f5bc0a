"""Which clients wait for each of their entries, so that a commit is made at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.sources.stream_server import StreamServer
from epochseal.sources.unix import open_stream
from tests.unit.sources.driven import read, taken

_LITTLE = b"another entry\n" * 10
_MUCH = b"another entry\n" * 2000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    """A source at a socket file that acknowledges, driven by hand."""
    made = open_stream(tmp_path / "s", mode=0o600, acks=True, block_bytes=1 << 20, max_entry_bytes=1000)
    yield made
    made.close()


@pytest.fixture
def client(server: StreamServer) -> Iterator[socket.socket]:
    """A client that was let in."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(60)
        made.connect(str(server.name.removeprefix("unix:")))
        read(server)
        yield made


@pytest.mark.parametrize("meanwhile", [b"", _LITTLE])
def test_threads_behind_one_connection_wait(
    server: StreamServer, client: socket.socket, meanwhile: bytes
) -> None:
    """Some hand in more while the entries of others are committed, and each answer is read."""
    for _ in range(3):
        client.sendall(b"entry\n")
        read(server)
        assert server.full_block
        client.sendall(meanwhile)
        taken(server)
        client.recv(100)
        if meanwhile:
            read(server)
            assert server.full_block
            taken(server)
            client.recv(100)


def test_who_sends_on_does_not_wait(server: StreamServer, client: socket.socket) -> None:
    """Much is here already: it is taken together with what follows."""
    client.sendall(b"entry\n")
    read(server)
    client.sendall(_MUCH)
    taken(server)
    read(server)
    assert server.has_entry
    assert not server.full_block


def test_who_leaves_its_answers_unread_does_not_wait(server: StreamServer, client: socket.socket) -> None:
    """It sends a line now and then, whatever is answered."""
    client.sendall(b"entry\n")
    read(server)
    client.sendall(_LITTLE)
    taken(server)
    read(server)
    client.sendall(_LITTLE)
    taken(server)
    read(server)
    assert server.has_entry
    assert not server.full_block
