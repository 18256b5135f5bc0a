"""Entries from unix sockets: lines of stream clients, kept byte for byte, or datagrams, escaped."""

from __future__ import annotations

import logging
import math
import os
import socket
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path

from epochseal.errors import ConfigError
from epochseal.format.escaping import escape
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.buffer import READ_SIZE
from epochseal.sources.client import Client
from epochseal.sources.connections import ListeningSource
from epochseal.sources.framing import LineFraming
from epochseal.sources.shared_buffer import SharedBuffer

MAX_DATAGRAM = 4 << 20
"""A datagram larger than this, in bytes, is refused even where an entry may be longer."""
_AT_ONCE = 1024
_COMPLAINT_SECONDS = 10.0

_log = logging.getLogger(__name__)


class SocketFile:
    """A socket with a name in the file system; the file is removed at the end if it is still this one.

    Raises:
        ConfigError: the path cannot be used, or somebody else listens there.
    """

    def __init__(self, path: Path, kind: socket.SocketKind, mode: int) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, kind)
        try:
            self._remove_stale()
            # The mode is limited before the file exists. Were it changed afterwards, there would be a
            # moment in which somebody could connect who may not.
            before = os.umask(0o777 & ~mode)
            try:
                self.socket.bind(str(path))
            finally:
                os.umask(before)
            self._identity = self._stat()
        except OSError as exc:
            self.socket.close()
            raise ConfigError(
                f"cannot listen on {path}: {exc.strerror or exc}",
                "name a path of at most 107 bytes in a directory that this user may write to",
            ) from exc
        except ConfigError:
            self.socket.close()
            raise

    def close(self) -> None:
        """Close the socket and remove its file."""
        self.socket.close()
        with suppress(OSError):
            if self._stat() == self._identity:
                self.path.unlink()

    def _stat(self) -> tuple[int, int]:
        found = self.path.lstat()
        return found.st_dev, found.st_ino

    def _remove_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigError(f"{self.path} exists and is no socket", "name another path, or remove the file")
        with socket.socket(socket.AF_UNIX, self.socket.type) as probe:
            probe.settimeout(0)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink(missing_ok=True)
                return
            except OSError:
                # Any other answer (the queue is full, the socket is of the other kind) shows that somebody
                # listens.
                pass
        raise ConfigError(f"another process listens on {self.path}", "stop it, or name another path")


class UnixStreamSource(ListeningSource):
    """Newline-separated entries of up to `MAX_CLIENTS` clients, byte for byte.

    With `acks`, a client is told `FIRST LAST` and a newline, the numbers of its entries in the log (both
    included), once they are durable: in the order in which it sent them, each entry in exactly one such line.

    Args:
        path: of the socket; a stale one is replaced.
        mode: permission bits of the socket.
        acks: whether clients are told; such clients have to read.
        block_bytes, max_entry_bytes: limits of a block and of an entry.

    Raises:
        ConfigError: see `SocketFile`.
    """

    def __init__(self, path: Path, *, mode: int, acks: bool, block_bytes: int, max_entry_bytes: int) -> None:
        self._named = SocketFile(path, socket.SOCK_STREAM, mode)
        super().__init__(
            self._named.socket, f"unix:{path}", block_bytes=block_bytes, max_entry_bytes=max_entry_bytes
        )
        self._acks = acks

    def close(self) -> None:
        """Close every connection, and remove the socket's file."""
        super().close()
        self._named.close()

    def _client(self, sock: socket.socket) -> Client:
        return Client(sock, _peer(sock), LineFraming(self._limit))

    def _sealed(self, client: Client, first: int, last: int) -> None:
        if self._acks and client.listens:
            client.unsent += b"%d %d\n" % (first, last)

    def _stop_input(self, client: Client) -> None:
        # From now on the client gets an error when it writes; what it wrote before can still be read.
        with suppress(OSError):
            client.sock.shutdown(socket.SHUT_RD)


class UnixDatagramSource(SharedBuffer):
    """One datagram is one entry, escaped; while the buffer is full, a writer waits or gets an error.

    Args:
        path: of the socket; a stale one is replaced.
        mode: permission bits of the socket.
        block_bytes: limit of a block.
        max_entry_bytes: the longest datagram, in bytes; one that is longer is refused and counted.

    Raises:
        ConfigError: see `SocketFile`.
    """

    def __init__(self, path: Path, *, mode: int, block_bytes: int, max_entry_bytes: int) -> None:
        # An escaped byte takes up to four.
        super().__init__(f"unix:{path}", block_bytes=block_bytes, max_entry_bytes=4 * max_entry_bytes, esc=1)
        self._named = SocketFile(path, socket.SOCK_DGRAM, mode)
        self._socket = self._named.socket
        self._socket.settimeout(0)
        self._datagram = memoryview(bytearray(min(max_entry_bytes, MAX_DATAGRAM)))
        self._finishing = False
        self._complain_at = 0.0
        self._told = 0
        self.refused = 0
        """Datagrams that were longer than an entry may be."""

    @property
    def ended(self) -> bool:
        """Whether a stop was asked for, and all that came is sealed."""
        return self.eof and not self.buffered

    def descriptors(self) -> list[int]:
        """The socket, unless the buffer is full."""
        return [self._socket.fileno()] if self.wants_more else []

    def ready(self, _descriptor: int) -> None:
        """Datagrams have come."""
        self._receive()

    def wait_seconds(self) -> float:
        """Only input is waited for."""
        return math.inf

    def tick(self) -> None:
        """Say what was refused; while finishing: the source ends where there is nothing to read."""
        now = time.monotonic()
        if self.refused > self._told and now >= self._complain_at:
            _log.error(
                "%s: refused %d datagrams longer than %d bytes: they are not sealed; %s",
                self.name,
                self.refused - self._told,
                len(self._datagram),
                "raise max_entry_bytes" if len(self._datagram) < MAX_DATAGRAM else "none may be longer",
            )
            self._told, self._complain_at = self.refused, now + _COMPLAINT_SECONDS
        if self._finishing and self.wants_more:
            self.eof = not self._receive()

    def finish(self) -> None:
        """Let nothing more in; what was sent before is still taken."""
        self._socket.shutdown(socket.SHUT_RD)
        self._finishing = True

    def positions(self) -> list[SourceMark]:
        """None: a socket is not resumed."""
        return []

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._named.close()

    def _receive(self) -> bool:
        """Read what is there; whether that was anything."""
        entries, refused, size = [], self.refused, 0
        try:
            for _ in range(_AT_ONCE):
                count = self._socket.recv_into(self._datagram, 0, socket.MSG_TRUNC)
                if count > len(self._datagram):
                    self.refused += 1
                else:
                    entries.append(escape(bytes(self._datagram[:count])))
                    size += len(entries[-1])
                if size > READ_SIZE:
                    break
        except BlockingIOError:
            pass
        if entries:
            self.put(b"\n".join([*entries, b""]))
        return bool(entries) or self.refused > refused


def _peer(sock: socket.socket) -> str:
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"the client with pid {pid}, uid {uid}"
