"""One accepted connection: what came of it, what it is to be told, and when it was last heard of."""

from __future__ import annotations

import select
import socket
import time

from epochseal.sources.framing import Framing


class Client:
    """A connection; kinds that need a handshake override `prepare` and `receive`.

    Args:
        sock: non-blocking.
        label: who it is, for messages.
        framing: how its bytes are cut into entries.
    """

    def __init__(self, sock: socket.socket, label: str, framing: Framing) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.label = label
        self.framing = framing
        self.since = time.monotonic()
        self.read_at = self.since
        self.unfinished_since: float | None = None
        self.sent_entries = False
        # Whether it is still read; what `receive` waits for, and what epoll was told that it waits for.
        self.reads = True
        self.waits_for = select.EPOLLIN
        self.waiting_for = select.EPOLLIN
        # Entries that came from it and are not sealed yet; what it is to be told; whether it can be told.
        self.unsealed = 0
        self.unsent = bytearray()
        self.listens = True
        # Whether epoll was told that it waits for room to write; bytes of it in the sum of unfinished ones.
        self.writes = False
        self.counted = 0
        # `receive` sets this where it gave bytes and saw the end, or an error, right behind them: those bytes
        # are taken first.
        self.over = False

    def prepare(self) -> bool:
        """Whether it can be read now; else `waits_for` says what to wait for.

        Raises:
            OSError: the connection cannot be used.
        """
        return True

    def receive(self, free: memoryview) -> int | None:
        """Read what is there, so that nothing stays in a buffer of our own; None for nothing, 0 for the end.

        Raises:
            OSError: the connection is broken; all that could be read was read before.
        """
        try:
            return self.sock.recv_into(free)
        except BlockingIOError:
            return None

    def cut_entries(self, data: memoryview) -> bytes:
        """The entries that are whole with what was just received, each with its newline.

        Raises:
            FramingError: what came cannot be cut into entries; `whole` of it has what came before.
        """
        self.read_at = time.monotonic()
        whole = self.framing.feed(data)
        if not self.framing.pending:
            self.unfinished_since = None
        elif whole or self.unfinished_since is None:
            self.unfinished_since = self.read_at
        return whole

    def send(self) -> None:
        """Tell it what it is to be told, as far as it takes that now."""
        try:
            while self.unsent and self.listens:
                del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            # The client is gone and cannot be told. What it wrote before is still in the socket and is read.
            self.listens = False
