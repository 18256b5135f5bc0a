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
            monitor.kill()


class Running:
    """A monitor as a process, and the events that it has told; `code` is run in the place of the program."""

    def __init__(self, config: Path, code: str | None = None) -> None:
        program = [PROGRAM] if code is None else [sys.executable, "-c", code]
        self.process = subprocess.Popen(
            [*program, "monitor", "--config", str(config)],
            stderr=subprocess.PIPE,
            bufsize=0,
            # As a service has it: the machine is shared among sessions.
            start_new_session=True,
        )
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._passed = 0

    def wait(self, event: str, patience: float = PATIENCE, **fields: object) -> dict[str, Any]:
        """The next event of this name with these fields; those before it are passed over."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            while self._passed < len(self._events):
                told = self._events[self._passed]
                self._passed += 1
                if told["event"] == event and fields.items() <= told.items():
                    return told
            self._read(deadline - time.monotonic())
        raise AssertionError(f"no event {event} {fields} in {patience} s")

    def events(self) -> list[dict[str, Any]]:
        """All until now."""
        while self._read(0):
            pass
        return self._events

    def _read(self, timeout: float) -> bool:
        assert self.process.stderr is not None
        if not select.select([self.process.stderr], [], [], max(timeout, 0))[0]:
            return False
        more = os.read(self.process.stderr.fileno(), 1 << 16)
        if not more:
            time.sleep(0.02)
            return False
        *lines, self._rest = (self._rest + more).split(b"\n")
        self._events += map(json.loads, lines)
        return True

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def flip(path: Path, at: int = 5) -> bytes:
    """Change one byte of a file; what it held before."""
    before = path.read_bytes()
    path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
    return before
