from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import socket
import stat
import time
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from epochseal.errors import ConfigError
from epochseal.format.escaping import escape
from epochseal.sources.unix import open_datagrams, open_stream
from tests.integration.agents import Place
from tests.integration.sources.sockets import (
    Client,
    as_sent,
    blocks,
    checked,
    lines_of,
    run_all,
    socket_agent,
)

FULL = bool(os.environ.get("EPOCHSEAL_FULL"))
CLIENTS = 10
EACH = 100_000 if FULL else 5_000
EVIL = [
    b"a\nb",
    b"a\rb",
    b"\xe2\x80\xa8x",
    b"\x1b[2J\x1b[1;1H",
    b"back\\slash \\n",
    b"",
    b"\x00",
    b"\n",
    b"\xc2\x85",
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log and its keys."""
    return Place(tmp_path, tmp_path / "runtime")


def _client_job(path: Path, number: int, result: Path) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(path))
    client = Client(sock)
    client.pump(b"".join(b"client %d entry %d\n" % (number, each) for each in range(EACH)))
    client.wait_for(EACH)
    result.write_text("\n".join(map(str, client.numbers)))


def test_each_acknowledged_number_holds_that_entry(place: Place) -> None:
    """Ten clients at once: every entry is acknowledged once, with its own number in the log."""
    with socket_agent(place, "unix-stream", epoch_max_entries=EACH) as agent:
        results = [place.folder / f"numbers-{number}" for number in range(CLIENTS)]
        run_all([partial(_client_job, agent.path, *each) for each in enumerate(results)])
        agent.stop()
    stored = lines_of(place)
    numbers = [[int(line) for line in path.read_text().split()] for path in results]
    for client, mine in enumerate(numbers):
        assert [stored[each] for each in mine] == [
            b"client %d entry %d" % (client, each) for each in range(EACH)
        ]
    assert sorted(chain.from_iterable(numbers)) == list(range(CLIENTS * EACH))
    verdict = checked(place)
    assert (verdict.entries, verdict.closed) == (CLIENTS * EACH, True)


def test_lines_are_kept_byte_for_byte(place: Place) -> None:
    """A newline ends an entry; no other byte does, and none is changed."""
    data = b"\r\n\x00\x1b[31m\\\n\xe2\x80\xa8\xff\n\n"
    with socket_agent(place, "unix-stream") as agent:
        client = agent.connect()
        client.send(data)
        client.wait_for(4)
        agent.stop()
    assert client.numbers == [0, 1, 2, 3]
    assert place.entries() == data
    assert all(block.src is not None and not block.src.esc for block in blocks(place))


def test_a_client_that_leaves_within_a_line(place: Place) -> None:
    """What came of the line is an entry and a block of its own, flagged `nolf`; no line is mixed with it."""
    with socket_agent(place, "unix-stream") as agent:
        other, client = agent.connect(), agent.connect()
        other.send(b"other ")
        client.send(b"whole\nhalf")
        client.sock.shutdown(socket.SHUT_WR)
        client.read_to_end()
        other.send(b"line\n")
        other.wait_for(1)
        agent.wait_for("ended within an entry")
        agent.stop()
    stored = lines_of(place)
    assert [stored[number] for number in client.numbers] == [b"whole", b"half"]
    assert stored[other.numbers[0]] == b"other line"
    flags = {block.first_entry: block.src.nolf for block in blocks(place) if block.src is not None}
    assert flags[client.numbers[1]] == 1
    assert sum(flags.values()) == 1
    assert as_sent(place) == b"whole\nhalf\nother line\n"


def test_a_client_that_leaves_without_reading(place: Place) -> None:
    """All that it wrote is sealed, although it never took an acknowledgement."""
    with socket_agent(place, "unix-stream") as agent:
        for number in range(20):
            client = agent.connect()
            client.send(b"%d\n" % number * 1000)
            client.sock.close()
        with agent.connect().sock as last:
            last.sendall(b"last\n")
            last.recv(100)
        agent.stop()
    assert sorted(lines_of(place)) == sorted([b"%d" % number for number in range(20)] * 1000 + [b"last"])


def test_a_stop_takes_what_was_written_before(place: Place) -> None:
    """At SIGTERM lines in the socket are sealed and acknowledged, then the clients are closed."""
    with socket_agent(place, "unix-stream") as agent:
        client, silent = agent.connect(), agent.connect()
        client.send(b"entry\n" * 20_000 + b"begun")
        agent.stop()
        client.read_to_end()
        silent.read_to_end()
    assert lines_of(place) == [b"entry"] * 20_000 + [b"begun"]
    assert client.numbers == list(range(20_001))
    assert not agent.path.exists()


def test_a_line_that_is_too_long(place: Place) -> None:
    """Its client is closed with a message, its whole lines are acknowledged, and others go on."""
    with socket_agent(place, "unix-stream", max_entry_bytes=100) as agent:
        for data in (b"good\n" + b"x" * 101, b"good\n" + b"x" * 101 + b"\nafter\n", b"y" * 5000):
            client = agent.connect()
            client.send(data)
            client.read_to_end()
            assert len(client.numbers) == data.count(b"good")
        client = agent.connect()
        client.send(b"z" * 100 + b"\n")
        client.wait_for(1)
        agent.stop()
    assert agent.said.count("is closed: an entry is longer than 100 bytes") == 3
    assert lines_of(place) == [b"good", b"good", b"z" * 100]


def test_a_client_that_does_not_read_its_acknowledgements(place: Place) -> None:
    """It is closed with a message, all that was taken is sealed, and another client is served meanwhile."""
    bounds = {"MAX_UNREAD_ACKS": 2000}
    with socket_agent(place, "unix-stream", commit_interval=0, bounds=bounds) as agent:
        deaf, other = agent.connect(), agent.connect()
        sent: list[bytes] = []
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _write_unread(deaf, other, sent)
        agent.wait_for("does not read its acknowledgements")
        agent.stop()
    assert lines_of(place).count(b"y") == len(other.numbers)
    assert 0 < lines_of(place).count(b"x") <= len(sent)


def _write_unread(deaf: Client, other: Client, sent: list[bytes]) -> None:
    deadline, rounds = time.monotonic() + 50, 0
    while time.monotonic() < deadline:
        for _ in range(20):
            sent.append(b"x")
            deaf.send(b"x\n")
        rounds += 1
        other.send(b"y\n")
        other.wait_for(rounds)


def test_idle_clients_make_room(place: Place) -> None:
    """Where idle clients have all places, a newcomer gets one at once; who made room finds out."""
    with socket_agent(place, "unix-stream", bounds={"MAX_CLIENTS": 8, "QUIET_SECONDS": 0.1}) as agent:
        idle = [agent.connect() for _ in range(30)]
        start = time.monotonic()
        busy = agent.connect()
        busy.send(b"entry\n")
        busy.wait_for(1)
        assert time.monotonic() - start < 10
        agent.wait_for("makes room for another client")
        idle[0].read_to_end()
        with pytest.raises(BrokenPipeError):
            idle[0].send(b"too late\n")
        agent.stop()
    assert lines_of(place) == [b"entry"]


def test_who_makes_room_loses_nothing(place: Place) -> None:
    """What a client wrote before it had to go is sealed and acknowledged, whoever else comes in meanwhile."""
    with socket_agent(place, "unix-stream", bounds={"MAX_CLIENTS": 2}) as agent:
        clients = [agent.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(b"%d\n" % number)
        for client in clients:
            client.wait_for(1)
        agent.stop()
    assert sorted(map(int, lines_of(place))) == list(range(20))


def test_a_line_that_is_too_long_costs_no_other(place: Place) -> None:
    """Without acknowledgements it is left out, up to its end; a block is flagged, a message counts bytes."""
    with socket_agent(place, "unix-stream", acks=False, max_entry_bytes=100) as agent:
        client = agent.connect()
        client.send(b"good\n" + b"x" * 5000)
        agent.wait_for_bytes(place, 5)
        client.send(b"y\nafter\n")
        client.sock.close()
        agent.wait_for("5001 bytes are not sealed")
        agent.stop()
    assert lines_of(place) == [b"good", b"after"]
    assert [block.src.gap for block in blocks(place) if block.src is not None] == [0, 1]
    assert [warning.kind for warning in checked(place).warnings] == ["source_gap"]


def test_records_that_end_in_nul(place: Place) -> None:
    """The standard library's SysLogHandler ends its records so: each is an entry, at once, and one line."""
    with socket_agent(place, "unix-stream", acks=False) as agent:
        handler = logging.handlers.SysLogHandler(str(agent.path), socktype=socket.SOCK_STREAM)
        for text in ("one", "two\nlines", "three"):
            handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, text, (), None))
        agent.wait_for_bytes(place, 35)
        handler.close()
        agent.stop()
    assert lines_of(place) == [b"<14>one", b"<14>two\\x0alines", b"<14>three"]
    assert all(block.src is not None and block.src.esc for block in blocks(place))


