"""Forget a log that was removed on purpose: what its agent remembers of the place goes, and that is noted.

What is remembered is what shows a log that was made anew, so this leaves a line in `STATE_DIR/forgotten`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from epochseal.encoding import encode_json
from epochseal.errors import StorageError
from epochseal.sealing.log_state import LogState
from epochseal.sealing.page_store import PageStore
from epochseal.storage.durable import DirectoryLock, sync_directory
from epochseal.storage.own_files import OWN_MODE

RECORD = "forgotten"
"""The file in the state directory that says what was forgotten."""


class ForgottenLog(msgspec.Struct, frozen=True):
    """A line of that file: `time` in ms since 1970; log and root in base64, empty where only a page was."""

    time: int
    who: str
    place: str
    log: str
    size: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Where an agent remembers; None: it does not."""

    state_dir: Path | None
    runtime_dir: Path | None


def forget_log(logdir: Path, remembered: Remembered, who: str, now: int) -> ForgottenLog | None:
    """Remove what is remembered of the log in `logdir`; None if nothing was.

    Args:
        logdir: need not be there any more.
        remembered: the directories of its agent.
        who: does it, as they say.
        now: in ms since 1970.

    Raises:
        LogBusy: an agent runs.
        ConfigError: a directory is not ours alone, or no tmpfs where one is needed.
        StorageError: something cannot be removed.
    """
    with ExitStack() as stack:
        if logdir.is_dir():
            stack.enter_context(DirectoryLock(logdir))
        record = ForgottenLog(now, who, os.path.abspath(logdir), "", 0, "")  # noqa: PTH100  # as it was named
        found = False
        if remembered.state_dir is not None and remembered.state_dir.is_dir():
            memory = LogState.open(remembered.state_dir, logdir, keep_carry=True)
            stack.callback(memory.close)
            if memory.state is not None:
                state = memory.state
                record = msgspec.structs.replace(record, log=state.log, size=state.size, root=state.root)
                found = True
                # Noted first: what is gone could not be noted any more.
                _note(remembered.state_dir / RECORD, record)
            memory.forget()
        if remembered.runtime_dir is not None:
            found |= PageStore.forget(remembered.runtime_dir, logdir)
        return record if found else None


def _note(path: Path, record: ForgottenLog) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, OWN_MODE)
        try:
            os.write(descriptor, encode_json(record) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}") from exc
    sync_directory(path.parent)
