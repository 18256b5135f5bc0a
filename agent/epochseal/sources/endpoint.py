"""What a socket source asks of the place where it listens: a file, an address."""

from __future__ import annotations

from socket import socket as Socket  # noqa: N812  # the protocol has an attribute `socket`
from typing import Protocol

from epochseal.sources.complaints import Complaints


class Endpoint(Protocol):
    """Where a source listens."""

    socket: Socket
    """Bound."""

    trouble: str
    """Why nobody reaches it at this moment; empty while all is well."""

    def renewed(self, complaints: Complaints) -> Socket | None:
        """Another socket, if the one before cannot be reached any more; asked now and then."""
        ...

    def stop_input(self, client: Socket) -> None:
        """Let nothing more in from a client, as far as that can be had without losing what is under way."""
        ...

    def close(self) -> None:
        """Give up the place."""
        ...
