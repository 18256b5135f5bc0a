"""Turns epochs: when the running one has to end, what fits in it until then, and how the next one begins.

An epoch that is due goes on until the secret of the next one is there, is announced by a `sign` line, and
that line is signed: whoever takes this host cannot begin another next epoch from then on. Then, in one step:
its `end` line; a new pair of files, if the segment ends with it; the `epoch` line of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from epochseal.custody.memory import SecretPage
from epochseal.errors import BackendError
from epochseal.format.seal_lines import Asked, Denies, Link
from epochseal.keys import SECRET_SIZE, Context, Issued
from epochseal.sealing.backend_calls import BackendCalls, Clock
from epochseal.sealing.chain import EpochStart, Pace
from epochseal.sealing.counters import Counters
from epochseal.sealing.due_times import DueTimes
from epochseal.sealing.limits import NO_ROOM, UNBOUNDED_ROOM, Limits, Room
from epochseal.sealing.line_writer import LineWriter
from epochseal.sealing.restart_point import GoingOn
from epochseal.storage.segments import segment_stem

LONGEST_WAIT = 60.0
"""For so many seconds a secret waits for the signature that lets its epoch begin; then it is given up.

It stands beside the key of the running epoch: whoever reads both knows this epoch's end and the next one.
"""
_MARGIN = 1000
"""An epoch counts as late so many ms early: a commit that is let in before that states no later time."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A secret in the page's work area, what it was asked for with, and the size that announces it."""

    issued: Issued
    context: Context
    asked: Asked
    since: float
    announced: int


@dataclass(frozen=True, slots=True)
class Begun:
    """An epoch line that a start has written: `leaf` is what a person accepts it by."""

    link: Link
    log: bytes
    leaf: bytes
    denies: Denies | None


