"""A listening socket and its clients, read into one buffer: bounded in number, time and memory."""

from __future__ import annotations

import logging
import math
import select
import socket
import time

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.client import Client
from epochseal.sources.framing import FramingError
from epochseal.sources.listener import Listener
from epochseal.sources.shared_buffer import SharedBuffer
from epochseal.sources.unread_bytes import unread_bytes

MAX_CLIENTS = 256
"""Clients of one socket at the same time; more of them wait to be accepted."""
MAX_UNFINISHED = 64 << 20
"""Bytes of unfinished entries of all clients together, beyond one entry of the largest size."""
MAX_UNREAD_ACKS = 64 << 10
"""Bytes of acknowledgements that wait for one client, beside those in its socket's buffer."""
REST_SECONDS = 0.001
"""While entries wait to be committed, clients are read this often at the most: so more comes at a time."""
FINISH_SECONDS = 2.0
"""After a stop: for this long a client may go on sending, or leave its acknowledgements unread."""
QUIET_SECONDS = 0.2
"""After a stop: a client that sends nothing for this long has nothing under way."""
_CHUNK = 256 << 10

_log = logging.getLogger(__name__)


class ListeningSource(SharedBuffer):
    """Clients of one listening socket. A subclass makes the clients and says what they are told.

    Args:
        listener: bound, not yet listening.
        name: the source's name in the log.
        block_bytes: limit of a block.
        max_entry_bytes: the longest entry as it is sent.
        esc: whether the framing escapes.
    """

    def __init__(
        self, listener: socket.socket, name: str, *, block_bytes: int, max_entry_bytes: int, esc: int = 0
    ) -> None:
        # An escaped byte takes up to four.
        stored = 4 * max_entry_bytes if esc else max_entry_bytes
        super().__init__(name, block_bytes=block_bytes, max_entry_bytes=stored, esc=esc)
        self._limit = max_entry_bytes
        self._finish_by: float | None = None
        self._rest_until = 0.0
        self._full_at = 0.0
        self._chunk = memoryview(bytearray(_CHUNK))
        self._clients: dict[int, Client] = {}
        self._unfinished = 0
        self._writers = 0
        self._reading = select.epoll()
        self._writing = select.epoll()
        self._listener = Listener(listener, name, self._reading)
        self.refused = 0
        """Connections that were closed for what they did."""

    # --- what the loop asks ---------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Clients at this moment."""
        return len(self._clients)

    @property
    def lag(self) -> int:
        """With unfinished entries, and what clients have sent that was not read; any thread may ask."""
        unread = sum(unread_bytes(client.sock.fileno()) for client in tuple(self._clients.values()))
        return self.buffered + self._unfinished + unread

    @property
    def ended(self) -> bool:
        """Whether a stop was asked for, and all that came is sealed and acknowledged."""
        return self._finish_by is not None and not self.buffered and not self._clients

    def descriptors(self) -> list[int]:
        """What to wait for; no client is read while the buffer is full."""
        found = []
        if self.wants_more and time.monotonic() >= self._rest_until:
            found.append(self._reading.fileno())
        if self._writers:
            found.append(self._writing.fileno())
        return found

    def ready(self, descriptor: int) -> None:
        """Clients can be accepted, read or written to."""
        if descriptor == self._writing.fileno():
            for number, _ in self._writing.poll(0):
                self._flush(self._clients[number])
            return
        for number, _ in self._reading.poll(0):
            if number not in self._clients:
                self._accept()
            elif self.wants_more and (client := self._clients[number]).reads:
                self._read(client)
        if self.has_entry:
            self._rest_until = time.monotonic() + REST_SECONDS

    def wait_seconds(self) -> float:
        """When to look again: after the rest, or when somebody's time may be over."""
        if self._finish_by is not None:
            return 0.01
        if not self.wants_more or (self._listener.active and not self._clients):
            return math.inf
        rest = self._rest_until - time.monotonic()
        return rest if rest > 0 else 1.0

    def tick(self) -> None:
        """End the time of clients that have used it up."""
        now = time.monotonic()
        if not self.wants_more:
            self._full_at = now
        if self._finish_by is None and len(self._clients) < MAX_CLIENTS:
            self._listener.resume()
        if self._finish_by is not None:
            self._end_quiet(now, self._finish_by)
        elif self._clients:
            self._check_times(now)

    def finish(self) -> None:
        """Accept nobody any more; what clients have written is read, sealed and acknowledged."""
        self._accept()
        self._finish_by = time.monotonic() + FINISH_SECONDS
        self._listener.pause()
        self._listener.close()
        for client in self._clients.values():
            self._stop_input(client)

    def positions(self) -> list[SourceMark]:
        """None: a socket is not resumed."""
        return []

    def done(self, first_entry: int) -> None:
        """The pieces are sealed: whoever sent them is told, if it is to be told."""
        super().done(first_entry)
        touched = set()
        for number, first, last in self.numbered(first_entry):
            client = self._clients[number]
            client.unsealed -= last - first + 1
            self._sealed(client, first, last)
            touched.add(client)
        for client in touched:
            self._flush(client)

    def close(self) -> None:
        """Close every connection and the listening socket; closing again does nothing."""
        for client in self._clients.values():
            client.sock.close()
        self._clients.clear()
        self._listener.close()
        self._reading.close()
        self._writing.close()

    # --- what kinds say -------------------------------------------------------------------------------------

    def _client(self, sock: socket.socket) -> Client:
        raise NotImplementedError

    def _sealed(self, client: Client, first: int, last: int) -> None:
        """Entries of the client are durable; what it is to be told is added to its `unsent`."""

    def _check_times(self, now: float) -> None:
        """Refuse clients that take too long; time in which the buffer was full is not theirs (`_full_at`)."""

    def _stop_input(self, client: Client) -> None:
        """Let nothing more in where that is possible without losing what is under way."""

    # --- clients --------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while self._listener.active:
            if len(self._clients) >= MAX_CLIENTS:
                _log.warning("%s: %d clients are connected: further ones wait", self.name, MAX_CLIENTS)
                self._listener.pause()
                return
            if (sock := self._listener.accept()) is None:
                return
            try:
                sock.settimeout(0)
                client = self._client(sock)
            except OSError as exc:
                _log.warning("%s: cannot use a connection: %s", self.name, exc)
                sock.close()
                continue
            self._clients[client.number] = client
            self._reading.register(client.number, client.waiting_for)

    def _read(self, client: Client) -> None:
        try:
            count = client.receive(self._chunk) if client.prepare() else None
            if count:
                self._take_in(client, self._chunk[:count])
        except FramingError as exc:
            self._put(client, exc.whole)
            self.refuse(client, str(exc))
        except ConnectionError:
            # A client that leaves without reading its acknowledgements resets the connection. Nothing is
            # lost by that: the error comes only after everything that it sent was read.
            self._end_of_input(client)
        except OSError as exc:
            self.refuse(client, str(exc))
        else:
            if count == 0 or client.over:
                self._end_of_input(client)
            elif client.waits_for != client.waiting_for and client.reads:
                self._reading.modify(client.number, client.waits_for)
                client.waiting_for = client.waits_for

    def _take_in(self, client: Client, data: memoryview) -> None:
        self._put(client, client.cut_entries(data))
        self._count_unfinished(client)
        if self._unfinished > self._limit + MAX_UNFINISHED:
            worst = max(self._clients.values(), key=lambda each: each.framing.pending)
            self.refuse(worst, "the unfinished entries of all clients are too large together")

    def _put(self, client: Client, entries: bytes) -> None:
        if entries:
            client.unsealed += self.put(entries, client.number)
            client.sent_entries = True

    def _count_unfinished(self, client: Client) -> None:
        self._unfinished += client.framing.pending - client.counted
        client.counted = client.framing.pending

    def _end_quiet(self, now: float, finish_by: float) -> None:
        for client in list(self._clients.values()):
            quiet_since = max(client.read_at, self._full_at, finish_by - FINISH_SECONDS)
            if now > finish_by:
                client.listens = False
            if self.wants_more and (now > finish_by or now - quiet_since > QUIET_SECONDS):
                self._end_of_input(client)

    def _end_of_input(self, client: Client) -> None:
        """Nothing more comes: an entry that was begun is sealed as far as it came, and flagged."""
        if client.framing.pending:
            _log.warning("%s: %s ended within an entry: what came of it is sealed", self.name, client.label)
        if rest := client.framing.rest():
            self.put_unfinished(rest, client.number)
            client.unsealed += 1
        self._stop_reading(client)

    def refuse(self, client: Client, message: str) -> None:
        """Read nothing more from it; what was whole is sealed and acknowledged before it is closed."""
        self.refused += 1
        client.framing.rest()
        _log.error(
            "%s: %s is closed: %s; what it sent after its last whole entry is not sealed",
            self.name,
            client.label,
            message,
        )
        self._stop_reading(client)

    def _stop_reading(self, client: Client) -> None:
        self._count_unfinished(client)
        if client.reads:
            client.reads = False
            self._reading.unregister(client.number)
        self._flush(client)

    def _flush(self, client: Client) -> None:
        """Tell it what it is to be told, and close it when nothing more is to come or to tell."""
        client.send()
        if client.listens and len(client.unsent) > MAX_UNREAD_ACKS:
            client.listens = False
            self.refuse(client, "it does not read its acknowledgements")
            return
        waits = bool(client.unsent) and client.listens
        if waits != client.writes:
            client.writes = waits
            self._writers += 1 if waits else -1
            if waits:
                self._writing.register(client.number, select.EPOLLOUT)
            else:
                self._writing.unregister(client.number)
        # The socket is closed last: as long as it is open, the system gives its number to no other client,
        # and the entries in the buffer stand under that number.
        if not client.reads and not client.unsealed and not waits and client.number in self._clients:
            del self._clients[client.number]
            client.sock.close()
