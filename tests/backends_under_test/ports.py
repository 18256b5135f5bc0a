"""A port for a server that has to be told one, also while it is down for a while."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_FIRST = 10_000


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    The kernel gives it to no outgoing connection: such a one would hold it just when the server starts.
    """
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    chance = random.SystemRandom()  # of several processes that test no two are to try the same ones
    while True:
        port = chance.randrange(_FIRST, max(given, 2 * _FIRST))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