class EpochTurns:
    """The epochs of one log.

    Args:
        lines: writes them.
        calls: knows what the secret was asked for with, and whether the backend answers.
        mailbox: where secrets arrive.
        clock: where time comes from.
        pace: what every epoch line promises.
        limits: where epochs and segments end.
        counters: counts epochs.

    Attributes:
        due_times: when what is due by time.
        link: how the log goes on, as its start decided.
        denies: what the epoch line of the start says that the disk does not bear out.
        tell: is told of the epoch line of a start without carry, once it is durable.
    """

    def __init__(
        self,
        lines: LineWriter,
        calls: BackendCalls,
        mailbox: SecretPage,
        clock: Clock,
        *,
        pace: Pace,
        limits: Limits,
        counters: Counters,
    ) -> None:
        self._lines, self._calls, self._mailbox = lines, calls, mailbox
        self._clock, self._pace, self._limits, self._counters = clock, pace, limits, counters
        self.due_times = DueTimes(clock, pace, limits.segment_age, calls.jitter)
        self.link: GoingOn = "genesis"
        self.denies: Denies | None = None
        self.tell: Callable[[Begun], None] = _say_nothing
        self._waiting: _Waiting | None = None
        self._full = False

    @property
    def needs_secret(self) -> bool:
        """Whether a secret is to be asked for: none waits, and an epoch is to begin."""
        if self._waiting is not None or self._lines.closed:
            return False
        return not self._lines.running or (self._lines.live and self.due_times.due is not None)

    @property
    def overdue_seconds(self) -> float:
        """For how long the epoch has been running past its end because the backend does not answer."""
        return self.due_times.overdue_seconds if self._lines.running else 0.0

    @property
    def late(self) -> bool:
        """Whether the epoch runs for longer than its line allows: no block may be sealed any more."""
        lines = self._lines
        return lines.running and self._clock.now() + _MARGIN > lines.chain.latest_time

    def moments(self) -> list[float]:
        """When something will be due, in seconds of the clock."""
        moments = self.due_times.moments() if self._lines.live and not self.late else []
        if self._waiting is not None:
            moments.append(self._waiting.since + LONGEST_WAIT)
        return moments

    def room(self) -> Room:
        """What may be committed at this moment; beyond the limits only while the backend is down or slow."""
        if not self._lines.live or self.late or self._lines.recovering:
            return NO_ROOM
        if self.due_times.due and (self._calls.failures or not self.due_times.patient):
            return UNBOUNDED_ROOM
        return NO_ROOM if self._full else self._limits.room(self._lines.chain)

    def entry_does_not_fit(self) -> None:
        """Say that the next entry does not fit in what `room` offered: there is none until the next epoch."""
        self.due_times.set_due(self._limits.limit_in_the_way(self._lines.chain))
        self._full = True

    def tick(self) -> None:
        """Notice that the running epoch or segment has had its time, its entries or its bytes."""
        self.due_times.tick()
        if (reason := self._limits.reached(self._lines.chain)) is not None:
            self.due_times.set_due(reason)
        elif self.late:
            # By the wall clock, which may have been set forward, or have gone on while no process ran.
            self.due_times.set_due("interval")

    def take_secret(self, issued: Issued) -> None:
        """Take the secret that is in the mailbox: it begins an epoch now, or is announced and waits.

        Raises:
            ConfigError: it is by a key that the log has left.
            StorageError: a file cannot be written.
        """
        context, asked = self._calls.context, self._calls.asked
        if context is None or asked is None:
            raise BackendError("a secret arrived that was not asked for")
        self._lines.checkpoints.last_signer.check_epoch_key(issued.key_id)
        since = self._clock.monotonic()
        self._lines.page.secret[:] = self._mailbox.view[:SECRET_SIZE]
        self._mailbox.wipe()
        with self._lines.guard.step():
            if self._lines.running:
                self._lines.sign(issued.wrapped)
            self._waiting = _Waiting(issued, context, asked, since, self._lines.chain.index)
            if not self._lines.running:
                self._begin(self._waiting)

    def drop_overdue(self) -> None:
        """Give up a secret that has waited for too long."""
        waiting = self._waiting
        if waiting is not None and self._clock.monotonic() - waiting.since >= LONGEST_WAIT:
            self.drop()

    def drop(self) -> None:
        """Give up the secret that waits, if one does; the next epoch line names the call."""
        if self._waiting is not None:
            self._lines.page.secret[:] = bytes(SECRET_SIZE)
            self._waiting = None
            self._counters.abandoned_secrets += 1

    def turn_if_signed(self) -> None:
        """End the running epoch and begin the next, if its secret waits and its announcement is signed.

        Raises:
            StorageError: a file cannot be written.
        """
        self.drop_overdue()
        waiting, lines = self._waiting, self._lines
        if waiting is None or not lines.running or self._lines.checkpoints.signed < waiting.announced:
            return
        began, wanted = self._clock.monotonic(), self.due_times.due or "interval"
        new_segment = wanted == "segment" or self._limits.segment_is_full(lines.chain)
        # The bytes of an interrupted commit stand in this log file, so its lines must stand beside it.
        if new_segment and self._lines.recovering:
            new_segment, wanted = False, "interval"
        start, stem = self._start("carry", waiting, new_segment=new_segment)
        with lines.guard.step():
            lines.turn("segment" if new_segment else wanted, start, stem)
            self._began(waiting, start, stem)
            self.seal_raise()
        self._counters.turns.observe(self._clock.monotonic() - began)

    def seal_raise(self) -> None:
        """Have a longer epoch than the one before vouched for at once (inside of a step)."""
        if self._lines.chain.raised and self._lines.live:
            self._lines.sign(None)

    def _begin(self, waiting: _Waiting) -> None:
        link = "cold" if self.link == "running" else self.link
        start, stem = self._start(link, waiting, new_segment=True)
        leaf = self._lines.begin(start, stem or "")
        self._began(waiting, start, stem)
        if link != "carry":
            self.tell(Begun(link, self._lines.chain.log, leaf, start.denies))

    def _start(self, link: Link, waiting: _Waiting, *, new_segment: bool) -> tuple[EpochStart, str | None]:
        now, segment = self._clock.now(), self._lines.chain.segment + new_segment
        start = EpochStart(
            link,
            waiting.issued,
            waiting.context,
            waiting.asked,
            self._calls.adopted(waiting.asked),
            segment,
            self._pace,
            now,
            self.denies,
        )
        return start, segment_stem(segment, now) if new_segment else None

    def _began(self, waiting: _Waiting, start: EpochStart, stem: str | None) -> None:
        self._waiting, self._full, self.denies = None, False, None
        self.due_times.new_epoch()
        if stem is not None:
            self.due_times.new_segment()
        self._counters.began(start.segment)
        self._counters.secret_waits.observe(self._clock.monotonic() - waiting.since)


def _say_nothing(_begun: Begun) -> None:
    pass
