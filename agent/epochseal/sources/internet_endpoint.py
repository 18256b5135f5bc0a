"""A socket at an address of this host."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

from epochseal.errors import ConfigError, cannot_listen
from epochseal.sources.complaints import Complaints

_PORT = re.compile(r"[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]")


class InternetEndpoint:
    """A bound TCP or UDP socket.

    Args:
        listen: `HOST:PORT`, `[IPV6]:PORT`; port 0 is any free one.
        kind: stream or datagram.

    Raises:
        ConfigError: the address cannot be used.
        StorageError: it is taken.
    """

    def __init__(self, listen: str, kind: socket.SocketKind) -> None:
        self.socket = _bind(*parse_address(listen), kind)
        host, port = self.socket.getsockname()[:2]
        self.address = (str(host), int(port))
        """Host and port, as bound."""
        self.trouble = ""

    def renewed(self, _complaints: Complaints) -> socket.socket | None:
        """None: an address cannot be taken away."""
        return None

    def stop_input(self, client: socket.socket) -> None:
        """Say that this side ends, so that a sender that looks goes elsewhere; what is under way is read."""
        with suppress(OSError):
            # The method of a TLS socket forgets its keys as well: what is read from then on is ciphertext.
            socket.socket.shutdown(client, socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


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


def _bind(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind)
        try:
            if kind == socket.SOCK_STREAM:
                # Connections of the agent that ran before may still be closing; without this the address
                # would count as taken until they are. With it another may be bound there too, but not listen.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen()
            else:
                listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        hint = "name a free port at an address of this host"
        raise cannot_listen(f"{host} port {port}", exc, hint) from exc
    return listener
