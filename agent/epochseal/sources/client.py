"""One accepted connection: what came of it, what it is to be told, and when it was last heard of."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Hashable

from epochseal.sources.framing import Cut, StreamFraming


class Client:
    """A connection; kinds that need a handshake override `prepare` and `receive`.

    Args:
        sock: non-blocking.
        label: who it is, for messages.
        peer: whose connections are counted together: a uid, an address.
        framing: how its bytes are cut into entries.
    """

    def __init__(self, sock: socket.socket, label: str, peer: Hashable, framing: StreamFraming) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.label = label
        self.peer = peer
        self.framing = framing
        self.since = time.monotonic()
        self.read_at = self.since
        self.unfinished_since: float | None = None
        # Whether it is still read; what `receive` waits for, and what epoll was told that it waits for.
        self.reads = True
        self.waits_for = select.EPOLLIN
        self.waiting_for = select.EPOLLIN
        # Bytes that came from it and are not sealed yet; what it is to be told; whether it can be told.
        self.unsealed = 0
        self.unsent = bytearray()
        self.listens = True
        # Whether it had sent all that it was going to when it was told last: then it waits to be told again.
        self.waits = True
        # Whether epoll was told that it waits for room to write; bytes of it in the sum of unfinished ones.
        self.writes = False
        self.counted = 0
        # When it is read no more, because it had to make room.
        self.leaves_at: float | None = None
        # `receive` sets these where it gave bytes and saw the end, or an error, right behind them: the bytes
        # are taken first.
        self.over = False
        self.broken: OSError | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is under way."""
        return not self.unsealed and not self.framing.pending and not self.unsent

    @property
    def is_ready(self) -> bool:
        """Whether it can send entries: a handshake is done."""
        return True

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

    def cut_entries(self, data: memoryview) -> list[Cut]:
        """The entries that are whole with what was just received.

        Raises:
            FramingError: what came cannot be cut into entries; its `cuts` came before.
        """
        self.read_at = time.monotonic()
        cuts = self.framing.feed(data)
        if not self.framing.pending:
            self.unfinished_since = None
        elif cuts or self.unfinished_since is None:
            self.unfinished_since = self.read_at
        return cuts

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
