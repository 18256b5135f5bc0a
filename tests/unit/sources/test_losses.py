"""What a source cannot take is a gap: at a stop, in a socket that is given up, at a reset."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from epochseal.sealing.limits import Piece
from epochseal.service import commit_loop
from epochseal.service.commit_loop import CommitLoop
from epochseal.sources import admission, datagrams, entrance, stream_server
from epochseal.sources.internet_endpoint import InternetEndpoint
from epochseal.sources.socket_file import SocketFile
from epochseal.sources.stream import StreamSource
from epochseal.sources.syslog import open_syslog, open_syslog_udp
from epochseal.sources.unix import open_datagrams, open_stream
from tests.unit.sources.driven import read, sealed_to_the_end, taken

_BLOCK, _ENTRY = 1 << 16, 100_000


def _path_of(endpoint: object) -> Path:
    assert isinstance(endpoint, SocketFile)
    return endpoint.path


def _address_of(endpoint: object) -> tuple[str, int]:
    assert isinstance(endpoint, InternetEndpoint)
    return endpoint.address


@pytest.mark.parametrize(("seconds", "gap"), [(-1.0, True), (60.0, False)])
def test_datagrams_beyond_the_time_of_a_stop(
    monkeypatch: pytest.MonkeyPatch, seconds: float, *, gap: bool
) -> None:
    """Who goes on sending is left at last, and the log says so; what was there in time is all sealed."""
    monkeypatch.setattr(datagrams, "FINISH_SECONDS", seconds)
    source = open_syslog_udp("127.0.0.1:0", block_bytes=_BLOCK, max_entry_bytes=_ENTRY)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(20):
            sender.sendto(b"%d" % number * 9_000, _address_of(source.endpoint))
    source.finish()
    lines, pieces = sealed_to_the_end(source)
    source.close()
    assert lines == [b"%d" % number * 9_000 for number in range(len(lines))]
    assert any(piece.src.gap for piece in pieces) == gap
    assert (len(lines) < 20) == gap


def test_datagrams_in_a_socket_whose_file_is_gone(tmp_path: Path) -> None:
    """All of them are taken before the socket is given up."""
    source = open_datagrams(tmp_path / "s", mode=0o600, block_bytes=_BLOCK, max_entry_bytes=_ENTRY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(tmp_path / "s"))
        for number in range(4):
            sender.send(b"%d" % number * 60_000)
        _path_of(source.endpoint).unlink()
        source.tick()
        assert (tmp_path / "s").exists()
        with pytest.raises(OSError, match="refused"):
            sender.send(b"late")
    lines, pieces = taken(source)
    source.close()
    assert lines == [b"%d" % number * 60_000 for number in range(4)]
    assert not any(piece.src.gap for piece in pieces)


def test_clients_of_a_socket_whose_file_is_gone(tmp_path: Path) -> None:
    """All who have connected to it are let in before it is given up, however many they are."""
    source = open_stream(tmp_path / "s", mode=0o600, acks=False, block_bytes=_BLOCK, max_entry_bytes=_ENTRY)
    callers = []
    for number in range(60):
        callers.append(socket.socket(socket.AF_UNIX))
        callers[-1].connect(str(tmp_path / "s"))
        callers[-1].sendall(b"%d\n" % number)
    _path_of(source.endpoint).unlink()
    source.tick()
    source.finish()
    lines, pieces = sealed_to_the_end(source)
    source.close()
    assert sorted(lines) == sorted(b"%d" % number for number in range(60))
    assert not any(piece.src.gap for piece in pieces)
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("sent", [b"<13>whole\n", b""])
def test_a_sender_that_resets(sent: bytes) -> None:
    """Its system throws away what was not on its way. A health check that sends nothing is no gap."""
    source = open_syslog("127.0.0.1:0", tls=None, block_bytes=_BLOCK, max_entry_bytes=_ENTRY)
    with socket.create_connection(_address_of(source.endpoint)) as sender:
        sender.sendall(sent)
        deadline = time.monotonic() + 60
        while not source.connections or (sent and not source.has_entry):
            assert time.monotonic() < deadline
            source.tick()
            read(source)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while source.connections:
        assert time.monotonic() < deadline
        source.tick()
        read(source)
        lines, pieces = taken(source)
        if lines:
            assert lines == [b"<13>whole"]
    source.finish()
    pieces += sealed_to_the_end(source)[1]
    source.close()
    assert any(piece.src.gap for piece in pieces) == bool(sent)


def test_a_sender_that_has_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a network it learns of that too late: what it sends next may be lost, and the log says so."""
    monkeypatch.setattr(entrance, "MAX_CLIENTS", 1)
    monkeypatch.setattr(admission, "QUIET_SECONDS", 0.0)
    source = open_syslog("127.0.0.1:0", tls=None, block_bytes=_BLOCK, max_entry_bytes=_ENTRY)
    where = _address_of(source.endpoint)
    with socket.create_connection(where) as first, socket.create_connection(where):
        first.sendall(b"<13>one\n")
        lines: list[bytes] = []
        pieces: list[Piece] = []
        deadline = time.monotonic() + 60
        while not any(piece.src.gap for piece in pieces):
            assert time.monotonic() < deadline
            source.tick()
            read(source)
            more = taken(source)
            lines, pieces = lines + more[0], pieces + more[1]
    source.close()
    assert lines == [b"<13>one"]


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_terminal_that_hangs_up(hangs_up: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """The system may throw away what was not read: a gap behind what was; an end that is typed is none."""
    terminal, side = os.openpty()
    source = StreamSource(side, "stdin", block_bytes=_BLOCK, max_entry_bytes=_ENTRY)
    os.write(terminal, b"one\ntwo\n")
    while source.buffered < 8:
        source.read()
    if hangs_up:
        os.close(terminal)
    else:
        os.write(terminal, b"\x04")
    source.read()
    lines, pieces = sealed_to_the_end(source)
    source.close()
    if not hangs_up:
        os.close(terminal)
    assert lines == [b"one", b"two"]
    assert [(piece.entries, piece.src.gap) for piece in pieces] == [(2, 0), (0, 1)][: 1 + hangs_up]


class _Endless(StreamSource):
    """A stream whose writer never stops."""

    ended = False
    lag = 5


def test_a_stream_that_goes_on_after_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its time is over some day: then the log has a gap, and a file that can be read again has none."""
    monkeypatch.setattr(commit_loop, "CLOSE_SECONDS", 0)
    commits: list[list[Any]] = []
    sealer: Any = SimpleNamespace(
        live=True,
        checkpoints=[],
        calls=SimpleNamespace(gone=None),
        commit=lambda _data, pieces: commits.append(pieces),
        close_log=lambda: None,
    )
    endless = _Endless(-1, "stdin", block_bytes=1 << 16, max_entry_bytes=1000)
    kept: Any = SimpleNamespace(name="tail", ended=False, perishable=0, buffered=0, finish=lambda: None)
    signals: Any = SimpleNamespace(stop_asked=True)
    loop = CommitLoop(sealer, [kept, endless], signals, commit_interval=0, acknowledge=lambda _: None)
    loop.run()
    assert [(piece.entries, piece.src.name, piece.src.gap) for (piece,) in commits] == [(0, "stdin", 1)]
    assert "stdin: more came than could be sealed" in caplog.text


def test_the_stop_of_a_stream_server_tells_what_it_owes() -> None:
    """Its time after a stop is shorter than that of the log, so that its own gap comes first."""
    assert stream_server.FINISH_SECONDS < commit_loop.CLOSE_SECONDS
