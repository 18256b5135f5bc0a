"""A TCP proxy in front of a real server, for what a network does to connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16


class Proxy:
    """Passes bytes on between clients and `127.0.0.1:port`, and can cut, stall or count.

    Attributes:
        port: where it listens, on 127.0.0.1 or another address of this machine.
        connections: clients so far.
        cut_after: when set, bytes of the server's answers after which every connection is reset.
        stalled: when set, nothing of the server's answers is passed on.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._target = port
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.cut_after: int | None = None
        self.stalled = threading.Event()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Only a shutdown wakes the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        # A server may wait for the next byte of a connection that its client has not closed.
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    @staticmethod
    def _to_server(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_CHUNK):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK):
                if self.stalled.is_set():
                    continue
                if self.cut_after is not None and passed + len(data) > self.cut_after:
                    client.sendall(data[: self.cut_after - passed])
                    break
                client.sendall(data)
                passed += len(data)
        # Closing alone sends nothing while the other thread waits on the same socket.
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
