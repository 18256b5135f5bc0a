"""An HTTP server on loopback that gives every request one answer."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Answers:
    """Answers every request in the same way.

    Attributes:
        address: its URL.
        paths: of the requests so far.
        bodies: what they carried.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        seen = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                seen.paths.append(self.path)
                seen.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer()

            def _answer(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:  # the name that http.server calls
                seen.paths.append(self.path)
                self._answer()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
