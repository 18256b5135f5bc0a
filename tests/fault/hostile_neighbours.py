"""How long a source's lines wait to be acknowledged while other sources of the same log are attacked.

    python -m tests.fault.hostile_neighbours 60      # seconds of each attack (make neighbours)

Each attack goes against one source of a running daemon, by a process of its own. Meanwhile a client of
another source writes lines, one at a time, every tenth through a new connection, and measures the time until
each is acknowledged. At the end the log has to verify, and to hold every line of that client in order.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

_PATIENCE = 60.0
_PAUSE_SECONDS = 0.02
_CROWD = 1100
_LINE = b"<13>" + b"x" * 240 + b"\n"
_PROGRAM = Path(sys.executable).with_name("epochseal")
Target = tuple[socket.AddressFamily, str | tuple[str, int]]


class Neighbourhood:
    """A daemon with one log and five sources: that of the client, and four that are attacked.

    Args:
        folder: an empty one; its path is short enough for a socket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent = 0
        self.targets: dict[str, Target] = {
            "unix-stream": (socket.AF_UNIX, str(folder / "stream")),
            "unix-datagram": (socket.AF_UNIX, str(folder / "datagrams")),
            "syslog": (socket.AF_INET, ("127.0.0.1", _free_port(socket.SOCK_STREAM))),
            "syslog-udp": (socket.AF_INET, ("127.0.0.1", _free_port(socket.SOCK_DGRAM))),
        }
        self._quiet = str(folder / "quiet")
        subprocess.run([_PROGRAM, "keygen", "keys"], cwd=folder, check=True, capture_output=True)
        sources = [f'kind = "unix-stream"\npath = "{self._quiet}"\nacks = true']
        for kind, (_, where) in self.targets.items():
            place = f'path = "{where}"' if isinstance(where, str) else f'listen = "{where[0]}:{where[1]}"'
            sources.append(f'kind = "{kind}"\n{place}')
        tables = "".join(f"[[log.source]]\n{source}\n" for source in sources)
        (folder / "epochseal.toml").write_text(
            f'epoch_key = "file:{folder}/keys/agent"\ncheckpoint_key = "file:{folder}/keys/agent"\n'
            f'[[log]]\ndir = "{folder}/log"\norigin = "example.com/neighbours"\nepoch_interval = "5s"\n'
            + tables
        )

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """It runs, and has to end well."""
        words = [str(_PROGRAM), "run", "--config", str(self._folder / "epochseal.toml")]
        with (self._folder / "stderr").open("wb") as said:
            process = subprocess.Popen(words, stdout=said, stderr=said)
        try:
            _wait_until(lambda: Path(self._quiet).exists())
            self.latencies(0.1)
            yield
            assert process.poll() is None, self._said()
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE) == 0, self._said()
        finally:
            process.kill()
            process.wait()

    def latencies(self, seconds: float) -> list[float]:
        """Of the client's lines for so long: from connecting, or writing, to the acknowledgement."""
        found: list[float] = []
        until = time.monotonic() + seconds
        client = self._connect()
        while time.monotonic() < until or not found:
            began = time.monotonic()
            if len(found) % 10 == 9:
                client.close()
                client = self._connect()
            client.sendall(b"quiet %d\n" % self._sent)
            answer = b""
            while not answer.endswith(b"\n"):
                answer += client.recv(100)
            self._sent += 1
            found.append(time.monotonic() - began)
            time.sleep(_PAUSE_SECONDS)
        client.close()
        return found

    def under(self, attack: Callable[[Target, int], None], kind: str, seconds: float) -> list[float]:
        """Latencies while a process attacks a source."""
        sock_type = socket.SOCK_STREAM if kind in ("unix-stream", "syslog") else socket.SOCK_DGRAM
        if (pid := os.fork()) == 0:
            # The processors are not what is attacked here.
            os.nice(19)
            with suppress(KeyboardInterrupt):
                while True:
                    with suppress(OSError):
                        attack(self.targets[kind], sock_type)
            os._exit(0)
        try:
            return self.latencies(seconds)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def check(self) -> None:
        """The log verifies, and holds what the client sent."""
        keys = ["--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor"]
        words = [str(_PROGRAM), "verify", "log", "--trust", "none", *keys]
        done = subprocess.run(words, cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (path.read_bytes() for path in sorted((self._folder / "log/segments").glob("*.log")))
        quiet = [line for part in lines for line in part.split(b"\n") if line.startswith(b"quiet ")]
        assert quiet == [b"quiet %d" % number for number in range(self._sent)]

    def _connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(_PATIENCE)
        made.connect(self._quiet)
        return made

    def _said(self) -> str:
        return (self._folder / "stderr").read_text()[-2000:]


# --- attacks: each is called again and again --------------------------------------------------------------


def _connect(target: Target, kind: int) -> socket.socket:
    made = socket.socket(target[0], kind)
    made.settimeout(1)
    made.connect(target[1])
    return made


def flood(target: Target, kind: int) -> None:
    """As much as goes in."""
    data = _LINE * 400 if kind == socket.SOCK_STREAM else _LINE
    with _connect(target, kind) as sock:
        while True:
            sock.sendall(data)


def drip(target: Target, kind: int) -> None:
    """Hundreds of clients, of whom each sends a byte now and then."""
    crowd = [_connect(target, kind) for _ in range(500)]
    while True:
        for sock in crowd:
            with suppress(OSError):
                sock.sendall(b"x")
        time.sleep(0.1)


def endless_frame(target: Target, kind: int) -> None:
    """Entries without an end, by several clients."""
    crowd = [_connect(target, kind) for _ in range(8)]
    while True:
        for sock in crowd:
            sock.sendall(b"<13>" + b"x" * 60_000)


def idle_crowd(target: Target, kind: int) -> None:
    """More clients than there are places, again and again."""
    crowd = []
    for _ in range(_CROWD):
        crowd.append(_connect(target, kind))
        time.sleep(0.0005)
    for sock in crowd:
        sock.close()


def resets(target: Target, kind: int) -> None:
    """Connections that are broken as soon as they are there."""
    with _connect(target, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.sendall(b"<13>half")


def large_datagrams(target: Target, kind: int) -> None:
    """As large as they can be, full of what has to be escaped."""
    with _connect(target, kind) as sock:
        while True:
            sock.send(b"\0" * 60_000)


ATTACKS: dict[str, tuple[Callable[[Target, int], None], ...]] = {
    "unix-stream": (flood, drip, endless_frame, idle_crowd, resets),
    "unix-datagram": (flood, large_datagrams),
    "syslog": (flood, drip, endless_frame, idle_crowd, resets),
    "syslog-udp": (flood, large_datagrams),
}


def _free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def main(seconds: float) -> int:
    """Every attack for so long; 1 if a line waited for more than a second."""
    slow = 0
    with tempfile.TemporaryDirectory(prefix="n") as name:
        neighbourhood = Neighbourhood(Path(name))
        with neighbourhood.daemon():
            _show("nobody", "", neighbourhood.latencies(seconds))
            for kind, attacks in ATTACKS.items():
                for attack in attacks:
                    found = neighbourhood.under(attack, kind, seconds)
                    slow += _show(kind, attack.__name__, found)
        neighbourhood.check()
    return int(slow > 0)


def _show(kind: str, name: str, found: list[float]) -> bool:
    line = f"{kind:14} {name:16} {len(found):6} lines, acknowledged in ms: median {median(found) * 1000:6.1f}"
    sys.stdout.write(f"{line}, longest {max(found) * 1000:7.1f}\n")
    sys.stdout.flush()
    return max(found) > 1.0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
