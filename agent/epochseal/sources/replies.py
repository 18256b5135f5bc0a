"""What clients are told: which of their entries are durable."""

from __future__ import annotations

import select
from collections.abc import Callable

from epochseal.sources.client import Client
from epochseal.sources.unread_bytes import unread_by_peer, waiting_bytes

MAX_UNREAD_ACKS = 64 << 10
"""Bytes of acknowledgements that wait for one client, beside those in its socket's buffer."""
_FEW_BYTES = 16 << 10
"""Who has read all that it was told, and has sent no more than this since, waits for each of its entries."""


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
            client.waits = not client.framing.pending and self._reads_each(client)
            client.unsent += b"%d %d\n" % (first, last)

    def _reads_each(self, client: Client) -> bool:
        """Whether it waits for each of its entries; not who only sends on, and is read a chunk at a time.

        Threads that share a connection hand in more while their entries are committed, and read each answer.
        Who only sends on has much here already, or leaves its answers unread for a while.
        """
        try:
            unread = waiting_bytes(client.number)
        except OSError:
            return True
        if not unread:
            return True
        return unread <= _FEW_BYTES and not client.unsent and not unread_by_peer(client.number)

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
