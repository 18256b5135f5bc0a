"""A listening socket and its clients, read into one buffer in turn: bounded in number, time and memory."""

from __future__ import annotations

import logging
import math
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from socket import AF_UNIX
from socket import socket as Socket  # noqa: N812  # as in endpoint.py
from typing import Any

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.client import Client
from epochseal.sources.complaints import Complaints
from epochseal.sources.endpoint import Endpoint
from epochseal.sources.entrance import PAUSE_SECONDS, Entrance
from epochseal.sources.framing import Cut, FramingError
from epochseal.sources.listener import Listener
from epochseal.sources.replies import Replies
from epochseal.sources.shared_buffer import SharedBuffer
from epochseal.sources.unread_bytes import has_unread, unread_bytes

MAX_UNFINISHED = 64 << 20
"""Bytes of unfinished entries of all clients together, beyond one entry of the largest size."""
REST_SECONDS = 0.001
"""While entries wait to be committed, clients are read this often at the most: so more comes at a time."""
FINISH_SECONDS = 2.0
"""After a stop: for this long a client may go on sending, or leave its acknowledgements unread."""
SILENT_SECONDS = 0.2
"""After a stop, or when it makes room: a client that sends nothing for this long has nothing under way."""
LOOK_SECONDS = 0.25
"""Clients' times are looked at this often."""
_CHUNK = 256 << 10
_READS_AT_ONCE = 64
_LITTLE = 64 << 10


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds in which a client has to be ready to send, and to finish an entry that it began."""

    ready: float = math.inf
    entry: float = math.inf


class StreamServer(SharedBuffer[Client]):
    """Clients of one listening socket.

    Args:
        endpoint: where it listens; closed with the server.
        name: the source's name in the log.
        make_client: for an accepted connection and its address.
        acks: whether clients are told which of their entries are durable.
        times: what clients are given.
        block_bytes: limit of a block.
        max_entry_bytes: the longest entry as it is sent.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        make_client: Callable[[Socket, Any], Client],
        *,
        acks: bool,
        times: Times,
        block_bytes: int,
        max_entry_bytes: int,
    ) -> None:
        # An escaped byte takes up to four.
        super().__init__(name, block_bytes=block_bytes, max_entry_bytes=4 * max_entry_bytes)
        self.endpoint = endpoint
        self._times = times
        self._most_unfinished = max_entry_bytes + MAX_UNFINISHED
        self._complaints = Complaints(name)
        self._replies = Replies(self.refuse, acks=acks)
        self._acks = acks
        self._chunk = memoryview(bytearray(_CHUNK))
        self._clients: dict[int, Client] = {}
        self._turns: deque[int] = deque()
        self._unfinished = 0
        self._awaited = False
        self._finish_by: float | None = None
        self._rest_until = self._full_at = self._look_at = 0.0
        self._reading = select.epoll()
        listener = Listener(endpoint.socket, self._complaints, self._reading)
        self._entrance = Entrance(listener, make_client, self._send_away, self._miss, self._complaints)

    # --- what the loop asks ---------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Clients at this moment."""
        return len(self._clients)

    @property
    def trouble(self) -> str:
        """Why nobody reaches it at this moment; empty while all is well."""
        return self.endpoint.trouble

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for: somebody waits for it, or the buffer is full."""
        return self.has_entry and (self._awaited or not self.wants_more)

    @property
    def lag(self) -> int:
        """With unfinished entries, and what clients have sent that was not read; any thread may ask."""
        unread = sum(unread_bytes(client.number) for client in tuple(self._clients.values()))
        return self.buffered + self._unfinished + unread

    @property
    def ended(self) -> bool:
        """Whether a stop was asked for, and all that came is sealed and acknowledged."""
        return self._finish_by is not None and not self.has_entry and not self.buffered and not self._clients

    def descriptors(self) -> list[int]:
        """What to wait for; no client is read while the buffer is full."""
        found = self._replies.descriptors()
        if self.wants_more and time.monotonic() >= self._rest_until:
            found.append(self._reading.fileno())
        return found

    def ready(self, descriptor: int) -> None:
        """Clients can be accepted, read or written to."""
        for client in self._replies.ready(descriptor):
            self._flush(client)
        if descriptor == self._reading.fileno():
            before = self.buffered
            self._read_in_turn()
            if self.has_entry and self.buffered - before < _LITTLE:
                self._rest_until = time.monotonic() + REST_SECONDS

    def wait_seconds(self) -> float:
        """When to look again: after the rest, or when somebody's time may be over."""
        if self._finish_by is not None:
            return 0.01
        if not self.wants_more:
            return math.inf
        rest = self._rest_until - time.monotonic()
        if rest > 0:
            return rest
        return PAUSE_SECONDS if self._entrance.is_occupied else 1.0

    def tick(self) -> None:
        """End the time of clients that used it up, let in who waits, look whether the place is still ours."""
        now = time.monotonic()
        if not self.wants_more:
            self._full_at = now
        if self._finish_by is not None:
            self._end_quiet(self._clients.values(), now, self._finish_by)
        elif now >= self._look_at:
            self._look_at = now + (PAUSE_SECONDS if self._entrance.is_occupied else LOOK_SECONDS)
            self._complaints.tick()
            self._check_times(now)
            self._let_in(self._entrance.retry(self._clients))
            if (renewed := self.endpoint.renewed(self._complaints)) is not None:
                self._let_all_in()
                self._entrance.replace(renewed)

    def finish(self) -> None:
        """Accept nobody any more; what clients have written is read, sealed and acknowledged."""
        self._let_all_in()
        self._entrance.stop()
        self._finish_by = time.monotonic() + FINISH_SECONDS
        for client in self._clients.values():
            if client.is_ready:
                self.endpoint.stop_input(client.sock)

    def positions(self) -> list[SourceMark]:
        """None: a socket is not resumed."""
        return []

    def done(self, first_entry: int) -> None:
        """The pieces are sealed: whoever sent them is told, if it is to be told."""
        super().done(first_entry)
        self._awaited = False
        if not self.has_entry:
            self._rest_until = 0.0
        touched: dict[Client, None] = {}
        for run in self.taken():
            run.owner.unsealed -= run.size
            self._replies.add(run.owner, first_entry, first_entry + run.entries - 1)
            first_entry += run.entries
            touched[run.owner] = None
        for client in touched:
            self._flush(client)

    def close(self) -> None:
        """Close every connection and the listening socket; closing again does nothing."""
        for client in self._clients.values():
            client.sock.close()
        self._clients.clear()
        self._entrance.close()
        self.endpoint.close()
        self._reading.close()
        self._replies.close()

    # --- what comes in --------------------------------------------------------------------------------------

    def _let_in(self, newcomers: Iterator[Client]) -> None:
        for client in newcomers:
            self._clients[client.number] = client
            self._reading.register(client.number, client.waiting_for)
            self._turns.append(client.number)

    def _let_all_in(self) -> None:
        """Before nobody is accepted any more: who has connected, as far as there are places."""
        before = -1
        while before < len(self._clients):
            before = len(self._clients)
            self._let_in(self._entrance.accept(self._clients, hurry=True))

    def _read_in_turn(self) -> None:
        """Read clients in turn, each a part: whoever sends most does not keep the others waiting."""
        if not self._turns:
            self._turns.extend(number for number, _ in self._reading.poll(0))
        for _ in range(_READS_AT_ONCE):
            if not self._turns or not self.wants_more:
                break
            number = self._turns.popleft()
            if (client := self._clients.get(number)) is None:
                self._let_in(self._entrance.accept(self._clients))
            elif client.reads and self._read(client):
                self._turns.append(number)

    def _read(self, client: Client) -> bool:
        """Read what it sent, at most one chunk; whether there may be more."""
        try:
            count = client.receive(self._chunk) if client.prepare() else None
            if count:
                self._put(client, client.cut_entries(self._chunk[:count]))
        except FramingError as exc:
            self._put(client, exc.cuts)
            self.refuse(client, str(exc))
        except FormatError as exc:
            self.refuse(client, str(exc))
        except OSError as exc:
            self._break_off(client, exc)
        else:
            self._count_unfinished(client)
            if client.broken is not None:
                self._break_off(client, client.broken)
            elif count == 0 or client.over:
                self._end_of_input(client)
            elif client.waits_for != client.waiting_for and client.reads:
                self._reading.modify(client.number, client.waits_for)
                client.waiting_for = client.waits_for
            return count == len(self._chunk) and client.reads
        return False

    def _put(self, client: Client, cuts: Iterable[Cut]) -> None:
        for cut in cuts:
            if cut.lines:
                self.put(cut.lines, client, esc=cut.esc)
                client.unsealed += len(cut.lines)
                self._awaited = self._awaited or (self._acks and client.waits)
            if cut.trouble:
                self._miss(f"{client.label}: {cut.trouble}", cut.skipped)

    def _miss(self, message: str, skipped: int = 0) -> None:
        """Entries may be missing: say so in the log and to the operator."""
        self.put_gap(skipped)
        self._complaints.tell(f"{message}; {skipped} bytes are not sealed", level=logging.ERROR)

    def _count_unfinished(self, client: Client) -> None:
        self._unfinished += client.framing.pending - client.counted
        client.counted = client.framing.pending
        if self._unfinished > self._most_unfinished:
            worst = max(self._clients.values(), key=lambda each: each.framing.pending)
            self.refuse(worst, "the unfinished entries of all clients are too large together")

    # --- who goes -------------------------------------------------------------------------------------------

    def _check_times(self, now: float) -> None:
        """Refuse clients that take too long; time in which the buffer was full is not theirs."""
        for client in [*self._clients.values()]:
            if not client.reads:
                continue
            if not client.is_ready and now - max(client.since, self._full_at) > self._times.ready:
                self.refuse(client, f"it was not ready to send within {self._times.ready:.0f} s")
            elif (
                client.unfinished_since is not None
                and now - max(client.unfinished_since, self._full_at) > self._times.entry
            ):
                self.refuse(client, f"no whole entry within {self._times.entry:.0f} s")
        for client in [*self._entrance.leaving]:
            if client.leaves_at is not None:
                self._end_quiet([client], now, client.leaves_at)

    def _send_away(self, client: Client) -> None:
        self.endpoint.stop_input(client.sock)

    def _end_quiet(self, clients: Iterable[Client], now: float, finish_by: float) -> None:
        for client in [*clients]:
            quiet_since = max(client.read_at, self._full_at, finish_by - FINISH_SECONDS)
            if now > finish_by:
                client.listens = False
            if not self.wants_more or (now <= finish_by and now - quiet_since <= SILENT_SECONDS):
                continue
            # A commit may have kept us from reading for long: who has sent something is not quiet.
            if not client.reads or not has_unread(client.number):
                is_read = client.reads
                self._end_of_input(client)
                if client.leaves_at is not None and is_read:
                    self._may_lose(client, "had to make room: what it sends from now on is lost")
            elif now > finish_by:
                self.refuse(client, "it was still sending when its time was over")

    def _end_of_input(self, client: Client) -> None:
        """Nothing more comes: an entry that was begun is sealed as far as it came, and flagged."""
        if client.framing.pending:
            self._complaints.tell(f"{client.label} ended within an entry: what came of it is sealed")
        rest = client.framing.rest()
        if rest.lines:
            self.put(rest.lines + b"\n", client, esc=rest.esc, nolf=1)
            client.unsealed += len(rest.lines) + 1
        if rest.trouble:
            self._miss(f"{client.label}: {rest.trouble}", rest.skipped)
        self._stop_reading(client)

    def _break_off(self, client: Client, error: OSError) -> None:
        """Its connection broke; all that had come over it was read before."""
        if not isinstance(error, ConnectionError):
            self.refuse(client, str(error))
            return
        self._end_of_input(client)
        if not isinstance(error, ConnectionAbortedError):
            self._may_lose(client, "reset its connection: what it had not sent yet may be missing")
        elif self._finish_by is None and client.leaves_at is None:
            self._may_lose(client, "ended without the close_notify of TLS: what it sent last may be missing")

    def _may_lose(self, client: Client, why: str) -> None:
        # At a socket file what a client wrote is here, and later it gets an error. Over a network its system
        # has taken what is on its way, and throws it away. Who never sent anything has nothing to lose.
        if client.sock.family != AF_UNIX and client.framing.begun:
            self._miss(f"{client.label} {why}")

    def refuse(self, client: Client, message: str) -> None:
        """Read nothing more from it; what was whole is sealed and acknowledged before it is closed."""
        lost = client.framing.pending
        client.framing.rest()
        self._miss(
            f"{client.label} is closed: {message}; what it sent after its last whole entry is not sealed",
            lost,
        )
        self._stop_reading(client)

    def _stop_reading(self, client: Client) -> None:
        self._unfinished -= client.counted
        client.counted = 0
        if client.reads:
            client.reads = False
            self._reading.unregister(client.number)
        self._flush(client)

    def _flush(self, client: Client) -> None:
        """Tell it what it is to be told, and close it when nothing more is to come or to tell."""
        self._replies.flush(client)
        # The socket is closed last: as long as it is open, the system gives its number to no other client.
        over = not client.reads and not client.unsealed and not client.writes
        if over and self._clients.get(client.number) is client:
            del self._clients[client.number]
            self._entrance.leaving.discard(client)
            client.sock.close()
