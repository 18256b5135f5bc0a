"""A listening socket, in the set of what is waited for; out of it while nobody can be accepted."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from epochseal.polling import is_readable
from epochseal.sources.complaints import Complaints

_BACKLOG = 1024
_PAUSE_SECONDS = 1.0


class Listener:
    """Accepts connections.

    Args:
        sock: bound, not yet listening.
        complaints: is told when nobody can be accepted.
        epoll: where it is registered while it accepts.
    """

    def __init__(self, sock: socket.socket, complaints: Complaints, epoll: select.epoll) -> None:
        self._complaints = complaints
        self._epoll = epoll
        self._resume_at = 0.0
        self.active = False
        """Whether connections are waited for."""
        self._listen(sock)

    def replace(self, sock: socket.socket) -> None:
        """Listen on another socket; who waits at this one is to be accepted before."""
        self.close()
        self._listen(sock)

    def resume(self) -> None:
        """Wait for connections again, at the earliest when the time of `pause` is over."""
        if not self.active and time.monotonic() >= self._resume_at:
            self._epoll.register(self._sock, select.EPOLLIN)
            self.active = True

    def pause(self, seconds: float) -> None:
        """Let connections wait in the system's queue."""
        self._resume_at = time.monotonic() + seconds
        if self.active:
            self._epoll.unregister(self._sock)
            self.active = False

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection and its address; None if there is none, or none can be accepted for now."""
        try:
            return self._sock.accept()
        except BlockingIOError:
            return None
        except OSError as exc:
            # The client gave up before it was accepted, or no descriptors are left: the connections that
            # are there go on, and in a second it is tried again.
            self._complaints.tell(f"cannot accept a connection: {exc.strerror}")
            self.pause(_PAUSE_SECONDS)
            return None

    @property
    def has_waiting(self) -> bool:
        """Whether somebody has connected and was not accepted."""
        return is_readable(self._sock.fileno(), 0)

    def close(self) -> None:
        """Stop listening; closing again does nothing."""
        # The epoll object forgets a descriptor by itself when the last copy of it is closed.
        self.active = False
        self._sock.close()

    def _listen(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(0)
        sock.listen(_BACKLOG)
        self._resume_at = 0.0
        self.resume()
