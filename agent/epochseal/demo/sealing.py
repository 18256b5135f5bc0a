"""The real commands, started as a visitor would start them; and the real verifier, in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from epochseal.demo.stage import DemoError
from epochseal.keys import Recoverer, load_backend, parse_key_uri
from epochseal.verifier import Request, Verdict, verify

ORIGIN = "example.com/demo"
_COMMAND = (sys.executable, "-P", "-m", "epochseal")
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run(directory: Path, *words: str, stdin: bytes = b"") -> Done:
    """Run `epochseal WORDS…` in `directory`; nothing is checked."""
    done = subprocess.run(  # noqa: S603  # this program, with arguments of our own
        [*_COMMAND, *words],
        cwd=directory,
        env=_environment(directory),
        input=stdin,
        capture_output=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _environment(directory: Path) -> dict[str, str]:
    """What agent and verifier remember stays with the demo: the visitor's own memory is left alone."""
    mine = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
    return {**mine, "XDG_STATE_HOME": str(directory / "state")}


def seal_words(logdir: str, *more: str, keys: str = "keys") -> tuple[str, ...]:
    """The arguments of the demo's `seal` commands: small epochs and segments, so that many of them go by."""
    return (
        "seal",
        logdir,
        "--origin",
        ORIGIN,
        "--epoch-key",
        f"file:{keys}/agent",
        "--checkpoint-key",
        f"file:{keys}/agent",
        "--epoch-max-entries",
        "500",
        "--segment-bytes",
        "256KiB",
        "--block-bytes",
        "1KiB",
        "--commit-interval",
        "10ms",
        *more,
    )


class AgentProcess:
    """A running `epochseal seal`.

    Attributes:
        acknowledged: the durable entries of the log that the agent has told so far; 0 without `--acks`.
    """

    def __init__(self, directory: Path, words: tuple[str, ...], stdin: int) -> None:
        self.acknowledged = 0
        self._told = threading.Condition()
        self._process = subprocess.Popen(  # noqa: S603  # this program, with arguments of our own
            [*_COMMAND, *words],
            cwd=directory,
            env=_environment(directory),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        """The agent's process id."""
        return self._process.pid

    def wait_for(self, entries: int) -> None:
        """Wait until `entries` entries of the log are acknowledged.

        Raises:
            DemoError: the agent has ended before, or takes too long.
        """
        with self._told:
            if not self._told.wait_for(
                lambda: self.acknowledged >= entries or not self._listener.is_alive(), _TIMEOUT
            ):
                raise DemoError(f"the agent has acknowledged {self.acknowledged} entries, not {entries}")
        if self.acknowledged < entries:
            raise self._failure()

    def finish(self) -> str:
        """Wait until the agent has closed the log at the end of its input; what it said on the way.

        Raises:
            DemoError: it ended with another status than 0.
        """
        try:
            self._process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired as exc:
            raise DemoError("the agent does not end though its input has") from exc
        if self._process.returncode:
            raise self._failure()
        return self._said()

    def kill(self) -> None:
        """`kill -9`; every acknowledgement that it wrote before has been heard when this returns."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._listener.join()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            with self._told:
                # An agent that was killed may have written only half of a number.
                if line.endswith("\n"):
                    self.acknowledged = int(line)
                self._told.notify_all()
        with self._told:
            self._told.notify_all()

    def _said(self) -> str:
        return self._process.stderr.read() if self._process.stderr is not None else ""

    def _failure(self) -> DemoError:
        status = self._process.wait(_TIMEOUT)
        return DemoError(f"the agent ended with status {status}: {self._said().strip()}")


class Checker:
    """The verifier with this demo's keys.

    Args:
        keys: the folder that `keygen` made.
    """

    def __init__(self, keys: Path) -> None:
        self._recover = parse_key_uri(f"file:{keys / 'verifier'}")
        auditor = parse_key_uri(f"file:{keys / 'auditor'}")
        self._public = load_backend(auditor).public_key(auditor, {})

    def check(
        self, logdir: Path, *, max_age: int | None = None, public: bool = False
    ) -> tuple[Verdict, float]:
        """The verdict on a log, with all keys or with the public one alone, and the seconds that it took."""
        began = time.perf_counter()
        request = Request(
            make_recoverer=None if public else self._recoverer, checkpoint_key=self._public, max_age=max_age
        )
        return verify(logdir, request), time.perf_counter() - began

    def _recoverer(self) -> Recoverer:
        return load_backend(self._recover).recoverer(self._recover, {})
