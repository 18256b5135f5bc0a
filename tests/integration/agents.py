"""Real agents for tests: started, fed, signalled and killed as processes, their logs verified."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, Verdict, verify
from tests.integration.logs import ORIGIN, LogKeys, Mode
from tests.warm_process import WarmProcess
from tests.warm_program import run

PROGRAM = str(Path(sys.executable).parent / "epochseal")
_PATIENCE = 180.0


class Place:
    """One log, its keys, a runtime directory and a state directory; the commands that work on it."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.runtime = runtime
        self.state = folder / "state"
        self.keys = LogKeys(folder / "keys")
        self.keys.write()

    @property
    def resuming(self) -> tuple[str, str]:
        """The option that makes a restart go on with the same chain."""
        return "--runtime-dir", str(self.runtime)

    @property
    def remembering(self) -> tuple[str, str]:
        """The option that makes a start behind a clean close go on by the carry."""
        return "--state-dir", str(self.state)

    @property
    def agent_keys(self) -> list[str]:
        """What an agent is given."""
        uri = f"file:{self.keys.directory / 'agent'}"
        return ["--epoch-key", uri, "--checkpoint-key", uri]

    @property
    def verifier_keys(self) -> list[str]:
        """What a verifier is given."""
        keys = self.keys.directory
        return ["--epoch-key", f"file:{keys / 'verifier'}", "--checkpoint-key", f"file:{keys / 'auditor'}"]

    def sealing(self, command: str, *options: str, log: Path | None = None) -> list[str]:
        """A command that seals."""
        words = [PROGRAM, command, str(log or self.log), "--origin", ORIGIN, *self.agent_keys]
        # The last one counts, where the caller names another state directory.
        return [*words, *self.remembering, *options]

    def agent(self, *options: str, log: Path | None = None) -> Agent:
        """Start one; it has said how many entries the log holds, or that it does not vouch for them."""
        words = self.sealing("seal", "--acks", "--commit-interval", "1ms", *options, log=log)
        end = read_chain_end(list_segments(self.log).segments)
        return Agent(words, self.folder / "stderr", sealed=end.entries if end is not None else 0, warm=True)

    def seal(self, data: bytes, *options: str) -> None:
        """Seal a whole input."""
        run(self.sealing("seal", *options)[1:], data=data).check_returncode()

    def run(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run any command to its end."""
        return run(words, data=data)

    def verify(self, mode: Mode = "keys", *, strict: bool = False, jobs: int = 1) -> Verdict:
        """The verdict at this moment."""
        for path in (self.log / "segments").glob("*.seal"):
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path, (0, 0))
        request = Request(
            make_recoverer=self.keys.recoverer if mode == "keys" else None,
            checkpoint_key=self.keys.public,
            origin=ORIGIN,
            strict=strict,
            jobs=jobs,
        )
        return verify(self.log, request)

    def file(self, ending: str, place: int = -1) -> Path:
        """A segment's file, by default the last one's."""
        return sorted((self.log / "segments").glob(f"*.{ending}"))[place]

    def entries(self) -> bytes:
        """What the plain log files hold, in order."""
        return b"".join(path.read_bytes() for item in list_segments(self.log).segments for path in item.logs)

    @property
    def live(self) -> bool:
        """Whether the first epoch runs and its start is signed."""
        seals = list((self.log / "segments").glob("*.seal"))
        return bool(seals) and b"\nnote " in seals[0].read_bytes()

    @property
    def page(self) -> Path:
        """The page of this log's agents."""
        (path,) = self.runtime.glob("*.page")
        return path


@contextmanager
def tmpfs() -> Iterator[Path]:
    """A directory that keys may be kept in."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="epochseal-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Agent:
    """A running `epochseal seal --acks`; killed at the end of its block if it still runs.

    A `warm` one is not loaded anew: it is forked (tests/warm_process.py).
    """

    def __init__(
        self,
        words: Sequence[str],
        stderr: Path,
        env: Mapping[str, str] | None = None,
        *,
        sealed: int = 0,
        warm: bool = False,
    ) -> None:
        self._stderr = stderr
        with stderr.open("wb") as file:
            self.process: subprocess.Popen[bytes] | WarmProcess = (
                WarmProcess(words[1:], Path.cwd(), file.fileno(), piped=True)
                if warm
                else subprocess.Popen(
                    words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=env
                )
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        try:
            self.acknowledged = self._first(sealed)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def send(self, *entries: bytes) -> None:
        """Write entries and wait until they are durable."""
        wanted = self.acknowledged + len(entries)
        self.write(b"".join(entries))
        self.wait_for(wanted)

    def wait_for(self, entries: int) -> None:
        """Wait until so many are durable."""
        while self.acknowledged < entries:
            self.acknowledged = self._next()

    def write(self, data: bytes) -> None:
        """Write without waiting."""
        self._stdin.write(data)
        self._stdin.flush()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(_PATIENCE)

    def stop(self) -> int:
        """Ask it to close the log; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)

    def end(self) -> int:
        """Let its input end; its exit status."""
        self._stdin.close()
        return self.process.wait(_PATIENCE)

    @property
    def said(self) -> str:
        """Its messages so far."""
        return self._stderr.read_text(encoding="utf-8")

    def _first(self, sealed: int) -> int:
        """What it acknowledges at its start; nothing behind a cold link, which it says on stderr instead."""
        silent = ("this start is cold", "the log is not what it was")
        deadline = time.monotonic() + _PATIENCE
        while not select.select([self._stdout], [], [], 0.02)[0]:
            said = self.said
            if any(text in said for text in silent):
                return sealed
            assert time.monotonic() < deadline, said
        return self._next()

    def _next(self) -> int:
        deadline = time.monotonic() + _PATIENCE
        text = b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([self._stdout], [], [], max(deadline - time.monotonic(), 0.0))
            read = os.read(self._stdout.fileno(), 1) if ready else b""
            if not read:
                raise AssertionError(f"the agent acknowledges no more; it said: {self.said}")
            text += read
        return int(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if not self._stdin.closed:
            self._stdin.close()
        self._stdout.close()


def wait_until(condition: Callable[[], object]) -> None:
    """Until something holds, for a limited time."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kinds(verdict: Verdict) -> list[str]:
    """The kinds of the problems, in order."""
    return [problem.kind for problem in verdict.problems]


def warnings(verdict: Verdict) -> list[str]:
    """The kinds of the warnings, in order."""
    return [problem.kind for problem in verdict.warnings]
