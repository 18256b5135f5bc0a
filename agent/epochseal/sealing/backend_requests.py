"""Which backend call a log needs next, and what is done with its answer."""

from __future__ import annotations

from epochseal.custody.memory import SecretPage
from epochseal.encoding import b64encode
from epochseal.errors import BackendError, ConfigError
from epochseal.format.seal_lines import Denies
from epochseal.sealing.backend_calls import BackendCalls, Clock, Kind
from epochseal.sealing.counters import Counters
from epochseal.sealing.epoch_turns import EpochTurns
from epochseal.sealing.line_writer import LineWriter


class BackendRequests:
    """Asks for the public key, signatures and secrets when there is a reason to, one call at a time.

    Args:
        calls: makes them.
        lines: says where the chain stands, and writes notes.
        turns: takes secrets.
        mailbox: where secrets arrive; wiped after every answer.
        clock: where time comes from.
        counters: counts signed checkpoints.

    Attributes:
        ahead: the content of a file `checkpoint` over more lines than there are, to be judged by the key.
    """

    def __init__(
        self,
        calls: BackendCalls,
        lines: LineWriter,
        turns: EpochTurns,
        mailbox: SecretPage,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._calls, self._lines, self._turns, self._checkpoints = calls, lines, turns, lines.checkpoints
        self._mailbox, self._clock, self._counters = mailbox, clock, counters
        self.ahead = b""
        calls.about_to_ask = self._remember_calls

    def moments(self) -> list[float]:
        """When a call that is needed may be made, in seconds of the clock; none while one is under way."""
        needed = None if self._calls.pending else self._needed()
        return [] if needed is None else [self._calls.retry_at(needed)]

    def ask(self) -> None:
        """Make the call that is needed, if it may be made now and none is under way.

        Raises:
            CredentialRefused: before the log takes entries: another log was just refused with this login.
        """
        if self._calls.pending:
            return
        needed = self._needed()
        starting = not (self._lines.live or self._lines.closed)
        if needed is not None and starting and (refusal := self._calls.refusal(needed)):
            raise refusal
        if needed is None or not self._calls.may_start(needed):
            # Nothing to ask now: the courier goes, and with it what its backend's library left in its memory.
            self._calls.let_go()
        elif needed == "key":
            self._calls.start_key()
        elif needed == "sign":
            self._start_sign()
        else:
            # A cold epoch quotes the line before it, and no other.
            again = self._lines.running or self._turns.link == "carry"
            chain = self._lines.chain
            self._calls.start_issue(chain.next_context(), chain.asked(), again=again)

    def take_answer(self) -> None:
        """Take the answer of the call under way, and do what it was asked for.

        Raises:
            EpochsealError: a refusal, before the log takes entries; later it is waited out.
            StorageError: a file cannot be written.
        """
        calls = self._calls
        calls.patient = self._lines.live
        try:
            if calls.pending == "issue":
                if (issued := calls.take_issued()) is not None:
                    try:
                        self._turns.take_secret(issued)
                    except ConfigError as exc:
                        self._refused("issue", exc)
            elif calls.pending == "sign":
                if (signature := calls.take_signature()) is not None:
                    self._take_signature(signature)
            elif calls.pending == "key" and (key := calls.take_key()) is not None:
                self._checkpoints.set_key(key)
                self._judge_ahead()
        finally:
            # The secret was taken, or was left there by a call that failed after all.
            self._mailbox.wipe()

    def cancel(self) -> None:
        """Give up what is under way and what waits: the log is about to be closed, or its key to change."""
        self._calls.let_go()
        self._mailbox.wipe()
        self._turns.drop()

    def _needed(self) -> Kind | None:
        """The most urgent call that there is a reason for.

        An outstanding signature comes before another secret, so a signer that is away costs no secrets.
        """
        turns, due = self._turns, self._checkpoints.due is not None
        if self._lines.guard.failed:
            return None
        if not self._checkpoints.has_key:
            # Before the first secret, and at once where an epoch goes on: a wrong key must end this start.
            return "key" if due or self._lines.running or turns.needs_secret else None
        if due and not self._checkpoints.hold:
            return "sign"
        return "issue" if turns.needs_secret else None

    def _start_sign(self) -> None:
        text, due = self._checkpoints.ask(), self._checkpoints.due
        if due is not None:
            with self._lines.guard.step():
                self._lines.remember_lines(due)
        self._calls.start_sign(text)

    def _take_signature(self, signature: bytes) -> None:
        try:
            note = self._checkpoints.take(signature)
        except BackendError as exc:
            self._refused("sign", exc)
            return
        if note is None:
            return
        with self._lines.guard.step():
            self._checkpoints.write(note, self._lines)
            self._turns.seal_raise()
        self._counters.signed(self._clock.now())
        self._turns.turn_if_signed()

    def _refused(self, kind: Kind, error: BackendError | ConfigError) -> None:
        if not self._calls.patient:
            raise error
        self._calls.refused(kind, error)

    def _judge_ahead(self) -> None:
        """Deny what our own key signed and the disk does not have, where nothing else remembers more."""
        found = self._checkpoints.read(self.ahead) if self.ahead else None
        if found is not None and self._turns.denies is None:
            log = b64encode(self._lines.chain.log)
            self._turns.denies = Denies(log, found.size, b64encode(found.root))
            self._turns.link = "cold" if self._turns.link == "carry" else self._turns.link
            self._counters.tampered = True

    def _remember_calls(self) -> None:
        with self._lines.guard.step():
            self._lines.remember_calls()
