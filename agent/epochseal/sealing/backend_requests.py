"""Which backend call a log needs next, and what is done with its answer."""

from __future__ import annotations

from epochseal.custody.memory import SecretPage
from epochseal.sealing.backend_calls import BackendCalls, Clock, Kind
from epochseal.sealing.checkpoints import Checkpoints
from epochseal.sealing.counters import Counters
from epochseal.sealing.epoch_turns import EpochTurns
from epochseal.sealing.line_writer import LineWriter


class BackendRequests:
    """Asks for secrets, signatures and the public key when there is a reason to, one call at a time.

    Args:
        calls: makes them.
        lines: says where the chain stands, and writes notes.
        turns: begins an epoch with each secret.
        checkpoints: has what is to be signed.
        mailbox: where secrets arrive; wiped after every answer.
        clock: where time comes from.
        counters: counts signed checkpoints.
    """

    def __init__(
        self,
        calls: BackendCalls,
        lines: LineWriter,
        turns: EpochTurns,
        checkpoints: Checkpoints,
        mailbox: SecretPage,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._calls, self._lines, self._turns, self._checkpoints = calls, lines, turns, checkpoints
        self._mailbox, self._clock, self._counters = mailbox, clock, counters

    def moments(self) -> list[float]:
        """When a call that is needed may be made, in seconds of the clock; none while one is under way."""
        return [] if self._calls.pending else [self._calls.retry_at(kind) for kind in self._needed()]

    def ask(self) -> None:
        """Make the most urgent call that may be made now, if none is under way."""
        if self._calls.pending:
            return
        for kind in self._needed():
            if self._calls.may_start(kind):
                self._start(kind)
                return
        # Nothing to ask now: the courier goes, and with it what its backend's library left in its memory.
        self._calls.let_go()

    def take_answer(self) -> None:
        """Take the answer of the call under way, and do what it was asked for.

        Raises:
            EpochsealError: a refusal that waiting does not mend.
            StorageError: a file cannot be written.
        """
        calls = self._calls
        try:
            if calls.pending == "issue":
                if (issued := calls.take_issued()) is not None:
                    self._turns.turn(issued)
            elif calls.pending == "sign":
                if (signature := calls.take_signature()) is not None:
                    self._write_note(signature)
            elif calls.pending == "key" and (key := calls.take_key()) is not None:
                self._checkpoints.set_key(key)
        finally:
            # The secret was used, or was left there by a call that failed after all.
            self._mailbox.wipe()

    def cancel_issue(self) -> None:
        """Give up a secret that is on its way: the log is about to be closed."""
        if self._calls.pending == "issue":
            self._calls.let_go()
            self._mailbox.wipe()

    def _needed(self) -> list[Kind]:
        """The calls that there is a reason for, the most urgent first."""
        needed: list[Kind] = []
        if self._lines.guard.failed:
            return needed
        due, running = self._turns.due_times.due, self._lines.running
        has_key = self._checkpoints.has_key
        if due and (running or has_key):
            needed.append("issue")
        if self._checkpoints:
            needed.append("sign" if has_key else "key")
        elif not has_key and (due or running):
            # Before the first secret, and at once where an epoch goes on: a wrong key must end this start.
            needed.append("key")
        return needed

    def _start(self, kind: Kind) -> None:
        if kind == "issue":
            self._calls.start_issue(self._lines.chain.next_context(), self._lines.chain.asked())
        elif kind == "sign":
            self._calls.start_sign(self._checkpoints.message())
        else:
            self._calls.start_key()

    def _write_note(self, signature: bytes) -> None:
        note, lines = self._checkpoints.signed(signature), self._lines
        with lines.guard.step():
            size = self._checkpoints.write(note)
        if lines.unsigned_start is not None and size >= lines.unsigned_start.size:
            lines.unsigned_start = None
        self._counters.signed(self._clock.now())
