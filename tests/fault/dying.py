"""A command that is killed by SIGKILL at one of its durable steps, in a child of the test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from epochseal.cli.program import main
from epochseal.custody.ratchet_page import RatchetPage
from epochseal.sealing.log_state import LogState
from epochseal.storage.durable import AppendFile, replace_file, sync_directory
from epochseal.storage.segments import SegmentWriter


class Steps:
    """Counts durable steps; at one of them this process is gone.

    Args:
        victim: the number of the step, from 0.
        half: do half of it first, if it is an append.
        only: the steps to count, as "append .log"; None for all.
    """

    def __init__(self, victim: int, *, half: bool = False, only: str | None = None) -> None:
        self._victim, self._half, self._only = victim, half, only
        self._count = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put them in the way of every durable step."""
        for name in ("append", "sync", "truncate"):
            patch.setattr(AppendFile, name, self._wrap(name, getattr(AppendFile, name)))
        patch.setattr(RatchetPage, "publish", self._wrap("publish", RatchetPage.publish))
        patch.setattr(Path, "unlink", self._wrap("unlink", Path.unlink))
        patch.setattr("epochseal.sealing.checkpoints.replace_file", self._wrap("replace", replace_file))
        for name, method in (("state", "replace"), ("carry", "write_carry"), ("destroy", "destroy_carry")):
            patch.setattr(LogState, method, self._wrap(name, getattr(LogState, method)))
        patch.setattr(SegmentWriter, "name", self._wrap("pair", SegmentWriter.name))
        patch.setattr("epochseal.upkeep.retention.sync_directory", self._wrap("sync", sync_directory))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(first: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401  # stands for eleven functions
            label = name
            if isinstance(first, AppendFile):
                label += f" {first.path.suffix}"
            elif isinstance(first, Path):
                label += f" {first.suffix}"
            if self._only in {None, label}:
                if self._count == self._victim:
                    if self._half and name == "append":
                        real(first, rest[0][: len(rest[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                self._count += 1
            return real(first, *rest, **named)

        return step


def run_dying(words: Sequence[str], steps: Steps, data: bytes = b"") -> int:
    """Run `epochseal` with these words; its exit status, or less than 0 if it was killed."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    pid = os.fork()
    if pid == 0:
        _run(words, steps, read)
    os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(words: Sequence[str], steps: Steps, stdin: int) -> None:
    status = 70
    try:
        os.dup2(stdin, 0)
        sys.argv = ["epochseal", *words]
        steps.install(pytest.MonkeyPatch())
        main()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 70
    finally:
        # Nothing of the test's own process may run on in its copy.
        os._exit(status)
