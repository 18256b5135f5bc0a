"""The program whose output is sealed: a real web server with real visitors, or a walk over the file system.

Its output goes into one pipe that outlives every agent reading from it, as a service manager's would: lines
that nobody reads yet wait there, and the program waits when the pipe is full.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, Self

from epochseal.demo.stage import DemoError

_TIMEOUT = 20.0


class Service(Protocol):
    """Something that writes a line for everything that happens."""

    name: str
    command: tuple[str, ...]

    def work(self, events: int, told: Callable[[int], None] = ...) -> None:
        """Have `events` things happen, fewer once the service is stopped; `told` hears how many so far."""
        ...

    def stop(self) -> None:
        """End the program, and with it the input of whoever reads its output."""
        ...


class WebServer:
    """`python3 -m http.server` on a free port of the loopback interface, serving Python's own library."""

    name = "a web server's access log"

    def __init__(self, output: int) -> None:
        root = Path(sysconfig.get_path("stdlib"))
        options = ("--bind", "127.0.0.1", "--protocol", "HTTP/1.1", "--directory", str(root), "0")
        self.command: tuple[str, ...] = ("python3", "-m", "http.server", *options, "2>&1", ">/dev/null")
        self._paths = [f"/{path.relative_to(root)}" for path in sorted(root.glob("*/*.py"))]
        self._random = random.Random(1)  # noqa: S311  # visitors, not keys
        self._process = subprocess.Popen(  # noqa: S603  # this interpreter, with arguments of our own
            [sys.executable, "-u", "-P", "-m", "http.server", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
        )
        try:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=_TIMEOUT)
            self._connection.connect()
        except BaseException:
            self.stop()
            raise

    def _port(self) -> int:
        assert self._process.stdout is not None  # noqa: S101  # for the type checker: it was asked for as a pipe
        words = self._process.stdout.readline().split()
        if b"port" not in words:
            raise OSError("the web server did not start")
        return int(words[words.index(b"port") + 1])

    def work(self, events: int, told: Callable[[int], None] = lambda _: None) -> None:
        """Visit `events` pages; some are not there, some carry a query, some try to log in."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for done in range(events):
                method, path = self._next()
                self._connection.request(method, path)
                self._connection.getresponse().read()
                if done % 250 == 0:
                    told(done)

    def _next(self) -> tuple[str, str]:
        path = self._random.choice(self._paths)
        match self._random.randrange(12):
            case 0:
                return "HEAD", f"{path}?session={self._random.getrandbits(48):012x}"
            case 1:
                return "GET", f"/account/{self._random.randrange(10_000)}"
            case 2:
                return "POST", f"/login?user={self._random.randrange(500)}"
            case _:
                return "HEAD", path

    def stop(self) -> None:
        """End the server."""
        _end(self._process)


class FileWalk:
    """`find`, for machines without a loopback interface; every file is an event."""

    name = "a walk over the file system"
    command: tuple[str, ...] = ("find", "/usr", "/etc", "-ls", "2>/dev/null")

    def __init__(self, output: int) -> None:
        self._process = self._start()
        self._output = os.fdopen(os.dup(output), "wb", buffering=0)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["find", "/usr", "/etc", "-ls"],  # noqa: S607  # wherever this system keeps it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def work(self, events: int, told: Callable[[int], None] = lambda _: None) -> None:
        """Pass `events` lines on; the walk begins again where it is over."""
        done = 0
        # ValueError: the pipe was closed by `stop` in between.
        with contextlib.suppress(OSError, ValueError):
            while done < events:
                lines = self._lines(min(events - done, 50))
                if not lines:
                    return
                _write_all(self._output.fileno(), b"".join(lines))
                done += len(lines)
                told(done)

    def _lines(self, count: int) -> list[bytes]:
        if not (lines := _read_lines(self._process.stdout, count)):
            _end(self._process)
            self._process = self._start()
            lines = _read_lines(self._process.stdout, count)
        return lines

    def stop(self) -> None:
        """End the walk, and with it the input of whoever reads."""
        _end(self._process)
        self._output.close()


class Outlet:
    """The pipe between a service and whichever agent is running.

    Attributes:
        reader: the descriptor that agents read.
        service: what writes into it.
    """

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        try:
            self.service = start_service(writer)
        except BaseException:
            os.close(self.reader)
            raise
        finally:
            # The service has its own: when it ends, the readers see the end of their input.
            os.close(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.stop()
        os.close(self.reader)


def start_service(output: int) -> Service:
    """A web server, or where the machine has no network at all, not even to itself, a walk.

    Raises:
        DemoError: neither program can be started.
    """
    try:
        return WebServer(output)
    except OSError:
        try:
            return FileWalk(output)
        except OSError as exc:
            raise DemoError(f"neither a web server nor find can be started: {exc}") from exc


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _read_lines(stream: IO[bytes] | None, count: int) -> list[bytes]:
    assert stream is not None  # noqa: S101  # for the type checker: it was asked for as a pipe
    lines = (stream.readline() for _ in range(count))
    return [line for line in lines if line]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
