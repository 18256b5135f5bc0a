"""What clients have sent when a stop is asked for, and the loop comes late to read it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.sources import stream_server
from epochseal.sources.stream_server import StreamServer
from epochseal.sources.unix import open_stream
from tests.unit.sources.driven import read, sealed_to_the_end


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    """A source at a socket file, driven by hand."""
    made = open_stream(tmp_path / "s", mode=0o600, acks=False, block_bytes=1 << 16, max_entry_bytes=1000)
    yield made
    made.close()


def _caller(server: StreamServer, sent: bytes) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(server.name.removeprefix("unix:")))
    made.sendall(sent)
    return made


def test_a_loop_that_is_late_takes_what_lies_in_the_socket(server: StreamServer) -> None:
    """A commit that takes longer than a quiet client is given costs none of its entries."""
    with _caller(server, b"") as client:
        read(server)
        assert server.connections == 1
        client.sendall(b"entry\n" * 5000)
        server.finish()
        time.sleep(1.5 * stream_server.SILENT_SECONDS)
        lines, pieces = sealed_to_the_end(server)
    assert lines == [b"entry"] * 5000
    assert not any(piece.src.gap for piece in pieces)


def test_all_who_connected_areread(server: StreamServer) -> None:
    """However many wait to be accepted when the stop comes."""
    callers = [_caller(server, b"entry %d\n" % number) for number in range(200)]
    server.finish()
    lines, pieces = sealed_to_the_end(server)
    assert sorted(lines) == sorted(b"entry %d" % number for number in range(200))
    assert not any(piece.src.gap for piece in pieces)
    for caller in callers:
        caller.close()


def test_what_is_not_read_in_time_is_a_gap(server: StreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on sending is left at last, and the log says that entries may be missing."""
    monkeypatch.setattr(stream_server, "FINISH_SECONDS", 0.05)
    with _caller(server, b"") as client:
        read(server)
        client.sendall(b"entry\n" * 5000)
        server.finish()
        time.sleep(0.1)
        lines, pieces = sealed_to_the_end(server)
    assert len(lines) < 5000
    assert any(piece.src.gap for piece in pieces)
