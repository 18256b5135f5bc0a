"""Entries that come in datagrams, over a unix socket or UDP: one datagram is one entry, escaped."""

from __future__ import annotations

import logging
import math
import socket
import struct
import time
from contextlib import suppress

from epochseal.format.escaping import escape_entries
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.complaints import Complaints
from epochseal.sources.endpoint import Endpoint
from epochseal.sources.shared_buffer import SharedBuffer
from epochseal.sources.stream_server import FINISH_SECONDS

MAX_DATAGRAM = 4 << 20
"""A datagram larger than this, in bytes, is refused even where an entry may be longer."""
LOOK_SECONDS = 1.0
_AT_ONCE = 1024
# Their escaped form takes up to four times as much, and other sources wait while it is made.
_SIZE_AT_ONCE = 128 << 10
# SK_MEMINFO_VARS numbers, the last of which counts what found the queue full (linux/sock_diag.h).
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("9I")


class DatagramSource(SharedBuffer[None]):
    """Datagrams of one socket.

    Args:
        endpoint: where they come in; closed with the source.
        name: the source's name in the log.
        block_bytes: limit of a block.
        max_entry_bytes: the longest datagram, in bytes; one that is longer is refused and counted.
    """

    def __init__(self, endpoint: Endpoint, name: str, *, block_bytes: int, max_entry_bytes: int) -> None:
        # An escaped byte takes up to four.
        super().__init__(name, block_bytes=block_bytes, max_entry_bytes=4 * max_entry_bytes)
        self.endpoint = endpoint
        self._complaints = Complaints(name)
        self._socket = endpoint.socket
        self._socket.settimeout(0)
        self._datagram = memoryview(bytearray(min(max_entry_bytes, MAX_DATAGRAM)))
        self._finish_by = math.inf
        self._look_at = 0.0
        self._dropped = 0
        self.refused = 0
        """Datagrams that were longer than an entry may be."""

    @property
    def trouble(self) -> str:
        """Why nobody reaches it at this moment; empty while all is well."""
        return self.endpoint.trouble

    @property
    def ended(self) -> bool:
        """Whether a stop was asked for, and all that came is sealed."""
        return self.eof and not self.has_entry and not self.buffered

    def descriptors(self) -> list[int]:
        """The socket, unless the buffer is full."""
        return [self._socket.fileno()] if self.wants_more else []

    def ready(self, _descriptor: int) -> None:
        """Datagrams have come."""
        self._receive()

    def wait_seconds(self) -> float:
        """Until it looks again at what was dropped, and whether its place is still there."""
        return LOOK_SECONDS

    def tick(self) -> None:
        """Look whether the place is still there; while finishing: it ends where there is nothing to read."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._complaints.tick()
            self._count_dropped()
            if self._finish_by == math.inf:
                self._renew()
        if self._finish_by < math.inf and self.wants_more:
            self.eof = not self._receive()
            if not self.eof and now > self._finish_by:
                self.eof = True
                self._leave_unread()

    def finish(self) -> None:
        """Let nothing more in; what was sent before is still taken."""
        self.endpoint.stop_input(self._socket)
        self._count_dropped()
        # Over UDP nobody can be kept from sending on.
        self._finish_by = time.monotonic() + FINISH_SECONDS

    def positions(self) -> list[SourceMark]:
        """None: a socket is not resumed."""
        return []

    def close(self) -> None:
        """Close the socket and give up its place."""
        self._socket.close()
        self.endpoint.close()

    def _renew(self) -> None:
        renewed = self.endpoint.renewed(self._complaints)
        if renewed is not None:
            # What was sent to the socket before is still in it. Nothing more can come: who is connected to it
            # gets an error from now on, and others find the new one.
            self.endpoint.stop_input(self._socket)
            while self._receive():
                pass
            self._socket.close()
            self._socket = renewed
            renewed.settimeout(0)

    def _count_dropped(self) -> None:
        """Datagrams that found this socket's queue full; over a unix socket there are none."""
        if self._socket.family == socket.AF_UNIX:
            return
        with suppress(OSError, struct.error):
            dropped = _MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[
                8
            ]
            if dropped != self._dropped:
                new, self._dropped = (dropped - self._dropped) % (1 << 32), dropped
                self.put_gap()
                self._complaints.tell(
                    f"{new} datagrams came faster than they were read, and are not sealed",
                    level=logging.ERROR,
                )

    def _leave_unread(self) -> None:
        """The time after a stop is over: what still lies in the socket is missing, if there is anything."""
        self._count_dropped()
        try:
            self._socket.recv_into(self._datagram, 0, socket.MSG_PEEK)
        except (BlockingIOError, ConnectionError):
            return
        self.put_gap()
        self._complaints.tell(
            "datagrams still came when the time after the stop was over: some are not sealed",
            level=logging.ERROR,
        )

    def _receive(self) -> bool:
        """Read what is there; whether that was anything."""
        entries: list[bytes] = []
        size = count = 0
        try:
            for _ in range(_AT_ONCE):
                length = self._socket.recv_into(self._datagram, 0, socket.MSG_TRUNC)
                count += 1
                if length > len(self._datagram):
                    self._put(entries)
                    entries = []
                    self._refuse(length)
                    continue
                entries.append(bytes(self._datagram[:length]))
                size += length
                if size > _SIZE_AT_ONCE:
                    break
        except (BlockingIOError, ConnectionError):
            # Over UDP an error may be of something that was sent from here: there is nothing.
            pass
        self._put(entries)
        return count > 0

    def _put(self, entries: list[bytes]) -> None:
        if entries:
            self.put(escape_entries(entries), None, esc=1)

    def _refuse(self, length: int) -> None:
        self.refused += 1
        self.put_gap(length)
        advice = "raise max_entry_bytes" if len(self._datagram) < MAX_DATAGRAM else "none may be longer"
        self._complaints.tell(
            f"a datagram of {length} bytes is not sealed, longer than {len(self._datagram)} bytes: {advice}",
            level=logging.ERROR,
        )
