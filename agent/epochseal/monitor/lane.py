"""A child process that examines logs, one job after the other; each batch in a child of its own, which ends.

The lane is forked before this process has a thread, and never holds a key: it only waits for work. For each
batch it forks a child, which logs in to the backend, recovers secrets, verifies, tells what it found, and
ends. So what a backend's library leaves in memory ends with the batch, memory does not grow with the number
of logs, and a log at which a child dies costs the rest of its batch nothing.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Literal, TypeAlias

from epochseal.custody.memory import die_with_parent, harden_process
from epochseal.monitor.examination import Job, Outcome, examine_log

Message: TypeAlias = (
    tuple[Literal["progress"], int, int, int]
    | tuple[Literal["outcome"], int, Outcome]
    | tuple[Literal["ended"], int]
)
"""What a lane tells: of job N of the batch how far it is, or what was found; or how the child ended."""


class Lane:
    """One such process; `close` ends it."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        ends = theirs, self.connection
        self._process = context.Process(target=_serve, args=(*ends, os.getpid()), name=f"monitor-{name}")
        self._process.start()
        theirs.close()
        self.busy = False

    def start(self, jobs: Sequence[Job]) -> None:
        """Begin with a batch; the lane must not be busy."""
        self.busy = True
        self.connection.send(list(jobs))

    def take(self) -> Message:
        """The next message; waits for it.

        Raises:
            EOFError: the lane is gone.
        """
        message: Message = self.connection.recv()
        if message[0] == "ended":
            self.busy = False
        return message

    def close(self) -> None:
        """End it, and what it is doing: nothing is lost by that."""
        with suppress(OSError):
            self.connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, theirs: Connection, parent: int) -> None:
    theirs.close()
    die_with_parent(parent)
    # A terminal sends its signals to all of us: the monitor decides when it is time to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What is there now is there for good: no child copies memory in order to look through it.
    gc.freeze()
    while True:
        try:
            jobs: list[Job] = connection.recv()
        except (EOFError, OSError):
            return
        own = os.getpid()
        if (child := os.fork()) == 0:
            os._exit(_work(jobs, connection, own))
        _, status = os.waitpid(child, 0)
        with suppress(OSError):
            connection.send(("ended", os.waitstatus_to_exitcode(status)))


def _work(jobs: list[Job], connection: Connection, parent: int) -> int:
    try:
        die_with_parent(parent)
        harden_process()
        for place, job in enumerate(jobs):

            def progress(done: int, total: int, place: int = place) -> None:
                connection.send(("progress", place, done, total))

            connection.send(("outcome", place, examine_log(job, progress)))
    except BaseException:  # noqa: BLE001  # the child of a fork must not go on as the program that it was
        return 1
    return 0
