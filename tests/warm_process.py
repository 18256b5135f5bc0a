"""A running `epochseal`, forked from the warm server (tests/warm_program.py): for tests that start many.

It is signalled, killed and waited for as a `subprocess.Popen`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import BinaryIO

from tests.warm_program import server


class WarmProcess:
    """The program; what it says on stderr goes where the caller wants it.

    Args:
        words: `epochseal` is not one of them.
        cwd: where it runs.
        stderr: a descriptor, which stays open here.
        more_env: what its environment has besides this one.
        piped: `stdin` and `stdout` are pipes to it. Otherwise nothing is on its input, and what it prints
            goes to `stderr`.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        stderr: int,
        more_env: Mapping[str, str] | None = None,
        *,
        piped: bool = False,
    ) -> None:
        self._words = list(words)
        self.stdin: BinaryIO | None = None
        self.stdout: BinaryIO | None = None
        env = {**os.environ, **(more_env or {})}
        asked = {"words": self._words, "env": env, "cwd": str(cwd), "memory": None}
        self._answers, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs, ExitStack() as opened:
            if piped:
                streams = self._pipes(opened)
            else:
                nothing = opened.enter_context(Path(os.devnull).open("rb"))
                streams = [nothing.fileno(), stderr]
            files = [theirs.fileno(), *streams, stderr]
            socket.send_fds(server(), [json.dumps(asked).encode()], files)
        self.pid = int(self._answers.recv(64))
        self.returncode: int | None = None

    def _pipes(self, opened: ExitStack) -> list[int]:
        """Its ends of two pipes, which are closed here when it has them."""
        stdin, stdout = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(stdin[1], "wb"), os.fdopen(stdout[0], "rb")
        theirs = [stdin[0], stdout[1]]
        for end in theirs:
            opened.callback(os.close, end)
        return theirs

    def send_signal(self, number: int) -> None:
        """Signal it, unless it is known to have ended."""
        # Who waits for it tells its status as soon as it has ended, and its number is free then.
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Its status, less than 0 if a signal ended it; None while it runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self._take()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its status, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, in so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise TimeoutExpired(self._words, timeout)
            return self._take()
        return self.returncode

    def _take(self) -> int:
        self.returncode = int(self._answers.recv(64))
        self._answers.close()
        return self.returncode