@pytest.mark.parametrize("kind", ["unix-stream", "unix-datagram"])
def test_a_socket_file_that_was_removed_is_made_again(place: Place, kind: str) -> None:
    """It is told; clients that were connected stay, new ones find the new file, with the same mode."""
    stream = kind == "unix-stream"
    end = b"\n" if stream else b""
    with socket_agent(place, kind, mode=0o620) as agent:
        old = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        old.connect(str(agent.path))
        old.send(b"before" + end)
        agent.path.unlink()
        agent.wait_for("it was made again")
        assert stat.S_IMODE(agent.path.stat().st_mode) == 0o620
        new = socket.socket(socket.AF_UNIX, old.type)
        new.connect(str(agent.path))
        new.send(b"after" + end)
        if stream:
            assert new.recv(100) == b"1 1\n"
            old.send(b"still\n")
            assert old.recv(100) == b"0 0\n"
        agent.stop()
    assert not agent.path.exists()
    assert lines_of(place) == [b"before", b"after"] + [b"still"] * stream


def test_a_path_that_another_program_took_is_told(place: Place) -> None:
    """Its socket is left alone; once it is gone, the path is the agent's again."""
    with socket_agent(place, "unix-stream") as agent:
        agent.path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(str(agent.path))
            other.listen()
            agent.wait_for("nobody reaches this source: another process listens on")
        agent.wait_for("it was made again")
        client = agent.connect()
        client.send(b"entry\n")
        client.wait_for(1)
        agent.stop()


