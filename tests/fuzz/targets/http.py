"""HTTP: what clients send to the listeners of agent and witness, and what servers answer."""

from __future__ import annotations

import http.client
import io
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

from epochseal.answers import MAX_ANSWER, BoundedResponse
from epochseal.service import metrics_server
from epochseal.service.metrics import MetricsCollector
from epochseal.witness.server import serve
from epochseal.witness.store import WitnessStore, make_key
from tests.fuzz.scratch import scratch
from tests.fuzz.targets.notes import LOG_KEY

REQUEST_WORDS = (
    *(
        b"GET /metrics HTTP/1.1\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\n",
        b"Content-Length: ",
        b"\r\n\r\n",
        b"/healthz",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Accept: application/openmetrics-text\r\n",
    ),
    *(b"Connection: keep-alive\r\n", b"HTTP/0.9", b"HTTP/9.9", b"q=", b";", b",", b"\xff"),
)
ANSWER_WORDS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n", b"Content-Length: ", b"\r\n\r\n", b"HTTP/0.9"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"ffffffff\r\n",
        b"0\r\n",
        b"-1",
        b"\xff",
        b": ",
    ),
)


class _Connection:
    """A client that has sent all that it will, and takes what it gets."""

    def __init__(self, sent: bytes) -> None:
        self._sent = io.BytesIO(sent)
        self.got = bytearray()

    def makefile(self, _mode: str, *_size: int, **_named: int) -> io.BytesIO:
        return io.BytesIO(self._sent.getbuffer())

    def settimeout(self, _seconds: float | None) -> None:
        pass

    def gettimeout(self) -> float | None:
        return 5.0

    def sendall(self, data: bytes) -> None:
        self.got += data

    def recv_into(self, into: Any) -> int:  # noqa: ANN401  # any buffer
        return self._sent.readinto(into)


class _Server:
    """All that a handler of requests wants of its server, beyond its own attributes."""

    server_name, server_port = "localhost", 9599


def _ask(handler: type[BaseHTTPRequestHandler], server: Any, data: bytes) -> bytes:  # noqa: ANN401  # a double
    connection: Any = _Connection(data)
    handler(connection, ("192.0.2.1", 1), server)
    return bytes(connection.got)


def metrics_request(data: bytes) -> None:
    """A scraper of the agent, or somebody else."""
    assert len(_ask(_metrics_handler(), _Server(), data)) < 1 << 20


@cache
def _metrics_handler() -> type[BaseHTTPRequestHandler]:
    answers = metrics_server._answers(MetricsCollector([]), [])  # noqa: SLF001  # the server has sockets and threads
    return metrics_server._handler(answers)  # noqa: SLF001  # as above


def witness_request(data: bytes) -> None:
    """A log, or somebody else, to a witness."""
    server = _witness()
    assert len(_ask(server.RequestHandlerClass, server, data)) < 1 << 20


@cache
def _witness() -> Any:  # noqa: ANN401  # the handler's type is private
    folder = scratch("witness_request")
    make_key(folder, "witness.example")
    return serve(("127.0.0.1", 0), WitnessStore(folder, [LOG_KEY], lambda: 1_767_225_600))


def server_answer(data: bytes) -> None:
    """A key server, witness or time-stamping authority, or what stands in its place."""
    sock: Any = _Connection(data)
    # What callers catch: an answer that is none, and a connection that broke.
    with suppress(OSError, http.client.HTTPException):
        answer = BoundedResponse(sock, method="POST")
        answer.begin()
        assert len(answer.read()) <= MAX_ANSWER
        answer.close()
