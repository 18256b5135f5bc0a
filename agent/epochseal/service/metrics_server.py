"""The listener for `/metrics` and `/healthz`: plain HTTP for the scraper beside a program, read only.

It runs in threads of its own and only ever reads, so it answers while the loop waits for a disk.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, TypeAlias

from epochseal.descriptors import is_reserved
from epochseal.errors import ConfigError, cannot_listen
from epochseal.service.health import LogView, health

if TYPE_CHECKING:
    from epochseal.service.metrics import MetricsCollector

_MOST_CONNECTIONS = 16
_CLIENT_SECONDS = 5.0
_REST_SECONDS = 0.5
_LAST_PORT = 65535
TEXT = "text/plain; charset=utf-8"
Answer: TypeAlias = tuple[int, bytes, str]
"""Status, body and content type."""


def start_metrics(listen: str, views: Sequence[LogView]) -> MetricsServer:
    """Serve until `close`; to be called once no more process is forked from this one.

    Args:
        listen: `HOST:PORT`, `[::1]:PORT`; port 0 takes any.
        views: what is shown; a list may still get more.

    Raises:
        ConfigError: `listen` cannot be used, or the library is missing.
    """
    try:
        from epochseal.service.metrics import MetricsCollector  # noqa: PLC0415  # its library is an extra
    except ImportError as exc:
        hint = "in a checkout: pip install '.[metrics]', or leave [metrics] out"
        raise ConfigError("the library for metrics is not installed", hint) from exc
    return MetricsServer(listen, _answers(MetricsCollector(views), views))


def _answers(collector: MetricsCollector, views: Sequence[LogView]) -> Callable[[str, str], Answer]:
    def answer(path: str, accept: str) -> Answer:
        if path == "/metrics":
            return 200, *collector.render(accept)
        if path == "/healthz":
            return *health(views), "application/json"
        return 404, b"/metrics and /healthz are here\n", TEXT

    return answer


class MetricsServer:
    """A running listener.

    Args:
        listen: as `start_metrics` takes it.
        answer: what is asked for, by path and Accept header; called in any thread.

    Attributes:
        address: host and port that it really has.

    Raises:
        ConfigError: `listen` cannot be used.
        StorageError: another program listens there.
    """

    def __init__(self, listen: str, answer: Callable[[str, str], Answer]) -> None:
        host, port = _parse(listen)
        handler = _handler(answer)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            server = type("_Listener", (_Server,), {"address_family": family})((host, port), handler)
        except OSError as exc:
            raise cannot_listen(f"{listen} for metrics", exc, "choose another [metrics] listen") from exc
        self._server: ThreadingHTTPServer = server
        self.address: tuple[str, int] = server.server_address[:2]
        self._thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def serving(self) -> bool:
        """Whether the thread that accepts is there."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """As many clients at a time as a host has scrapers; more are turned away, slow ones too."""

    daemon_threads = True
    block_on_close = False
    # A burst of idle clients fills the library's five places, and a scraper then waits for seconds.
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """As the library asks, less its look-up of this host's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, object]:
        """As the library asks; without descriptors it waits, or this would be tried without end."""
        try:
            sock, client = super().get_request()
        except OSError:
            time.sleep(_REST_SECONDS)
            raise
        if is_reserved(sock.fileno()):
            sock.close()
            time.sleep(_REST_SECONDS)
            raise OSError(errno.EMFILE, "the descriptors that are left are for sealing")
        return sock, client

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client: object) -> None:
        """As the library asks: in a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client: object
    ) -> None:
        """As the library asks."""
        try:
            super().process_request_thread(request, client)
        finally:
            self._free.release()

    def handle_error(self, _request: object, _client: object) -> None:
        """A client that went away is none of our troubles."""


def _handler(answer: Callable[[str, str], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS

        def do_GET(self) -> None:
            self._answer(*answer(self.path.partition("?")[0], self.headers.get("Accept", "")))

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def version_string(self) -> str:
            return "epochseal"

        def log_message(self, *_args: object) -> None:
            pass  # a scrape is no event

    return Handler


def _parse(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise ConfigError(f"{listen!r} is not an address to listen on", 'write it as "127.0.0.1:9599"')
    return host, int(port)
