"""Make the directory usable in which an agent remembers its logs (docs/operation.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from epochseal.config.state_dir import StateDir, check_outside
from epochseal.errors import ConfigError, StorageError
from epochseal.storage.durable import make_directory
from epochseal.storage.own_files import OWN_FOLDER_MODE, check_own_folder


def ready_state_dir(state: StateDir, logdir: Path, without: Callable[[str], None]) -> Path | None:
    """The directory, made if it was missing; None: nothing is remembered of this log.

    Args:
        state: as it was named, or the default.
        logdir: of the log that is to be remembered.
        without: is told why a default cannot be used; the log is then sealed without a memory.

    Raises:
        ConfigError: it lies in the log's directory; or it was named and is not ours alone to write.
        StorageError: it was named and cannot be made.
    """
    if state.path is None:
        if not state.named:
            without("this user has no home directory")
        return None
    check_outside(state.path, logdir)
    try:
        _make_usable(state.path)
    except (ConfigError, StorageError) as exc:
        if state.named:
            raise
        without(str(exc))
        return None
    return state.path


def _make_usable(path: Path) -> None:
    make_directory(path, OWN_FOLDER_MODE)
    # A unit whose user is made for it has a link here; what it leads to is what must be ours.
    check_own_folder(Path(os.path.realpath(path)))
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(f"{path} cannot be written", "check its owner and mode")
