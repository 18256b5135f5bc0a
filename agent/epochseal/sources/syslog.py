"""Entries from syslog senders over TCP (RFC 6587) or TLS (RFC 5425): a frame's bytes are the entry, escaped.

There is no UDP: what it loses, it loses in silence.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from epochseal.errors import ConfigError, cannot_listen
from epochseal.sources.client import Client
from epochseal.sources.connections import MAX_CLIENTS, ListeningSource
from epochseal.sources.framing import SyslogFraming

HANDSHAKE_SECONDS = 10.0
"""A TLS handshake is finished in this time, or refused."""
FRAME_SECONDS = 60.0
"""A frame that was begun is finished in this time, or refused."""
SILENT_SECONDS = 60.0
"""Where there is no place for another sender, one that has sent no frame in this time gives up its own."""
_TLS_RECORD = 16 << 10
_PORT = re.compile(r"[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]")


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


class SyslogSource(ListeningSource):
    """Frames of up to `MAX_CLIENTS` senders; how each of them frames shows in its first byte.

    Args:
        listen: `HOST:PORT`, `[IPV6]:PORT`; port 0 is any free one (`address` has it).
        tls: files for TLS; None for plain TCP.
        block_bytes: limit of a block.
        max_entry_bytes: the longest frame as it is sent.

    Raises:
        ConfigError: the address or a file cannot be used.
    """

    def __init__(self, listen: str, *, tls: TlsFiles | None, block_bytes: int, max_entry_bytes: int) -> None:
        self._tls = tls.context() if tls is not None else None
        listener = _bind(*parse_address(listen))
        host, port = listener.getsockname()[:2]
        self.address = (str(host), int(port))
        """Host and port, as bound."""
        super().__init__(
            listener, f"syslog:{listen}", block_bytes=block_bytes, max_entry_bytes=max_entry_bytes, esc=1
        )

    def _client(self, sock: socket.socket) -> Client:
        host, port = sock.getpeername()[:2]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        framing = SyslogFraming(self._limit)
        label = f"the sender {host} port {port}"
        return (
            Client(sock, label, framing) if self._tls is None else _TlsClient(sock, label, framing, self._tls)
        )

    def _check_times(self, now: float) -> None:
        full = len(self._clients) >= MAX_CLIENTS
        for client in list(self._clients.values()):
            if not client.reads:
                continue
            if isinstance(client, _TlsClient) and not client.ready:
                if now - max(client.since, self._full_at) > HANDSHAKE_SECONDS:
                    self.refuse(client, f"no TLS handshake within {HANDSHAKE_SECONDS:.0f} s")
            elif client.unfinished_since is not None:
                if now - max(client.unfinished_since, self._full_at) > FRAME_SECONDS:
                    self.refuse(client, f"no whole frame within {FRAME_SECONDS:.0f} s")
            elif full and not client.sent_entries and now - client.since > SILENT_SECONDS:
                self.refuse(client, f"no frame within {SILENT_SECONDS:.0f} s, and others wait for its place")


class _TlsClient(Client):
    """A sender whose handshake and records are driven by the loop."""

    def __init__(
        self, sock: socket.socket, label: str, framing: SyslogFraming, context: ssl.SSLContext
    ) -> None:
        wrapped = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(wrapped, label, framing)
        self.ready = False
        self._wrapped = wrapped

    def prepare(self) -> bool:
        """Whether the handshake is done; goes on with it.

        Raises:
            ssl.SSLError: the sender does not speak TLS, or shows no certificate that is accepted.
        """
        if self.ready:
            return True
        self.waits_for = select.EPOLLIN
        try:
            self._wrapped.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self.waits_for = select.EPOLLOUT
            return False
        self.ready = True
        return True

    def receive(self, free: memoryview) -> int | None:
        """Read records as long as a whole one fits, so that none stays where epoll does not see it."""
        count = 0
        self.waits_for = select.EPOLLIN
        while len(free) - count >= _TLS_RECORD:
            try:
                got = self._wrapped.recv_into(free[count:])
            except ssl.SSLWantReadError:
                return count or None
            except ssl.SSLWantWriteError:
                self.waits_for = select.EPOLLOUT
                return count or None
            except OSError:
                if not count:
                    raise
                got = 0
            if not got:
                self.over = True
                return count
            count += got
        return count


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPV6]:PORT`.

    Raises:
        ConfigError: the text has another form.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or (":" in host) != bracketed or _PORT.fullmatch(port) is None:
        raise ConfigError(
            f"{text!r} is no address to listen on", "write HOST:PORT, for example 127.0.0.1:6514"
        )
    return host, int(port)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Connections of the agent that ran before may still be closing; without this the address would
            # count as taken until they are.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        hint = "name a free port at an address of this host"
        raise cannot_listen(f"{host} port {port}", exc, hint) from exc
    return listener


def _no_passphrase() -> str:
    # Without this function the library asks for the passphrase at the terminal, and the daemon would wait.
    raise ValueError("the key is encrypted")


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "it is no PEM file of that kind"
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
