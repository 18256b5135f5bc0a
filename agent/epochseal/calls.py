"""Which backend call is under way, when the next may be tried, and which issue calls came to nothing."""

from __future__ import annotations

from collections.abc import Callable

from epochseal.courier import Courier, Zygote
from epochseal.errors import BackendError, Unavailable
from epochseal.keys import Context, Issued, PublicKey
from epochseal.lines import Abandoned, Asked

FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
_DISTINCT_ABANDONED = 16


class BackendCalls:
    """One backend call at a time, through one courier that is let go as soon as there is nothing more to ask.

    An unavailable backend is tried again with a growing, jittered delay. An issue call without an answer may have
    been served all the same, so it is remembered for the next epoch line (`abandoned`).
    """

    def __init__(self, zygote: Zygote, monotonic: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._zygote = zygote
        self._monotonic = monotonic
        self._jitter = jitter
        self._courier: Courier | None = None
        self._kind = ""
        self.retry_at = 0.0
        self.failures = 0
        self.last_error: BackendError | None = None
        self.made = 0
        self.context: Context | None = None
        self.asked: Asked | None = None
        self.abandoned: list[Abandoned] = []

    @property
    def pending(self) -> str:
        """The kind of the call under way: `issue`, `sign`, `key`, or nothing."""
        return self._kind

    def fileno(self) -> int | None:
        """Readable when the call under way has its answer; None where there is no call."""
        return self._courier.fileno() if self._courier is not None and self._kind else None

    def may_start(self) -> bool:
        """Whether no call is under way and no delay is running."""
        return not self._kind and self._monotonic() >= self.retry_at

    def start_key(self) -> PublicKey | None:
        """Ask for the checkpoint key's public half and wait; None when unavailable."""
        self._kind = "key"
        try:
            key = self._open().public_key()
        except Unavailable as exc:
            self._failed(exc)
            return None
        self._done()
        return key

    def start_issue(self, context: Context, asked: Asked) -> None:
        """Ask for an epoch secret; once many different contexts failed, the last one is asked for again."""
        if self.context is None or len(self.abandoned) < _DISTINCT_ABANDONED:
            self.context, self.asked = context, asked
        self._kind = "issue"
        self.made += 1
        try:
            self._open().ask_issue(self.context)
        except Unavailable as exc:
            self._failed(exc)

    def take_issued(self) -> Issued | None:
        """The answer to `start_issue`; None when the backend was unavailable.

        Raises:
            BackendError: any other refusal, which waiting does not mend.
        """
        try:
            issued = self._open().take_issued()
        except Unavailable as exc:
            self._failed(exc)
            self._abandon()
            return None
        self._done()
        return issued

    def start_sign(self, message: bytes) -> None:
        """Ask for a signature."""
        self._kind = "sign"
        self.made += 1
        try:
            self._open().ask_signature(message)
        except Unavailable as exc:
            self._failed(exc)

    def take_signature(self) -> bytes | None:
        """The answer to `start_sign`; None when the backend was unavailable.

        Raises:
            BackendError: as `take_issued`.
        """
        try:
            signature = self._open().take_signature()
        except Unavailable as exc:
            self._failed(exc)
            return None
        self._done()
        return signature

    def adopted(self) -> None:
        """The issued secret went into an epoch: what was abandoned before it stands in that epoch's line."""
        self.context = self.asked = None
        self.abandoned = []

    def rest(self) -> None:
        """Let the courier go."""
        if self._courier is not None:
            self._courier.close()
        self._courier, self._kind = None, ""

    def _open(self) -> Courier:
        if self._courier is None:
            self._courier = self._zygote.courier()
        return self._courier

    def _done(self) -> None:
        self._kind = ""
        self.failures, self.last_error = 0, None

    def _failed(self, exc: Unavailable) -> None:
        self.rest()
        self.failures += 1
        self.last_error = exc
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self.failures - 1, 16))
        self.retry_at = self._monotonic() + delay * (0.5 + self._jitter() / 2)

    def _abandon(self) -> None:
        if self.asked is None:
            return
        for place, item in enumerate(self.abandoned):
            if (item.line, item.tag) == (self.asked.line, self.asked.tag):
                self.abandoned[place] = Abandoned(item.line, item.tag, item.calls + 1)
                return
        self.abandoned.append(Abandoned(self.asked.line, self.asked.tag, 1))
