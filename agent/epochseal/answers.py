"""Answers over HTTP that end: every byte of one, headers too, counts against its time and its size.

A time-out of a socket is for one read: a server that sends a byte a second is never late for it, and one
that sends for ever is never late either. `BoundedResponse` takes the place of the class that `http.client`
makes answers with, and so serves whatever is built on that: urllib, requests, botocore.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from typing import Any, ClassVar

ANSWER_SECONDS = 15.0
"""From the request to the last byte of its answer."""
MAX_ANSWER = 1 << 20
"""Largest answer in bytes, its headers included."""


class AnswerTooLongError(OSError):
    """The answer is larger than any that was asked for."""

    def __init__(self, most: int) -> None:
        super().__init__(0, f"the answer has more than {most} bytes")


class _Received(io.RawIOBase):
    """What comes in from a socket, until time or size is over."""

    def __init__(self, sock: socket.socket, seconds: float, most: int) -> None:
        self._sock = sock
        self._patience = sock.gettimeout()
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self._most = self._left = most
        # The descriptor stays open while this is read, also where the connection is closed first.
        self._held = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, into: Any) -> int:  # noqa: ANN401  # any buffer, as io has it
        """Some bytes; 0 at the end.

        Raises:
            TimeoutError, AnswerTooLongError: the answer takes too long, or is too long.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no whole answer within {self._seconds:.0f} s")
        self._sock.settimeout(left if self._patience is None else min(left, self._patience))
        count = self._sock.recv_into(into)
        self._left -= count
        if self._left < 0:
            raise AnswerTooLongError(self._most)
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._held.close()
        super().close()


class _Reader(io.BufferedReader):
    """A buffer that makes no room for more than an answer may have, whatever length a server states."""

    def __init__(self, received: _Received, most: int) -> None:
        super().__init__(received)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        """As of every file.

        Raises:
            AnswerTooLongError: more is asked for than an answer may have, or less than nothing: a server may
                state the length of a chunk so.
        """
        if size is not None and not -1 <= size <= self._most:
            raise AnswerTooLongError(self._most)
        return super().read(size)


class _Socket:
    """All that `http.client` wants of a socket to read an answer from it."""

    def __init__(self, sock: socket.socket, seconds: float, most: int) -> None:
        self._sock, self._seconds, self._most = sock, seconds, most

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The answer as a file."""
        return _Reader(_Received(self._sock, self._seconds, self._most), self._most)


class BoundedResponse(http.client.HTTPResponse):
    """An answer within `seconds` and `most` bytes, not compressed: that could unpack to any size."""

    seconds: ClassVar[float] = ANSWER_SECONDS
    most: ClassVar[int] = MAX_ANSWER

    def __init__(self, sock: Any, *args: Any, **named: Any) -> None:  # noqa: ANN401  # as http.client calls it
        super().__init__(_Socket(sock, self.seconds, self.most), *args, **named)  # type: ignore[arg-type]  # nothing else of it is used

    def begin(self) -> None:
        """Read the headers.

        Raises:
            TimeoutError, AnswerTooLongError: as for every read.
            http.client.HTTPException: it is no answer, or one in an encoding that nobody asked for.
        """
        super().begin()
        if self.length is not None and self.length > self.most:
            raise AnswerTooLongError(self.most)
        if (self.getheader("Content-Encoding") or "identity").strip().lower() != "identity":
            raise http.client.HTTPException("the answer is compressed, which nobody asked for")


def bound_answers(pools: dict[str, Any], response: type[BoundedResponse] = BoundedResponse) -> None:
    """Have all answers end that a library gets through urllib3, by its table of pools, changed in place."""
    for scheme, pool in list(pools.items()):
        connection = type("Bounded", (pool.ConnectionCls,), {"response_class": response})
        pools[scheme] = type("BoundedPool", (pool,), {"ConnectionCls": connection})


class _Connection(http.client.HTTPConnection):
    response_class = BoundedResponse


class _TLSConnection(http.client.HTTPSConnection):
    response_class = BoundedResponse


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _TLSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_TLSConnection, req)


def build_opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """What opens URLs with these handlers and with answers that end."""
    return urllib.request.build_opener(_Handler, _TLSHandler, *handlers)
