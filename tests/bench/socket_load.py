"""A steady load on a unix-stream source with acknowledgements: latency, memory and CPU of the agent.

    python tests/bench/socket_load.py          # 50,000 entries/s of 200 bytes from 10 clients, 60 s
    python tests/bench/socket_load.py --commit-interval 5 --seconds 10

Latency runs from the moment when a client wrote an entry to that when it read the acknowledgement, so
it holds the wait of `commit_interval` for company. CPU is that of the agent's process.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

_AGENT = Path(__file__).parents[1] / "integration" / "sources" / "socket_agent.py"
_TICK = 0.002
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class LoadClient:
    """One connection: what it sent when, and how long the acknowledgements took."""

    def __init__(self, path: str, entry: bytes) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self._entry = entry
        self._text = b""
        # The number sent up to and with each write, how many that write had, and its moment.
        self._sent: deque[tuple[int, int, float]] = deque()
        self.sent = 0
        self.acknowledged = 0

    def send(self, count: int) -> None:
        """Write entries, all of this moment."""
        self.sent += count
        self._sent.append((self.sent, count, time.monotonic()))
        self.sock.sendall(self._entry * count)

    def read(self, latencies: list[tuple[float, int]]) -> None:
        """Read acknowledgements, and note the latency of what they cover."""
        *lines, self._text = (self._text + self.sock.recv(1 << 16)).split(b"\n")
        for line in lines:
            first, last = map(int, line.split())
            self.acknowledged += last - first + 1
        now = time.monotonic()
        while self._sent and self._sent[0][0] <= self.acknowledged:
            _, count, moment = self._sent.popleft()
            latencies.append((now - moment, count))


def main() -> None:
    """Run the load and print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=50_000, help="entries a second, all clients together")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--entry", type=int, default=200, help="bytes of an entry")
    parser.add_argument("--commit-interval", type=int, default=50, help="milliseconds")
    parser.add_argument("--dir", type=Path, default=None, help="where to work")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        _bench(Path(folder), arguments)


def _bench(folder: Path, arguments: argparse.Namespace) -> None:
    subprocess.run(
        [Path(sys.executable).parent / "epochseal", "keygen", folder / "keys"],
        check=True,
        capture_output=True,
    )
    settings = {
        "kind": "unix-stream",
        "log": str(folder / "log"),
        "path": str(folder / "s"),
        "origin": "example.com/bench",
        "key": f"file:{folder / 'keys' / 'agent'}",
        "commit_interval": arguments.commit_interval,
    }
    agent = subprocess.Popen([sys.executable, _AGENT, json.dumps(settings)], stdout=subprocess.PIPE)
    assert agent.stdout is not None
    agent.stdout.readline()
    try:
        clients = [
            LoadClient(settings["path"], b"x" * (arguments.entry - 1) + b"\n")
            for _ in range(arguments.clients)
        ]
        _load(agent.pid, clients, arguments)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait(30)


def _load(pid: int, clients: list[LoadClient], arguments: argparse.Namespace) -> None:
    latencies: list[tuple[float, int]] = []
    by_descriptor = {client.sock.fileno(): client for client in clients}
    poll = select.poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    start, cpu, owed = time.monotonic(), _cpu(pid), 0.0
    next_sample, last = start + 5.0, start
    samples: list[int] = []
    while (now := time.monotonic()) < start + arguments.seconds:
        owed, last = owed + (now - last) * arguments.rate, now
        share = int(owed) // len(clients)
        if share:
            for client in clients:
                client.send(share)
            owed -= share * len(clients)
        for descriptor, _ in poll.poll(_TICK * 1000):
            by_descriptor[descriptor].read(latencies)
        if now >= next_sample:
            next_sample += 5.0
            samples.append(_resident(pid))
    wall, used = time.monotonic() - start, _cpu(pid) - cpu
    sent, acknowledged = (
        sum(client.sent for client in clients),
        sum(client.acknowledged for client in clients),
    )
    print(f"{sent / wall:,.0f} entries/s of {arguments.entry} bytes, {len(clients)} clients, {wall:.0f} s")
    print(f"acknowledged {acknowledged:,} of {sent:,} by then")
    print(
        f"latency p50 {_quantile(latencies, 0.5):.1f} ms, p99 {_quantile(latencies, 0.99):.1f} ms, "
        f"max {max(latencies)[0] * 1000:.1f} ms"
    )
    print(f"agent: CPU {used / wall:.1%} of one core, {used / sent * 1e6:.2f} us an entry")
    print("agent: resident MiB every 5 s:", *(f"{sample / 1024:.1f}" for sample in samples))


def _quantile(latencies: list[tuple[float, int]], part: float) -> float:
    ordered = sorted(latencies)
    wanted = part * sum(count for _, count in ordered)
    for seconds, count in ordered:
        wanted -= count
        if wanted <= 0:
            return seconds * 1000
    return 0.0


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
