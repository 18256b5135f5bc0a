"""A sender that speaks TLS: its handshake and records are driven by the loop."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Hashable

from epochseal.sources.client import Client
from epochseal.sources.framing import StreamFraming
from epochseal.sources.proxy_header import ProxyHeader

_TLS_RECORD = 16 << 10
_PEEK = 4096


class TlsClient(Client):
    """A sender behind a handshake, before which a proxy may say whom it connected for.

    Args:
        sock, label, peer, framing: as of any client.
        context: the server's side of TLS.
    """

    def __init__(
        self, sock: socket.socket, label: str, peer: Hashable, framing: StreamFraming, context: ssl.SSLContext
    ) -> None:
        super().__init__(sock, label, peer, framing)
        self._context = context
        self._proxy: ProxyHeader | None = ProxyHeader()
        self._wrapped: ssl.SSLSocket | None = None
        self._shaken = False

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is done."""
        return self._shaken

    def prepare(self) -> bool:
        """Whether the handshake is done; goes on with it.

        Raises:
            OSError: the sender does not speak TLS, or shows no certificate that is accepted.
            FormatError: it begins as a proxy does, and goes on otherwise.
        """
        if self._shaken:
            return True
        self.waits_for = select.EPOLLIN
        if self._wrapped is None:
            if self._proxy is not None and not self._pass_proxy(self._proxy):
                return False
            self._wrapped = self._context.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            self.sock = self._wrapped
        try:
            self._wrapped.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self.waits_for = select.EPOLLOUT
            return False
        self._shaken = True
        return True

    def receive(self, free: memoryview) -> int | None:
        """Read records as long as a whole one fits, so that none stays where epoll does not see it."""
        count = 0
        self.waits_for = select.EPOLLIN
        wrapped = self._wrapped
        while wrapped is not None and len(free) - count >= _TLS_RECORD:
            try:
                got = wrapped.recv_into(free[count:])
            except ssl.SSLWantReadError:
                return count or None
            except ssl.SSLWantWriteError:
                self.waits_for = select.EPOLLOUT
                return count or None
            except OSError as exc:
                broken: OSError = exc
                if isinstance(exc, ssl.SSLEOFError):
                    # Somebody may have cut it off on the way, or the sender died, within a record.
                    broken = ConnectionAbortedError("ended its connection as TLS does not")
                if not count:
                    raise broken from exc
                self.broken, got = broken, 0
            if not got:
                self.over = True
                return count
            count += got
        return count

    def _pass_proxy(self, proxy: ProxyHeader) -> bool:
        """Read the header of a proxy, and not one byte of what follows; whether it is behind us."""
        try:
            seen = self.sock.recv(_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        if proxy.is_begun or proxy.may_begin(seen[:1]):
            self.sock.recv(proxy.missing(seen))
            if seen and not proxy.passed:
                return False
            self.label += f", for {proxy.source}" if proxy.source else ""
        self._proxy = None
        return True
