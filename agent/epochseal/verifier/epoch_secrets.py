"""The secrets of the epochs that are about to be checked, recovered many at a time.

A call costs a backend nearly the same for one secret as for a hundred, and which epochs will be checked next
is known. So the one that is asked for is fetched together with those behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epochseal.custody.memory import SecretPage
from epochseal.encoding import b64decode
from epochseal.errors import BackendError, FormatError, WrongKey
from epochseal.format.seal_lines import Header
from epochseal.keys import SECRET_SIZE, Context, Recoverer, WrappedSecret

Recoverers = Recoverer | Sequence[Recoverer]
"""One epoch key, or all those that a log went through."""

FETCHED = 100
"""Secrets that are fetched at a time, and so the most that wait."""


class NoKeyError(Exception):
    """The epoch's tags cannot be checked; `kind` is the problem that this is."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class _Fetched(msgspec.Struct, frozen=True):
    """The secret of an epoch and what it is bound to, or why there is none."""

    header: Header
    context: Context | None = None
    secret: memoryview | None = None
    error: BackendError | FormatError | None = None


class EpochSecrets:
    """What recovers, each key for the epochs that bear its own ids, and the secrets that were fetched."""

    def __init__(self, recoverers: Recoverers) -> None:
        self._recoverers = recoverers if isinstance(recoverers, Sequence) else (recoverers,)
        self._page = SecretPage(FETCHED * SECRET_SIZE)
        self._expected: Sequence[Header] = ()
        self._next = 0
        # By the header itself, not by what it says: a log may hold the same epoch line twice.
        self._fetched: dict[int, _Fetched] = {}

    def expect(self, headers: Sequence[Header]) -> None:
        """Say which epochs will be asked for, in this order; some of them may be left out."""
        self._expected, self._next = headers, 0

    def take(self, header: Header, into: memoryview) -> Context:
        """Move the secret of this epoch into `into`, 32 bytes; returns what it is bound to.

        Raises:
            NoKeyError: its key was not named, or the secret does not belong to it.
            BackendError: the backend failed otherwise than by refusing the secret as wrong.
        """
        if self._recoverer_of(header) is None:
            raise NoKeyError("unknown_key", f"the epoch key {header.key} was not named")
        if id(header) not in self._fetched:
            self._fetch(self._ahead(header))
        found = self._fetched.pop(id(header))
        if isinstance(found.error, WrongKey | FormatError):
            raise NoKeyError("key_refused", f"epoch {header.epoch}: {found.error}") from found.error
        if found.error is not None:
            found.error.args = (f"epoch {header.epoch}: {found.error}",)
            raise found.error
        assert found.secret is not None and found.context is not None  # noqa: S101, PT018  # there is no error
        into[:] = found.secret
        found.secret[:] = bytes(SECRET_SIZE)
        return found.context

    def wipe(self) -> None:
        """Forget what was fetched and not taken."""
        self._page.wipe()
        self._fetched.clear()

    def _recoverer_of(self, header: Header) -> Recoverer | None:
        """The first one that opens what bears this id."""
        return next((item for item in self._recoverers if item.recognizes(header.key)), None)

    def _ahead(self, header: Header) -> Sequence[Header]:
        """This one, and those that will be asked for next."""
        for place in range(self._next, len(self._expected)):
            if self._expected[place] is header:
                self._next = place + FETCHED
                return self._expected[place : self._next]
        return (header,)

    def _fetch(self, headers: Sequence[Header]) -> None:
        """Fetch each of them once, however the keys alternate: no log may cost more calls than that."""
        self.wipe()
        by_key: dict[int, tuple[Recoverer, list[tuple[Header, WrappedSecret]]]] = {}
        for header in headers:
            if (recoverer := self._recoverer_of(header)) is None:
                continue
            try:
                asked = _as_asked(header)
            except FormatError as exc:
                self._fetched[id(header)] = _Fetched(header, error=exc)
            else:
                by_key.setdefault(id(recoverer), (recoverer, []))[1].append((header, asked))
        start = 0
        for recoverer, group in by_key.values():
            into = self._page.view[start : start + SECRET_SIZE * len(group)]
            start += SECRET_SIZE * len(group)
            errors: Sequence[BackendError | None]
            try:
                errors = recoverer.recover_many([asked for _, asked in group], into)
            except BackendError as exc:
                # It is raised for the first of them that is asked for: the epochs before that are good.
                errors = [exc] * len(group)
            for place, ((header, asked), error) in enumerate(zip(group, errors, strict=True)):
                secret = into[SECRET_SIZE * place : SECRET_SIZE * (place + 1)]
                self._fetched[id(header)] = _Fetched(header, asked.context, secret, error)


def _as_asked(header: Header) -> WrappedSecret:
    """What is to be recovered for an epoch.

    Raises:
        FormatError: the header says something that no secret is bound to.
    """
    log, tag = b64decode(header.log, "log"), b64decode(header.asked.tag, "asked")
    context = Context(header.origin, log, header.epoch, tag)
    return WrappedSecret(b64decode(header.wrapped, "wrapped"), context, header.key)
