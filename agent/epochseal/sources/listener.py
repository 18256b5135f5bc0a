"""A listening socket, in the set of what is waited for; out of it while nobody can be accepted."""

from __future__ import annotations

import logging
import select
import socket
import time

from epochseal.descriptors import is_reserved

_BACKLOG = 128
_PAUSE_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Accepts connections.

    Args:
        sock: bound, not yet listening.
        name: of its source, for messages.
        epoll: where it is registered while it accepts.
    """

    def __init__(self, sock: socket.socket, name: str, epoll: select.epoll) -> None:
        self._sock = sock
        self._name = name
        self._epoll = epoll
        self._resume_at = 0.0
        self.active = False
        """Whether connections are waited for."""
        sock.settimeout(0)
        sock.listen(_BACKLOG)
        self.resume()

    def resume(self) -> None:
        """Wait for connections again, at the earliest one second after `pause`."""
        if not self.active and time.monotonic() >= self._resume_at:
            self._epoll.register(self._sock, select.EPOLLIN)
            self.active = True

    def pause(self) -> None:
        """Let connections wait in the system's queue."""
        self._resume_at = time.monotonic() + _PAUSE_SECONDS
        if self.active:
            self._epoll.unregister(self._sock)
            self.active = False

    def accept(self) -> socket.socket | None:
        """The next connection; None if there is none, or none can be accepted for now."""
        try:
            sock = self._sock.accept()[0]
        except BlockingIOError:
            return None
        except OSError as exc:
            # The client gave up before it was accepted, or no descriptors are left: the connections that
            # are there go on, and in a second it is tried again.
            _log.warning("%s: cannot accept a connection: %s", self._name, exc.strerror)
            self.pause()
            return None
        if is_reserved(sock.fileno()):
            sock.close()
            _log.warning(
                "%s: a connection is closed: the descriptors that are left are for sealing", self._name
            )
            self.pause()
            return None
        return sock

    def close(self) -> None:
        """Stop listening; closing again does nothing."""
        self._sock.close()
