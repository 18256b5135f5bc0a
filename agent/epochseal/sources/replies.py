"""What clients are told: which of their entries are durable."""

from __future__ import annotations

import select
from collections.abc import Callable

from epochseal.sources.client import Client
from epochseal.sources.unread_bytes import has_unread

MAX_UNREAD_ACKS = 64 << 10
"""Bytes of acknowledgements that wait for one client, beside those in its socket's buffer."""


class Replies:
    """Sends `FIRST LAST` lines to clients, as fast as they read.

    Args:
        acks: whether clients are told anything.
        refuse: is handed a client that does not read, and the reason.
    """

    def __init__(self, refuse: Callable[[Client, str], None], *, acks: bool) -> None:
        self._acks = acks
        self._refuse = refuse
        self._epoll = select.epoll()
        self._writers: dict[int, Client] = {}

    def descriptors(self) -> list[int]:
        """What to wait for: room in the sockets of slow readers."""
        return [self._epoll.fileno()] if self._writers else []

    def ready(self, descriptor: int) -> list[Client]:
        """The clients that can be written to; none if the descriptor is not ours."""
        if descriptor != self._epoll.fileno():
            return []
        return [self._writers[number] for number, _ in self._epoll.poll(0)]

    def add(self, client: Client, first: int, last: int) -> None:
        """Entries of the client are durable."""
        if self._acks and client.listens:
            client.unsent += b"%d %d\n" % (first, last)
            # Is more of it here already, it does not wait for each of its entries.
            client.waits = not client.framing.pending and not has_unread(client.number)

    def flush(self, client: Client) -> None:
        """Tell it what it is to be told, as far as it takes that now."""
        client.send()
        if client.listens and len(client.unsent) > MAX_UNREAD_ACKS:
            client.listens = False
            self._refuse(client, "it does not read its acknowledgements")
            return
        waits = bool(client.unsent) and client.listens
        if waits != client.writes:
            client.writes = waits
            if waits:
                self._writers[client.number] = client
                self._epoll.register(client.number, select.EPOLLOUT)
            else:
                del self._writers[client.number]
                self._epoll.unregister(client.number)

    def close(self) -> None:
        """Give up the set."""
        self._epoll.close()
