"""The network side of our own witness: `POST /add-checkpoint` over HTTP, for tests and for small sites.

Bodies, connections and the time that one may be silent are bounded. There is no TLS here: put a web server in
front of it where the network is not yours.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from epochseal.encoding import b64encode
from epochseal.errors import EpochsealError, FormatError
from epochseal.witness.store import Conflict, Inconsistent, UnknownLog, Untrusted, WitnessStore
from epochseal.witness.submission import MAX_BODY, SIZE_TYPE, parse_submission

_CONNECTIONS = 64
_SILENCE = 10.0
_PLAIN = "text/plain; charset=utf-8"
_STATUS: dict[type[EpochsealError], HTTPStatus] = {
    FormatError: HTTPStatus.BAD_REQUEST,
    Untrusted: HTTPStatus.FORBIDDEN,
    UnknownLog: HTTPStatus.NOT_FOUND,
    Inconsistent: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class WitnessServer(ThreadingHTTPServer):
    """Listens on HOST:PORT; more connections than it can bear wait in the kernel's queue."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], store: WitnessStore) -> None:
        self.store = store
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """A thread for each connection, up to the limit."""
        self._room.acquire()
        try:
            super().process_request(request, client_address)  # type: ignore[arg-type]  # as the class hands it over
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: object, client_address: object) -> None:
        """As the class does it, and then there is room for another."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]  # as above
        finally:
            self._room.release()


def serve(address: tuple[str, int], store: WitnessStore) -> WitnessServer:
    """A server that is bound already; `serve_forever` answers.

    Raises:
        OSError: the address cannot be had.
    """
    return WitnessServer(address, store)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "epochseal-witness"
    sys_version = ""
    timeout: ClassVar[float] = _SILENCE  # of the socket: a silent peer does not hold a thread

    server: WitnessServer

    def do_POST(self) -> None:  # the name that the class looks for
        """`add-checkpoint`."""
        length = self.headers.get("Content-Length") or ""
        if self.path != "/add-checkpoint":
            self._refuse(HTTPStatus.NOT_FOUND, "only /add-checkpoint is here")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed")
        elif len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} bytes")
        else:
            self._add(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the class's own name for it
        """Nothing: who asked is nobody's business, and what was asked stands in the records."""

    def _add(self, body: bytes) -> None:
        try:
            signature = self.server.store.add_checkpoint(parse_submission(body))
        except Conflict as exc:
            self._answer(HTTPStatus.CONFLICT, f"{exc.size}\n", SIZE_TYPE)
        except tuple(_STATUS) as exc:
            self._answer(_STATUS[type(exc)], f"{exc}\n")
        except EpochsealError as exc:
            # The witness cannot read or write its record: the log did nothing wrong, and gets no cosignature.
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{exc}\n")
        else:
            line = f"\u2014 {signature.name} {b64encode(signature.key_id + signature.data)}\n"
            self._answer(HTTPStatus.OK, line)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        # The body was not read, so nothing more can be read of this connection.
        self.close_connection = True
        self._answer(status, f"{text}\n")

    def _answer(self, status: HTTPStatus, text: str, kind: str = _PLAIN) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
