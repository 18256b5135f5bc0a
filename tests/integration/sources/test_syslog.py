from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from epochseal.errors import ConfigError, StorageError
from epochseal.format.escaping import escape
from epochseal.sources.internet_endpoint import InternetEndpoint, parse_address
from epochseal.sources.syslog import open_syslog
from tests.integration.agents import Place
from tests.integration.sources.senders import counted, end
from tests.integration.sources.sockets import as_sent, blocks, checked, lines_of, socket_agent

EVIL = b"<13>a\nb\rc\x1b[2J\xe2\x80\xa8d\\n\x00"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log and its keys."""
    return Place(tmp_path, tmp_path / "runtime")


def test_a_frame_cannot_make_a_second_entry(place: Place) -> None:
    """Newline, CR, U+2028 and terminal escapes in a counted frame: one entry, given back as it was sent."""
    with socket_agent(place, "syslog") as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(counted(EVIL) + counted(b"<13>next"))
            end(sock)
        agent.stop()
    assert lines_of(place) == [escape(EVIL), b"<13>next"]
    assert as_sent(place) == EVIL + b"\n<13>next\n"


def message(text: bytes) -> bytes:
    """A syslog message."""
    return b"<13>1 2026-11-28T00:00:00Z host app - - - " + text


@pytest.mark.parametrize(
    ("data", "entries"),
    [
        (message(b"one") + b"\0" + message(b"two") + b"\0", [b"one", b"two"]),
        (message(b"one\nline") + b"\0" + message(b"two") + b"\0", [b"one\\x0aline", b"two"]),
        (message(b"one") + b"\0\n" + message(b"two") + b"\0\n", [b"one\\x00", b"two\\x00"]),
        (message(b"one") + b"\r\n" + message(b"two") + b"\r\n", [b"one\\x0d", b"two\\x0d"]),
        (b"\xef\xbb\xbf" + message(b"one") + b"\n", [b"one"]),
        (b"\n" + message(b"one") + b"\n", [b"one"]),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + message(b"one") + b"\n", [b"one"]),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(12)) + message(b"one") + b"\n", [b"one"]),
        (b"".join(counted(message(x)) + b"\n" for x in (b"one", b"two")), [b"one", b"two"]),
        (
            message(b"one") + b"\n" + counted(message(b"two")) + counted(message(b"three")),
            [b"one", b"two", b"three"],
        ),
        (message(b"one") + b"\n" + message(b"two"), [b"one", b"two"]),
        (message(b"one") + b"\n12 lines\n", [b"one", b"12 lines"]),
    ],
)
def test_framings_are_recognized(place: Place, data: bytes, entries: list[bytes]) -> None:
    """What senders do besides RFC 6587: no entry is lost, cut or joined, and nothing is flagged."""
    with socket_agent(place, "syslog") as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(data)
            end(sock)
        agent.stop()
    assert [line.removeprefix(message(b"")) for line in lines_of(place)] == entries
    assert checked(place).warnings == []


@pytest.mark.parametrize(
    ("data", "entries", "said"),
    [
        (
            counted(b"<1>good") + b"200 " + b"x" * 200 + counted(b"<1>next"),
            [b"<1>good", b"<1>next"],
            "200 bytes are not",
        ),
        (b"<1>good\n<" + b"x" * 300 + b"\n<1>next\n", [b"<1>good", b"<1>next"], "301 bytes are not"),
        (b"<1>good\n<" + b"x" * 99_999, [b"<1>good"], "100000 bytes are not"),
        (b"6 <1>good7 <1>next", [b"<1>good", b"<1>next"], "a count that is wrong"),
    ],
)
def test_a_frame_that_is_wrong_costs_no_other(
    place: Place, data: bytes, entries: list[bytes], said: str
) -> None:
    """One that is too long is left out, a wrong count is made good by the next frame: flagged and told."""
    with socket_agent(place, "syslog", max_entry_bytes=100) as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(data)
            end(sock)
        agent.wait_for(said)
        agent.stop()
    assert lines_of(place) == entries
    assert {warning.kind for warning in checked(place).warnings} == {"source_gap"}


def test_a_count_that_covers_the_next_one(place: Place) -> None:
    """Without a priority behind it the next frame cannot be found: all bytes are sealed, and it is told."""
    with socket_agent(place, "syslog") as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(b"8 <1>good7 <1>next")
            end(sock)
        agent.wait_for("ended within an entry: what came of it is sealed")
        agent.stop()
    assert lines_of(place) == [b"<1>good7", b" <1>next"]


def test_a_reset_before_the_sender_is_accepted(place: Place) -> None:
    """Frames that were whole are sealed, although their sender had reset before it was accepted."""
    with socket_agent(place, "syslog") as agent:
        os.kill(agent.process.pid, signal.SIGSTOP)
        with agent.connect_tcp() as sock:
            sock.sendall(b"".join(b"<13>entry %d\n" % number for number in range(1000)))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.kill(agent.process.pid, signal.SIGCONT)
        agent.wait_for_bytes(place, 1000)
        agent.stop()
    assert lines_of(place) == [b"<13>entry %d" % number for number in range(1000)]


def test_the_handler_of_the_standard_library(place: Place) -> None:
    """Its records end in NUL, over TCP too: each is sealed at once."""
    with socket_agent(place, "syslog") as agent:
        handler = logging.handlers.SysLogHandler(("127.0.0.1", int(agent.where)), socktype=socket.SOCK_STREAM)
        for text in ("one", "two"):
            handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, text, (), None))
        agent.wait_for_bytes(place, 16)
        handler.close()
        agent.stop()
    assert lines_of(place) == [b"<14>one", b"<14>two"]


def test_datagrams_of_udp(place: Place) -> None:
    """One is an entry; one that finds the queue full is counted: the log and a message say so."""
    with socket_agent(place, "syslog-udp") as agent:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", int(agent.where)))
            sock.send(b"<13>one\nline")
            agent.wait_for_bytes(place, 12)
            os.kill(agent.process.pid, signal.SIGSTOP)
            for _ in range(2000):
                sock.send(b"<13>" + b"x" * 60_000)
            os.kill(agent.process.pid, signal.SIGCONT)
        agent.wait_for("datagrams came faster than they were read")
        agent.stop()
    assert lines_of(place)[0] == b"<13>one\\x0aline"
    assert {warning.kind for warning in checked(place).warnings} == {"source_gap"}


def test_a_sender_that_leaves_within_a_frame(place: Place) -> None:
    """What came of the frame is a block of its own, flagged `nolf`; a count alone is only told."""
    first, only = counted(b"<1>whole"), b"<2>whole\n<2>half"
    with socket_agent(place, "syslog") as agent:
        for data in (first + b"100 <1>ha\nlf", only, counted(b"<3>") + b"100 ", counted(b"<3>") + b"10"):
            sock = agent.connect_tcp()
            sock.sendall(data)
            end(sock)
        agent.stop()
    assert lines_of(place) == [b"<1>whole", b"<1>ha\\x0alf", b"<2>whole", b"<2>half", b"<3>", b"<3>"]
    found = [
        (block.first_entry, block.entries)
        for block in blocks(place)
        if block.src is not None and block.src.nolf
    ]
    assert found == [(1, 1), (3, 1)]
    assert agent.said.count("ended within an entry") == 4
    assert as_sent(place) == b"<1>whole\n<1>ha\nlf\n<2>whole\n<2>half\n<3>\n<3>\n"


def test_a_silent_sender_gives_up_its_place(place: Place) -> None:
    """Senders that are silent make room once all places are taken, and not before."""
    with socket_agent(place, "syslog", bounds={"MAX_CLIENTS": 3, "QUIET_SECONDS": 0.3}) as agent:
        busy, *_silent = [agent.connect_tcp() for _ in range(3)]
        busy.sendall(b"<1>busy\n")
        agent.wait_for_bytes(place, 8)
        late = agent.connect_tcp()
        late.sendall(b"<1>late\n")
        agent.wait_for("makes room for another client")
        end(late)
        busy.sendall(b"<1>busy\n")
        end(busy)
        agent.stop()
    assert sorted(lines_of(place)) == [b"<1>busy", b"<1>busy", b"<1>late"]


def test_connections_beyond_the_descriptors(place: Place) -> None:
    """A flood of connections leaves the agent the descriptors that it needs: it goes on, epochs turn."""
    with socket_agent(place, "syslog", descriptors=128, epoch_max_entries=5) as agent:
        flood = [agent.connect_tcp() for _ in range(200)]
        for number in range(20):
            with agent.connect_tcp() as sock:
                sock.sendall(b"<13>entry %d\n" % number)
                end(sock)
        for sock in flood:
            sock.close()
        agent.stop()
    assert sorted(lines_of(place)) == sorted(b"<13>entry %d" % number for number in range(20))
    assert checked(place).epochs == 4


def test_addresses() -> None:
    """Host and port in their two forms; anything else is refused, and so is an address in use."""
    assert parse_address("127.0.0.1:6514") == ("127.0.0.1", 6514)
    assert parse_address("[::1]:65535") == ("::1", 65535)
    for text in (
        "6514",
        ":6514",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "::1:6514",
        "[host]:x",
        "host:1 ",
    ):
        with pytest.raises(ConfigError, match="no address to listen on"):
            parse_address(text)
    endpoint = InternetEndpoint("127.0.0.1:0", socket.SOCK_STREAM)
    with pytest.raises(StorageError, match="Address already in use"):
        open_syslog(f"127.0.0.1:{endpoint.address[1]}", tls=None, block_bytes=64, max_entry_bytes=64)
    endpoint.close()
