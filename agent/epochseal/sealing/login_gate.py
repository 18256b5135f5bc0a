"""One login to a key backend, for all logs of this process that share it: a wrong one is given rarely.

Servers and tokens count wrong credentials, and lock the role, the token or a whole TPM after some: OpenBao
after 5 within 15 minutes, a TPM after 3. An agent of many logs would reach that by one mistake, if each of
them tried. So a credential that has not been good for anything yet is tried by one log at a time, and one
that was refused by none until it is time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from epochseal.errors import CredentialRefused
from epochseal.keys import BackendSettings, KeyURI, settings_of

CHANGED_SECONDS = 60.0
SAME_SECONDS = 1200.0
"""Seconds from a refusal to the next try: of a credential whose file was changed meanwhile, and of the same.

It is for a person to act. So a running agent gives a wrong one three times an hour, and once within the 15
minutes in which servers count: with a doctor and a start beside it, it locks nobody. A TPM forgives a wrong
PIN sooner than the next one comes."""
_LOOK_AGAIN = 0.25


class LoginGate:
    """Says when a log may make a call that logs in with this credential; from any thread.

    Args:
        monotonic: seconds that never go back.
        jitter: gives a number from 0 to 1.
        files: where the credential stands, if in files.
    """

    def __init__(
        self, monotonic: Callable[[], float], jitter: Callable[[], float], files: tuple[Path, ...] = ()
    ) -> None:
        self._monotonic, self._jitter, self._files = monotonic, jitter, files
        self._lock = Lock()
        self._good = False
        self._if_changed = self._if_same = 0.0
        self._refused_files: list[tuple[int, int, int]] = []
        self._trying: object | None = None
        self._error: CredentialRefused | None = None

    def free_at(self, log: object) -> float:
        """The moment before which this log is not to make a call."""
        with self._lock:
            return self._free_at(log)

    def enter(self, log: object) -> bool:
        """Take it for a call of this log, if it is free; whether it was."""
        with self._lock:
            free = self._monotonic() >= self._free_at(log)
            self._trying = log if free else self._trying
            return free

    def leave(self, log: object) -> None:
        """The call of this log came to nothing, and shows nothing of the credential."""
        with self._lock:
            self._trying = None if self._trying is log else self._trying

    def accepted(self, log: object) -> None:
        """The credential was good for the call of this log: every log may use it."""
        self.leave(log)
        with self._lock:
            self._good, self._error = True, None
            self._if_changed = self._if_same = 0.0

    def refused(self, log: object, error: CredentialRefused) -> None:
        """The backend refused the credential."""
        self.leave(log)
        with self._lock:
            self._error = error
            now, jitter = self._monotonic(), 1 + self._jitter() / 4
            self._good = False
            self._if_changed, self._if_same = now + CHANGED_SECONDS * jitter, now + SAME_SECONDS * jitter
            self._refused_files = self._stamps()

    def refusal(self, log: object) -> CredentialRefused | None:
        """Why the credential was refused, while it is not to be tried again; None if it may be tried."""
        with self._lock:
            if self._error is None or self._monotonic() >= self._free_at(log):
                return None
            return CredentialRefused(str(self._error), self._error.hint)

    def _free_at(self, log: object) -> float:
        if self._good:
            return 0.0
        if self._trying not in {None, log}:
            return self._monotonic() + _LOOK_AGAIN
        return self._if_changed if self._stamps() != self._refused_files else self._if_same

    def _stamps(self) -> list[tuple[int, int, int]]:
        """What changes when somebody writes another credential into its file, or puts another file there."""
        return [_stamp(path) for path in self._files]


class LoginGates:
    """The gates of one process.

    Args:
        monotonic, jitter: as `LoginGate`.
    """

    def __init__(self, monotonic: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._monotonic, self._jitter = monotonic, jitter
        self._gates: dict[tuple[object, ...], LoginGate] = {}

    def of_both(
        self, epoch: KeyURI, checkpoint: KeyURI, settings: BackendSettings
    ) -> tuple[LoginGate, LoginGate]:
        """The gates of a log's two logins: one for all keys of a family that have the same settings."""
        return self._of(epoch, settings), self._of(checkpoint, settings)

    def _of(self, uri: KeyURI, settings: BackendSettings) -> LoginGate:
        own = settings_of(uri, settings)
        files = tuple(Path(text) for name, text in own.items() if name.endswith("_file"))
        gate = LoginGate(self._monotonic, self._jitter, files)
        # Keys in files have no login, and nobody waits for anybody.
        return (
            gate if uri.family is None else self._gates.setdefault((uri.family, *sorted(own.items())), gate)
        )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
