"""One tree of errors; every message says what, where and what to do (the hint)."""

from __future__ import annotations

import errno


class EpochsealError(Exception):
    """Base of all errors that epochseal raises on purpose.

    Args:
        message: what is wrong and where, lower case, without a full stop.
        hint: what the reader can do about it, or None.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(EpochsealError):
    """A command line, URI or setting cannot be used as given."""


class FormatError(EpochsealError):
    """Stored or received text is not in its one canonical form (docs/format.md)."""


class VerificationError(EpochsealError):
    """A signature, tag, proof or digest does not hold."""


class LogBusy(EpochsealError):
    """Another agent holds the log directory."""


class StorageError(EpochsealError):
    """A file of the log or of the runtime directory cannot be read or written."""


class BackendError(EpochsealError):
    """A key backend did not do what was asked of it."""


class Unavailable(BackendError):
    """The backend cannot be reached or is overloaded: the call may be repeated later."""


class Denied(BackendError):
    """The backend refuses this role: the message names the missing permission."""


class CredentialRefused(Denied):
    """The backend refuses the credential itself: each further try may lock it, for others too."""


class WrongKey(BackendError):
    """The backend answered that the wrapped secret does not belong to this key or context."""


def cannot_listen(address: str, exc: OSError, hint: str) -> EpochsealError:
    """The error of a program that wants to listen there.

    An address that is taken now may be free in a moment, and a restart may mend it; nothing else it mends.
    """
    kind = StorageError if exc.errno == errno.EADDRINUSE else ConfigError
    return kind(f"cannot listen on {address}: {exc.strerror}", hint)
