"""Exit statuses, the same for every command that checks something."""

from __future__ import annotations

from epochseal.errors import BackendError, ConfigError, EpochsealError, LogBusy, StorageError, VerificationError
from epochseal.sources.stream import EntryTooLongError

VERIFIED, TAMPERED, USAGE, INCOMPLETE, UNTRUSTED, EMPTY, BACKEND = 0, 1, 2, 3, 4, 5, 6


def exit_status(exc: EpochsealError) -> int:
    """The status that an error ends a command with."""
    if isinstance(exc, (ConfigError, EntryTooLongError)):
        return USAGE
    if isinstance(exc, VerificationError):
        return TAMPERED
    if isinstance(exc, (BackendError, LogBusy, StorageError)):
        return BACKEND
    return BACKEND
