"""Agents with a socket source as processes, and clients of theirs."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from epochseal.evidence.extract import extract
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.verifier import Verdict
from tests.integration.agents import Place
from tests.integration.logs import ORIGIN

_SCRIPT = Path(__file__).with_name("socket_agent.py")
_PATIENCE = 180.0


class SocketAgent:
    """A running agent with one socket source."""

    def __init__(self, place: Place, kind: str, **settings: object) -> None:
        self.place = place
        self.path = place.folder / "s"
        self._stderr = place.folder / "stderr"
        key = f"file:{place.keys.directory / 'agent'}"
        common = {"kind": kind, "log": str(place.log), "origin": ORIGIN, "key": key, "path": str(self.path)}
        words = [sys.executable, str(_SCRIPT), json.dumps(common | settings)]
        with self._stderr.open("ab") as file:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=file)
        assert self.process.stdout is not None
        self._stdout = self.process.stdout
        self.where = self._stdout.readline().decode().strip()
        assert self.where, self.said

    @property
    def said(self) -> str:
        """Its messages so far."""
        return self._stderr.read_text(encoding="utf-8")

    def connect(self) -> Client:
        """A new client of a stream source."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.path))
        return Client(sock)

    def connect_tcp(self) -> socket.socket:
        """A new sender of a syslog source."""
        return socket.create_connection(("127.0.0.1", int(self.where)), timeout=_PATIENCE)

    def wait_for(self, condition: str) -> None:
        """Until it has said something."""
        deadline = time.monotonic() + _PATIENCE
        while condition not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def wait_for_bytes(self, place: Place, size: int) -> None:
        """Until so many bytes stand in the log."""
        deadline = time.monotonic() + _PATIENCE
        while len(place.entries()) < size:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to close the log; it has sealed all that it took."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=_PATIENCE)
        assert (self.process.returncode, rest) == (0, b"unsealed 0\n"), self.said

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(_PATIENCE)


@contextmanager
def socket_agent(place: Place, kind: str, **settings: object) -> Iterator[SocketAgent]:
    """A running agent, killed at the end if it still runs."""
    agent = SocketAgent(place, kind, **settings)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.kill()
        assert agent.process.stdout is not None
        agent.process.stdout.close()


class Client:
    """A client of a unix-stream source that collects its acknowledgements."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(_PATIENCE)
        self.numbers: list[int] = []
        self._text = b""

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.sock.sendall(data)

    def wait_for(self, entries: int) -> None:
        """Read until so many entries are acknowledged."""
        while len(self.numbers) < entries:
            assert self._read(), f"the agent went after {len(self.numbers)} acknowledgements"

    def pump(self, data: bytes) -> None:
        """Write all, and read acknowledgements meanwhile."""
        self.sock.setblocking(False)  # noqa: FBT003  # its only argument
        view = memoryview(data)
        while view:
            readable, writable, _ = select.select([self.sock], [self.sock], [], _PATIENCE)
            if readable:
                assert self._read()
            if writable:
                view = view[self.sock.send(view[:50_000]) :]
        self.sock.settimeout(_PATIENCE)

    def read_to_end(self) -> None:
        """Read until the agent closes the connection."""
        while self._read():
            pass

    def _read(self) -> bool:
        data = self.sock.recv(65536)
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            first, last = map(int, line.split(b" "))
            self.numbers += range(first, last + 1)
        return bool(data)


def blocks(place: Place) -> list[Block]:
    """The blocks of a log that hold entries."""
    found = []
    for path in sorted((place.log / "segments").glob("*.seal")):
        for raw in path.read_bytes().splitlines():
            line = parse_line(raw)
            if isinstance(line, TaggedLine) and isinstance(line.body, Block) and line.body.entries:
                found.append(line.body)
    return found


def lines_of(place: Place) -> list[bytes]:
    """The entries as they are stored."""
    return place.entries().split(b"\n")[:-1]


def as_sent(place: Place) -> bytes:
    """What `epochseal cat` gives."""
    parts: list[bytes] = []
    extract(place.log, place.keys.recoverer(), checked(place), parts.append)
    return b"".join(parts)


def checked(place: Place) -> Verdict:
    """The verdict of a log that has to verify."""
    verdict = place.verify()
    assert verdict.verdict == "verified", verdict.problems
    return verdict


def run_all(jobs: list[Any]) -> None:
    """Run callables side by side, in processes; each has to end well."""
    children = []
    for job in jobs:
        if (pid := os.fork()) == 0:
            status = 1
            try:
                job()
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)
