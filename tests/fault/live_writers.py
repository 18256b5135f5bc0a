"""Real agents that write, turn, close, are killed and stalled, start again, compress, expire and rotate keys.

Each keeps one log and never rests; what reads the logs meanwhile is live_readers.py.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.integration.logs import LogKeys
from tests.warm_process import WarmProcess
from tests.warm_program import run_text

_PATIENCE = 120.0
# What there is beside `segments` while a log file is compressed, and while the folder is exchanged.
_INSIDE = (".packed", ".segments.new")
_INSIDE_SECONDS = 6.0


@dataclass(frozen=True)
class Life:
    """What becomes of an agent, by chance; `ends` are the signals that one of its runs ends by.

    Every second SIGKILL, and a stall, waits for the agent to be inside a compression. A run takes between
    `seconds`; its entries come so many times slower as `slowness` says.
    """

    name: str
    ends: tuple[signal.Signals, ...]
    keep: str
    compress: str = "gzip"
    page: bool = True
    rotates: bool = False
    stalls: bool = False
    seconds: tuple[float, float] = (1.0, 8.0)
    slowness: float = 1.0


LIVES = (
    Life("closed", (signal.SIGTERM,), "3s"),
    Life("killed", (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM), "6s", stalls=True),
    Life("rotated", (signal.SIGTERM,), "12s", rotates=True),
    Life("pageless", (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM), "2s", "zstd", page=False),
)
"""Of `pageless` every kill is a gap, which the log shows until it has expired."""


class LiveLog:
    """One log, its keys, and the agent that is started again and again."""

    def __init__(self, folder: Path, runtime: Path, life: Life, seed: int) -> None:
        self.life = life
        self.folder = folder
        self.log = folder / "log"
        self.ring: list[LogKeys] = []
        self._add_keys()
        self.done: Counter[str] = Counter()
        self.said = ""
        self._runtime = runtime
        self._chance = random.Random(seed)  # a test that can be done again
        self._signer = self._issuer = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name=life.name)
        self.failure: BaseException | None = None
        # Held while no agent runs: whoever takes it has one that neither ends nor starts meanwhile.
        self.steady = threading.Lock()
        self._holds = False

    @property
    def signer(self) -> LogKeys:
        """The checkpoint key of now."""
        return self.ring[self._signer]

    @property
    def verifier_keys(self) -> list[str]:
        """What a verifier is given: all epoch keys, and the checkpoint key of now."""
        words = [
            word for keys in self.ring for word in ("--epoch-key", f"file:{keys.directory / 'verifier'}")
        ]
        return [*words, "--checkpoint-key", f"file:{self.signer.directory / 'auditor'}"]

    def start(self) -> None:
        """Begin; the log is there when this returns, and is written."""
        self._thread.start()
        deadline = time.monotonic() + _PATIENCE
        while not ((self.log / "checkpoint").exists() and self.done["entries"]):
            assert time.monotonic() < deadline, f"{self.life.name}: nothing is sealed"
            assert self.failure is None, repr(self.failure)
            time.sleep(0.05)

    def stop(self) -> None:
        """Close the log, and end; `failure` says why it had ended before, if it had."""
        self._over.set()
        self._thread.join(_PATIENCE)

    def _live(self) -> None:
        self._hold()
        try:
            while not self._over.is_set():
                self._run_once()
                if self.life.rotates and not self._over.is_set():
                    self._rotate()
        except BaseException as exc:  # noqa: BLE001  # whoever started it is told
            self.failure = exc
        finally:
            self._let_go()

    def _hold(self, *, wait: bool = True) -> bool:
        self._holds = self._holds or self.steady.acquire(blocking=wait)
        return self._holds

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            self.steady.release()

    def _add_keys(self) -> int:
        """A folder of new keys; its number. A log never goes back to a key that it has replaced."""
        number = len(self.ring)
        keys = LogKeys(self.folder / f"keys{number}", f"live {number}")
        keys.write()
        self.ring = [*self.ring, keys]
        return number

    def _configure(self) -> None:
        life, text = self.life, f'runtime_dir = "{self._runtime}"\n' if self.life.page else ""
        text += (
            f'epoch_key = "file:keys{self._issuer}/agent"\ncheckpoint_key = "file:keys{self._signer}/agent"\n'
        )
        text += (
            'state_dir = "state"\nepoch_interval = "2s"\nepoch_max_entries = 20\ncommit_interval = "1ms"\n'
        )
        text += f'segment_bytes = "6KiB"\nkeep = "{life.keep}"\ncompress = "{life.compress}"\n'
        text += '[[log]]\ndir = "log"\norigin = "example.com/live"\n'
        text += '[[log.source]]\nkind = "unix-stream"\npath = "sock"\n'
        (self.folder / "epochseal.toml").write_text(text, encoding="utf-8")

    def _run_once(self) -> None:
        """One run of the agent, under load, up to a signal."""
        self._configure()
        with (self.folder / "stderr").open("ab") as stderr:
            words = ["run", "--config", "epochseal.toml"]
            process = WarmProcess(words, self.folder, stderr.fileno())
        try:
            end = self._chance.choice(self.life.ends)
            inside = end == signal.SIGKILL and self._chance.random() < 0.5
            self._load(process, self._chance.uniform(*self.life.seconds), inside=inside)
            self._hold()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM if self._over.is_set() else end)
                self.done[end.name] += 1
            status = process.wait(_PATIENCE)
            if status == -signal.SIGKILL:
                self.done.update(f"killed with {name}" for name in _INSIDE if (self.log / name).exists())
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(_PATIENCE)
        self.said = (self.folder / "stderr").read_text(encoding="utf-8")
        if status == 6 and "before the stop" in self.said.splitlines()[-1]:
            # Where an epoch had its most entries, and this machine no time for the next key.
            self.done["not all sealed"] += 1
        # A signal may come before the agent listens to it.
        elif status not in (0, -signal.SIGKILL, -signal.SIGTERM):
            raise AssertionError(f"{self.life.name}: the agent ended with {status}: {self.said[-2000:]}")

    def _load(self, process: WarmProcess, seconds: float, *, inside: bool) -> None:
        """Entries for so long from the first one on, with pauses; some stalls of the whole agent.

        With `inside` up to the next moment at which it is in the middle of a compression.
        """
        until = 0.0
        while process.poll() is None and not self._over.is_set():
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.settimeout(5)
                client.connect(os.path.relpath(self.folder / "sock"))
                until = until or time.monotonic() + seconds
                self._let_go()
                while not self._over.is_set() and not (time.monotonic() >= until and self._hold(wait=False)):
                    self._send(client)
                    if self.life.stalls and self._chance.random() < 0.05:
                        self._stall(process)
            if self._holds and until:
                if inside:
                    self._wait_inside()
                return
            time.sleep(0.02)

    def _wait_inside(self) -> bool:
        """Up to the middle of a compression; whether it came."""
        deadline = time.monotonic() + _INSIDE_SECONDS
        while time.monotonic() < deadline and not self._over.is_set():
            if any(os.path.lexists(self.log / name) for name in self._chance.sample(_INSIDE, 1)):
                return True
            time.sleep(0.0005)
        return False

    def _send(self, client: socket.socket) -> None:
        count = self._chance.randrange(1, 12)
        client.sendall(
            b"".join(b"an entry of %4d bytes: %s\n" % (size, b"x" * size) for size in range(count))
        )
        self.done["entries"] += count
        time.sleep(self.life.slowness * self._chance.choice((0.0, 0.01, 0.05, 0.1)))

    def _stall(self, process: WarmProcess) -> None:
        """Wherever it stands: in the middle of a turn, of an exchange, of making a file pair."""
        self.done["stalls in a compression"] += self._chance.random() < 0.3 and self._wait_inside()
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._chance.choice((0.05, 0.2, 4.0)))
        process.send_signal(signal.SIGCONT)
        self.done["stalls"] += 1

    def _rotate(self) -> None:
        """Another checkpoint key, or another epoch key."""
        signer, issuer = self._signer, self._issuer
        if self._chance.random() < 0.5:
            signer = self._add_keys()
            option = "--checkpoint-key", f"file:keys{signer}/agent"
        else:
            issuer = self._add_keys()
            option = "--epoch-key", f"file:keys{issuer}/agent"
        words = ["rotate", "--config", "epochseal.toml", "--reason", "a test", "--who", "alice", *option]
        done = run_text(words, cwd=self.folder, timeout=_PATIENCE)
        assert done.returncode == 0, done.stderr
        self._signer, self._issuer = signer, issuer
        self.done["rotations"] += 1
