"""Entries from syslog senders by TCP (RFC 6587), TLS (RFC 5425), UDP (RFC 5426): a frame's bytes, escaped."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from epochseal.errors import ConfigError
from epochseal.sources.client import Client
from epochseal.sources.datagrams import DatagramSource
from epochseal.sources.framing import Cut, FramingName, StreamFraming
from epochseal.sources.internet_endpoint import InternetEndpoint
from epochseal.sources.proxy_header import ProxyHeader
from epochseal.sources.stream_server import StreamServer, Times
from epochseal.sources.tls_client import TlsClient

HANDSHAKE_SECONDS = 10.0
"""A TLS handshake is finished in this time, or refused."""
FRAME_SECONDS = 60.0
"""A frame that was begun is finished in this time, or refused."""
_UDP_QUEUE = 8 << 20


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's chain, its key without passphrase, and who signs the senders' certificates.

    With `client_ca` a sender has to show a certificate; without it none is asked for.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, with these files.

        Raises:
            ConfigError: a file cannot be read, or key and certificate do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A ticket is written at the end of the handshake. Where a sender has reset the connection by then,
        # that fails, and with it the handshake: what the sender had written could not be read any more.
        context.num_tickets = 0
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_passphrase)
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"cannot use the TLS certificate {self.cert} with the key {self.key}: {_reason(exc)}",
                "give a PEM certificate chain and its unencrypted private key",
            ) from exc
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as exc:
                raise ConfigError(
                    f"cannot use {self.client_ca} to check senders: {_reason(exc)}",
                    "give a PEM file of the certificates that sign those of the senders",
                ) from exc
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def open_syslog(
    listen: str,
    *,
    tls: TlsFiles | None,
    framing: FramingName = "auto",
    block_bytes: int,
    max_entry_bytes: int,
) -> StreamServer:
    """Frames of senders over TCP or TLS.

    Args:
        listen: `HOST:PORT`, `[IPV6]:PORT`; port 0 is any free one (`address` of the endpoint has it).
        tls: files for TLS; None for plain TCP.
        framing: how frames are told apart; `auto` recognizes it.
        block_bytes: limit of a block.
        max_entry_bytes: the longest frame as it is sent; a longer one is left out.

    Raises:
        ConfigError: the address or a file cannot be used.
        StorageError: the address is taken.
    """
    context = tls.context() if tls is not None else None

    def make_client(sock: socket.socket, address: tuple[str, int]) -> Client:
        # As accept gave it: a connection that was reset before is asked for its address in vain, and what it
        # sent can still be read.
        host, port = address[:2]
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        frames = StreamFraming(framing, max_entry_bytes, syslog=True, skip=True)
        label = f"the sender {host} port {port}"
        if context is None:
            return _PlainClient(sock, label, host, frames)
        return TlsClient(sock, label, host, frames, context)

    return StreamServer(
        InternetEndpoint(listen, socket.SOCK_STREAM),
        f"syslog:{listen}",
        make_client,
        acks=False,
        times=Times(HANDSHAKE_SECONDS, FRAME_SECONDS),
        block_bytes=block_bytes,
        max_entry_bytes=max_entry_bytes,
    )


def open_syslog_udp(listen: str, *, block_bytes: int, max_entry_bytes: int) -> DatagramSource:
    """One datagram is one entry (RFC 5426): what the network loses, it loses in silence.

    Args:
        listen: as of `open_syslog`.
        block_bytes: limit of a block.
        max_entry_bytes: the longest datagram; UDP has none beyond 64 KiB.

    Raises:
        ConfigError: the address cannot be used.
        StorageError: the address is taken.
    """
    endpoint = InternetEndpoint(listen, socket.SOCK_DGRAM)
    with suppress(OSError):
        endpoint.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_QUEUE)
    return DatagramSource(
        endpoint, f"syslog-udp:{listen}", block_bytes=block_bytes, max_entry_bytes=max_entry_bytes
    )


class _PlainClient(Client):
    """A sender without TLS; a proxy before it may say whom it connected for."""

    _proxy: ProxyHeader | None = None

    def __init__(self, sock: socket.socket, label: str, peer: Hashable, framing: StreamFraming) -> None:
        super().__init__(sock, label, peer, framing)
        self._proxy = ProxyHeader()

    def cut_entries(self, data: memoryview) -> list[Cut]:
        """As of any client, behind the header."""
        if (proxy := self._proxy) is None:
            return super().cut_entries(data)
        rest = proxy.feed(bytes(data))
        if proxy.passed:
            self._proxy = None
            self.label += f", for {proxy.source}" if proxy.source else ""
        return super().cut_entries(memoryview(rest))


def _no_passphrase() -> str:
    # Without this function the library asks for the passphrase at the terminal, and the daemon would wait.
    raise ValueError("the key is encrypted")


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "it is no PEM file of that kind"
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
