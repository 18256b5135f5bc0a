"""Which backend call is under way, when the next may be tried, and which issue calls came to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from msgspec.structs import replace

from epochseal.custody.courier import Courier
from epochseal.custody.zygote import Zygote
from epochseal.encoding import b64decode
from epochseal.errors import BackendError, ConfigError, CredentialRefused, EpochsealError, Unavailable
from epochseal.format.seal_lines import Abandoned, Asked
from epochseal.keys import Context, Issued, PublicKey
from epochseal.sealing.login_gate import LoginGate

_T = TypeVar("_T")
Kind = Literal["issue", "sign", "key"]

FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
FIRST_REFUSAL = 60.0
NEXT_REFUSALS = 900.0
"""After a refusal it is for a person to act: once more in a minute, then four times an hour, so that a mended
policy is picked up. Where the credential itself was refused, the gate of its login says when."""
ANSWER_SECONDS = 40.0
"""More than a courier has before its own alarm ends it (`custody.courier_process.CALL_SECONDS`)."""
LOOK_SECONDS = 1.0
"""While a call is under way, it is looked at this often."""
_DISTINCT_ABANDONED = 16
"""An epoch line lists the abandoned calls. After this many different ones the last is repeated instead."""


class Clock(Protocol):
    """Time comes from outside: one clock is only written down, the other decides."""

    def now(self) -> int:
        """Milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class _Backoff:
    """The delay of one key's calls; the two keys may lie in different backends, of which one is down."""

    def __init__(self) -> None:
        self.failures = 0
        self.retry_at = 0.0
        self.error: EpochsealError | None = None
        self.refused = False

    def succeeded(self) -> None:
        self.failures, self.retry_at, self.error, self.refused = 0, 0.0, None, False

    def failed(self, now: float, jitter: float, error: EpochsealError, *, refused: bool = False) -> None:
        if (self.error is not None) and refused != self.refused:
            self.failures = 0
        self.error, self.refused = error, refused
        if isinstance(error, CredentialRefused):
            # When it is tried again is not for this log alone to say.
            delay = 0.0
        elif refused:
            delay = (FIRST_REFUSAL if self.failures == 0 else NEXT_REFUSALS) * (1 + jitter / 4)
        else:
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self.failures, 16)) * (0.5 + jitter / 2)
        self.failures += 1
        self.retry_at = now + delay


