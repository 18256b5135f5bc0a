"""Where an agent remembers its logs outside of their directories: as it was named, or by default."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from epochseal.errors import ConfigError

NO_STATE = "none"
"""What is written to have nothing remembered."""


class StateDir(msgspec.Struct, frozen=True):
    """The directory that holds a folder for each log.

    Attributes:
        path: None: nothing is remembered.
        named: whether somebody named it, so that it must be usable; a default that is not is done without.
    """

    path: Path | None
    named: bool = True

    def __str__(self) -> str:
        """As somebody would write it."""
        return NO_STATE if self.path is None else str(self.path)


def parse_state_dir(text: str) -> StateDir:
    """What somebody wrote: a path, or `none`.

    Raises:
        ConfigError: it is empty.
    """
    if not text:
        raise ConfigError("a directory has a name", f"write {NO_STATE} to have nothing remembered")
    return StateDir(None if text == NO_STATE else Path(text))


def default_state_dir() -> StateDir:
    """That of the systemd unit, or else of this user; none for a user without a home."""
    if unit := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return StateDir(Path(unit), named=False)
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    # As the specification of these folders says: a relative one is as if there were none.
    if not state.is_absolute():
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError:
            return StateDir(None, named=False)
    return StateDir(state / "epochseal", named=False)


def check_outside(state_dir: Path, logdir: Path) -> None:
    """Refuse to remember a log in its own directory, where whoever changes one changes the other.

    Raises:
        ConfigError: `state_dir` is `logdir`, or lies in it, by the real paths of both.
    """
    state, log = os.path.realpath(state_dir), os.path.realpath(logdir)
    if os.path.commonpath((state, log)) == log:
        raise ConfigError(
            f"the state directory {state_dir} lies in the log directory {logdir}",
            f"name one outside of it, or {NO_STATE}: it is held against what lies there",
        )
