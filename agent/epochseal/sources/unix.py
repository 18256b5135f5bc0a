"""Entries from unix sockets: lines of stream clients, kept byte for byte, or datagrams, escaped."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from epochseal.sources.client import Client
from epochseal.sources.datagrams import DatagramSource
from epochseal.sources.framing import FramingName, StreamFraming
from epochseal.sources.socket_file import SocketFile
from epochseal.sources.stream_server import StreamServer, Times


def open_stream(
    path: Path,
    *,
    mode: int,
    acks: bool,
    framing: FramingName = "auto",
    block_bytes: int,
    max_entry_bytes: int,
) -> StreamServer:
    """Entries that end in a newline, byte for byte, or in NUL, escaped.

    With `acks`, a client is told `FIRST LAST` and a newline, the numbers of its entries in the log (both
    included), once they are durable: in the order in which it sent them, each entry in exactly one such line.
    So no entry of it may be skipped: one that is too long closes its connection.

    Args:
        path: of the socket; a stale one is replaced.
        mode: permission bits of the socket.
        acks: whether clients are told; such clients have to read.
        framing: what ends an entry; `auto` is a newline, or NUL for one that begins with a priority.
        block_bytes: limit of a block.
        max_entry_bytes: the longest entry, in bytes.

    Raises:
        ConfigError: see `SocketFile`.
    """

    def make_client(sock: socket.socket, _address: object) -> Client:
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        frames = StreamFraming(framing, max_entry_bytes, syslog=False, skip=not acks)
        return Client(sock, f"the client with pid {pid}, uid {uid}", uid, frames)

    return StreamServer(
        SocketFile(path, socket.SOCK_STREAM, mode),
        f"unix:{path}",
        make_client,
        acks=acks,
        times=Times(),
        block_bytes=block_bytes,
        max_entry_bytes=max_entry_bytes,
    )


def open_datagrams(path: Path, *, mode: int, block_bytes: int, max_entry_bytes: int) -> DatagramSource:
    """One datagram is one entry, escaped; while the buffer is full, a writer waits or gets an error.

    Args:
        path: of the socket; a stale one is replaced.
        mode: permission bits of the socket.
        block_bytes: limit of a block.
        max_entry_bytes: the longest datagram, in bytes; one that is longer is refused and counted.

    Raises:
        ConfigError: see `SocketFile`.
    """
    endpoint = SocketFile(path, socket.SOCK_DGRAM, mode)
    return DatagramSource(endpoint, f"unix:{path}", block_bytes=block_bytes, max_entry_bytes=max_entry_bytes)
