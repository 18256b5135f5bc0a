"""Whose files a log's are: only the user who has sealed a log goes on with it.

A file that root leaves in another user's log is one that the agent cannot append to at its next start.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterable
from pathlib import Path

from epochseal.errors import ConfigError
from epochseal.storage.segments import CHECKPOINT_FILE, list_segments


def check_owner(logdir: Path) -> None:
    """Refuse to go on with a log whose last files are another user's.

    Raises:
        ConfigError: they are; nothing was touched.
        StorageError: the directory cannot be read.
    """
    segments = list_segments(logdir).segments
    last = segments[-1].files() if segments else []
    if not (strange := others_files(logdir, [*last, logdir / CHECKPOINT_FILE])):
        return
    path, owner = strange[0], user_name(strange[0].lstat().st_uid)
    here = user_name(os.geteuid())
    hint = f"run it as {owner}: sudo -u {owner} epochseal …"
    if os.geteuid() != 0:
        hint = f"if a command was run as {owner} here: chown {here} {path}, after looking at what it is"
    raise ConfigError(
        f"{path} belongs to {owner}, and this runs as {here}: a log is sealed by one user alone", hint
    )


def others_files(logdir: Path, paths: Iterable[Path]) -> list[Path]:
    """Those of the files that belong to another user than a file that is made in `logdir` now."""
    here = os.geteuid()
    owners = {path: owner for path in paths if (owner := _owner(path)) not in {None, here}}
    # Only where there is a doubt: it makes a file.
    ours = _owner_of_new_files(logdir) if owners else here
    return [path for path, owner in owners.items() if owner != ours]


def user_name(number: int) -> str:
    """The name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _owner_of_new_files(logdir: Path) -> int:
    """As the file system says: a network share may give root's files to another user (root_squash)."""
    try:
        with tempfile.TemporaryFile(dir=logdir, buffering=0) as file:
            return os.fstat(file.fileno()).st_uid
    except OSError:
        return os.geteuid()
