"""A crowd of clients takes no descriptor that sealing needs."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.integration.service.test_run import Host, host, wait_for

__all__ = ["host"]  # a fixture
_LIMIT = 160


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_more_clients_than_descriptors(host: Host) -> None:
    """Whoever is connected is acknowledged, epochs and segments turn; afterwards there is room again."""
    host.configure('a\nepoch_interval = "1s"')
    with host.daemon() as process, ExitStack() as stack:
        host.send("a", "first")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (_LIMIT, _LIMIT))
        path = os.path.relpath(host.folder / "a.sock")
        crowd = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(250)]
        crowd[0].connect(path)
        crowd[0].settimeout(60)
        crowd[0].sendall(b"entry\n")
        assert crowd[0].recv(16) == b"1 1\n"
        for client in crowd[1:]:
            client.settimeout(0)
            client.connect_ex(path)
        # Time for them to be accepted, and for several turns beside them.
        wait_for(lambda: descriptors(process.pid) > _LIMIT // 2)
        for number in range(2, 5):
            process.send_signal(signal.SIGHUP)
            wait_for(lambda number=number: host.numbers("a")[-1] >= number)  # type: ignore[misc]  # a default
            crowd[0].sendall(b"entry\n")
            assert crowd[0].recv(16) == b"%d %d\n" % (number, number)
        assert descriptors(process.pid) <= _LIMIT - _LIMIT // 8
        stack.close()
        time.sleep(1.1)
        host.send("a", "later")
        process.terminate()
        assert process.wait(60) == 0
    assert host.verify("a").verdict == "verified"
    assert not Path(f"/proc/{process.pid}").exists()
