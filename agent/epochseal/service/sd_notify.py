"""What a service manager is told (sd_notify(3)): datagrams to the socket that it names in NOTIFY_SOCKET."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_SEND_SECONDS = 1.0


class Notifier:
    """Tells the service manager, or nobody where none asked for it. Nothing here raises or waits for long.

    Args:
        address: a path, or a name after `@` (an abstract socket); empty for nobody.
        watchdog: seconds after which the manager takes this process for hung; None if it does not watch.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every = math.inf if watchdog is None else watchdog / 2
        self._next = -math.inf

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Notifier:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say; what cannot be used counts as absent."""
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in {"/", "@"}:
            return cls()
        # The watchdog was asked for from another process, and this one only inherited the variable.
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "")
        if not ours or not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
            return cls(address)
        return cls(address, int(microseconds) / 1_000_000)

    def ready(self, status: str = "") -> None:
        """Started, or reloaded."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The end begins."""
        self._send("STOPPING=1", _status(status))

    def status(self, text: str) -> None:
        """One line for people (`systemctl status`)."""
        self._send(_status(text))

    def alive(self) -> None:
        """Called in every round of the loop; sends at half of the watchdog's time."""
        if self._every < math.inf and (now := time.monotonic()) >= self._next:
            self._next = now + self._every
            self._send("WATCHDOG=1")

    def wait_seconds(self) -> float:
        """After how long `alive` wants to be called again; infinity where nobody watches."""
        return math.inf if self._every == math.inf else max(0.0, self._next - time.monotonic())

    def _send(self, *fields: str) -> None:
        text = "\n".join(field for field in fields if field)
        if not self._address or not text:
            return
        # A manager that went away must not end the sealing.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_SECONDS)
            sender.sendto(text.encode(errors="replace"), self._address)


def _status(text: str) -> str:
    # In this protocol a newline ends a field: text after it would be read as another field.
    return "STATUS=" + " ".join(text.split()) if text else ""