def test_without_acks_nothing_is_written_back(place: Place) -> None:
    """A client of a source without acknowledgements reads nothing but the end."""
    with socket_agent(place, "unix-stream", acks=False) as agent:
        client = agent.connect()
        client.send(b"entry\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.sock.recv(10) == b""
        agent.stop()
    assert lines_of(place) == [b"entry"]


def test_the_socket_has_its_mode_and_is_replaced_when_stale(place: Place) -> None:
    """The mode is exact, a second listener is refused, and what a killed agent left is replaced."""
    with socket_agent(place, "unix-stream", mode=0o620) as agent:
        assert stat.S_IMODE(agent.path.stat().st_mode) == 0o620
        for kind in (open_datagrams, partial(open_stream, acks=False)):
            with pytest.raises(ConfigError, match="another process listens on"):
                kind(agent.path, mode=0o600, block_bytes=64, max_entry_bytes=64)
        agent.kill()
    assert agent.path.exists()
    source = open_datagrams(agent.path, mode=0o666, block_bytes=64, max_entry_bytes=64)
    assert stat.S_IMODE(agent.path.stat().st_mode) == 0o666
    source.close()
    assert not agent.path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("file", "exists and is no socket"), ("none/s", "No such file"), ("x" * 200, "too long")],
)
def test_a_path_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    """The message names the path and the reason, and no foreign file is touched."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=message):
        open_stream(tmp_path / name, mode=0o600, acks=False, block_bytes=64, max_entry_bytes=64)
    assert (tmp_path / "file").read_text() == "mine"


def test_another_socket_file_is_not_removed(tmp_path: Path) -> None:
    """At the end only the own file is removed, not one that was put in its place."""
    source = open_datagrams(tmp_path / "s", mode=0o600, block_bytes=64, max_entry_bytes=64)
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("another")
    source.close()
    assert (tmp_path / "s").read_text() == "another"


def _datagram_job(path: Path, number: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(str(path))
        for each in range(EACH):
            sock.send(b"client %d\nentry %d" % (number, each))


def test_every_datagram_is_one_entry(place: Place) -> None:
    """Ten writers at once, a newline in every datagram: each is one entry, none is lost, all in order."""
    with socket_agent(place, "unix-datagram") as agent:
        run_all([partial(_datagram_job, agent.path, number) for number in range(CLIENTS)])
        agent.stop()
    stored = lines_of(place)
    for client in range(CLIENTS):
        mine = [line for line in stored if line.startswith(b"client %d\\x0a" % client)]
        assert mine == [b"client %d\\x0aentry %d" % (client, each) for each in range(EACH)]
    assert checked(place).entries == CLIENTS * EACH == len(stored)


def test_a_datagram_cannot_make_a_second_entry(place: Place) -> None:
    """Newlines, CR, U+2028, terminal escapes: one datagram, one entry, given back as it was sent."""
    with socket_agent(place, "unix-datagram") as agent:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(str(agent.path))
            for evil in EVIL:
                sock.send(evil)
        agent.stop()
    assert lines_of(place) == [escape(evil) for evil in EVIL]
    assert as_sent(place) == b"".join(evil + b"\n" for evil in EVIL)


def test_a_writer_that_does_not_wait_is_told(place: Place) -> None:
    """Where the queue is full it gets an error; every datagram that was taken is sealed."""
    with socket_agent(place, "unix-datagram") as agent:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(str(agent.path))
            sock.settimeout(0)
            os.kill(agent.process.pid, signal.SIGSTOP)
            taken = 0
            with suppress(BlockingIOError):
                while taken < 100_000:
                    sock.send(b"datagram %d" % taken)
                    taken += 1
            os.kill(agent.process.pid, signal.SIGCONT)
        agent.stop()
    assert 0 < taken < 100_000
    assert lines_of(place) == [b"datagram %d" % number for number in range(taken)]


def test_a_datagram_that_is_too_long(place: Place) -> None:
    """It is refused with a message, never sealed in part; one of the limit is sealed, escaped ones too."""
    with socket_agent(place, "unix-datagram", max_entry_bytes=100) as agent:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(str(agent.path))
            for datagram in (b"a" * 101, b"b" * 100, b"\n" * 100, b"c" * 5000):
                sock.send(datagram)
        agent.wait_for("longer than 100 bytes")
        agent.stop()
    assert lines_of(place) == [b"b" * 100, b"\\x0a" * 100]
