"""A fleet of logs with a monitor: its configuration, its commands, and one that runs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.logs import LogKeys, LogWriter, entry
from tests.warm_program import run

PROGRAM = str(Path(sys.executable).parent / "epochseal")
PATIENCE = 60.0


class Fleet:
    """Logs below one folder, monitored with the keys of the verifier, or with the public key alone."""

    def __init__(self, folder: Path, keys: LogKeys) -> None:
        self.folder, self.keys = folder, keys
        self.logs, self.state = folder / "logs", folder / "state"
        self.logs.mkdir()
        self.config = folder / "monitor.toml"
        self.configure()

    def configure(self, *lines: str, public: bool = False, scrub: str = "24h") -> None:
        """Write the configuration, with these lines in `[monitor]`."""
        keys = self.keys.directory
        epoch = "" if public else f'epoch_key = "file:{keys / "verifier"}"'
        text = "\n".join(lines)
        self.config.write_text(
            f'[monitor]\ninterval = "1s"\nscrub = "{scrub}"\nstate_dir = "{self.state}"\n{text}\n'
            f'[[monitor.log]]\ndir = "{self.logs}/*"\n{epoch}\n'
            f'checkpoint_key = "file:{keys / "auditor"}"\n'
        )

    def log(self, name: str) -> LogWriter:
        """A closed log of some segments."""
        writer = LogWriter(self.logs / name, self.keys, name).start("genesis")
        for place in range(12):
            writer.block(entry(place))
            if place % 4 == 3:  # every fourth
                writer.turn("segment")
        return writer.close()

    def once(self) -> int:
        """Examine each log once; the exit status."""
        return self.command("--once").returncode

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Any form of the command."""
        return run(["monitor", *words, "--config", str(self.config)])

    def acknowledge(self, log: Path) -> None:
        """As a person does it."""
        done = self.command("acknowledge", str(log), "--reason", "looked into, T-1")
        assert done.returncode == 0, done.stderr

    @contextmanager
    def running(self) -> Iterator[Running]:
        """A monitor that runs, and has examined every log."""
        monitor = Running(self.config)
        try:
            monitor.wait("all_examined")
            yield monitor
        finally:
            monitor.process.kill()
            monitor.process.wait()


class Running:
    """A monitor as a process, and the events that it has told."""

    def __init__(self, config: Path) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "monitor", "--config", str(config)], stderr=subprocess.PIPE, bufsize=0
        )
        self._rest = b""

    def wait(self, event: str, **fields: object) -> dict[str, Any]:
        """The next event of this name with these fields; those before it are passed over."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            line, end, rest = self._rest.partition(b"\n")
            if end:
                self._rest = rest
                told: dict[str, Any] = json.loads(line)
                if told["event"] == event and fields.items() <= told.items():
                    return told
            elif select.select([self.process.stderr], [], [], deadline - time.monotonic())[0]:
                more = os.read(self.process.stderr.fileno(), 1 << 16)
                assert more, self._rest
                self._rest += more
        raise AssertionError(f"no event {event} {fields} in {PATIENCE} s")

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def flip(path: Path, at: int = 5) -> bytes:
    """Change one byte of a file; what it held before."""
    before = path.read_bytes()
    path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
    return before