class BackendCalls:
    """One backend call at a time, through one courier that is let go as soon as there is nothing more to ask.

    An unavailable backend is tried again with a growing, jittered delay. An issue call without an answer may
    have been served all the same, so it is remembered for the next epoch line (`abandoned`).

    Args:
        gates: of the epoch key's login and of the checkpoint key's, which other logs may share.

    Attributes:
        jitter: gives a number from 0 to 1, another one each time, so that many agents do not act as one.
        last_error: why the latest call failed, None once one succeeded.
        made: calls so far, by kind.
        failed: those of them that failed, by kind: found the backend unavailable, or were refused for good.
        context: what the issue call under way, or the latest one, is bound to.
        asked: the line that it quoted.
        abandoned: issue calls that no epoch line adopted, the one under way included.
        about_to_ask: is called when an issue call is in that list and before it is sent.
        patient: whether a refusal is waited out, as an unavailable backend is, instead of raised.
    """

    def __init__(
        self,
        zygote: Zygote,
        clock: Clock,
        jitter: Callable[[], float],
        gates: tuple[LoginGate, LoginGate] | None = None,
    ) -> None:
        self._zygote = zygote
        self._clock = clock
        self.jitter = jitter
        self._courier: Courier | None = None
        self._kind: Kind | None = None
        self._epoch_key = _Backoff()
        self._checkpoint_key = _Backoff()
        own = LoginGate(clock.monotonic, jitter), LoginGate(clock.monotonic, jitter)
        self._epoch_gate, self._checkpoint_gate = own if gates is None else gates
        self.last_error: EpochsealError | None = None
        self.made: dict[Kind, int] = {"issue": 0, "sign": 0, "key": 0}
        self.failed: dict[Kind, int] = {"issue": 0, "sign": 0, "key": 0}
        self.context: Context | None = None
        self.asked: Asked | None = None
        self.abandoned: list[Abandoned] = []
        self.about_to_ask: Callable[[], None] = _do_nothing
        self.patient = False
        self._gone = ""

    @property
    def pending(self) -> Kind | None:
        """The kind of the call under way."""
        return self._kind

    @property
    def failures(self) -> int:
        """Calls in a row that found their backend unavailable, for the key that fares worse."""
        return max(self._epoch_key.failures, self._checkpoint_key.failures)

    @property
    def issue_failures(self) -> int:
        """Issue calls in a row that found the backend unavailable."""
        return self._epoch_key.failures

    @property
    def trouble(self) -> EpochsealError | None:
        """Why a key's latest call failed; None if neither's did."""
        return self._epoch_key.error or self._checkpoint_key.error

    @property
    def gone(self) -> str:
        """Why no call will ever be answered any more; empty while there is hope."""
        return self._gone

    def wait_descriptors(self) -> list[int]:
        """Readable when `look` is to be called at once."""
        return [] if self._gone or self._zygote.fileno() < 0 else [self._zygote.fileno()]

    def look(self) -> None:
        """Give up a call that has lasted for too long, and notice that the process behind them is gone."""
        self._gone = self._gone or self._zygote.look()
        if self._kind is None or self._courier is None or self._courier.seconds < ANSWER_SECONDS:
            return
        # The courier has an alarm of its own: it was stopped, or the zygote was, before it was made.
        late = Unavailable(f"no answer to a backend call within {ANSWER_SECONDS:g} seconds")
        self._failed(self._kind, late)

    def fileno(self) -> int | None:
        """Readable when the call under way has its answer; None where there is no call."""
        return self._courier.fileno() if self._courier is not None and self._kind else None

    def retry_at(self, kind: Kind) -> float:
        """The moment before which such a call is not to be started."""
        return max(self._backoff(kind).retry_at, self._gate(kind).free_at(self))

    def may_start(self, kind: Kind) -> bool:
        """Whether such a call may be made now; its login is taken for it then."""
        late = self._clock.monotonic() >= self._backoff(kind).retry_at
        return self._kind is None and late and self._gate(kind).enter(self)

    def refusal(self, kind: Kind) -> CredentialRefused | None:
        """What the login for it was refused with, for this log or another, until it may be tried again."""
        return self._gate(kind).refusal(self)

    def start_key(self) -> None:
        """Ask for the checkpoint key's public half."""
        self._call("key", lambda courier: courier.ask_key())

    def take_key(self) -> PublicKey | None:
        """The answer to `start_key`; None when the backend was unavailable.

        Raises:
            EpochsealError: as `take_issued`.
        """
        return self._answer(lambda courier: courier.take_key())

    def start_issue(self, context: Context, asked: Asked, *, again: bool = True) -> None:
        """Ask for an epoch secret.

        Args:
            context: what it is to be bound to.
            asked: the last line, which that quotes.
            again: after many abandoned calls, quote what the last of them did: the next epoch line, and the
                page, which hold their list, have room for so many different ones.
        """
        if again and len(self.abandoned) >= _DISTINCT_ABANDONED:
            last = self.abandoned[-1]
            context = replace(context, prev=b64decode(last.tag, "abandoned tag"))
            asked = Asked(last.line, last.tag)
        wanted = self.context = context
        self.asked = asked
        # Counted and remembered before it is sent: a kill behind the sending leaves a call that the key
        # service shows, and the next epoch line is to explain it.
        self._count(1)
        self.about_to_ask()
        self._call("issue", lambda courier: courier.ask_issue(wanted))

    def take_issued(self) -> Issued | None:
        """The answer to `start_issue`; None when the backend was unavailable.

        Raises:
            EpochsealError: any other refusal, which waiting does not mend.
        """
        return self._answer(lambda courier: courier.take_issued())

    def start_sign(self, message: bytes) -> None:
        """Ask for a signature."""
        self._call("sign", lambda courier: courier.ask_signature(message))

    def take_signature(self) -> bytes | None:
        """The answer to `start_sign`; None when the backend was unavailable.

        Raises:
            EpochsealError: as `take_issued`.
        """
        return self._answer(lambda courier: courier.take_signature())

    def adopted(self, asked: Asked) -> tuple[Abandoned, ...]:
        """An epoch line adopts the secret that `asked` was quoted for; the calls that it gives up."""
        self.asked = asked
        self._count(-1)
        given_up = tuple(self.abandoned)
        self.context = self.asked = None
        self.abandoned = []
        return given_up

    def refused(self, kind: Kind, error: EpochsealError) -> None:
        """Wait for long before this kind of call is made again: its answer is of no use, or was a refusal."""
        self.failed[kind] += 1
        self.last_error = error
        self._backoff(kind).failed(self._clock.monotonic(), self.jitter(), error, refused=True)

    def let_go(self) -> None:
        """Let the courier go, and with it the call that it was making."""
        self._epoch_gate.leave(self)
        self._checkpoint_gate.leave(self)
        if self._courier is not None:
            self._courier.close()
            if self._kind is not None:
                self._zygote.end_courier()
        self._courier, self._kind = None, None

    def _call(self, kind: Kind, ask: Callable[[Courier], None]) -> None:
        self.made[kind] += 1
        try:
            ask(self._open())
        except Unavailable as exc:
            # The call was not sent, so the backend cannot have served it: there is nothing to give up.
            if kind == "issue":
                self._count(-1)
            self._failed(kind, exc)
        else:
            self._kind = kind

    def _answer(self, take_answer: Callable[[Courier], _T]) -> _T | None:
        kind = self._kind
        if kind is None:
            raise BackendError("an answer was taken where nothing had been asked")
        try:
            answer = take_answer(self._open())
        except Unavailable as exc:
            self._failed(kind, exc)
            return None
        except EpochsealError as exc:
            self.let_go()
            if isinstance(exc, CredentialRefused):
                self._gate(kind).refused(self, exc)
            elif not isinstance(exc, ConfigError):
                # What was refused is a permission: the login was good.
                self._gate(kind).accepted(self)
            if not self.patient:
                self.failed[kind] += 1
                raise
            self.refused(kind, exc)
            return None
        self._kind, self.last_error = None, None
        self._gate(kind).accepted(self)
        self._backoff(kind).succeeded()
        return answer

    def _failed(self, kind: Kind, exc: Unavailable) -> None:
        self.let_go()
        self.failed[kind] += 1
        self.last_error = exc
        self._backoff(kind).failed(self._clock.monotonic(), self.jitter(), exc)

    def _backoff(self, kind: Kind) -> _Backoff:
        return self._epoch_key if kind == "issue" else self._checkpoint_key

    def _gate(self, kind: Kind) -> LoginGate:
        return self._epoch_gate if kind == "issue" else self._checkpoint_gate

    def _open(self) -> Courier:
        if self._courier is None:
            self._courier = self._zygote.courier()
        return self._courier

    def _count(self, calls: int) -> None:
        asked = self.asked
        if asked is None:
            return
        for place, item in enumerate(self.abandoned):
            if (item.line, item.tag) == (asked.line, asked.tag):
                if item.calls + calls:
                    self.abandoned[place] = Abandoned(item.line, item.tag, item.calls + calls)
                else:
                    del self.abandoned[place]
                return
        self.abandoned.append(Abandoned(asked.line, asked.tag, calls))


def _do_nothing() -> None:
    pass
